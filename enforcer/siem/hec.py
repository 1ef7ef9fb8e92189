"""Splunk HTTP Event Collector: records as event envelopes, and what its replies mean. Pure; `enforcer.ship` sends."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from enforcer.siem.outcome import Delivered, Hold, Outcome, Refused, Retry, Split
from enforcer.siem.values import compact

Json = Mapping[str, Any]
EVENT_PATH, ACK_PATH = "/services/collector/event", "/services/collector/ack"

# Codes of the collector, by what to do about them.
_SUCCESS = frozenset({0, 17})
_NEAR_LIMIT = frozenset({24, 25})
_LATER = frozenset({8, 9, 18, 19, 20, 23, 26, 27})
_ADMINISTRATOR = {
    1: "the token is disabled",
    2: "a token is required",
    3: "the authorization is not understood",
    4: "the token is not known",
    7: "the token may not write to this index",
    10: "the data channel is missing",
    11: "the data channel is invalid",
    14: "indexer acknowledgement is off for this token",
    16: "authorization in the query string is off",
    21: "the token is not known",
    22: "the token is disabled",
    28: "the data channel is missing",
}
_HTTP_LATER = frozenset({408, 425, 429})
_HTTP_ADMINISTRATOR = frozenset({401, 403, 404, 405, 407, 415})


@dataclass(frozen=True, slots=True)
class Envelope:
    """The metadata every event carries; None leaves the collector's own default."""

    source: str = "zonebridge"
    index: str | None = None
    sourcetype: str | None = None


def render(record: Json, rendered: Json | str, envelope: Envelope) -> bytes:
    """One event: a record, and what it looks like in the destination's format.

    Its id also stands in `fields`, so that a search can drop what was delivered twice.
    """
    event: dict[str, Any] = {
        "time": datetime.fromisoformat(record["time"]).timestamp(),
        "host": record["node"],
        "source": envelope.source,
        "sourcetype": envelope.sourcetype or f"zonebridge:{record['kind']}",
        "event": rendered,
        "fields": {"id": record["id"], "cluster": record["cluster"]},
    }
    if envelope.index is not None:
        event["index"] = envelope.index
    return compact(event).encode()


def within(events: Sequence[bytes], limit: int) -> int:
    """How many events from the start fit into `limit` bytes; at least one."""
    total = 0
    for count, event in enumerate(events):
        total += len(event)
        if total > limit and count:
            return count
    return len(events)


def body(events: Iterable[bytes]) -> bytes:
    """The request's body, for `Content-Encoding: gzip`."""
    return gzip.compress(b"".join(events), compresslevel=1, mtime=0)


def headers(token: str, channel: str) -> dict[str, str]:
    return {
        "Authorization": f"Splunk {token}",
        "X-Splunk-Request-Channel": channel,
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
    }


def interpret(status: int, reply: bytes, retry_after: str | None, count: int) -> Outcome:
    """What a reply to a batch of `count` events means."""
    answer = _answer(reply)
    code = answer.get("code")
    said = f"HTTP {status}" + (f", code {code}: {answer.get('text', '')}" if code is not None else "")
    if code in _LATER or status in _HTTP_LATER or status >= 500:  # noqa: PLR2004 - HTTP's server errors
        return Retry(said, _seconds(retry_after))
    if code in _ADMINISTRATOR:
        return Hold(f"{_ADMINISTRATOR[code]} ({said})")
    if status // 100 == 2:  # noqa: PLR2004 - HTTP's successes
        return _success(code, said)
    if status in _HTTP_ADMINISTRATOR or status < 400:  # noqa: PLR2004 - a redirect is a wrong address
        return Hold(said)
    return _bad_event(answer, said, count)


def ack_id(reply: bytes) -> int | None:
    """The id to ask for later; None where the token has no indexer acknowledgement."""
    found = _answer(reply).get("ackId")
    return found if isinstance(found, int) else None


def acknowledged(reply: bytes, wanted: Iterable[int]) -> set[int]:
    """Of which batches an answer to `{"acks": [wanted]}` says that they are indexed. It says so only once."""
    acks = _answer(reply).get("acks")
    return {each for each in wanted if isinstance(acks, dict) and acks.get(str(each)) is True}


def _success(code: object, said: str) -> Outcome:
    if code in _NEAR_LIMIT:
        return Delivered(slow_down=True)
    if code in _SUCCESS:
        return Delivered()
    return Retry(f"the answer is not a collector's ({said})")


def _bad_event(answer: Json, said: str, count: int) -> Outcome:
    """The collector keeps what stands before the event it names, and nothing from there on.

    Naming the first of many may also mean that the whole batch is too big for it; nothing is kept then.
    """
    number = answer.get("invalid-event-number")
    if isinstance(number, int) and 0 < number < count:
        return Refused(number, said)
    return Refused(0, said) if count == 1 else Split(said)


def _answer(reply: bytes) -> Json:
    try:
        answer = json.loads(reply)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _seconds(retry_after: str | None) -> float | None:
    try:
        return None if retry_after is None else max(0.0, float(retry_after))
    except ValueError:
        return None
