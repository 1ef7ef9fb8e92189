"""Which rule accepts a connection, by the policy: the kernel doesn't say it of a connection that has ended. Pure.

A connection that the policy in force would deny began under the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from enforcer.flows.flows import FlowEnd
from enforcer.netlink.conntrack import FlowTuple
from zones.net import ALL_PORTS
from zones.policy import Entry, Policy, Verdict
from zones.rules import Origin
from zones.verdict import Endpoint, Flow, UndeterminedError, decide

_MOST_KNOWN = 1 << 14


@dataclass(slots=True)
class _Judge:
    """One policy, looked at only as far as it concerns two zones; what it said is remembered."""

    policy: Policy
    between: dict[tuple[str, str], Policy] = field(default_factory=dict)
    said: dict[tuple[object, ...], Origin | None] = field(default_factory=dict)

    def accepts(self, flow: Flow) -> Origin | None:
        zones = flow.source.zone, flow.destination.zone
        part = self.between.get(zones)
        if part is None:
            entries = tuple(entry for entry in self.policy.entries if entry.pairs(*zones))
            part = self.between[zones] = replace(self.policy, entries=entries)
        key = _told_apart(part.entries, flow)
        if key not in self.said:
            if len(self.said) >= _MOST_KNOWN:
                self.said.clear()
            self.said[key] = _accepting(part, flow)
        return self.said[key]


@dataclass(slots=True)
class Attribution:
    """Of the policy in force and the one before it."""

    _judges: tuple[_Judge, ...] = ()

    def learn(self, policy: Policy | None) -> None:
        """The policy in force; None: nothing is enforced."""
        if policy is not None and (not self._judges or self._judges[0].policy is not policy):
            self._judges = (_Judge(policy), *self._judges[:1])

    def rule(
        self, source: FlowEnd, destination: FlowEnd, forward: FlowTuple, port: int | None, began: float
    ) -> Origin | None:
        """Who accepted it, of what is known; `port` is the server's. None where no policy that is known would."""
        at = datetime.fromtimestamp(began, UTC)
        flow = Flow(
            _endpoint(source),
            _endpoint(destination),
            forward.protocol,
            port,
            forward.source_port,
            forward.icmp_type,
            at,
        )
        return next((accepted for judge in self._judges if (accepted := judge.accepts(flow)) is not None), None)


def _endpoint(end: FlowEnd) -> Endpoint:
    is_node = bool(end.node and not end.workload)
    return Endpoint(end.zone, end.address, end.workload, end.namespace, end.node, is_node)


def _told_apart(entries: tuple[Entry, ...], flow: Flow) -> tuple[object, ...]:
    """What these entries can tell connections apart by."""
    by_source_port = any(traffic.source_ports != ALL_PORTS for entry in entries for traffic in entry.traffic)
    by_time = any(entry.schedule is not None for entry in entries)
    return (
        flow.source,
        flow.destination,
        flow.protocol,
        flow.port,
        flow.icmp_type,
        flow.source_port if by_source_port else None,
        flow.at.replace(second=0, microsecond=0) if by_time and flow.at else None,
    )


def _accepting(policy: Policy, flow: Flow) -> Origin | None:
    try:
        decision = decide(policy, flow)
    except (UndeterminedError, ValueError):
        return None
    return decision.origin if decision.verdict is Verdict.ALLOW else None
