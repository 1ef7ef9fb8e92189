"""An alert as the SIEM's canonical record, one JSON object with the fields that the nodes' records have. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import count

from bridge.alerts import Checkpoint, EvidenceCheckpoint, TierAlert
from zones.siem.alerts import SEVERITIES, Alert, AlertKind, Severity, State
from zones.siem.configuration import configuration_of
from zones.siem.records import Json, Stamp


@dataclass(frozen=True, slots=True)
class RecordStamp:
    """This process's mark on its records. `start`, in microseconds, begins its numbers: they rise across restarts.

    `link`: where a site shows a revision, with the places {cluster}, {tier} and {revision}.
    """

    node: str
    start: int
    link: str = ""
    _numbers: Iterator[int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", count(self.start))

    def of(self, alert: TierAlert, at: float, since: float) -> Json:
        """`since` is when its trouble was first told."""
        details: Json = {"subject": alert.subject or alert.tier, "tier": alert.tier, **self._configuration(alert)}
        if alert.about:
            details["about"] = dict(alert.about)
        state = State.RESOLVED if alert.over else State.RAISED
        entry = Alert(alert.kind, alert.message, at, details, alert.level, state, since=since)
        return entry.record(self._stamp(alert.cluster))

    def _configuration(self, alert: TierAlert) -> Json:
        """What shows the configuration of the alert's moment: a command, and the site's address."""
        return configuration_of(alert.cluster, alert.tier, alert.revision, self.link)

    def checkpoint(self, cluster: str, tier: str, checkpoint: Checkpoint | EvidenceCheckpoint, at: float) -> Json:
        """It is no alert: nothing is wrong."""
        if isinstance(checkpoint, EvidenceCheckpoint):
            message = f"the evidence up to {checkpoint.day} is sealed; its chain digest is {checkpoint.chain}"
        else:
            in_force = f"revision {checkpoint.revision} of tier {tier} is in force"
            message = f"{in_force}; the chain digest of its history is {checkpoint.chain}"
        return self._stamp(cluster).record("checkpoint", at) | {
            "severity": Severity.INFORMATIONAL.value,
            "message": message,
            "tier": tier,
            **asdict(checkpoint),
        }

    def loss(self, cluster: str, destination: str, lost: int, at: float, since: float) -> Json:
        """So many alerts never reached a destination. They were not held back, so none counts as suppressed."""
        message = f"{lost} alerts of the bridge were dropped: {destination} did not take them in time"
        kind = AlertKind.LOG_LOSS
        entry = Alert(kind, message, at, {"subject": destination}, SEVERITIES[kind], State.COUNTED, lost, since)
        return entry.record(self._stamp(cluster)) | {"suppressed": 0}

    def _stamp(self, cluster: str) -> Stamp:
        """All clusters' records are numbered in one order."""
        return Stamp(cluster, self.node, str(self.start), self.start, self._numbers)
