"""Records one cluster's intervals while its bridge leads: pods as they come and go, nodes, settings, alerts.

Nothing waits for it. What it can't write it says, and begins again with what is the case then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from bridge.alerts import HAPPENINGS, Checkpoint, EvidenceCheckpoint, TierAlert
from bridge.intervals.fold import IntervalEvent, IntervalKind, changes
from bridge.intervals.observe import NodeReports, Workloads, pod_value
from bridge.intervals.store import IntervalStore
from bridge.nodes.enforcement import states_of
from bridge.population.picture import MemberMove, Population
from zones import canonical

Json = dict[str, Any]
# Beyond that many moves that could not be written yet, all pods are compared anew.
_MOST_MOVES = 100_000
# And so many alerts; what is on is known all the same.
_MOST_ALERTS = 1_000
_CENSUS = {IntervalKind.POD, IntervalKind.WORKLOAD}


@dataclass(frozen=True, slots=True)
class Sight:
    """Where one cluster is looked at. `leading`: only then what it says is kept up to date.

    `sees`: whether pods, nodes and what they report were all listed; as long as not, nobody looks.

    `population`: who is where; `nodes`: NodeStates; `tier_and_rules`: what is in force and why, as values of subjects;
    `clock`: microseconds since the epoch; `steady`: seconds that nobody sets.
    """

    cluster: str
    tier: str
    settings: str
    leading: Callable[[], bool]
    sees: Callable[[], bool]
    population: Callable[[], Population]
    nodes: Callable[[], Collection[Json]]
    tier_and_rules: Callable[[], dict[tuple[IntervalKind, str], str]]
    clock: Callable[[], int]
    steady: Callable[[], float]


@dataclass(slots=True)
class Recorder:
    """One cluster's. It is an alert sink too, and is told each move of a pod."""

    store: IntervalStore
    sight: Sight
    _events: list[IntervalEvent] = field(default_factory=list)
    _told: list[IntervalEvent] = field(default_factory=list)
    _alerts: dict[str, str] = field(default_factory=dict)
    _state: dict[tuple[IntervalKind, str], str] | None = None
    _workloads: Workloads = field(default_factory=Workloads)
    _reports: NodeReports = field(default_factory=NodeReports)
    _census_of: Population | None = None
    _latest: int = 0

    @property
    def records(self) -> bool:
        """Whether its last look was written: what a former bridge left has gone on, or has ended."""
        return self._state is not None

    def moved(self, move: MemberMove) -> None:
        """A pod came, went, or changed: noted at once, so that one that lived for a second has its interval."""
        if self._census_of is None or self._census_of is not self.sight.population():
            return  # the census will have it
        if len(self._events) >= _MOST_MOVES:
            self._census_of = None
            return
        at = self._now()
        workloads = set()
        for member, count in ((move.before, -1), (move.after, 1)):
            if member is not None:
                workloads.add(self._workloads.add(member, count))
        if move.before is not None and move.after is None:
            self._events.append(IntervalEvent(at, IntervalKind.POD, move.before.pod.uid, None))
        elif move.after is not None:
            self._events.append(IntervalEvent(at, IntervalKind.POD, move.after.pod.uid, pod_value(move.after)))
        self._events += [
            IntervalEvent(at, IntervalKind.WORKLOAD, name, self._workloads.value(name)) for name in sorted(workloads)
        ]

    async def send(self, alert: TierAlert) -> None:
        """Part of `bridge.alerts.Sink`. What only happens has an interval of a microsecond.

        What is on is remembered, leading or not: after a gap, or when this bridge comes to lead, it is still on.
        """
        at, subject = self._now(), alert.kind.reason
        value = canonical.text({"severity": alert.level.value, "message": alert.message, "revision": alert.revision})
        if alert.kind not in HAPPENINGS:
            if alert.over:
                self._alerts.pop(subject, None)
            else:
                self._alerts[subject] = value
        if not self.sight.leading() or len(self._told) >= _MOST_ALERTS:
            return
        self._told.append(IntervalEvent(at, IntervalKind.ALERT, subject, None if alert.over else value))
        if alert.kind in HAPPENINGS:
            self._latest = at + 1
            self._told.append(IntervalEvent(at + 1, IntervalKind.ALERT, subject, None))

    async def checkpoint(self, cluster: str, tier: str, checkpoint: Checkpoint | EvidenceCheckpoint) -> None:
        """Revisions and seals are kept themselves."""

    async def look(self) -> None:
        """Write what is new. Raises EvidenceError; then everything is compared anew at the next look."""
        if not self.sight.leading() or not self.sight.sees():
            self._state = self._census_of = None
            if not self.sight.leading():
                self._told.clear()
            return
        cluster, heard = self.sight.cluster, list(self._told)
        try:
            if self._state is None:
                self._census_of = None
                self._state = await asyncio.to_thread(self.store.resume, cluster, self._now())
            events = self._news(self._state, heard)
            if not await asyncio.to_thread(self.store.record, cluster, events, self._now()):
                self._state = None
                return
        except BaseException:
            self._state = None
            raise
        del self._told[: len(heard)]

    def _news(self, state: dict[tuple[IntervalKind, str], str], heard: list[IntervalEvent]) -> list[IntervalEvent]:
        """What has changed since `state`, which is brought up to date. `heard`: alerts, at their time."""
        events, self._events = self._events, []
        population = self.sight.population()
        if self._census_of is not population:
            self._census_of = population
            members = list(population.members())
            self._workloads = Workloads(members)
            wanted = {
                (IntervalKind.POD, member.pod.uid): pod_value(member) for member in members
            } | self._workloads.values()
            events = changes(state, wanted, self._now(), _CENSUS)
        nodes = states_of(self.sight.nodes(), self.sight.tier)
        seen = self._reports.values(nodes, population.nodes, self.sight.steady())
        seen[IntervalKind.SETTINGS, "digest"] = self.sight.settings
        seen |= self.sight.tier_and_rules()
        known = {IntervalKind.NODE, *(kind for kind, _ in seen)}  # of the others nothing is known yet
        events += changes(state, seen, self._now(), known)
        fresh = list(_new([*heard, *events], state))
        on = {(IntervalKind.ALERT, subject): value for subject, value in self._alerts.items()}
        return [*fresh, *_new(changes(state, on, self._now(), {IntervalKind.ALERT}), state)]

    def _now(self) -> int:
        """Never earlier than before: a clock that is set back makes no interval end before it began."""
        self._latest = max(self._latest, self.sight.clock())
        return self._latest


def _new(events: list[IntervalEvent], state: dict[tuple[IntervalKind, str], str]) -> list[IntervalEvent]:
    """Those that say something new, in their order."""
    fresh = []
    for event in events:
        key = event.kind, event.subject
        if state.get(key) != event.value:
            fresh.append(event)
            if event.value is None:
                del state[key]
            else:
                state[key] = event.value
    return fresh
