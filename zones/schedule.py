"""When a rule applies: absolute windows and weekly ones, in a named time zone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Absolute:
    """One window, from `start` (included) to `end` (excluded), naive times in the schedule's time zone."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Weekly:
    """A weekly window (day 0 is Monday). Where `end` is not after `start` it ends the next day."""

    day: int
    start: time
    end: time


@dataclass(frozen=True, slots=True)
class Schedule:
    """A named union of windows."""

    name: str
    windows: tuple[Absolute | Weekly, ...]
    time_zone: str = "UTC"

    def active(self, at: datetime) -> bool:
        """Whether a new connection at this instant falls into the schedule. `at` must be aware."""
        local = at.astimezone(ZoneInfo(self.time_zone)).replace(tzinfo=None)
        return any(_within(window, local) for window in self.windows)

    def next_change(self, after: datetime) -> datetime | None:
        """The next instant after `after` at which `active` may change; None where it never will."""
        zone = ZoneInfo(self.time_zone)
        local = after.astimezone(zone).replace(tzinfo=None)
        edges = [edge.replace(tzinfo=zone).astimezone(after.tzinfo) for w in self.windows for edge in _edges(w, local)]
        return min((edge for edge in edges if edge > after), default=None)


def _within(window: Absolute | Weekly, local: datetime) -> bool:
    return any(start <= local < end for start, end in _occurrences(window, local))


def _edges(window: Absolute | Weekly, local: datetime) -> Iterator[datetime]:
    for start, end in _occurrences(window, local):
        yield start
        yield end


def _occurrences(window: Absolute | Weekly, local: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The occurrences that can hold `local` or come next: last week's, this week's, next week's."""
    if isinstance(window, Absolute):
        yield window.start, window.end
        return
    this = local.date() - timedelta(days=(local.weekday() - window.day) % 7)
    for week in (-7, 0, 7):
        date = this + timedelta(days=week)
        start, end = datetime.combine(date, window.start), datetime.combine(date, window.end)
        yield start, end if end > start else end + timedelta(days=1)
