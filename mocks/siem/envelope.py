"""Reads a body of /event: JSON objects one after the other, each on its own. It never commits; the collector does.

The batch is what a Splunk would have indexed before it stopped, and why it stopped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mocks.siem.codes import (
    EVENT_BLANK,
    EVENT_REQUIRED,
    INCORRECT_INDEX,
    INDEXED_FIELDS,
    INVALID_FORMAT,
    NO_DATA,
    Refusal,
)
from mocks.siem.tokens import Token

METADATA = ("host", "source", "sourcetype", "index")
KNOWN = frozenset({"time", "event", "fields", *METADATA})
GAP = re.compile(r"[ \t\r\n]*")
DECIMAL = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Event:
    """One indexed event, with what its token filled in. `envelope` is the object as it was sent."""

    time: float
    host: str
    source: str
    sourcetype: str
    index: str
    event: Any
    fields: dict[str, Any]
    envelope: dict[str, Any] = field(default_factory=dict, compare=False)
    channel: str = ""
    token: str = ""

    def line(self) -> dict[str, Any]:
        shown = ("time", "host", "source", "sourcetype", "index", "event", "fields")
        return {"via": "hec", **{name: getattr(self, name) for name in shown}}


def nothing(_: object) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Context:
    """What an object doesn't say itself."""

    token: Token
    host: str
    received: float
    channel: str = ""
    refuses: Callable[[Any], bool] = nothing


@dataclass(frozen=True, slots=True)
class Batch:
    """The events to index, then either a refusal, or an unknown key that silently ends the batch."""

    events: tuple[Event, ...]
    refusal: Refusal | None = None
    unknown_key: str = ""


class UnknownKeyError(Exception):
    """An envelope key that Splunk doesn't know: it answers 200 and forgets this object and the rest."""


def read_batch(body: bytes, context: Context) -> Batch:
    events: list[Event] = []
    try:
        for number, value in enumerate(split_objects(body)):
            events.append(read_object(value, number, context))
    except Refusal as refusal:
        return Batch(tuple(events), refusal)
    except UnknownKeyError as error:
        return Batch(tuple(events), unknown_key=str(error))
    return Batch(tuple(events))


def split_objects(body: bytes) -> Iterator[Any]:
    """Each JSON value, as far as the body is JSON."""
    text = body.decode("utf-8", "surrogateescape")
    decoder = json.JSONDecoder(parse_constant=refuse_constant)
    position, number = skip(text, 0), 0
    if position == len(text):
        raise Refusal(NO_DATA)
    while position < len(text):
        try:
            value, end = decoder.raw_decode(text, position)
            text[position:end].encode()
        except (ValueError, RecursionError) as error:
            raise Refusal(INVALID_FORMAT, number) from error
        yield value
        position, number = skip(text, end), number + 1


def skip(text: str, position: int) -> int:
    gap = GAP.match(text, position)
    return gap.end() if gap else position


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def read_object(value: object, number: int, context: Context) -> Event:
    if not isinstance(value, dict):
        raise Refusal(INVALID_FORMAT, number)
    unknown = next((key for key in value if key not in KNOWN), None)
    if unknown is not None:
        raise UnknownKeyError(unknown)
    check_event(value, number)
    if context.refuses(value["event"]):
        raise Refusal(INVALID_FORMAT, number)
    metadata = {key: read_text(value, key, number) for key in METADATA}
    fields = read_fields(value.get("fields", {}), number)
    token = context.token
    index = metadata["index"] or token.index
    if token.indexes and index not in token.indexes:
        # Splunk counts from one here, from zero everywhere else
        raise Refusal(INCORRECT_INDEX, number + 1)
    return Event(
        time=read_time(value["time"], number) if "time" in value else context.received,
        host=metadata["host"] or context.host,
        source=metadata["source"] or f"http:{token.name}",
        sourcetype=metadata["sourcetype"] or token.sourcetype,
        index=index,
        event=value["event"],
        fields=fields,
        envelope=value,
        channel=context.channel,
        token=token.value,
    )


def check_event(value: dict[str, Any], number: int) -> None:
    if "event" not in value:
        raise Refusal(EVENT_REQUIRED, number)
    event = value["event"]
    if event is None or event is False:
        raise Refusal(INVALID_FORMAT, number)
    if isinstance(event, str) and not event.strip():
        raise Refusal(EVENT_BLANK, number)


def read_text(value: dict[str, Any], key: str, number: int) -> str:
    text = value.get(key, "")
    if not isinstance(text, str):
        raise Refusal(INVALID_FORMAT, number)
    return text


def read_fields(fields: object, number: int) -> dict[str, Any]:
    """Flat: a value is a scalar, or a list of scalars (a multi-value field)."""
    if not isinstance(fields, dict):
        raise Refusal(INDEXED_FIELDS, number)
    for value in fields.values():
        if any(isinstance(one, dict | list) for one in (value if isinstance(value, list) else [value])):
            raise Refusal(INDEXED_FIELDS, number)
    return fields


def read_time(value: object, number: int) -> float:
    """Epoch seconds to the microsecond; integers of 13 and 19 digits are milliseconds and nanoseconds."""
    if isinstance(value, str) and DECIMAL.fullmatch(value):
        value = float(value) if "." in value else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(INVALID_FORMAT, number)
    try:
        return round(value / scale_of(value), 6)
    except (ValueError, OverflowError) as error:
        raise Refusal(INVALID_FORMAT, number) from error


def scale_of(value: float) -> int:
    if isinstance(value, float):
        return 1
    return {13: 10**3, 19: 10**9}.get(len(str(abs(value))), 1)
