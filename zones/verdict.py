"""What a policy means: `decide(policy, flow)`. The oracle that every other evaluation is tested against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address

from zones.net import ALL_PORTS, ANY_ADDRESS, PROTOCOLS_WITH_PORTS, AddressSet, IPAddress
from zones.policy import (
    BROADCAST,
    ISOLATION,
    LINK_LOCAL,
    QUARANTINED,
    TUNNELLED,
    UNKNOWN_POD,
    Entry,
    InfrastructureRule,
    Peer,
    Policy,
    Traffic,
    Verdict,
)
from zones.quarantine import consulted, is_open
from zones.rules import NO_LOG, Log, Origin
from zones.workload import split_namespace
from zones.zone import ISOLATED, QUARANTINE, Zoning

NOT_FOR_QUARANTINE = "it doesn't name the zone quarantine, which an allow has to"
_EVERYBODY = IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a flow, after Service translation. None is 'not given': an entry that depends on it can't be judged.

    `workload` and `namespace` "": a pod-less end (a node, an outside host). `node`: where the pod runs, or the node
    itself. `unknown`: it is behind the link of a pod, and no trusted pod has the address.
    """

    zone: str
    address: IPAddress | None = None
    workload: str | None = None
    namespace: str | None = ""
    node: str = ""
    is_node: bool = False
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection as its first packet shows it, `protocol` an IANA number, at an instant (aware)."""

    source: Endpoint
    destination: Endpoint
    protocol: int
    port: int | None = None
    source_port: int | None = None
    icmp_type: int | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Passed:
    """A rule that did not match, and the first condition that didn't hold."""

    origin: Origin
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict, the rule that gave it, and the rules passed over before it."""

    verdict: Verdict
    origin: Origin
    log: Log
    trace: tuple[Passed, ...]


class UndeterminedError(Exception):
    """A rule depends on something about the flow that was not given. `missing` names the arguments."""

    def __init__(self, origin: Origin, missing: tuple[str, ...]) -> None:
        super().__init__(f"rule '{origin.name}' depends on {' and '.join(missing)}")
        self.origin = origin
        self.missing = missing


@dataclass(frozen=True, slots=True)
class _Unknown:
    """A condition that can't be judged, for want of this argument."""

    argument: str


# A condition's outcome: None it holds, text it doesn't and why, _Unknown it can't be judged.
_Outcome = str | _Unknown | None


def decide(policy: Policy, flow: Flow) -> Decision:
    """First match over infrastructure rules, then entries. Raises UndeterminedError.

    What no rule can open comes before, an unknown end right after infrastructure. An isolated end has only what its own
    node begins; one in quarantine that, and what an entry opens that names the zone.
    """
    closed = _never(policy.zoning, flow)
    if closed is not None:
        return Decision(Verdict.DENY, closed, NO_LOG, ())
    zones = flow.source.zone, flow.destination.zone
    isolated, quarantined = ISOLATED in zones, QUARANTINE in zones
    for rule in policy.infrastructure:
        if serves(rule, flow) and (rule.serves_isolated or not (isolated or quarantined)):
            return Decision(Verdict.ALLOW, rule.origin, rule.log, ())
    if isolated or flow.source.unknown or flow.destination.unknown:
        closing = ISOLATION if isolated else QUARANTINED if quarantined else UNKNOWN_POD
        return Decision(Verdict.DENY, closing, NO_LOG, ())
    passed: list[Passed] = []
    for entry in consulted(policy.entries) if quarantined else policy.entries:
        why = NOT_FOR_QUARANTINE if quarantined and not is_open(entry, *zones) else mismatch(entry, flow)
        if why is None:
            return Decision(entry.verdict, entry.origin, entry.log, tuple(passed))
        passed.append(Passed(entry.origin, why))
    if quarantined:
        return Decision(Verdict.DENY, QUARANTINED, NO_LOG, tuple(passed))
    raise ValueError("the policy is not total: its last entries must be the default rules")


def _never(zoning: Zoning, flow: Flow) -> Origin | None:
    """The rule for what never passes from or to a pod. Discovery, and what a node sends by itself, aren't told here."""
    ends = flow.source, flow.destination
    if not any(end.workload or end.namespace or end.unknown for end in ends):
        return None
    if any(_stays_on_its_link(zoning, end) for end in ends):
        return LINK_LOCAL
    if serves(TUNNELLED, flow) and not (flow.source.node and flow.source.node == flow.destination.node):
        return TUNNELLED.origin
    to = flow.destination.address
    return BROADCAST if to is not None and (to.is_multicast or to == _EVERYBODY) else None


def _stays_on_its_link(zoning: Zoning, end: Endpoint) -> bool:
    """Not so where `networks` name a link-local prefix (a cloud's metadata, say), nor what a node answers for."""
    address = end.address
    if address is None or end.is_node or not (address.is_link_local or address.is_loopback):
        return False
    return not any(address in network for network in zoning.link_local)


