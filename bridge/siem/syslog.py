"""A record as an RFC 5424 message in a frame of RFC 6587. Pure; `senders` sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

Json = dict[str, Any]
PROGRAM = "zonebridge"
SEVERITIES: Mapping[str, int] = {"informational": 6, "low": 5, "medium": 4, "high": 3, "critical": 2}


_ENDS_OF_LINES = bytes.maketrans(b"\r\n\0", b"   ")


class Framing(StrEnum):
    """Where a message ends on a stream: before it stands its length, or after it a line feed."""

    OCTET_COUNTED = "octet-counted"
    NEWLINE = "newline"


def frame(record: Json, facility: int, framing: Framing = Framing.OCTET_COUNTED) -> bytes:
    """The message behind its length, which line breaks inside can't disturb; or as a line, in which there are none."""
    priority = facility * 8 + SEVERITIES[record["severity"]]
    what = record["alert"] if "alert" in record else record["kind"]
    head = f"<{priority}>1 {record['time']} {_word(record['node'], 255)} {PROGRAM} - {_word(what, 32)} - "
    message = (head + json.dumps(record, separators=(",", ":"), ensure_ascii=False)).encode()
    if framing is Framing.NEWLINE:
        return message.translate(_ENDS_OF_LINES) + b"\n"
    return b"%d %s" % (len(message), message)


def _word(text: str, limit: int) -> str:
    """A header field: printable ASCII without spaces; `-` where nothing is left."""
    return "".join(letter if "!" <= letter <= "~" else "_" for letter in text)[:limit] or "-"
