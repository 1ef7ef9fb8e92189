"""Boxes: sets of flows between two zones, as one set for each thing that a rule may ask of a flow.

A rule's traffic is a few boxes. Intersecting and subtracting boxes is all that an exact difference needs:

    web's pods -> 10.0.0.0/8, tcp 80-90   minus   anybody -> 10.1.0.0/16, tcp 85
      = web's pods -> 10.0.0.0/8 without 10.1.0.0/16, tcp 80-90
      + web's pods -> 10.1.0.0/16, tcp 80-84,86-90
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from zones.net import (
    ALL_PORTS,
    ANY_ADDRESS,
    ICMP,
    ICMP6,
    PORT_LAST,
    PROTOCOLS_WITH_PORTS,
    SCTP,
    TCP,
    UDP,
    AddressSet,
    Ranges,
)
from zones.policy import Entry, InfrastructureRule, Peer, Traffic
from zones.rules import L4
from zones.verdict import Endpoint, Flow
from zones.workload import split_namespace

_OCTET_LAST = 255


@dataclass(frozen=True, slots=True)
class NameSet:
    """A set of names: these, or all but these. The empty name is an end that has none."""

    names: frozenset[str] = frozenset()
    all_but: bool = False

    def __bool__(self) -> bool:
        return self.all_but or bool(self.names)

    def __contains__(self, name: str) -> bool:
        return (name in self.names) != self.all_but

    def __and__(self, other: NameSet) -> NameSet:
        if self.all_but and other.all_but:
            return NameSet(self.names | other.names, all_but=True)
        if self.all_but or other.all_but:
            some, excluded = (other, self) if self.all_but else (self, other)
            return NameSet(some.names - excluded.names)
        return NameSet(self.names & other.names)

    def __or__(self, other: NameSet) -> NameSet:
        return ((self.complement()) & (other.complement())).complement()

    def __sub__(self, other: NameSet) -> NameSet:
        return self & other.complement()

    def complement(self) -> NameSet:
        return NameSet(self.names, all_but=not self.all_but)

    def __str__(self) -> str:
        listed = ",".join(sorted(self.names))
        return f"all but {listed}" if self.all_but and listed else listed or ("any" if self.all_but else "nothing")


EVERY_NAME = NameSet(all_but=True)
EVERY_PROTOCOL = Ranges(((0, _OCTET_LAST),))
EVERY_ICMP_TYPE = Ranges(((0, _OCTET_LAST),))
_WITH_PORTS = Ranges.of((number, number) for number in PROTOCOLS_WITH_PORTS)
_WITH_TYPES = Ranges.of((number, number) for number in (ICMP, ICMP6))

NODE, NO_NODE = "node", "no node"
SAME_NODE, OTHER_NODE = "same node", "other node"
_KINDS = frozenset({NODE, NO_NODE})
_RELATIONS = frozenset({SAME_NODE, OTHER_NODE})


class Box(NamedTuple):
    """Flows that have every property in its set. Ports are all ports for a protocol without any, ICMP types alike.

    `moments`: numbers of what `zones.difference.moments` tells apart. What comes after the addresses is asked by
    infrastructure rules alone, but for the namespaces, which an App-ID may name: whether an end is a node, on which
    node it is, and whether both are on the same one.
    """

    moments: frozenset[int]
    protocols: Ranges = EVERY_PROTOCOL
    ports: Ranges = ALL_PORTS
    source_ports: Ranges = ALL_PORTS
    icmp_types: Ranges = EVERY_ICMP_TYPE
    source_workloads: NameSet = EVERY_NAME
    destination_workloads: NameSet = EVERY_NAME
    sources: AddressSet = ANY_ADDRESS
    destinations: AddressSet = ANY_ADDRESS
    source_kinds: frozenset[str] = _KINDS
    destination_kinds: frozenset[str] = _KINDS
    source_namespaces: NameSet = EVERY_NAME
    destination_namespaces: NameSet = EVERY_NAME
    source_nodes: NameSet = EVERY_NAME
    destination_nodes: NameSet = EVERY_NAME
    relations: frozenset[str] = _RELATIONS

    def holds(self, flow: Flow, moment: int) -> bool:
        """Whether a flow is in the box. Its ends' addresses and workloads must be given."""
        source, destination = flow.source, flow.destination
        return (
            moment in self.moments
            and flow.protocol in self.protocols
            and (flow.protocol not in PROTOCOLS_WITH_PORTS or self._holds_ports(flow))
            and (flow.icmp_type is None or flow.icmp_type in self.icmp_types)
            and _is(source, self.sources, self.source_workloads, self.source_kinds)
            and _is(destination, self.destinations, self.destination_workloads, self.destination_kinds)
            and _stands(source, self.source_namespaces, self.source_nodes)
            and _stands(destination, self.destination_namespaces, self.destination_nodes)
            and _relation(source, destination) in self.relations
        )

    def _holds_ports(self, flow: Flow) -> bool:
        ports = (flow.port, self.ports), (flow.source_port, self.source_ports)
        return all(port in those if port is not None else those == ALL_PORTS for port, those in ports)


