"""What nodes counted (docs/usage.md), under a candidate. Pure.

A count is of a kind of connection and not of one: of a pod it has the workload and no address, of no client the port.
So it is a box of flows as a piece of the difference is one: the piece holds all of it, some of it, or none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.evidence.seen import Evidence
from bridge.preview.model import LoggedEnd, LoggedFlow, SeenChange, SeenEffect
from bridge.preview.population import Resident
from zones.difference import EVERY_ICMP_TYPE, EVERY_NAME, NO_NODE, NODE, Box, Difference, NameSet, Piece
from zones.difference.boxes import covers, overlap
from zones.net import ALL_PORTS, ANY_ADDRESS, AddressSet, Ranges
from zones.rules import Origin
from zones.seen import SeenEnd, SeenFlow, SeenKey
from zones.workload import normalise

# Properties of a box that a count may not tell, and how people call them.
_DEPENDS = (
    ("sources", "source address"),
    ("destinations", "destination address"),
    ("source_workloads", "source workload"),
    ("destination_workloads", "destination workload"),
    ("source_namespaces", "source namespace"),
    ("destination_namespaces", "destination namespace"),
    ("ports", "port"),
    ("source_ports", "source port"),
    ("icmp_types", "ICMP type"),
    ("source_nodes", "node"),
    ("destination_nodes", "node"),
    ("relations", "node"),
)


def counted_effect(flows: Difference, evidence: Evidence, pods: Sequence[Resident], nodes_zone: str) -> SeenEffect:
    """What the candidate does to what was counted, most connections first.

    `pods`: those that there are, as far as is known: their addresses are those of their workloads. `nodes_zone`: the
    zone of nodes.
    """
    addresses = _addresses(pods)
    changes = []
    for row in evidence.flows:
        source, destination = row.key.source, row.key.destination
        for piece in flows.between(source.zone, destination.zone):
            change = _change(row, piece, addresses, nodes_zone)
            changes += [change] if change is not None else []
    changes.sort(key=lambda change: (-change.flow.connections, change.flow.source.zone, change.flow.destination.zone))
    return SeenEffect(
        flows=len(evidence.flows),
        connections=sum(map(_connections, evidence.flows)),
        since=evidence.since,
        until=evidence.until,
        changes=tuple(changes),
        nodes=tuple(sorted(evidence.nodes)),
        missing=sum(node.missed + node.unattributed + node.held_back for node in evidence.nodes.values()),
        counted=True,
    )


_Workload = tuple[str, str, str]


def _addresses(pods: Iterable[Resident]) -> dict[_Workload, AddressSet]:
    """By zone, namespace and workload; any address where one of its pods' isn't known."""
    addresses: dict[_Workload, AddressSet] = {}
    for pod in pods:
        key = pod.zone, pod.namespace, normalise(pod.workload)
        own = AddressSet.parse(map(str, pod.addresses)) if pod.addresses else ANY_ADDRESS
        addresses[key] = addresses[key] | own if key in addresses else own
    return addresses


def _change(row: SeenFlow, piece: Piece, addresses: dict[_Workload, AddressSet], nodes_zone: str) -> SeenChange | None:
    """None where the piece has nothing of it, or a rule that stays decides before both."""
    if any(rule.origin == row.key.rule for rule in piece.unless):
        return None
    box = _box(row.key, piece, addresses, nodes_zone)
    if not overlap(box, piece.box):
        return None
    depends = () if covers(piece.box, box) else tuple(dict.fromkeys(_missing(box, piece.box)))
    if depends and not any(_is_same(row.key.rule, entry.origin) for entry in (piece.old, piece.new)):
        return None  # it is the other part of the kind: another rule decided on it
    return SeenChange(_flow(row, nodes_zone), piece, depends)


def _is_same(rule: Origin, other: Origin) -> bool:
    """A rule that was renamed or moved keeps its UUID."""
    return rule.uuid == other.uuid if rule.uuid and other.uuid else rule == other


def _missing(box: Box, of_piece: Box) -> Iterable[str]:
    for name, words in _DEPENDS:
        if not covers(of_piece, of_piece._replace(**{name: getattr(box, name)})):
            yield words


def _box(key: SeenKey, piece: Piece, addresses: dict[_Workload, AddressSet], nodes_zone: str) -> Box:
    """Everything that is counted under the key, at any of the piece's times."""
    sources, destinations = _space(key.source, addresses), _space(key.destination, addresses)
    return Box(
        moments=piece.box.moments,
        protocols=Ranges(((key.protocol, key.protocol),)),
        ports=ALL_PORTS if key.port is None else Ranges(((key.port, key.port),)),
        icmp_types=EVERY_ICMP_TYPE if key.icmp_type is None else Ranges(((key.icmp_type, key.icmp_type),)),
        source_workloads=_names(key.source, key.source.workload, nodes_zone),
        destination_workloads=_names(key.destination, key.destination.workload, nodes_zone),
        sources=_of_family(sources, destinations),
        destinations=_of_family(destinations, sources),
        source_kinds=_kinds(key.source, nodes_zone),
        destination_kinds=_kinds(key.destination, nodes_zone),
        source_namespaces=_names(key.source, key.source.namespace, nodes_zone),
        destination_namespaces=_names(key.destination, key.destination.namespace, nodes_zone),
    )


def _is_node(end: SeenEnd, nodes_zone: str) -> bool:
    return end.zone == nodes_zone and not end.namespace and end.network is None


def _names(end: SeenEnd, name: str, nodes_zone: str) -> NameSet:
    """Any where only the zone was counted, as there were too many kinds."""
    if not end.namespace and end.network is None and not _is_node(end, nodes_zone):
        return EVERY_NAME
    return NameSet(frozenset({normalise(name)}))


def _space(end: SeenEnd, addresses: dict[_Workload, AddressSet]) -> AddressSet:
    if end.network is not None:
        return AddressSet.of([end.network])
    return addresses.get((end.zone, end.namespace, normalise(end.workload)), ANY_ADDRESS)


def _of_family(space: AddressSet, other: AddressSet) -> AddressSet:
    """Both ends of a connection are of one IP version."""
    none = Ranges(())
    return AddressSet(space.v4 if other.v4 else none, space.v6 if other.v6 else none)


def _kinds(end: SeenEnd, nodes_zone: str) -> frozenset[str]:
    return frozenset({NODE if _is_node(end, nodes_zone) else NO_NODE})


def _flow(row: SeenFlow, nodes_zone: str) -> LoggedFlow:
    key = row.key
    ends = (_end(key.source, nodes_zone), _end(key.destination, nodes_zone))
    return LoggedFlow(*ends, key.protocol, key.port, key.icmp_type, _connections(row), row.first, row.last)


def _end(end: SeenEnd, nodes_zone: str) -> LoggedEnd:
    is_node = _is_node(end, nodes_zone)
    return LoggedEnd(end.zone, end.network, end.namespace, end.workload, is_node=is_node)


def _connections(row: SeenFlow) -> int:
    """Those that began before anybody counted live all the same."""
    return max(row.connections, row.living)
