"""A record as an RFC 5424 message in an octet-counted frame (RFC 6587; over TLS RFC 5425). Pure; `senders` sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
PROGRAM = "zonebridge"
SEVERITIES: Mapping[str, int] = {"informational": 6, "low": 5, "medium": 4, "high": 3, "critical": 2}


def frame(record: Json, facility: int) -> bytes:
    """The message behind its length in octets, which line breaks inside can't disturb."""
    priority = facility * 8 + SEVERITIES[record["severity"]]
    head = f"<{priority}>1 {record['time']} {_word(record['node'], 255)} {PROGRAM} - {_word(record['alert'], 32)} - "
    message = (head + json.dumps(record, separators=(",", ":"), ensure_ascii=False)).encode()
    return b"%d %s" % (len(message), message)


def _word(text: str, limit: int) -> str:
    """A header field: printable ASCII without spaces; `-` where nothing is left."""
    return "".join(letter if "!" <= letter <= "~" else "_" for letter in text)[:limit] or "-"
