"""What the SIEM must hear about: the kinds of alerts, how severe each is, and one alert as a record. Pure.

`enforcer.reports.denials` and `enforcer.status.problems` make them; `enforcer.reports.alert_table` says which are sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from zones.siem.records import Json, Stamp, present, timestamp


class AlertKind(StrEnum):
    """What an alert is about: of the nodes, of the bridge, and the last three of both."""

    DENIED_FLOW = "denied-flow"
    BLOCKLIST_HIT = "blocklist-hit"
    ALERT_STORM = "alert-storm"
    TIER_REFUSED = "tier-refused"
    KERNEL_TAMPERED = "kernel-tampered"
    ZONE_UNKNOWN = "zone-unknown"
    ZONE_CLAIMED = "zone-claimed"
    DETECTION = "detection"
    DETECTION_LIMITED = "detection-limited"
    QUARANTINED = "quarantined"
    QUARANTINE_HELD = "quarantine-held"
    ADDRESS_DISPUTED = "address-disputed"
    ADDRESS_MISPLACED = "address-misplaced"
    NETWORK_DISPUTED = "network-disputed"
    LOG_LIMITED = "log-limited"
    NODE_PROBLEM = "node-problem"
    DESTINATION_TROUBLE = "destination-trouble"

    REVISION_REFUSED = "revision-refused"
    MANAGER_REFUSED = "manager-refused"
    CLUSTER_UNREACHABLE = "cluster-unreachable"
    REGISTRATION_FAILED = "registration-failed"
    TIER_DAMAGED = "tier-damaged"
    NODE_OUT_OF_SYNC = "node-out-of-sync"
    NODE_OVERRULED = "node-overruled"
    HISTORY_TAMPERED = "history-tampered"
    REVIEW_DUE = "review-due"
    CONFIGURATION_DRIFT = "configuration-drift"
    CANDIDATE_CHANGES = "candidate-changes"
    QUARANTINE_REFUSED = "quarantine-refused"

    TIER_TAMPERED = "tier-tampered"
    SYNC_STALE = "sync-stale"
    LOG_LOSS = "log-loss"

    @property
    def reason(self) -> str:
        """As Kubernetes writes the reason of an Event: `TierTampered`."""
        return self.value.title().replace("-", "")


OF_BOTH = frozenset({AlertKind.TIER_TAMPERED, AlertKind.SYNC_STALE, AlertKind.LOG_LOSS})
OF_THE_BRIDGE = frozenset(
    {
        AlertKind.REVISION_REFUSED,
        AlertKind.MANAGER_REFUSED,
        AlertKind.CLUSTER_UNREACHABLE,
        AlertKind.REGISTRATION_FAILED,
        AlertKind.TIER_DAMAGED,
        AlertKind.NODE_OUT_OF_SYNC,
        AlertKind.NODE_OVERRULED,
        AlertKind.HISTORY_TAMPERED,
        AlertKind.REVIEW_DUE,
        AlertKind.CONFIGURATION_DRIFT,
        AlertKind.CANDIDATE_CHANGES,
        AlertKind.QUARANTINE_REFUSED,
        *OF_BOTH,
    }
)
OF_THE_NODES = (frozenset(AlertKind) - OF_THE_BRIDGE) | OF_BOTH


class Severity(StrEnum):
    """PAN-OS's words, which SOC analysts know."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


SEVERITIES: Mapping[AlertKind, Severity] = {
    AlertKind.DENIED_FLOW: Severity.MEDIUM,
    AlertKind.BLOCKLIST_HIT: Severity.HIGH,
    AlertKind.ALERT_STORM: Severity.HIGH,
    AlertKind.TIER_REFUSED: Severity.HIGH,
    AlertKind.KERNEL_TAMPERED: Severity.CRITICAL,
    AlertKind.ZONE_UNKNOWN: Severity.MEDIUM,
    AlertKind.ZONE_CLAIMED: Severity.HIGH,
    AlertKind.DETECTION: Severity.HIGH,
    AlertKind.DETECTION_LIMITED: Severity.LOW,
    AlertKind.QUARANTINED: Severity.HIGH,
    AlertKind.QUARANTINE_HELD: Severity.MEDIUM,
    AlertKind.ADDRESS_DISPUTED: Severity.HIGH,
    AlertKind.ADDRESS_MISPLACED: Severity.HIGH,
    AlertKind.NETWORK_DISPUTED: Severity.HIGH,
    AlertKind.LOG_LIMITED: Severity.MEDIUM,
    AlertKind.NODE_PROBLEM: Severity.MEDIUM,
    AlertKind.DESTINATION_TROUBLE: Severity.HIGH,
    AlertKind.REVISION_REFUSED: Severity.HIGH,
    AlertKind.MANAGER_REFUSED: Severity.HIGH,
    AlertKind.CLUSTER_UNREACHABLE: Severity.HIGH,
    AlertKind.REGISTRATION_FAILED: Severity.MEDIUM,
    AlertKind.TIER_DAMAGED: Severity.HIGH,
    AlertKind.NODE_OUT_OF_SYNC: Severity.HIGH,
    AlertKind.NODE_OVERRULED: Severity.HIGH,
    AlertKind.HISTORY_TAMPERED: Severity.HIGH,
    AlertKind.REVIEW_DUE: Severity.MEDIUM,
    AlertKind.CONFIGURATION_DRIFT: Severity.MEDIUM,
    AlertKind.CANDIDATE_CHANGES: Severity.HIGH,
    AlertKind.QUARANTINE_REFUSED: Severity.MEDIUM,
    AlertKind.TIER_TAMPERED: Severity.CRITICAL,
    AlertKind.SYNC_STALE: Severity.HIGH,
    AlertKind.LOG_LOSS: Severity.HIGH,
}


class State(StrEnum):
    """RAISED: it happens. COUNTED: how often it went on happening. RESOLVED: a condition is over."""

    RAISED = "raised"
    COUNTED = "counted"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to tell. `count` is how often it happened in this record's time; `details` is the kind's own."""

    kind: AlertKind
    message: str
    at: float
    details: Mapping[str, object]
    severity: Severity
    state: State = State.RAISED
    count: int = 1
    since: float | None = None

    def record(self, stamp: Stamp) -> Json:
        fields: Json = (
            stamp.record("alert", self.at)
            | {
                "alert": self.kind.value,
                "severity": self.severity.value,
                "state": self.state.value,
                "message": self.message,
                "count": self.count,
                "suppressed": self.count if self.state is State.COUNTED else 0,
            }
            | present(since=None if self.since is None else timestamp(self.since))
            | dict(self.details)
        )
        return fields


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds for a while. `subject` tells it from others of its kind."""

    kind: AlertKind
    subject: str
    message: str
    severity: Severity | None = None

    def alert(self, at: float, state: State, since: float | None = None) -> Alert:
        severity = Severity.INFORMATIONAL if state is State.RESOLVED else self.severity or SEVERITIES[self.kind]
        return Alert(self.kind, self.message, at, {"subject": self.subject}, severity, state, since=since)
