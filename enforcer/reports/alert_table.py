"""Which alerts are told, and when: the first at once, then counted; and never more than a storm may cost. Pure.

Everything is counted in exactly one alert. All state is bounded. `enforcer.reports.reporter` fills it and takes what
is due.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Generic, TypeVar

from enforcer.flows.flows import NamedPacket
from enforcer.reports import denials
from zones.runtime.rate_budget import RateBudget
from zones.siem.alerts import SEVERITIES, Alert, AlertKind, Condition, State

_Key = TypeVar("_Key", bound=Hashable)
# The share of the budget that each kind of telling leaves to those that follow: what tells more in one has more.
_KEPT_BY_FLOWS, _KEPT_BY_SOURCES, _KEPT_BY_ZONES = 0.5, 0.35, 0.2
_OTHERS = "others"
_STORM = "more kinds of denied packets than alerts may tell apart: these have no alert of their own, and are counted"
_DETECTIONS = "more detections than alerts may tell apart: these have no alert of their own, and are counted"


@dataclass(frozen=True, slots=True)
class AlertLimits:
    """`window`: seconds that are counted in one. `capacity`: kinds at a time; `per_source`: of these for one source.

    `rate` and `burst`: alerts a second, of all kinds.
    """

    window: float = 60.0
    capacity: int = 10_000
    per_source: int = 20
    rate: float = 20.0
    burst: float = 200.0
    remind: float = 3600.0


@dataclass(slots=True)
class _Repeated:
    """An alert that was raised; `count` is what came `since`, in this window, which began at `begun`."""

    alert: Alert
    since: float
    begun: float
    count: int = 0


class Repetitions(Generic[_Key]):
    """The first of a kind, the rest as one count a window. At most `capacity` kinds at a time.

    `steady` is a time of a clock that nobody sets, by which windows go; `at` is epoch seconds, for records.
    """

    def __init__(self, window: float, capacity: int, forgotten: Callable[[_Key], None] = lambda _key: None) -> None:
        self._window = window
        self._capacity = capacity
        self._forgotten = forgotten
        self._entries: OrderedDict[_Key, _Repeated] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def full(self) -> bool:
        return len(self._entries) >= self._capacity

    def count(self, key: _Key, count: int = 1) -> bool:
        """Whether this kind has been told already; then it is counted."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        entry.count += count
        return True

    def begin(self, key: _Key, alert: Alert, steady: float) -> Alert:
        self._entries[key] = _Repeated(alert, alert.at, steady)
        return alert

    def take(self, at: float, steady: float, may: Callable[[], bool]) -> Iterator[Alert]:
        """What went on in the windows that are over, as far as it may be told now. What stopped is forgotten."""
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if steady - entry.begun < self._window or (entry.count and not may()):
                return
            del self._entries[key]
            if entry.count:
                yield _counted(entry, at)
                self._entries[key] = _Repeated(entry.alert, at, steady)
            else:
                self._forgotten(key)

    def take_all(self, at: float) -> Iterator[Alert]:
        """What went on in windows that aren't over."""
        for entry in self._entries.values():
            if entry.count:
                yield _counted(entry, at)
                entry.count = 0


def _counted(entry: _Repeated, at: float) -> Alert:
    """A window never begins after its end, though the machine's time may have been set back meanwhile."""
    return replace(entry.alert, at=at, state=State.COUNTED, count=entry.count, since=min(entry.since, at))


