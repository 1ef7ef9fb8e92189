"""From logged packets and conditions to records in the outbox. It never waits: what it gives is taken or counted.

`enforcer.service` feeds it packets as they come and ticks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from enforcer.alerts import Alert, AlertKind, AlertTable, Condition
from enforcer.flows import FlowTable, Names, name, read
from enforcer.nflog import Packet
from enforcer.records import Json, Stamp
from enforcer.ruleset import Terminal
from zones.policy import Verdict


@dataclass(slots=True)
class Counts:
    """Totals since the start."""

    packets: int = 0
    denied: int = 0
    unattributed: int = 0
    flows: int = 0
    alerts: int = 0


class Reporter:
    """`put` takes records, in their order."""

    def __init__(
        self, stamp: Stamp, flows: FlowTable, alerts: AlertTable, put: Callable[[Iterable[Json]], None]
    ) -> None:
        self._stamp = stamp
        self._flows = flows
        self._alerts = alerts
        self._put = put
        self.counts = Counts()

    def packets(self, packets: Iterable[Packet], terminals: Mapping[str, Terminal], names: Names, now: float) -> None:
        """Logged packets of one read. A prefix that names no rule belongs to a ruleset that is gone, or isn't ours."""
        records: list[Json] = []
        for packet in packets:
            self.counts.packets += 1
            seen = read(packet, terminals, now)
            if seen is None:
                self.counts.unattributed += 1
                continue
            named = name(seen, names)
            early = self._flows.add(named, self._stamp)
            if early is not None:
                self.counts.flows += 1
                records.append(early)
            if seen.verdict is not Verdict.ALLOW:
                self.counts.denied += 1
                records += self._told(self._alerts.denied(named))
        self._put(records)

    def event(self, kind: AlertKind, subject: str, message: str, now: float, count: int = 1) -> None:
        self._put(list(self._told(self._alerts.event(kind, subject, message, now, count))))

    def tick(self, now: float) -> None:
        """Whatever has become due."""
        flows = list(self._flows.take(now, self._stamp))
        self.counts.flows += len(flows)
        self._put([*flows, *self._told(self._alerts.take(now))])

    def conditions(self, current: Iterator[Condition], now: float) -> None:
        self._put(list(self._told(self._alerts.conditions(current, now))))

    def finish(self, now: float) -> None:
        """At the end: what was still being counted."""
        self.tick(now)
        flows = list(self._flows.take_all(self._stamp))
        self.counts.flows += len(flows)
        self._put(flows)

    def _told(self, alerts: Iterable[Alert]) -> Iterator[Json]:
        for alert in alerts:
            self.counts.alerts += 1
            yield alert.record(self._stamp)
