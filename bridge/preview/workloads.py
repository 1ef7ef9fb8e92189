"""The exact difference for the workloads that are there. Pure.

Between two zones, each piece of the difference is asked which workloads of either zone it concerns. Zones of
`networks`, what is outside, and nodes have no workloads: they are one end without a name, where the piece has some of
their addresses.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bridge.preview.model import PodMove, Projection, Workload, WorkloadChange
from bridge.preview.population import Resident
from zones.difference import EVERY_NAME, NO_NODE, NODE, Box, Difference, NameSet, Piece
from zones.difference.sides import bits, union_of
from zones.net import ANY_ADDRESS, NO_ADDRESS, AddressSet
from zones.zone import ISOLATED, Zoning


def projected(flows: Difference, residents: Sequence[Resident], zoning: Zoning) -> Projection:
    """What changes for pods. Isolated pods are left out, as nothing is open to them whatever rules say."""
    return _Projector(residents, zoning).projection(flows)


def moves(before: Iterable[Resident], after: Iterable[Resident]) -> tuple[PodMove, ...]:
    """The pods of both that change their zone, by namespace and name."""
    zones = {(pod.namespace, pod.name): pod.zone for pod in before}
    moved = (
        PodMove(pod.namespace, pod.name, zones[pod.namespace, pod.name], pod.zone)
        for pod in after
        if zones.get((pod.namespace, pod.name), pod.zone) != pod.zone
    )
    return tuple(sorted(moved, key=lambda move: (move.namespace, move.pod)))


@dataclass(frozen=True, slots=True)
class _WorkloadPods:
    """A workload with its pods. `addresses` None: of some pod they aren't known, so that it may have any."""

    workload: Workload
    addresses: AddressSet | None
    nodes: frozenset[str]


class _EndQuery(NamedTuple):
    """What a box asks of one end."""

    addresses: AddressSet
    workloads: NameSet
    namespaces: NameSet
    kinds: frozenset[str]
    nodes: NameSet


class _Ends(NamedTuple):
    """Workloads of pods, the end without a name, and both together."""

    pods: tuple[Workload, ...]
    hosts: tuple[Workload, ...]
    everybody: tuple[Workload, ...]


class _ZonePods:
    """The workloads of a zone, a bit each, and by what they are found."""

    def __init__(self, groups: Sequence[_WorkloadPods]) -> None:
        self._groups = groups
        self._all = (1 << len(groups)) - 1
        self._by_name: dict[str, int] = {}
        self._by_namespace: dict[str, int] = {}
        self._at: dict[str, tuple[list[int], list[int]]] = {}
        self._anywhere = 0
        self._with_addresses: dict[int, int] = {}
        places: dict[str, list[tuple[int, int]]] = {"v4": [], "v6": []}
        for place, group in enumerate(groups):
            bit, workload = 1 << place, group.workload
            self._by_name[workload.name] = self._by_name.get(workload.name, 0) | bit
            self._by_namespace[workload.namespace] = self._by_namespace.get(workload.namespace, 0) | bit
            if group.addresses is None:
                self._anywhere |= bit
                continue
            for family, numbers in places.items():
                spans = getattr(group.addresses, family).spans
                numbers += [(number, bit) for first, last in spans for number in range(first, last + 1)]
        for family, numbers in places.items():
            ordered = sorted(numbers)
            self._at[family] = [number for number, _ in ordered], [bit for _, bit in ordered]

    def asked(self, asked: _EndQuery) -> tuple[Workload, ...]:
        """Those that a box concerns, in the zone's order."""
        matches = self._all if NO_NODE in asked.kinds else 0
        if asked.workloads is not EVERY_NAME:
            matches &= self._named(self._by_name, asked.workloads)
        if asked.namespaces is not EVERY_NAME:
            matches &= self._named(self._by_namespace, asked.namespaces)
        if asked.addresses is not ANY_ADDRESS:
            matches &= self._reached(asked.addresses)
        groups = [self._groups[place] for place in bits(matches)]
        if asked.nodes is not EVERY_NAME:
            groups = [group for group in groups if any(node in asked.nodes for node in group.nodes)]
        return tuple([group.workload for group in groups])

    def _named(self, known: Mapping[str, int], names: NameSet) -> int:
        listed = union_of(known.get(name, 0) for name in names.names)
        return self._all & ~listed if names.all_but else listed

    def _reached(self, addresses: AddressSet) -> int:
        """Boxes outlive this object, and share what they ask: each set of addresses has an identity of its own."""
        known = self._with_addresses.get(id(addresses))
        if known is None:
            known = self._anywhere
            for spans, (numbers, owners) in (
                (addresses.v4.spans, self._at["v4"]),
                (addresses.v6.spans, self._at["v6"]),
            ):
                for first, last in spans if numbers else ():
                    known |= union_of(owners[bisect_left(numbers, first) : bisect_right(numbers, last)])
            self._with_addresses[id(addresses)] = known
        return known