def _is(end: Endpoint, addresses: AddressSet, workloads: NameSet, kinds: frozenset[str]) -> bool:
    if end.address is not None and end.address not in addresses:
        return False
    return (end.workload or "") in workloads and (NODE if end.is_node else NO_NODE) in kinds


def _stands(end: Endpoint, namespaces: NameSet, nodes: NameSet) -> bool:
    return (end.namespace or "") in namespaces and end.node in nodes


def _relation(source: Endpoint, destination: Endpoint) -> str:
    return SAME_NODE if source.node and source.node == destination.node else OTHER_NODE


def of_entry(entry: Entry, moments: frozenset[int]) -> tuple[Box, ...]:
    """What an entry matches between zones that it pairs; `moments` are those in which its schedule is active."""
    if not (entry.sources and entry.destinations and moments):
        return ()
    boxes = (_of_traffic(traffic, moments) for traffic in entry.traffic)
    return tuple(
        box._replace(sources=_shared(entry.sources), destinations=_shared(entry.destinations))
        for box in boxes
        if box is not None
    )


def _shared(addresses: AddressSet) -> AddressSet:
    return ANY_ADDRESS if addresses == ANY_ADDRESS else addresses


def of_infrastructure(rule: InfrastructureRule, moments: frozenset[int]) -> tuple[Box, ...]:
    """What an infrastructure rule allows, between whatever zones."""
    source, destination = _peer(rule.source), _peer(rule.destination)
    boxes = []
    for traffic in rule.traffic:
        box = _of_traffic(traffic, moments)
        if box is None:
            continue
        boxes.append(
            box._replace(
                source_workloads=box.source_workloads & source.workloads,
                destination_workloads=box.destination_workloads & destination.workloads,
                sources=rule.source.addresses,
                destinations=rule.destination.addresses,
                source_kinds=source.kinds,
                destination_kinds=destination.kinds,
                source_namespaces=box.source_namespaces & source.namespaces,
                destination_namespaces=box.destination_namespaces & destination.namespaces,
                source_nodes=source.nodes,
                destination_nodes=destination.nodes,
                relations=frozenset({SAME_NODE}) if rule.own_node else _RELATIONS,
            )
        )
    return tuple(box for box in boxes if all(box))


class _Holders(NamedTuple):
    kinds: frozenset[str]
    namespaces: NameSet
    workloads: NameSet
    nodes: NameSet


def _peer(peer: Peer) -> _Holders:
    return _Holders(
        frozenset({NODE}) if peer.nodes else _KINDS,
        _named(peer.namespaces),
        _named(peer.workloads),
        _named(peer.node_names if peer.nodes else None),
    )


def _named(names: frozenset[str] | None) -> NameSet:
    return EVERY_NAME if names is None else NameSet(names)


def _of_traffic(traffic: Traffic, moments: frozenset[int]) -> Box | None:
    protocols = EVERY_PROTOCOL if traffic.protocol is None else Ranges(((traffic.protocol, traffic.protocol),))
    if traffic.ports != ALL_PORTS or traffic.source_ports != ALL_PORTS:
        protocols &= _WITH_PORTS
    types = EVERY_ICMP_TYPE
    if traffic.icmp_type is not None:
        protocols &= _WITH_TYPES
        types = Ranges(((traffic.icmp_type, traffic.icmp_type),))
    if not (protocols and traffic.ports and traffic.source_ports):
        return None
    ends = _workload(traffic.source_workload), _workload(traffic.destination_workload)
    return Box(
        moments,
        protocols,
        ALL_PORTS if traffic.ports == ALL_PORTS else traffic.ports,
        ALL_PORTS if traffic.source_ports == ALL_PORTS else traffic.source_ports,
        types,
        ends[0][0],
        ends[1][0],
        source_namespaces=ends[0][1],
        destination_namespaces=ends[1][1],
    )


def _workload(name: str | None) -> tuple[NameSet, NameSet]:
    """The workloads and the namespaces that a rule's name of a workload is for."""
    if name is None:
        return EVERY_NAME, EVERY_NAME
    namespace, workload = split_namespace(name)
    return NameSet(frozenset({workload})), NameSet(frozenset({namespace})) if namespace else EVERY_NAME


def of_traffic(l4: L4, moments: frozenset[int]) -> Box:
    """All flows of one kind of traffic, whoever's."""
    types = EVERY_ICMP_TYPE if l4.icmp_type is None else Ranges(((l4.icmp_type, l4.icmp_type),))
    return Box(moments, Ranges(((l4.protocol, l4.protocol),)), l4.ports, l4.source_ports, types)


_WHOLE: tuple[Any, ...] = Box(frozenset())
"""A box without conditions but for its moments. Most properties of most boxes are these very objects."""


# As tuples: a union is made anew each time it is asked for.
_NAMES, _NUMBERS = (frozenset, NameSet), (Ranges, AddressSet)
Conditions = tuple[tuple[int, Any], ...]
"""The properties of a box that aren't everything, each with its place in the box."""


