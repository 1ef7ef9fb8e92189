"""Logged packets in their rules' terms, with both ends by name. Pure.

`enforcer.reports.reporter` asks; `enforcer.flows.flow_table` makes records of them, whose fields `docs/records.md`
names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from enforcer.netlink.nflog import Packet
from enforcer.rules.ruleset import VerdictChain
from zones.addresses.inventory import Holder, Pod, UnownedAddress, endpoint
from zones.canonical import blocklists_json
from zones.net import NO_ADDRESS, AddressSet, IPAddress, protocol_name
from zones.policy import Blocklists, Verdict
from zones.rules import Origin
from zones.siem.records import Json, present, text
from zones.zone import Zoning

UNKNOWN_ZONE = "zonebridge.io/unknown"
"""The zone of an end of which it isn't known who has, or had, its address: no manager's zone has a slash."""

SERVICE_ZONE = "zonebridge.io/service"
"""The zone of a Service's address that nothing translated: it is nobody's, and none of the zone outside."""

_PREFIX, _AGAINST = "zb", "r"
_MOST_ENDS = 1 << 14


class FlowMoment(StrEnum):
    """Which part of a flow's life a log tells of."""

    START = "start"
    END = "end"


class LoggedPacket(NamedTuple):
    """One logged packet, and the rule that logged it. `at` is epoch seconds; `length` the packet's octets.

    `link` is the index of the one that it came by; of a bridge, its port. `rule` is the terminal's id. `reply`: the
    packet went from the flow's destination to its source; the ends are the packet's own.
    """

    at: float
    length: int
    terminal: VerdictChain
    link: int | None
    rule: str
    source: IPAddress
    destination: IPAddress
    protocol: int
    source_port: int | None = None
    port: int | None = None
    icmp_type: int | None = None
    reply: bool = False
    moment: FlowMoment = FlowMoment.START

    @property
    def origin(self) -> Origin:
        return self.terminal.origin

    @property
    def verdict(self) -> Verdict:
        return self.terminal.verdict

    @property
    def enforced(self) -> bool:
        return self.terminal.enforced

    @property
    def blocklists(self) -> Blocklists:
        return self.terminal.blocklists


@dataclass(frozen=True, slots=True)
class FlowEnd:
    """Who one end of a flow is, by the names that people know it by."""

    address: IPAddress
    zone: str
    namespace: str = ""
    pod: str = ""
    workload: str = ""
    node: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    _text: tuple[str, str] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        written, address = text(self.json(None)), text({"address": str(self.address)})[:-1]
        object.__setattr__(self, "_text", (address, written.removeprefix(address)))

    def json(self, port: int | None) -> Json:
        return present(
            address=str(self.address),
            port=port,
            zone=self.zone,
            namespace=self.namespace,
            pod=self.pod,
            workload=self.workload,
            node=self.node,
            labels=dict(self.labels),
        )

    def text(self, port: int | None) -> str:
        """`json`, written."""
        address, names = self._text
        return f"{address}{names}" if port is None else f'{address},"port":{port}{names}'