class _Projector:
    def __init__(self, residents: Sequence[Resident], zoning: Zoning) -> None:
        inside = [pod for pod in residents if pod.zone != ISOLATED]
        self._zoning = zoning
        self._groups = _groups(inside)
        self._outside = _outside(zoning)
        self._zones = sorted(self._groups.keys() | self._outside.keys())
        self._pods = len(inside)
        self._zone_pods = {zone: _ZonePods(groups) for zone, groups in self._groups.items()}
        self._shared: dict[tuple[tuple[Workload, ...], tuple[Workload, ...]], _Ends] = {}
        # Boxes outlive this object, and those of many pieces ask the same by the very same objects.
        self._of_asked: dict[tuple[str, int, int, int, int, int], _Ends] = {}

    def projection(self, flows: Difference) -> Projection:
        changes = (
            change
            for from_zone in self._zones
            for to_zone in self._zones
            for piece in flows.between(from_zone, to_zone)
            for change in self._changes(from_zone, to_zone, piece)
        )
        return Projection(self._pods, sum(map(len, self._groups.values())), tuple(changes))

    def _changes(self, from_zone: str, to_zone: str, piece: Piece) -> Iterator[WorkloadChange]:
        """One end at least is a pod: nobody enforces what passes between two others."""
        begins, ends = self._end(from_zone, _source(piece.box)), self._end(to_zone, _destination(piece.box))
        for sources, destinations in ((begins.pods, ends.everybody), (begins.hosts, ends.pods)):
            if sources and destinations:
                yield WorkloadChange(from_zone, to_zone, sources, destinations, piece)

    def _end(self, zone: str, asked: _EndQuery) -> _Ends:
        addresses, workloads, namespaces, kinds, nodes = asked
        key = zone, id(addresses), id(workloads), id(namespaces), id(kinds), id(nodes)
        known = self._of_asked.get(key)
        if known is None:
            known = self._of_asked[key] = self._concerned(zone, asked)
        return known

    def _concerned(self, zone: str, asked: _EndQuery) -> _Ends:
        """One and the same object for the same workloads: there are very many changes."""
        zone_pods = self._zone_pods.get(zone)
        pods = () if zone_pods is None else zone_pods.asked(asked)
        hosts = (Workload(zone, "", ""),) if self._concerns_hosts(zone, asked) else ()
        key = pods, hosts
        if key not in self._shared:
            self._shared[key] = _Ends(pods, hosts, (*pods, *hosts))
        return self._shared[key]

    def _concerns_hosts(self, zone: str, asked: _EndQuery) -> bool:
        addresses = self._outside.get(zone, NO_ADDRESS)
        kind = NODE if zone == self._zoning.nodes else NO_NODE
        named = "" in asked.workloads and "" in asked.namespaces
        return named and kind in asked.kinds and addresses.overlaps(asked.addresses)


def _source(box: Box) -> _EndQuery:
    names = box.source_workloads, box.source_namespaces
    return _EndQuery(box.sources, *names, box.source_kinds, box.source_nodes)


def _destination(box: Box) -> _EndQuery:
    names = box.destination_workloads, box.destination_namespaces
    return _EndQuery(box.destinations, *names, box.destination_kinds, box.destination_nodes)


def _groups(residents: Iterable[Resident]) -> dict[str, tuple[_WorkloadPods, ...]]:
    """The workloads of each zone, by namespace and name."""
    pods: dict[tuple[str, str, str], list[Resident]] = {}
    for pod in residents:
        pods.setdefault((pod.zone, pod.namespace, pod.workload), []).append(pod)
    zones: dict[str, list[_WorkloadPods]] = {}
    for (zone, namespace, name), members in sorted(pods.items()):
        known = all(pod.addresses for pod in members)
        addresses = AddressSet.parse(str(address) for pod in members for address in pod.addresses) if known else None
        workload = Workload(zone, namespace, name, len(members))
        zones.setdefault(zone, []).append(_WorkloadPods(workload, addresses, frozenset(pod.node for pod in members)))
    return {zone: tuple(groups) for zone, groups in zones.items()}


def _outside(zoning: Zoning) -> dict[str, AddressSet]:
    """The addresses of each zone that isn't one of pods: longest prefix first, then what no prefix holds."""
    zones: dict[str, AddressSet] = {}
    left = ANY_ADDRESS
    for network, zone in zoning.networks:
        own = AddressSet.of([network]) & left
        zones[zone] = zones.get(zone, NO_ADDRESS) | own
        left -= own
    zones[zoning.outside] = zones.get(zoning.outside, NO_ADDRESS) | left
    return zones | {zoning.nodes: ANY_ADDRESS}
