"""Splunk's HTTP Event Collector: one record as an event, and what a reply means. Pure; `senders` sends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.siem.outcome import Delivered, Later, Outcome, Refused

Json = dict[str, Any]
EVENT_PATH = "/services/collector/event"
# The collector's codes: what it has taken (near its limits, too), and what is wrong with the event itself.
_TAKEN = frozenset({0, 24, 25})
_BAD_EVENT = frozenset({5, 6, 12, 13, 15})
_TOO_LARGE = 413
_NO_DATA = 5


@dataclass(frozen=True, slots=True)
class Envelope:
    """The metadata of every event; None leaves the collector's own default."""

    source: str = "zonebridge"
    sourcetype: str = "zonebridge:alert"
    index: str | None = None


def event(record: Json, envelope: Envelope) -> bytes:
    """Its id also stands in `fields`, so that a search can drop what was delivered twice."""
    wrapped: Json = {
        "time": datetime.fromisoformat(record["time"]).timestamp(),
        "host": record["node"],
        "source": envelope.source,
        "sourcetype": envelope.sourcetype,
        "event": record,
        "fields": {"id": record["id"], "cluster": record["cluster"]},
    }
    if envelope.index is not None:
        wrapped["index"] = envelope.index
    return json.dumps(wrapped, separators=(",", ":"), ensure_ascii=False).encode()


def refusal(status: int, reply: bytes) -> str:
    """Why a collector would take no event, by its answer to an empty request; it looks at the token before the data."""
    code, text = _code(reply)
    if code == _NO_DATA:
        return ""
    if code is None:
        return f"HTTP {status}, and not a collector's answer: is the address that of an HTTP Event Collector?"
    return "" if code in _TAKEN else f"HTTP {status}, code {code}: {text}"


def interpret(status: int, reply: bytes, retry_after: str | None) -> Outcome:
    code, text = _code(reply)
    said = f"HTTP {status}" + (f", code {code}: {text}" if code is not None else "")
    if status // 100 == 2 and code in _TAKEN:  # noqa: PLR2004 - HTTP's successes
        return Delivered()
    if code in _BAD_EVENT or status == _TOO_LARGE:
        return Refused(said)
    return Later(said, _seconds(retry_after))


def _code(reply: bytes) -> tuple[int | None, str]:
    try:
        answer = json.loads(reply)
    except ValueError:
        return None, ""
    if not isinstance(answer, dict) or not isinstance(answer.get("code"), int):
        return None, ""
    return answer["code"], str(answer.get("text", ""))


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, min(float(retry_after or 0), 3600.0))
    except ValueError:
        return 0.0