class AlertTable:
    """All alerts of this node on their way to records. `clock` is one that nobody sets: windows and limits go by it."""

    def __init__(self, limits: AlertLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits = limits or AlertLimits()
        self._clock = clock
        self._budget = RateBudget(limits.rate, limits.burst)
        self._flows: Repetitions[Hashable] = Repetitions(limits.window, limits.capacity, self._source_forgets)
        self._sources: Repetitions[Hashable] = Repetitions(limits.window, limits.capacity)
        self._zones: Repetitions[Hashable] = Repetitions(limits.window, limits.capacity)
        self._events: Repetitions[tuple[AlertKind, str]] = Repetitions(
            limits.window, limits.capacity, lambda key: self._kinds.subtract([key[0]])
        )
        self._kinds: Counter[AlertKind] = Counter()
        self._source_of: dict[Hashable, Hashable] = {}
        self._flows_of: Counter[Hashable] = Counter()
        self._conditions: dict[tuple[AlertKind, str], tuple[Condition, float, float]] = {}
        self.suppressed = 0

    def __len__(self) -> int:
        """How many kinds are told apart now."""
        return len(self._flows) + len(self._sources) + len(self._zones) + len(self._events)

    @property
    def capacity(self) -> int:
        return 4 * self.limits.capacity

    @property
    def holding(self) -> int:
        """How many conditions hold and were told."""
        return len(self._conditions)

    def denied(self, named: NamedPacket) -> Iterator[Alert]:
        """A denied packet: by workloads and port; where those are too many by source, then by zones; else counted."""
        flow = denials.by_flow(named)
        if self._flows.count(flow):
            return iter(())
        source = denials.by_source(named)
        if self._flows_of[source] < self.limits.per_source and self._may(self._flows, _KEPT_BY_FLOWS):
            self._flows_of[source] += 1
            self._source_of[flow] = source
            return iter((self._flows.begin(flow, denials.of_flow(named), self._clock()),))
        self.suppressed += 1
        return self._told_with_others(named, source)

    def _told_with_others(self, named: NamedPacket, source: Hashable) -> Iterator[Alert]:
        zones = denials.by_zones(named)
        if self._sources.count(source):
            return iter(())
        if self._may(self._sources, _KEPT_BY_SOURCES):
            return iter((self._sources.begin(source, denials.of_source(named), self._clock()),))
        if self._zones.count(zones):
            return iter(())
        if self._may(self._zones, _KEPT_BY_ZONES):
            return iter((self._zones.begin(zones, denials.of_zones(named), self._clock()),))
        return self.event(AlertKind.ALERT_STORM, "alerts", _STORM, named.seen.at)

    def event(self, kind: AlertKind, subject: str, message: str, at: float, count: int = 1) -> Iterator[Alert]:
        """Something that happened `count` times. Each kind is told whatever else there is, if not each subject."""
        if self._events.count((kind, subject), count):
            return iter(())
        if not self._budget.take(self._clock()) and self._kinds[kind]:
            subject = _OTHERS
            if self._events.count((kind, subject), count):
                return iter(())
        self._kinds[kind] += 1
        alert = Alert(kind, message, at, {"subject": subject}, SEVERITIES[kind], count=count)
        return iter((self._events.begin((kind, subject), alert, self._clock()),))

    def detected(self, alert: Alert, subject: str) -> Iterator[Alert]:
        """What a detector found: the first of a subject, then counts. Where they are too many one tells of all."""
        key = alert.kind, subject
        if self._events.count(key):
            return iter(())
        if self._events.full or not self._budget.take(self._clock(), _KEPT_BY_ZONES):
            self.suppressed += 1
            return self.event(AlertKind.ALERT_STORM, "detections", _DETECTIONS, alert.at)
        self._kinds[alert.kind] += 1
        return iter((self._events.begin(key, alert, self._clock()),))

    def conditions(self, current: Iterator[Condition], now: float) -> Iterator[Alert]:
        """All conditions that hold now: tells the new and changed ones, now and then the old ones, and those over.

        Those that can't be told yet are told later, where they still hold.
        """
        holding = {(condition.kind, condition.subject): condition for condition in current}
        steady = self._clock()
        for key, condition in holding.items():
            before = self._conditions.get(key)
            if before is not None and before[0] == condition and steady - before[2] < self.limits.remind:
                continue
            if not self._budget.take(steady):
                return
            since = now if before is None else min(before[1], now)
            self._conditions[key] = (condition, since, steady)
            yield condition.alert(now, State.RAISED, since)
        for key in sorted(self._conditions.keys() - holding.keys(), key=itemgetter(0, 1)):
            if not self._budget.take(steady):
                return
            over, since, _ = self._conditions.pop(key)
            yield over.alert(now, State.RESOLVED, min(since, now))

    def take(self, now: float) -> Iterator[Alert]:
        """The counts of the windows that are over; those that are too many now are told later, of a longer window."""
        steady = self._clock()

        def may() -> bool:
            return self._budget.take(steady, _KEPT_BY_ZONES)

        yield from self._events.take(now, steady, lambda: self._budget.take(steady))
        for repetitions in (self._zones, self._sources, self._flows):
            yield from repetitions.take(now, steady, may)

    def take_all(self, now: float) -> Iterator[Alert]:
        """At the end: what is still being counted."""
        for repetitions in (self._events, self._zones, self._sources, self._flows):
            yield from repetitions.take_all(now)

    def _may(self, repetitions: Repetitions[Hashable], keep: float) -> bool:
        """Whether another kind may be told."""
        return not repetitions.full and self._budget.take(self._clock(), keep)

    def _source_forgets(self, flow: Hashable) -> None:
        source = self._source_of.pop(flow)
        self._flows_of[source] -= 1
        if not self._flows_of[source]:
            del self._flows_of[source]
