"""The exact difference for the workloads that are there. Pure.

Between two zones, each piece of the difference is asked which workloads of either zone it concerns. Zones of
`networks`, what is outside, and nodes have no workloads: they are one end without a name, where the piece has some of
their addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bridge.preview.model import PodMove, Projection, Workload, WorkloadChange
from bridge.preview.population import Resident
from zones.difference import NO_NODE, NODE, Box, Difference, NameSet, Piece
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


@dataclass(frozen=True, slots=True)
class _Side:
    """What a box asks of one end."""

    zone: str
    addresses: AddressSet
    workloads: NameSet
    namespaces: NameSet
    kinds: frozenset[str]
    nodes: NameSet


_Ends = tuple[tuple[Workload, ...], tuple[Workload, ...]]
"""Workloads of pods, and the end without a name."""


class _Projector:
    def __init__(self, residents: Sequence[Resident], zoning: Zoning) -> None:
        inside = [pod for pod in residents if pod.zone != ISOLATED]
        self._zoning = zoning
        self._groups = _groups(inside)
        self._outside = _outside(zoning)
        self._zones = sorted(self._groups.keys() | self._outside.keys())
        self._pods = len(inside)
        self._sides: dict[_Side, _Ends] = {}
        # Pieces that several pairs of zones share are one object: what they ask isn't compared again for each pair.
        self._of_box: dict[tuple[str, int, bool], _Ends] = {}

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
        box = piece.box
        pods, hosts = self._end(from_zone, box, begins=True)
        to_pods, to_hosts = self._end(to_zone, box, begins=False)
        for sources, destinations in ((pods, (*to_pods, *to_hosts)), (hosts, to_pods)):
            if sources and destinations:
                yield WorkloadChange(from_zone, to_zone, sources, destinations, piece)

    def _end(self, zone: str, box: Box, *, begins: bool) -> _Ends:
        """The boxes outlive this object, so that each has an identity of its own."""
        key = zone, id(box), begins
        known = self._of_box.get(key)
        if known is None:
            known = self._of_box[key] = self._concerned((_source if begins else _destination)(zone, box))
        return known

    def _concerned(self, side: _Side) -> _Ends:
        if side not in self._sides:
            groups = self._groups.get(side.zone, ()) if NO_NODE in side.kinds else ()
            self._sides[side] = (
                tuple(group.workload for group in groups if _concerns(side, group)),
                (Workload(side.zone, "", ""),) if self._concerns_hosts(side) else (),
            )
        return self._sides[side]

    def _concerns_hosts(self, side: _Side) -> bool:
        addresses = self._outside.get(side.zone, NO_ADDRESS)
        kind = NODE if side.zone == self._zoning.nodes else NO_NODE
        named = "" in side.workloads and "" in side.namespaces
        return named and kind in side.kinds and addresses.overlaps(side.addresses)


def _source(zone: str, box: Box) -> _Side:
    names = box.source_workloads, box.source_namespaces
    return _Side(zone, box.sources, *names, box.source_kinds, box.source_nodes)


def _destination(zone: str, box: Box) -> _Side:
    names = box.destination_workloads, box.destination_namespaces
    return _Side(zone, box.destinations, *names, box.destination_kinds, box.destination_nodes)


def _concerns(side: _Side, group: _WorkloadPods) -> bool:
    return (
        group.workload.name in side.workloads
        and group.workload.namespace in side.namespaces
        and any(node in side.nodes for node in group.nodes)
        and (side.addresses == ANY_ADDRESS or group.addresses is None or group.addresses.overlaps(side.addresses))
    )


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
