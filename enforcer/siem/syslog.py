"""RFC 5424 syslog in RFC 6587 octet-counted frames, the record as JSON message or as structured data. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

_SEVERITIES = {"informational": 6, "low": 5, "medium": 4, "high": 3, "critical": 2}
_DENIED_FLOW, _OTHER_FLOW = 5, 6
_HOST_LIMIT, _NAME_LIMIT = 255, 32


@dataclass(frozen=True, slots=True)
class Form:
    """How messages look. `enterprise` is the number in the structured data's name; 32473 is the one for examples."""

    facility: int = 16
    structured_data: bool = False
    enterprise: int = 32473


def frame(record: Json, form: Form) -> bytes:
    """The message behind its length in octets, which line breaks inside can't disturb."""
    text = message(record, form)
    return b"%d %s" % (len(text), text)


def message(record: Json, form: Form) -> bytes:
    """No byte order mark: receivers that read JSON stumble over it."""
    priority = form.facility * 8 + severity(record)
    data = structured(record, form) if form.structured_data else "-"
    text = "" if form.structured_data else f" {json.dumps(record, separators=(',', ':'), ensure_ascii=False)}"
    name = record.get("alert", record["kind"])
    return (
        f"<{priority}>1 {record['time']} {_printable(record['node'], _HOST_LIMIT)} zone-enforcer - "
        f"{_printable(name, _NAME_LIMIT)} {data}{text}"
    ).encode()


def severity(record: Json) -> int:
    """Syslog's number: an alert's own severity; a denied flow is a notice, any other informational."""
    if "severity" in record:
        return _SEVERITIES[record["severity"]]
    return _OTHER_FLOW if record.get("verdict") == "allow" else _DENIED_FLOW


def structured(record: Json, form: Form) -> str:
    parameters = "".join(f' {name}="{_escaped(value)}"' for name, value in _flat(record))
    return f"[zonebridge@{form.enterprise}{parameters}]"


def _flat(record: Json, path: str = "") -> Iterator[tuple[str, str]]:
    """`source.zone` and the like; names are cut to what the format allows."""
    for key, value in record.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        else:
            yield _printable(name, _NAME_LIMIT), value if isinstance(value, str) else json.dumps(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _printable(text: str, limit: int) -> str:
    """A header field or parameter name: printable ASCII without what would end it; `-` where nothing is left."""
    kept = "".join(letter if "!" <= letter <= "~" and letter not in '="]' else "_" for letter in text)
    return kept[:limit] or "-"
