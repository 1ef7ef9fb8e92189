"""What the detectors go by: thresholds and windows, each with the default that the documentation gives. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from enforcer.detection.exceptions import ExpectedActivity
from enforcer.detection.hit import Detector
from zones.net import IPAddress

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
METADATA = tuple(map(ip_address, ("169.254.169.254", "fd00:ec2::254")))


@dataclass(frozen=True, slots=True)
class DetectionTerms:
    """Seconds, octets and counts. `capacity`: sources, or workloads, that one detector knows at a time.

    `new_policy`: for so long after a rule was changed what it allows is no news.
    """

    off: frozenset[Detector] = frozenset()
    exceptions: Sequence[ExpectedActivity] = ()
    capacity: int = 50_000
    scan_ports: int = 15
    scan_window: float = 5 * MINUTE
    sweep_addresses: int = 25
    sweep_addresses_outside: int = 100
    sweep_window: float = 5 * MINUTE
    probe_zones: int = 3
    probe_window: float = HOUR
    metadata: frozenset[IPAddress] = frozenset(METADATA)
    learning: float = 7 * DAY
    new_policy: float = HOUR
    contacts: int = 1_000
    sensitive_zones: frozenset[str] = frozenset()
    beacon_connections: int = 24
    beacon_window: float = DAY
    beacon_jitter: float = 0.1
    volume_score: float = 8.0
    volume_octets: int = 100 * 2**20
    volume_history: int = 72