@dataclass(frozen=True, slots=True)
class FlowNames:
    """What makes names of addresses, as of now: make another one when pods, nodes or the policy have changed.

    `labels` are the label keys that records carry. `known`: everything was listed once. Until then nobody is named: an
    address that is in no pod's list yet may be a pod's all the same. `services`: the prefixes of Services' addresses.
    """

    holder: Callable[[IPAddress], Holder | None]
    zoning: Zoning
    tier: str = ""
    revision: int = 0
    labels: tuple[str, ...] = ()
    known: bool = True
    services: AddressSet = NO_ADDRESS
    _ends: dict[IPAddress, FlowEnd] = field(default_factory=dict, init=False, compare=False, repr=False)

    def end(self, address: IPAddress) -> FlowEnd:
        """Remembered: the addresses that speak are few at a time."""
        known = self._ends.get(address)
        if known is None:
            if len(self._ends) >= _MOST_ENDS:
                self._ends.clear()
            known = self._ends[address] = self._end(address)
        return known

    def end_of_before(self, address: IPAddress, start: float | None) -> FlowEnd:
        """Of a flow that began at `start`, before anybody looked: unknown where its address may have been another's.

        So it is where no pod has a pod's address for certain now, and where the pod that has it was only started after
        the flow, or in the same second.
        """
        holder = self.holder(address)
        since = holder.started if isinstance(holder, Pod) else None
        before_pod = since is not None and start is not None and start < since + 1
        return FlowEnd(address, UNKNOWN_ZONE) if before_pod or isinstance(holder, UnownedAddress) else self.end(address)

    def _end(self, address: IPAddress) -> FlowEnd:
        if not self.known:
            return FlowEnd(address, UNKNOWN_ZONE)
        holder = self.holder(address)
        if holder is None and address in self.services:
            return FlowEnd(address, SERVICE_ZONE)
        named = endpoint(address, holder, self.zoning)
        if isinstance(holder, Pod):
            labels = {key: holder.labels[key] for key in self.labels if key in holder.labels}
            return FlowEnd(address, named.zone, holder.namespace, holder.name, holder.workload, holder.node, labels)
        return FlowEnd(address, named.zone, node=named.node)


class NamedPacket(NamedTuple):
    """A logged packet with both ends named, turned so that `source` is who began the flow."""

    seen: LoggedPacket
    source: FlowEnd
    source_port: int | None
    destination: FlowEnd
    port: int | None
    tier: str
    revision: int

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for packets of one connection under one rule."""
        return (self.revision, *self.seen[_SEEN_KEY:])


_SEEN_KEY = LoggedPacket._fields.index("rule")


def read(packet: Packet, terminals: Mapping[str, VerdictChain], at: float) -> LoggedPacket | None:
    """A packet in its rule's terms; None where its prefix names no rule of ours. `at`: where it has no time itself."""
    ours, _, rest = packet.prefix.partition(":")
    rule, _, direction = rest.partition(":")
    terminal = terminals.get(rule) if ours == _PREFIX else None
    if terminal is None:
        return None
    return LoggedPacket(
        packet.timestamp or at,
        packet.length,
        terminal,
        packet.indev if packet.frame is None else packet.frame.port,
        rule,
        packet.source,
        packet.destination,
        packet.protocol,
        packet.source_port,
        packet.destination_port,
        packet.icmp_type,
        direction == _AGAINST,
    )


def name(seen: LoggedPacket, names: FlowNames) -> NamedPacket:
    """Both ends of a packet by name."""
    source, destination = names.end(seen.source), names.end(seen.destination)
    if seen.reply:
        return NamedPacket(seen, destination, seen.port, source, seen.source_port, names.tier, names.revision)
    return NamedPacket(seen, source, seen.source_port, destination, seen.port, names.tier, names.revision)


def described(named: NamedPacket) -> Json:
    """What a flow record and an alert about a flow both say."""
    return {
        "source": named.source.json(named.source_port),
        "destination": named.destination.json(named.port),
    } | circumstances(named)


def circumstances(named: NamedPacket) -> Json:
    """All but the ends: the same for every flow of a kind under one rule and revision."""
    seen, terminal = named.seen, named.seen.terminal
    return {
        "protocol": protocol_name(seen.protocol),
        "verdict": terminal.verdict.value,
        "enforced": terminal.enforced,
        "direction": "reply" if seen.reply else "original",
        "rule": origin_json(terminal.origin),
    } | present(
        icmpType=seen.icmp_type,
        logProfile=terminal.log.profile,
        tier=named.tier,
        revision=named.revision or None,
        blocklists=blocklists_json(terminal.blocklists) if terminal.blocklists else None,
    )


def origin_json(origin: Origin) -> Json:
    return present(name=origin.name, uuid=origin.uuid, rulebase=origin.rulebase, deviceGroup=origin.device_group)
