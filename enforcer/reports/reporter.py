"""From logged packets and conditions to records in the outbox. It never waits: what it gives is taken or counted.

`enforcer.service` feeds it packets as they come and ticks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from enforcer.flows.flow_table import FlowTable
from enforcer.flows.flows import FlowNames, NamedPacket, name, read
from enforcer.netlink.nflog import Packet
from enforcer.reports.alert_table import AlertTable
from enforcer.rules.ruleset import VerdictChain
from zones.policy import Verdict
from zones.siem.alerts import Alert, AlertKind, Condition
from zones.siem.records import Json, Record, Stamp

_SLICE = 500


@dataclass(slots=True)
class Counts:
    """Totals since the start."""

    packets: int = 0
    denied: int = 0
    unattributed: int = 0
    flows: int = 0
    alerts: int = 0


class Reporter:
    """`put` takes records, in their order; `denied` is told of every denied packet.

    `configuration`: what an alert's record says of the configuration of its moment.
    `refused` is told of each flow that is denied, by its first packet.
    """

    def __init__(
        self,
        stamp: Stamp,
        flows: FlowTable,
        alerts: AlertTable,
        put: Callable[[Iterable[Record]], None],
        denied: Callable[[NamedPacket], None] = lambda _: None,
        *,
        configuration: Callable[[Json], Json] = lambda _: {},
    ) -> None:
        self._stamp = stamp
        self.flows = flows
        self.alerts = alerts
        self._put = put
        self._denied = denied
        self._configuration = configuration
        self.refused: Callable[[NamedPacket], None] = lambda _: None
        self.counts = Counts()

    @property
    def latest_number(self) -> int:
        """No record has a higher number yet."""
        return self._stamp.latest()

    def packets(
        self, packets: Iterable[Packet], terminals: Mapping[str, VerdictChain], names: FlowNames, now: float
    ) -> None:
        """Logged packets of one read. A prefix that names no rule belongs to a ruleset that is gone, or isn't ours."""
        records: list[Record] = []
        for packet in packets:
            self.counts.packets += 1
            seen = read(packet, terminals, now)
            if seen is None:
                self.counts.unattributed += 1
                continue
            named = name(seen, names)
            if seen.verdict is not Verdict.ALLOW and named not in self.flows:
                self.refused(named)
            early = self.flows.add(named, self._stamp)
            if early is not None:
                self.counts.flows += 1
                records.append(early)
            if seen.verdict is not Verdict.ALLOW:
                self.counts.denied += 1
                records += self._told(self.alerts.denied(named))
                self._denied(named)
        self._put(records)

    def ended(self, records: Sequence[Record], unattributed: int) -> None:
        """Connections that are over; of some more the rule isn't known."""
        self.counts.flows += len(records)
        self.counts.unattributed += unattributed
        self._put(records)

    def event(self, kind: AlertKind, subject: str, message: str, now: float, count: int = 1) -> None:
        self._put(list(self._told(self.alerts.event(kind, subject, message, now, count))))

    def detected(self, alert: Alert, subject: str) -> None:
        self._put(list(self._told(self.alerts.detected(alert, subject))))

    def tick(self, now: float) -> bool:
        """Some of what has become due; whether that was all of it."""
        flows = list(islice(self.flows.take(self._stamp), _SLICE))
        self.counts.flows += len(flows)
        self._put([*flows, *self._told(self.alerts.take(now))])
        return len(flows) < _SLICE

    def conditions(self, current: Iterator[Condition], now: float) -> None:
        self._put(list(self._told(self.alerts.conditions(current, now))))

    def finish(self, now: float) -> None:
        """At the end: what was still being counted."""
        while not self.tick(now):
            pass
        flows = list(self.flows.take_all(self._stamp))
        self.counts.flows += len(flows)
        self._put([*flows, *self._told(self.alerts.take_all(now))])

    def _told(self, alerts: Iterable[Alert]) -> Iterator[Json]:
        for alert in alerts:
            self.counts.alerts += 1
            record = alert.record(self._stamp)
            yield record | self._configuration(record)
