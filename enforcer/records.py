"""What every record has in common: who saw it, its place in the order, an id that a second delivery repeats. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

Json = dict[str, Any]
_ID_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Stamp:
    """This node's mark on its records.

    `start` is where the numbers begin: microseconds of the start's wall clock, so that they rise across restarts too.
    """

    cluster: str
    node: str
    boot_id: str
    start: int
    _numbers: Iterator[int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", count(self.start))

    def record(self, kind: str, at: float) -> Json:
        """The beginning of a record."""
        sequence = next(self._numbers)
        text = "\0".join((self.cluster, self.node, self.boot_id, str(sequence)))
        return {
            "kind": kind,
            "id": hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS],
            "time": timestamp(at),
            "cluster": self.cluster,
            "node": self.node,
            "sequence": sequence,
        }


def timestamp(at: float) -> str:
    """RFC 3339 in UTC with microseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def present(**fields: object) -> Json:
    """The fields that have a value: an absent one is left out of the record."""
    return {name: value for name, value in fields.items() if value is not None and value not in ("", {}, [])}
