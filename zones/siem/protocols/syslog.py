"""RFC 5424 syslog in RFC 6587 frames, with a message in any format or structured data. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from zones.siem.values import flat, plain

Json = Mapping[str, Any]

PROGRAM = "zone-enforcer"
# Syslog's numbers: an alert's own severity; a denied flow is a notice, any other informational.
SEVERITIES: Mapping[str, int] = {
    "informational": 6,
    "low": 5,
    "medium": 4,
    "high": 3,
    "critical": 2,
    "deny": 5,
    "allow": 6,
}
_HOST_LIMIT, _NAME_LIMIT = 255, 32
_ENDS_OF_LINES = bytes.maketrans(b"\r\n\0", b"   ")


class Framing(StrEnum):
    """Where a message ends on a stream (RFC 6587): before it stands its length, or after it a line feed.

    Over TLS RFC 5425 demands the former; a receiver that reads lines never finds an end in it.
    """

    OCTET_COUNTED = "octet-counted"
    NEWLINE = "newline"


@dataclass(frozen=True, slots=True)
class Form:
    """How messages look. `enterprise` is the number in the structured data's name; 32473 is the one for examples.

    Without a `program` the message has neither APP-NAME nor MSGID: its receiver goes by its first words.
    """

    facility: int = 16
    structured_data: bool = False
    enterprise: int = 32473
    program: str | None = PROGRAM
    severities: Mapping[str, int] = field(default_factory=lambda: SEVERITIES, hash=False)
    framing: Framing = Framing.OCTET_COUNTED


def frame(record: Json, form: Form, text: Callable[[Json], str]) -> bytes:
    """The message behind its length, which line breaks inside can't disturb; or as a line, in which there are none."""
    octets = message(record, form, text)
    if form.framing is Framing.NEWLINE:
        return octets.translate(_ENDS_OF_LINES) + b"\n"
    return b"%d %s" % (len(octets), octets)


def message(record: Json, form: Form, text: Callable[[Json], str]) -> bytes:
    """`text` renders the record. No byte order mark: receivers that read JSON stumble over it."""
    priority = form.facility * 8 + severity(record, form.severities)
    content = structured(record, form) if form.structured_data else f"- {text(record)}"
    name = record.get("alert", record["kind"]) if form.program else "-"
    return (
        f"<{priority}>1 {record['time']} {_printable(record['node'], _HOST_LIMIT)} {form.program or '-'} - "
        f"{_printable(name, _NAME_LIMIT)} {content}"
    ).encode()


def severity(record: Json, severities: Mapping[str, int] = SEVERITIES) -> int:
    return severities[record.get("severity") or ("allow" if record.get("verdict") == "allow" else "deny")]


def structured(record: Json, form: Form) -> str:
    """`source.zone="web"` and so on; labels stand together, because a parameter's name can't be as long as theirs."""
    fields = ((_printable(path, _NAME_LIMIT), _escaped(plain(value))) for path, value in flat(record))
    parameters = "".join(f' {name}="{value}"' for name, value in fields)
    return f"[zonebridge@{form.enterprise}{parameters}]"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _printable(text: str, limit: int) -> str:
    """A header field or parameter name: printable ASCII without what would end it; `-` where nothing is left."""
    kept = "".join(letter if "!" <= letter <= "~" and letter not in '="]' else "_" for letter in text)
    return kept[:limit] or "-"
