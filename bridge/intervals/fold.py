"""Events folded into intervals, and what was the case at an instant. Pure; times are microseconds since the epoch.

    event    at 10: pod p is {zone: web}    at 30: pod p is gone (None)
    interval pod p, {zone: web}, [10, 30)

An interval without an end holds for as long as the bridge looked. Nothing is known between two stretches of looking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class IntervalKind(StrEnum):
    """What an interval is about. Its subject is a name within the kind.

    A pod's uid, `namespace/workload`, a node's name, an alert's kind, `digest`, the tier's name, or what names a rule
    (`bridge.evidence.usage.rule_key`).
    """

    POD = "pod"
    WORKLOAD = "workload"
    NODE = "node"
    ALERT = "alert"
    SETTINGS = "settings"
    TIER = "tier"
    RULE = "rule"


@dataclass(frozen=True, slots=True)
class IntervalEvent:
    """From `at` on the subject's value is this one; None: there is none any more."""

    at: int
    kind: IntervalKind
    subject: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Interval:
    """`value` held from `begin` up to, and without, `end`; None: no event has ended it."""

    kind: IntervalKind
    subject: str
    value: str
    begin: int
    end: int | None = None


State = Mapping[tuple[IntervalKind, str], str]


def state_at(events: Iterable[IntervalEvent], moment: int) -> dict[tuple[IntervalKind, str], str]:
    """The value of each subject at a moment: what the last event up to then said. `events` in their order."""
    state: dict[tuple[IntervalKind, str], str] = {}
    for event in events:
        if event.at > moment:
            continue
        if event.value is None:
            state.pop((event.kind, event.subject), None)
        else:
            state[event.kind, event.subject] = event.value
    return state


def intervals_of(events: Iterable[IntervalEvent]) -> list[Interval]:
    """All intervals that events make, in the order of their beginning. A value said twice stays one interval."""
    closed: list[Interval] = []
    open_: dict[tuple[IntervalKind, str], Interval] = {}
    for event in events:
        key = event.kind, event.subject
        before = open_.get(key)
        if before is not None and before.value == event.value:
            continue
        if before is not None:
            del open_[key]
            if event.at > before.begin:
                closed.append(replace(before, end=event.at))
        if event.value is not None:
            open_[key] = Interval(event.kind, event.subject, event.value, event.at)
    return sorted([*closed, *open_.values()], key=lambda interval: (interval.begin, interval.kind, interval.subject))


def clipped(intervals: Iterable[Interval], begin: int, end: int) -> Iterator[Interval]:
    """What of them lies in [begin, end): so nothing that came later shows."""
    for interval in intervals:
        first, last = max(interval.begin, begin), end if interval.end is None else min(interval.end, end)
        if first < last:
            yield replace(interval, begin=first, end=last)


def changes(before: State, after: State, at: int, kinds: Iterable[IntervalKind]) -> list[IntervalEvent]:
    """The events that lead from one state to another, for these kinds alone."""
    wanted = frozenset(kinds)
    gone = [key for key in before if key[0] in wanted and key not in after]
    new = [(key, value) for key, value in after.items() if key[0] in wanted and before.get(key) != value]
    events = [IntervalEvent(at, kind, subject, None) for kind, subject in gone]
    events += [IntervalEvent(at, kind, subject, value) for (kind, subject), value in new]
    return sorted(events, key=lambda event: (event.kind, event.subject))


def gaps(known: Iterable[tuple[int, int]], begin: int, end: int) -> list[tuple[int, int]]:
    """What of [begin, end) no stretch covers. `known`: stretches in the order of their beginning."""
    missing, at = [], begin
    for first, last in known:
        if first > at and at < end:
            missing.append((at, min(first, end)))
        at = max(at, last)
    if at < end:
        missing.append((at, end))
    return missing
