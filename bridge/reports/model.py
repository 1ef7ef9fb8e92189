"""A report's values: the period, the scope, what was read for them, and sections of plain rows. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bridge.intervals.fold import Interval
from bridge.intervals.store import CellCount, Review
from bridge.segmentation.store import RecordedMeasurement
from zones.policy import Policy

Json = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ReportPeriod:
    """[begin, end) in microseconds since the epoch. An instant is a microsecond long."""

    begin: int
    end: int

    @property
    def instant(self) -> bool:
        return self.end == self.begin + 1


@dataclass(frozen=True, slots=True)
class ReportScope:
    """Which cluster, and which of its zones: none is all of them."""

    cluster: str
    zones: frozenset[str] = frozenset()

    def has(self, zones: frozenset[str] | None) -> bool:
        """Whether something of these zones, None being any, is in scope."""
        return not self.zones or zones is None or bool(self.zones & zones)


@dataclass(frozen=True, slots=True)
class ReportEvidence:
    """What was read. `looks`: when the bridge looked, within the period; `last_look`: the end of the newest one.

    `revisions`: the records that were in force, the oldest first, up to the period's end. `policy`: of the last of
    them, or why there is none in `missing`. `measurements`: those of the period, or the last one before an instant.
    """

    intervals: Sequence[Interval]
    looks: Sequence[tuple[int, int]]
    last_look: int
    counts: Sequence[CellCount] = ()
    reviews: Sequence[Review] = ()
    revisions: Sequence[Json] = ()
    policy: Policy | None = None
    missing: str = ""
    measurements: Sequence[RecordedMeasurement] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A column. `share`: of a page's width, in percent."""

    key: str
    title: str
    share: int
    number: bool = False


@dataclass(frozen=True, slots=True)
class ReportSection:
    """Rows of one kind. `empty` is said where there is none, `notes` are said in any case."""

    key: str
    title: str
    fields: Sequence[Field]
    rows: Sequence[Sequence[str]]
    empty: str = "None."
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """`figures`: what is counted, by name, in order. `doubts`: what keeps it from being whole, a sentence each."""

    scope: ReportScope
    period: ReportPeriod
    sections: Sequence[ReportSection]
    figures: Mapping[str, int]
    doubts: Sequence[str] = ()
    revision: int | None = None
    policy: Policy | None = field(default=None, repr=False)


def moment_text(at: int) -> str:
    """RFC 3339 in UTC, to the second."""
    moment = _EPOCH + timedelta(microseconds=at)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def length_text(length: int) -> str:
    """Microseconds as hours, minutes and seconds."""
    seconds = length // 1_000_000
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
