"""Logged packets to flow records: who they are from and to, and many of one connection as one record. Pure.

`enforcer.service` feeds it; `docs/records.md` names the fields.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from enforcer.nflog import Packet
from enforcer.records import Json, Stamp, present, timestamp
from enforcer.ruleset import Terminal
from zones.inventory import Holder, Pod, endpoint
from zones.net import IPAddress, protocol_name
from zones.policy import Verdict
from zones.rules import Origin
from zones.zone import Zoning

_PREFIX, _AGAINST = "zb", "r"


class Moment(StrEnum):
    """Which part of a flow's life a log tells of."""

    START = "start"
    END = "end"


@dataclass(frozen=True, slots=True)
class Seen:
    """One logged packet, and the rule that logged it. `at` is epoch seconds; `length` the packet's octets.

    `reply`: the packet went from the flow's destination to its source; the ends are the packet's own.
    """

    at: float
    source: IPAddress
    destination: IPAddress
    protocol: int
    length: int
    origin: Origin
    verdict: Verdict
    enforced: bool = True
    source_port: int | None = None
    port: int | None = None
    icmp_type: int | None = None
    reply: bool = False
    moment: Moment = Moment.START
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """One end of a flow, with the names that people know it by."""

    address: IPAddress
    port: int | None
    zone: str
    namespace: str = ""
    pod: str = ""
    workload: str = ""
    node: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    def json(self) -> Json:
        return present(
            address=str(self.address),
            port=self.port,
            zone=self.zone,
            namespace=self.namespace,
            pod=self.pod,
            workload=self.workload,
            node=self.node,
            labels=dict(self.labels),
        )


@dataclass(frozen=True, slots=True)
class Names:
    """What makes names of addresses, as of now. `labels` are the label keys that records carry."""

    holder: Callable[[IPAddress], Holder | None]
    zoning: Zoning
    tier: str = ""
    revision: int = 0
    labels: tuple[str, ...] = ()

    def end(self, address: IPAddress, port: int | None) -> End:
        holder = self.holder(address)
        told = endpoint(address, holder, self.zoning)
        if isinstance(holder, Pod):
            labels = {key: holder.labels[key] for key in self.labels if key in holder.labels}
            return End(address, port, told.zone, holder.namespace, holder.name, holder.workload, holder.node, labels)
        return End(address, port, told.zone, node=told.node)


@dataclass(frozen=True, slots=True)
class Named:
    """A logged packet with both ends named, turned so that `source` is who began the flow."""

    seen: Seen
    source: End
    destination: End
    tier: str
    revision: int

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for packets of one connection under one rule."""
        seen = self.seen
        ends = (self.source.address, self.source.port, self.destination.address, self.destination.port)
        return (*ends, seen.protocol, seen.icmp_type, seen.origin, seen.verdict, seen.moment, seen.reply, self.revision)


def read(packet: Packet, terminals: Mapping[str, Terminal], at: float) -> Seen | None:
    """A packet in its rule's terms; None where its prefix names no rule of ours. `at`: where it has no time itself."""
    ours, _, rest = packet.prefix.partition(":")
    rule, _, direction = rest.partition(":")
    terminal = terminals.get(rule) if ours == _PREFIX else None
    if terminal is None:
        return None
    return Seen(
        at=packet.timestamp or at,
        source=packet.source,
        destination=packet.destination,
        protocol=packet.protocol,
        length=packet.length,
        origin=terminal.origin,
        verdict=terminal.verdict,
        enforced=terminal.enforced,
        source_port=packet.source_port,
        port=packet.destination_port,
        icmp_type=packet.icmp_type,
        reply=direction == _AGAINST,
        profile=terminal.log.profile,
    )


def name(seen: Seen, names: Names) -> Named:
    """Both ends of a packet by name."""
    source = names.end(seen.source, seen.source_port)
    destination = names.end(seen.destination, seen.port)
    if seen.reply:
        source, destination = destination, source
    return Named(seen, source, destination, names.tier, names.revision)


@dataclass(slots=True)
class _Counted:
    """A flow that is still being counted."""

    first: Named
    last: float
    packets: int
    octets: int


class FlowTable:
    """Flows of the last window. Bounded: where it is full, the oldest leaves early."""

    def __init__(self, window: float, capacity: int) -> None:
        self._window = window
        self._capacity = capacity
        self._flows: OrderedDict[tuple[object, ...], _Counted] = OrderedDict()

    def __len__(self) -> int:
        return len(self._flows)

    def add(self, named: Named, stamp: Stamp) -> Json | None:
        """Count a packet. A record is given where another flow had to leave for it."""
        seen = named.seen
        counted = self._flows.get(named.key)
        if counted is not None:
            counted.last, counted.packets, counted.octets = seen.at, counted.packets + 1, counted.octets + seen.length
            return None
        early = self._flows.popitem(last=False)[1] if len(self._flows) >= self._capacity else None
        self._flows[named.key] = _Counted(named, seen.at, 1, seen.length)
        return None if early is None else _record(early, stamp)

    def take(self, now: float, stamp: Stamp) -> Iterator[Json]:
        """The records of flows whose window is over."""
        while self._flows:
            oldest = next(iter(self._flows.values()))
            if now - oldest.first.seen.at < self._window:
                return
            yield _record(self._flows.popitem(last=False)[1], stamp)

    def take_all(self, stamp: Stamp) -> Iterator[Json]:
        while self._flows:
            yield _record(self._flows.popitem(last=False)[1], stamp)


def _record(counted: _Counted, stamp: Stamp) -> Json:
    named = counted.first
    return (
        stamp.record("flow", named.seen.at)
        | described(named)
        | {
            "end": timestamp(counted.last),
            "moment": named.seen.moment.value,
            "packets": counted.packets,
            "bytes": counted.octets,
        }
    )


def described(named: Named) -> Json:
    """What a flow record and an alert about a flow both say."""
    seen = named.seen
    return {
        "source": named.source.json(),
        "destination": named.destination.json(),
        "protocol": protocol_name(seen.protocol),
        "verdict": seen.verdict.value,
        "enforced": seen.enforced,
        "direction": "reply" if seen.reply else "original",
        "rule": origin_json(seen.origin),
    } | present(icmpType=seen.icmp_type, logProfile=seen.profile, tier=named.tier, revision=named.revision or None)


def origin_json(origin: Origin) -> Json:
    return present(name=origin.name, uuid=origin.uuid, rulebase=origin.rulebase, deviceGroup=origin.device_group)
