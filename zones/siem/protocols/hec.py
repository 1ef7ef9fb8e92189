"""Splunk HTTP Event Collector: records as event envelopes, and what its replies mean.

Pure; `zones.siem.sender` sends.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from zones.siem.outcome import Delivered, Hold, Outcome, Refused, Retry, Split
from zones.siem.values import compact

Json = Mapping[str, Any]
_BEGINNING = re.compile(
    rb'{"kind":"flow","id":"([0-9a-f]+)","time":"([0-9T:.-]+Z)","cluster":("[^"\\]*"),"node":("[^"\\]*"),'
)
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
# Codes that speak of one event; a status 413 speaks of the batch.
_NO_DATA = 5
_OF_AN_EVENT, _TOO_BIG = frozenset({_NO_DATA, 6, 12, 13, 15}), 413
_WRONG_INDEX = 7
_HTTP_LATER = frozenset({408, 425, 429})
# However long a receiver wishes us to wait, it is asked again after this: seconds.
_LONGEST_WISH, _LONGEST_TEXT = 600.0, 200


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


@dataclass(slots=True)
class Wrapper:
    """Puts the envelope around a flow record's bytes as the spool has them: what `render` makes of the record as it is.

    Decoding and encoding it again would take ten times as long.
    """

    envelope: Envelope
    _before: bytes = field(init=False)
    _after: bytes = field(init=False)

    def __post_init__(self) -> None:
        envelope = self.envelope
        sourcetype = envelope.sourcetype or "zonebridge:flow"
        self._before = compact({"source": envelope.source, "sourcetype": sourcetype})[1:-1].encode()
        self._after = b"" if envelope.index is None else b"," + compact({"index": envelope.index})[1:-1].encode()

    def wrapped(self, payload: bytes) -> bytes | None:
        """None for what doesn't begin as our flow records do."""
        match = _BEGINNING.match(payload)
        if match is None:
            return None
        own_id, time, cluster, node = match.groups()
        at = repr(datetime.fromisoformat(time.decode()).timestamp()).encode()
        return b'{"time":%b,"host":%b,%b,"event":%b,"fields":{"id":"%b","cluster":%b}%b}' % (
            at, node, self._before, payload, own_id, cluster, self._after
        )  # fmt: skip


@dataclass(slots=True)
class Room:
    """For events in one request."""

    left: int

    def __call__(self, event: bytes) -> bool:
        self.left -= len(event)
        return self.left >= 0


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
    code = answer.get("code") if type(answer.get("code")) is int else None
    said = f"HTTP {status}" + (f", code {code}: {_text(answer)}" if code is not None else "")
    if code in _LATER or status in _HTTP_LATER or status >= 500:  # noqa: PLR2004 - HTTP's server errors
        return Retry(said, _seconds(retry_after))
    if code in _ADMINISTRATOR:
        return Hold(f"{_ADMINISTRATOR[code]} ({said})", _before(answer, count) if code == _WRONG_INDEX else 0)
    if status // 100 == 2:  # noqa: PLR2004 - HTTP's successes
        return _success(code, said)
    if code in _OF_AN_EVENT or status == _TOO_BIG:
        return _bad_event(answer, said, count)
    return Hold(f"{said}: that is not a collector's answer to events")


def refusal(status: int, reply: bytes) -> str:
    """Why a collector would take no event, by its answer to an empty batch: it looks at the token before the data."""
    code = _answer(reply).get("code")
    if code == _NO_DATA:
        return ""
    if type(code) is not int:
        return f"HTTP {status}, and not a collector's answer: is the address that of an HTTP Event Collector?"
    outcome = interpret(status, reply, None, 1)
    return outcome.why if isinstance(outcome, Hold | Retry | Refused | Split) else ""


def ack_id(reply: bytes) -> int | None:
    """The id to ask for later; None where the token has no indexer acknowledgement."""
    number = _answer(reply).get("ackId")
    return number if type(number) is int else None


def acknowledged(reply: bytes, wanted: Iterable[int]) -> set[int]:
    """Of which batches an answer to `{"acks": [wanted]}` says that they are indexed. It says so only once."""
    acks = _answer(reply).get("acks")
    return {number for number in wanted if isinstance(acks, dict) and acks.get(str(number)) is True}


def _before(answer: Json, count: int) -> int:
    """How many events are there before the one that may not go where it should: that code alone counts from one."""
    number = answer.get("invalid-event-number")
    return number - 1 if type(number) is int and 0 < number <= count else 0


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
    if type(number) is int and 0 < number < count:
        return Refused(number, said)
    return Refused(0, said) if count == 1 else Split(said)


def _answer(reply: bytes) -> Json:
    try:
        answer = json.loads(reply)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _text(answer: Json) -> str:
    return " ".join(str(answer.get("text", "")).split())[:_LONGEST_TEXT]


def _seconds(retry_after: str | None) -> float | None:
    try:
        return None if retry_after is None else min(max(0.0, float(retry_after)), _LONGEST_WISH)
    except ValueError:
        return None