def conditions(box: Box) -> Conditions:
    return tuple(
        (at, value) for at, (value, everything) in enumerate(zip(box, _WHOLE, strict=True)) if value is not everything
    )


def meets(asked: Conditions, box: Box) -> bool:
    """Whether a box shares a flow with the one of these conditions. `overlap`, for one that is asked many times."""
    for at, theirs in asked:
        mine = box[at]
        if mine is theirs or mine is _WHOLE[at]:
            continue
        if not (mine & theirs if isinstance(mine, _NAMES) else mine.overlaps(theirs)):
            return False
    return True


def overlap(left: Box, right: Box) -> bool:
    """Whether two boxes share a flow."""
    for mine, theirs, everything in zip(_properties(left), _properties(right), _WHOLE, strict=True):
        if mine is theirs or mine is everything or theirs is everything:
            continue
        if not (mine & theirs if isinstance(mine, _NAMES) else mine.overlaps(theirs)):
            return False
    return True


def covers(wide: Box, narrow: Box) -> bool:
    """Whether a box has all flows of another one."""
    return holds_all(conditions(wide), narrow)


def holds_all(asked: Conditions, narrow: Box) -> bool:
    """`covers`, of the box of these conditions, for one that is asked many times."""
    for at, theirs in asked:
        mine = narrow[at]
        if mine is theirs:
            continue
        if mine is _WHOLE[at] or not (mine.within(theirs) if isinstance(mine, _NUMBERS) else not mine - theirs):
            return False
    return True


def _properties(box: Box) -> tuple[Any, ...]:
    """All have `&`, `|`, `-` and a truth value, each with its own kind."""
    return box


_BUCKET = 64
_BUCKETS = (PORT_LAST + 1) // _BUCKET
EVERYWHERE = frozenset(range(3 * _BUCKETS + 1))
"""The buckets of a box that any protocol and port can be in."""


def buckets(boxes: Iterable[Box]) -> frozenset[int]:
    """Where boxes lie by protocol and port, coarsely: boxes without a common bucket can't overlap.

    64 ports of TCP, UDP or SCTP are a bucket; all other protocols are one together.
    """
    lying: set[int] = set()
    for box in boxes:
        for at, protocol in enumerate((TCP, UDP, SCTP)):
            if protocol not in box.protocols:
                continue
            for first, last in box.ports.spans:
                lying.update(range(at * _BUCKETS + first // _BUCKET, at * _BUCKETS + last // _BUCKET + 1))
        if box.protocols - _WITH_PORTS:
            lying.add(3 * _BUCKETS)
    return frozenset(lying)


def common(box: Box, other: Box) -> Box | None:
    """The flows of both."""
    if not overlap(box, other):
        return None
    return Box._make(
        mine if theirs is everything or mine is theirs else theirs if mine is everything else mine & theirs
        for mine, theirs, everything in zip(_properties(box), _properties(other), _WHOLE, strict=True)
    )


def narrowness(box: Box) -> int:
    """How many properties a box asks for: what is subtracted from wide ones first falls apart less."""
    return sum(mine is not everything for mine, everything in zip(box, _WHOLE, strict=True))


def split(box: Box, other: Box) -> tuple[Box | None, list[Box]]:
    """What of a box is in the other one, and the rest of it, in disjoint boxes."""
    if not overlap(box, other):
        return None, [box]
    shared: list[Any] = []
    rest: list[Box] = []
    for at, (mine, theirs) in enumerate(zip(_properties(box), _properties(other), strict=True)):
        if mine is theirs or theirs is _WHOLE[at] or mine == theirs:
            shared.append(mine)
            continue
        outside = mine - theirs
        if outside:
            rest.append(Box._make((*shared, outside, *box[at + 1 :])))
        shared.append(mine & theirs)
    return Box._make(shared), rest


def without(boxes: Iterable[Box], others: Iterable[Box]) -> list[Box]:
    """What of the boxes is in none of the others."""
    left = list(boxes)
    for other in others:
        left = [piece for box in left for piece in split(box, other)[1]]
    return left


def disjoint(boxes: Iterable[Box]) -> list[Box]:
    """The same flows in boxes that share none."""
    apart: list[Box] = []
    for box in boxes:
        apart += without([box], apart)
    return apart


def merged(boxes: Iterable[Box]) -> list[Box]:
    """Disjoint boxes put together, two that differ in one property at a time, until no two can be."""
    left = list(boxes)
    at = 0
    while at < len(left):
        partner = next(_mergeable(left, at), None)
        if partner is None:
            at += 1
            continue
        other, both = partner
        left[at] = both
        del left[other]
        at = 0
    return left


def _mergeable(boxes: list[Box], at: int) -> Iterator[tuple[int, Box]]:
    box = boxes[at]
    for index in range(at + 1, len(boxes)):
        differing = [place for place, (a, b) in enumerate(zip(box, boxes[index], strict=True)) if a != b]
        if len(differing) == 1:
            (place,) = differing
            values = list(_properties(box))
            values[place] |= boxes[index][place]
            yield index, Box(*values)
