"""Amazon CloudWatch Logs: batches within PutLogEvents' limits, and what its replies mean. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zones.siem.outcome import Delivered, Hold, Outcome, Refused, Retry, Split
from zones.siem.values import compact

Json = Mapping[str, Any]
SERVICE, CONTENT_TYPE = "logs", "application/x-amz-json-1.1"
# PutLogEvents' limits: octets of all events, each counted with 26 more; their number; and how far they lie apart.
_MAX_BYTES, _MAX_EVENTS, _MAX_SPAN = 1_048_576, 10_000, 24 * 3600 * 1000
_OVERHEAD = 26
_LONGEST_TEXT = 200
_TOO_OLD = ("tooOldLogEventEndIndex", "expiredLogEventEndIndex")

_LATER = frozenset(
    "ThrottlingException Throttling ServiceUnavailableException InternalFailure InternalServerError "
    "LimitExceededException OperationAbortedException RequestTimeoutException ExpiredTokenException ExpiredToken "
    "RequestExpired".split()
)
_BAD_EVENTS = frozenset({"InvalidParameterException", "SerializationException", "ValidationException"})
_ADMINISTRATOR = {
    "ResourceNotFoundException": "the log group is not there: create it",
    "AccessDeniedException": "these keys may not write to the log group: allow logs:PutLogEvents and CreateLogStream",
    "UnrecognizedClientException": "these keys are not known",
    "InvalidSignatureException": "the signature is refused: check the secret key and this node's clock",
    "SignatureDoesNotMatch": "the signature is refused: check the secret key and this node's clock",
    "MissingAuthenticationTokenException": "there are no keys",
}


@dataclass(frozen=True, slots=True)
class LogEvent:
    """`index` is the record's place in the batch that was asked for."""

    index: int
    timestamp: int
    message: str

    @property
    def size(self) -> int:
        return len(self.message.encode()) + _OVERHEAD


def within(events: Sequence[LogEvent]) -> int:
    """How many events from the start make one request; at least one."""
    total, first, last = 0, events[0].timestamp, events[0].timestamp
    for count, event in enumerate(events):
        first, last, total = min(first, event.timestamp), max(last, event.timestamp), total + event.size
        if count and (total > _MAX_BYTES or count >= _MAX_EVENTS or last - first > _MAX_SPAN):
            return count
    return len(events)


def in_order(events: Sequence[LogEvent]) -> list[LogEvent]:
    """By time, as the request wants them; those of one time stay as they were."""
    return sorted(events, key=lambda event: event.timestamp)


def put_events(group: str, stream: str, events: Sequence[LogEvent]) -> bytes:
    """The request's body."""
    entries = [{"timestamp": event.timestamp, "message": event.message} for event in events]
    return _body({"logGroupName": group, "logStreamName": stream, "logEvents": entries})


def create_stream(group: str, stream: str) -> bytes:
    return _body({"logGroupName": group, "logStreamName": stream})


def headers(operation: str) -> dict[str, str]:
    return {"Content-Type": CONTENT_TYPE, "X-Amz-Target": f"Logs_20140328.{operation}"}


def missing_stream(status: int, reply: bytes) -> bool:
    """Whether the group or the stream isn't there; a stream may be made."""
    return status >= 400 and _code(_answer(reply)) == "ResourceNotFoundException"  # noqa: PLR2004 - HTTP's errors


def stream_refused(status: int, reply: bytes) -> Hold | Retry | None:
    """Why a stream was not made; None where it is there now, whoever made it."""
    if status // 100 == 2 or _code(_answer(reply)) == "ResourceAlreadyExistsException":  # noqa: PLR2004 - HTTP's successes
        return None
    match interpret(status, reply, (), "CreateLogStream"):
        case Hold() | Retry() as outcome:
            return outcome
        case Split() | Refused() as outcome:
            return Hold(outcome.why)
    return None


def interpret(status: int, reply: bytes, events: Sequence[LogEvent], operation: str = "PutLogEvents") -> Outcome:
    """What a reply to a batch means; `events` in the order in which they were sent."""
    answer = _answer(reply)
    if status // 100 == 2:  # noqa: PLR2004 - HTTP's successes
        return _taken(answer, events)
    code, text = _code(answer), _text(answer or {})
    said = f"{operation}: HTTP {status} {code}: {text}".rstrip(": ")
    if code == "DataAlreadyAcceptedException":
        return Delivered()
    if code in _ADMINISTRATOR:
        return Hold(f"{_ADMINISTRATOR[code]} ({said})")
    if code in _BAD_EVENTS or status == 413:  # noqa: PLR2004 - too large
        return Refused(0, said) if len(events) == 1 else Split(said)
    if code in _LATER or status >= 500 or status in {408, 429}:  # noqa: PLR2004 - HTTP's server errors
        return Retry(said)
    return Hold(said)


def refusal(status: int, reply: bytes) -> str:
    """Why no event would be taken, by the answer to a batch of none: that there are none is said last."""
    if _code(_answer(reply)) in _BAD_EVENTS:
        return ""
    outcome = interpret(status, reply, ())
    return outcome.why if isinstance(outcome, Hold | Retry | Refused | Split) else ""


def _taken(answer: Json | None, events: Sequence[LogEvent]) -> Outcome:
    if answer is None:
        return Retry("PutLogEvents: the answer is not that of a log store")
    info = answer.get("rejectedLogEventsInfo")
    return Delivered(refused=_refused(info if isinstance(info, dict) else {}, events))


def _refused(info: Json, events: Sequence[LogEvent]) -> dict[int, str]:
    """Events that are too old or too new for the group; all others of the batch were taken.

    Where old ones are told of, there is at least one, though some count it as the 0th.
    """
    too_old = max(max(1, _number(info, name)) if name in info else 0 for name in _TOO_OLD)
    too_new = _number(info, "tooNewLogEventStartIndex", len(events))
    refused = {event.index: "too old for the log group's retention" for event in events[:too_old]}
    return refused | {event.index: "too far in the future: check this node's clock" for event in events[too_new:]}


def _number(info: Json, name: str, default: int = 0) -> int:
    number = info.get(name)
    return max(number, 0) if isinstance(number, int) else default


def _code(answer: Json | None) -> str:
    """`com.amazonaws.logs#ThrottlingException:http://…` without what stands around the name."""
    content = answer or {}
    return str(content.get("__type") or content.get("code") or "").rpartition("#")[2].partition(":")[0][:_LONGEST_TEXT]


def _text(answer: Json) -> str:
    return " ".join(str(answer.get("message") or answer.get("Message") or "").split())[:_LONGEST_TEXT]


def _answer(reply: bytes) -> Json | None:
    """None for what is no answer of this service."""
    try:
        answer = json.loads(reply)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _body(content: Json) -> bytes:
    return compact(content).encode()