def mismatch(entry: Entry, flow: Flow) -> str | None:
    """Why an entry doesn't match a flow; None where it does. Raises UndeterminedError where only unknowns are left."""
    unknown: list[str] = []
    for outcome in _conditions(entry, flow):
        if isinstance(outcome, str):
            return outcome
        if isinstance(outcome, _Unknown):
            unknown.append(outcome.argument)
    if unknown:
        raise UndeterminedError(entry.origin, tuple(unknown))
    return None


def _conditions(entry: Entry, flow: Flow) -> Iterator[_Outcome]:
    source, destination = flow.source, flow.destination
    if not entry.pairs(source.zone, destination.zone):
        yield f"not for {source.zone} to {destination.zone}"
    yield _within(entry.sources, source.address, "source")
    yield _within(entry.destinations, destination.address, "destination")
    yield _any_of(entry.traffic, flow)
    if entry.schedule is not None:
        if flow.at is None:
            yield _Unknown("time")
        elif not entry.schedule.active(flow.at):
            yield f"schedule '{entry.schedule.name}' is not active"


def _within(space: AddressSet, address: IPAddress | None, side: str) -> _Outcome:
    if space == ANY_ADDRESS:
        return None
    if not space:
        return f"its {side} holds no address"
    if address is None:
        return _Unknown(side)
    return None if address in space else f"{address} is not in its {side}"


def _any_of(alternatives: tuple[Traffic, ...], flow: Flow) -> _Outcome:
    """Alternatives: one that holds settles it; else one that can't be judged leaves it open."""
    outcomes = [_traffic(traffic, flow) for traffic in alternatives]
    if None in outcomes:
        return None
    unknown = sorted({outcome.argument for outcome in outcomes if isinstance(outcome, _Unknown)})
    if unknown:
        return _Unknown(" and ".join(unknown))
    return " and ".join(dict.fromkeys(str(outcome) for outcome in outcomes)) or "it matches no traffic"


def _traffic(traffic: Traffic, flow: Flow) -> _Outcome:
    unknown: _Unknown | None = None
    for outcome in _traffic_conditions(traffic, flow):
        if isinstance(outcome, str):
            return outcome
        unknown = unknown or outcome
    return unknown


def _traffic_conditions(traffic: Traffic, flow: Flow) -> Iterator[_Outcome]:
    if traffic.protocol is not None and traffic.protocol != flow.protocol:
        yield "another protocol"
    has_ports = flow.protocol in PROTOCOLS_WITH_PORTS
    for ports, port, argument in (
        (traffic.ports, flow.port, "port"),
        (traffic.source_ports, flow.source_port, "source port"),
    ):
        if ports == ALL_PORTS:
            continue
        if not has_ports:
            yield "the protocol has no ports"
        elif port is None:
            yield _Unknown(argument)
        elif port not in ports:
            yield f"{argument} {port} is not {ports}"
    yield _equals(traffic.icmp_type, flow.icmp_type, "icmp type")
    yield _is_workload(traffic.source_workload, flow.source, "source app")
    yield _is_workload(traffic.destination_workload, flow.destination, "app")


def _equals(wanted: int | None, actual: int | None, argument: str) -> _Outcome:
    if wanted is None or wanted == actual:
        return None
    return _Unknown(argument) if actual is None else f"{argument} is not {wanted}"


def _is_workload(wanted: str | None, end: Endpoint, argument: str) -> _Outcome:
    if wanted is None:
        return None
    if end.workload is None:
        return _Unknown(argument)
    namespace, workload = split_namespace(wanted)
    if end.workload != workload:
        return f"{argument} is not {wanted}"
    if namespace and end.namespace is None:
        return _Unknown(f"{argument}'s namespace")
    return f"{argument} is not {wanted}" if namespace and end.namespace != namespace else None


def serves(rule: InfrastructureRule, flow: Flow) -> bool:
    """Whether an infrastructure rule holds for a flow; a condition that can't be judged doesn't hold."""
    if not (_is(rule.source, flow.source) and _is(rule.destination, flow.destination)):
        return False
    if rule.own_node and (not flow.source.node or flow.source.node != flow.destination.node):
        return False
    return any(_traffic(traffic, flow) is None for traffic in rule.traffic)


def _is(peer: Peer, end: Endpoint) -> bool:
    if peer.nodes and not (end.is_node and (peer.node_names is None or end.node in peer.node_names)):
        return False
    if peer.namespaces is not None and end.namespace not in peer.namespaces:
        return False
    if peer.workloads is not None and end.workload not in peer.workloads:
        return False
    return _within(peer.addresses, end.address, "") is None
