"""Scans, as policies see them: what one source was denied, by ports, by addresses, by zones. Pure.

Sources are workloads, not pods, so that a rollout is no new one; what is no pod's is known by its address.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from enforcer.detection.hit import Detector, Hit
from enforcer.detection.terms import DetectionTerms
from enforcer.detection.windows import DistinctTargets
from enforcer.flows.flows import SERVICE_ZONE, UNKNOWN_ZONE, FlowEnd, NamedPacket, origin_json
from zones.net import IPAddress, protocol_name
from zones.siem.records import Json, present

_NO_ZONES = frozenset({UNKNOWN_ZONE, SERVICE_ZONE})
Workload = tuple[str, str]


@dataclass(slots=True)
class Scans:
    """`opens`: whether some rule allows something from one zone to another."""

    terms: DetectionTerms
    opens: Callable[[str, str], bool] = lambda _from_zone, _to_zone: False
    ports: DistinctTargets[Hashable, tuple[int, int]] = field(init=False)
    addresses: DistinctTargets[Hashable, IPAddress] = field(init=False)
    zones: DistinctTargets[Workload, str] = field(init=False)

    def __post_init__(self) -> None:
        terms = self.terms
        self.ports = DistinctTargets(terms.scan_window, terms.capacity)
        self.addresses = DistinctTargets(terms.sweep_window, terms.capacity)
        self.zones = DistinctTargets(terms.probe_window, terms.capacity)

    @property
    def evicted(self) -> int:
        return self.ports.evicted + self.addresses.evicted + self.zones.evicted

    def denied(self, named: NamedPacket, now: float, watched: frozenset[Detector]) -> Iterator[Hit]:
        """By the first packet of a denied flow. `watched`: the detectors that count it."""
        if named.port is not None:
            if Detector.PORT_SCAN in watched:
                yield from self._port_scan(named, named.port, now)
            if Detector.ADDRESS_SWEEP in watched:
                yield from self._address_sweep(named, named.port, now)
        if Detector.ZONE_PROBE in watched and named.source.workload:
            yield from self._zone_probe(named, now)

    def _port_scan(self, named: NamedPacket, port: int, now: float) -> Iterator[Hit]:
        source, at, threshold = named.source, named.destination.address, self.terms.scan_ports
        targets = self.ports.add((identity(source), at), (named.seen.protocol, port), now, threshold)
        if targets:
            yield Hit(
                Detector.PORT_SCAN,
                f"{label(source)} to {at}",
                f"{label(source)} was denied on {len(targets)} ports of {label(named.destination)} {at}",
                end_json(source),
                end_json(named.destination, address=True),
                len(targets),
                threshold,
                self.terms.scan_window,
                [f"{protocol_name(protocol)}/{number}" for protocol, number in targets],
                {"rule": origin_json(named.seen.origin)},
            )

    def _address_sweep(self, named: NamedPacket, port: int, now: float) -> Iterator[Hit]:
        source, protocol = named.source, named.seen.protocol
        threshold = self.terms.sweep_addresses if source.workload else self.terms.sweep_addresses_outside
        targets = self.addresses.add((identity(source), protocol, port), named.destination.address, now, threshold)
        if targets:
            what = f"{protocol_name(protocol)}/{port}"
            yield Hit(
                Detector.ADDRESS_SWEEP,
                f"{label(source)} {what}",
                f"{label(source)} was denied at {len(targets)} addresses on {what}",
                end_json(source),
                {"port": port},
                len(targets),
                threshold,
                self.terms.sweep_window,
                list(map(str, targets)),
                {"rule": origin_json(named.seen.origin), "protocol": protocol_name(protocol)},
            )

    def _zone_probe(self, named: NamedPacket, now: float) -> Iterator[Hit]:
        source, zone = named.source, named.destination.zone
        workload = source.namespace, source.workload
        if zone == source.zone or zone in _NO_ZONES or self.opens(source.zone, zone):
            return
        targets = self.zones.add(workload, zone, now, self.terms.probe_zones)
        if targets:
            zones = f"{len(targets)} zones to which its zone is allowed nothing: {', '.join(targets)}"
            yield Hit(
                Detector.ZONE_PROBE,
                label(source),
                f"{label(source)} was denied towards {zones}",
                end_json(source),
                {},
                len(targets),
                self.terms.probe_zones,
                self.terms.probe_window,
                targets,
                {"rule": origin_json(named.seen.origin)},
            )


def identity(end: FlowEnd) -> Hashable:
    return (end.namespace, end.workload) if end.workload else end.address


def label(end: FlowEnd) -> str:
    return f"{end.namespace}/{end.workload}" if end.workload else end.node or str(end.address)


def end_json(end: FlowEnd, *, address: bool = False) -> Json:
    """An end by its workload; `address`: where one pod of it is meant."""
    shown = str(end.address) if address or not end.workload else None
    return present(
        zone=end.zone, namespace=end.namespace, workload=end.workload, pod=end.pod, node=end.node, address=shown
    )
