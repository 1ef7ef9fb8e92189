"""The detectors by name, which ATT&CK technique each is evidence of, and what one has found. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from zones.siem.alerts import Alert, AlertKind, Severity
from zones.siem.records import Json, present

ATTACK_VERSION = "18"
"""Of ATT&CK, by which the techniques are numbered and named."""
MOST_TARGETS = 20


class Detector(StrEnum):
    """What is looked for."""

    PORT_SCAN = "port-scan"
    ADDRESS_SWEEP = "address-sweep"
    ZONE_PROBE = "zone-probe"
    METADATA_ACCESS = "metadata-access"
    FIRST_CONTACT = "first-contact"
    OUTBOUND_VOLUME = "outbound-volume"
    BEACON = "beacon"
    INDICATOR_HIT = "indicator-hit"


TECHNIQUES: Mapping[Detector, tuple[str, str]] = {
    Detector.PORT_SCAN: ("T1046", "Network Service Discovery"),
    Detector.ADDRESS_SWEEP: ("T1018", "Remote System Discovery"),
    Detector.ZONE_PROBE: ("T1021", "Remote Services"),
    Detector.METADATA_ACCESS: ("T1552.005", "Unsecured Credentials: Cloud Instance Metadata API"),
    Detector.FIRST_CONTACT: ("T1071", "Application Layer Protocol"),
    Detector.OUTBOUND_VOLUME: ("T1048", "Exfiltration Over Alternative Protocol"),
    Detector.BEACON: ("T1071", "Application Layer Protocol"),
    Detector.INDICATOR_HIT: ("T1071", "Application Layer Protocol"),
}
SEVERITY: Mapping[Detector, Severity] = {
    Detector.PORT_SCAN: Severity.HIGH,
    Detector.ADDRESS_SWEEP: Severity.HIGH,
    Detector.ZONE_PROBE: Severity.HIGH,
    Detector.METADATA_ACCESS: Severity.MEDIUM,
    Detector.FIRST_CONTACT: Severity.INFORMATIONAL,
    Detector.OUTBOUND_VOLUME: Severity.MEDIUM,
    Detector.BEACON: Severity.INFORMATIONAL,
    Detector.INDICATOR_HIT: Severity.HIGH,
}


@dataclass(frozen=True, slots=True)
class Hit:
    """What a detector found. `value` reached `threshold` within `window` seconds; `targets`: some of what it was.

    `source` and `destination` are as in a record; `evidence` is the detector's own. `severity`: None for the usual one.
    """

    detector: Detector
    subject: str
    message: str
    source: Json
    destination: Json = field(default_factory=dict)
    value: float = 1
    threshold: float = 1
    window: float | None = None
    targets: Sequence[str] = ()
    evidence: Json = field(default_factory=dict)
    severity: Severity | None = None

    def alert(self, at: float) -> Alert:
        technique, name = TECHNIQUES[self.detector]
        details = {
            "subject": f"{self.detector.value}: {self.subject}",
            "detector": self.detector.value,
            "value": self.value,
            "threshold": self.threshold,
            "attack": {"version": ATTACK_VERSION, "technique": technique, "name": name},
        } | present(
            source=self.source,
            destination=self.destination,
            windowSeconds=self.window,
            targets=list(self.targets[:MOST_TARGETS]),
        )
        severity = self.severity or SEVERITY[self.detector]
        return Alert(AlertKind.DETECTION, self.message, at, details | self.evidence, severity)
