"""Which schedules are active together: the only moments that two policies can tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from zones.policy import Policy
from zones.schedule import Absolute, Schedule

# Weekly windows in time zones whose clocks change against each other twice a year: a year has all combinations.
AHEAD = timedelta(weeks=53)
_WEEK = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class ScheduleMoment:
    """A set of schedules that are active at once, and the first instant at which that is so."""

    active: frozenset[Schedule]
    at: datetime


def moments(schedules: Iterable[Schedule], start: datetime) -> tuple[ScheduleMoment, ...]:
    """Every combination of active schedules that occurs from `start` (aware) on, in the order of its first instant.

    A year is looked through, and a week from each edge of a window that comes later.
    """
    distinct = sorted(set(schedules), key=lambda schedule: (schedule.name, repr(schedule)))
    first: dict[frozenset[Schedule], datetime] = {}
    for instant in sorted({start, *_edges(distinct, start)}):
        first.setdefault(frozenset(one for one in distinct if one.active(instant)), instant)
    return tuple(ScheduleMoment(active, at) for active, at in first.items())


def moments_of(policies: Iterable[Policy], start: datetime) -> tuple[ScheduleMoment, ...]:
    """The moments that some policies can tell apart together."""
    entries = (entry for policy in policies for entry in policy.entries)
    return moments({entry.schedule for entry in entries if entry.schedule is not None}, start)


def _edges(schedules: list[Schedule], start: datetime) -> Iterator[datetime]:
    later = [edge for schedule_ in schedules for edge in _absolute(schedule_, start) if edge > start + AHEAD]
    for schedule in schedules:
        for begin, end in ((start, start + AHEAD), *((edge, edge + _WEEK) for edge in later)):
            instant = schedule.next_change(begin)
            yield begin
            while instant is not None and instant <= end:
                yield instant
                instant = schedule.next_change(instant)


def _absolute(schedule: Schedule, start: datetime) -> Iterator[datetime]:
    for window in schedule.windows:
        if isinstance(window, Absolute):
            one = Schedule(schedule.name, (window,), schedule.time_zone)
            instant = one.next_change(start)
            while instant is not None:
                yield instant
                instant = one.next_change(instant)
