"""What every record has in common: who saw it, its place in the order, an id that a second delivery repeats. Pure."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from typing import Any

Json = dict[str, Any]
Record = Json | bytes
"""A record as an object, or as the JSON that the spool holds."""
_ID_DIGITS = 32
_MICROS = 1_000_000
# Further than records are made between two times that the latest number is saved, and the process then killed.
_SKIPPED = 10 * _MICROS
_KIND = re.compile(rb'{"kind":"(\w+)"')
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Stamp:
    """The mark of a node, or of a bridge, on its records. `boot_id` tells its starts apart.

    `start` is where the numbers begin, see `first_number`. `numbers`: those of another stamp, to go on with them.
    """

    cluster: str
    node: str
    boot_id: str
    start: int
    numbers: Iterator[int] | None = field(default=None, compare=False)
    _numbers: Iterator[int] = field(init=False, compare=False)
    _before_number: Any = field(init=False, compare=False)
    _whose: str = field(init=False, compare=False)
    _began: float = field(default_factory=time.monotonic, init=False, compare=False)

    def __post_init__(self) -> None:
        before = f"{self.cluster}\0{self.node}\0{self.boot_id}\0"
        object.__setattr__(self, "_numbers", count(self.start) if self.numbers is None else self.numbers)
        object.__setattr__(self, "_before_number", hashlib.sha256(before.encode()))
        object.__setattr__(self, "_whose", text({"cluster": self.cluster, "node": self.node})[1:-1])

    def latest(self) -> int:
        """No record has a higher number yet: a million are never made in a second."""
        return self.start + int((time.monotonic() - self._began) * _MICROS)

    def record(self, kind: str, at: float) -> Json:
        """The beginning of a record."""
        sequence = next(self._numbers)
        return {
            "kind": kind,
            "id": self._id(sequence),
            "time": timestamp(at),
            "cluster": self.cluster,
            "node": self.node,
            "sequence": sequence,
        }

    def begun(self, kind: str, time: str) -> str:
        """The same as the beginning of its JSON, for records that come by the thousand. `time` is a `timestamp`."""
        sequence = next(self._numbers)
        return f'{{"kind":"{kind}","id":"{self._id(sequence)}","time":"{time}",{self._whose},"sequence":{sequence}'

    def _id(self, sequence: int) -> str:
        state = self._before_number.copy()
        state.update(b"%d" % sequence)
        digest: str = state.hexdigest()
        return digest[:_ID_DIGITS]


def first_number(now: int, latest: int) -> int:
    """Where a start's numbers begin: microseconds of the wall clock, and after the `latest` of the one before.

    Clocks are set back. Numbers that were used would give new records the ids of others.
    """
    return max(now, latest + _SKIPPED)


def timestamp(at: float) -> str:
    """RFC 3339 in UTC with microseconds."""
    second = int(at // 1)
    micros = round((at - second) * _MICROS)
    if micros == _MICROS:
        second, micros = second + 1, 0
    return f"{_whole_second(second)}.{micros:06d}Z"


@lru_cache(64)
def _whole_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def text(value: object) -> str:
    """JSON as it lies in the spool: without spaces, in UTF-8's own letters."""
    return _ENCODER.encode(value)


def kind_of(payload: bytes) -> str:
    """Flow or alert, of a record as JSON."""
    match = _KIND.match(payload)
    kind: str = json.loads(payload)["kind"] if match is None else match[1].decode()
    return kind


def encoded(record: Record) -> bytes:
    return record if isinstance(record, bytes) else text(record).encode()


def present(**fields: object) -> Json:
    """The fields that have a value: an absent one is left out of the record."""
    return {name: value for name, value in fields.items() if value is not None and value not in ("", {}, [])}
