"""What a site expects: activity of these ends is no hit, until a day, for a reason that somebody answers for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from enforcer.detection.hit import Detector
from enforcer.flows.flows import FlowEnd
from zones.net import IPAddress, IPNetwork
from zones.seen import SeenEnd


@dataclass(frozen=True, slots=True)
class ExpectedEnd:
    """One end; what is empty is any."""

    zone: str = ""
    namespace: str = ""
    workload: str = ""
    network: IPNetwork | None = None

    def matches(self, end: FlowEnd | SeenEnd) -> bool:
        if self.zone not in {"", end.zone} or self.namespace not in {"", end.namespace}:
            return False
        if self.workload not in {"", end.workload}:
            return False
        address = address_of(end)
        if self.network is None:
            return True
        return address is not None and address.version == self.network.version and address in self.network


@dataclass(frozen=True, slots=True)
class ExpectedActivity:
    """`detectors`: none for all. `until`: the last day on which it holds, in UTC."""

    reason: str
    owner: str
    until: date
    detectors: frozenset[Detector] = frozenset()
    source: ExpectedEnd = ExpectedEnd()
    destination: ExpectedEnd = ExpectedEnd()
    port: int | None = None

    def covers(
        self, detector: Detector, source: FlowEnd | SeenEnd, destination: FlowEnd | SeenEnd, port: int | None, day: date
    ) -> bool:
        if day > self.until or (self.detectors and detector not in self.detectors):
            return False
        if self.port not in {None, port}:
            return False
        return self.source.matches(source) and self.destination.matches(destination)


def address_of(end: FlowEnd | SeenEnd) -> IPAddress | None:
    """The address of an end, where it is known."""
    if isinstance(end, FlowEnd):
        return end.address
    return None if end.network is None else end.network.network_address
