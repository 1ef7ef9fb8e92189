"""What a node looks for in its connections, and what a site expects: the section `detection` of its settings."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, IPvAnyAddress, IPvAnyNetwork, model_validator

from enforcer.detection.exceptions import ExpectedActivity, ExpectedEnd
from enforcer.detection.hit import Detector
from enforcer.detection.terms import DAY, HOUR, METADATA, MINUTE, DetectionTerms
from zones.indicators import FeedFields, FeedForm
from zones.runtime.types import Name, Seconds, Section

_Text = Annotated[str, Field(max_length=253)]
_Count = Annotated[int, Field(ge=2, le=10_000)]


class ExpectedEndSettings(Section):
    """One end; what is left out is any."""

    zone: _Text = ""
    namespace: _Text = ""
    workload: _Text = ""
    network: IPvAnyNetwork | None = None

    def end(self) -> ExpectedEnd:
        return ExpectedEnd(self.zone, self.namespace, self.workload, self.network)


class ExceptionSettings(Section):
    """What is expected: why, who answers for it, and the last day on which it is. `detectors`: none for all."""

    reason: Annotated[str, Field(min_length=1, max_length=300)]
    owner: Annotated[str, Field(min_length=1, max_length=253)]
    until: date
    detectors: tuple[Detector, ...] = ()
    source: ExpectedEndSettings = Field(default=ExpectedEndSettings(), alias="from")
    destination: ExpectedEndSettings = Field(default=ExpectedEndSettings(), alias="to")
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if self.source == self.destination == ExpectedEndSettings() and self.port is None:
            raise ValueError("it expects everything: give from, to or port, or name the detectors in detection.off")
        return self

    def activity(self) -> ExpectedActivity:
        ends = self.source.end(), self.destination.end()
        return ExpectedActivity(self.reason, self.owner, self.until, frozenset(self.detectors), *ends, self.port)


class IndicatorFeedSettings(Section):
    """A file of bad addresses, read again when it changes. `fields`: where JSON lines and CSV have what."""

    name: Name
    file: Path
    format: FeedForm = FeedForm.TEXT
    address: Annotated[str, Field(min_length=1, max_length=100)] = "ip"
    label: Annotated[str, Field(max_length=100)] = ""
    confidence: Annotated[str, Field(max_length=100)] = ""
    until: Annotated[str, Field(max_length=100)] = ""
    least_confidence: Annotated[int, Field(ge=0, le=100)] = 0

    @property
    def fields(self) -> FeedFields:
        return FeedFields(self.address, self.label, self.confidence, self.until)


class ScanSettings(Section):
    """So many ports of one address that one source is denied."""

    ports: _Count = 15
    window: Seconds = 5 * MINUTE


class SweepSettings(Section):
    """So many addresses that one source is denied on one port; `outside`: where the source is no pod."""

    addresses: _Count = 25
    outside: _Count = 100
    window: Seconds = 5 * MINUTE


class ProbeSettings(Section):
    """So many zones that one workload is denied, and never let into."""

    zones: _Count = 3
    window: Seconds = HOUR


class ContactSettings(Section):
    """How long it is learnt with whom a workload speaks outside, and of which zones somebody new is worth more."""

    learning: Seconds = 7 * DAY
    sensitive_zones: tuple[_Text, ...] = ()


class BeaconSettings(Section):
    """So many connections of one workload to one address, at even times and of even size: MAD over median."""

    connections: Annotated[int, Field(ge=4, le=1_000)] = 24
    window: Seconds = DAY
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.1


class VolumeSettings(Section):
    """An hour of a workload's traffic with the outside: so many deviations from the usual, and so many bytes."""

    score: Annotated[float, Field(gt=0)] = 8.0
    mebibytes: Annotated[int, Field(ge=1)] = 100
    hours: Annotated[int, Field(ge=12, le=168)] = 72


class DetectionSettings(Section):
    """What is looked for, from when on it is told, and what is expected. Without this section nothing is."""

    off: tuple[Detector, ...] = ()
    port_scan: ScanSettings = ScanSettings()
    address_sweep: SweepSettings = SweepSettings()
    zone_probe: ProbeSettings = ProbeSettings()
    first_contact: ContactSettings = ContactSettings()
    beacon: BeaconSettings = BeaconSettings()
    outbound_volume: VolumeSettings = VolumeSettings()
    metadata_addresses: tuple[IPvAnyAddress, ...] = METADATA
    new_policy: Seconds = HOUR
    max_entries: Annotated[int, Field(ge=100, le=1_000_000)] = 50_000
    exceptions: tuple[ExceptionSettings, ...] = ()
    indicators: tuple[IndicatorFeedSettings, ...] = ()

    def terms(self) -> DetectionTerms:
        return DetectionTerms(
            off=frozenset(self.off),
            exceptions=tuple(exception.activity() for exception in self.exceptions),
            capacity=self.max_entries,
            scan_ports=self.port_scan.ports,
            scan_window=self.port_scan.window,
            sweep_addresses=self.address_sweep.addresses,
            sweep_addresses_outside=self.address_sweep.outside,
            sweep_window=self.address_sweep.window,
            probe_zones=self.zone_probe.zones,
            probe_window=self.zone_probe.window,
            metadata=frozenset(self.metadata_addresses),
            learning=self.first_contact.learning,
            sensitive_zones=frozenset(self.first_contact.sensitive_zones),
            new_policy=self.new_policy,
            beacon_connections=self.beacon.connections,
            beacon_window=self.beacon.window,
            beacon_jitter=self.beacon.jitter,
            volume_score=self.outbound_volume.score,
            volume_octets=self.outbound_volume.mebibytes * 2**20,
            volume_history=self.outbound_volume.hours,
        )
