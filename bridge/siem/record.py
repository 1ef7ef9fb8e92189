"""An alert as the SIEM's canonical record, one JSON object with the fields that the nodes' records have. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import quote

from bridge.alerts import Alert, AlertKind, Checkpoint, Severity

Json = dict[str, Any]
LOG_LOSS = "log-loss"
_USUAL_TIER = "panorama"
_ID_DIGITS = 32
_WORD = re.compile(r"(?<!^)(?=[A-Z])")
_SEVERITIES: Mapping[AlertKind, str] = {AlertKind.REGISTRATION_FAILED: "medium", AlertKind.REVIEW_DUE: "medium"}


@dataclass(frozen=True, slots=True)
class Records:
    """This process's mark on its records. `start`, in microseconds, begins its numbers: they rise across restarts.

    `link`: where a site shows a revision, with the places {cluster}, {tier} and {revision}.
    """

    node: str
    start: int
    link: str = ""
    _numbers: Iterator[int] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", count(self.start))

    def of(self, alert: Alert, at: float, since: float) -> Json:
        """`since` is when its trouble was first told."""
        record = (
            self._stamped(alert.cluster, at)
            | {
                "alert": name(alert.kind),
                "severity": severity(alert),
                "state": "resolved" if alert.over else "raised",
                "message": alert.message,
                "count": 1,
                "suppressed": 0,
                "since": timestamp(since),
                "subject": alert.tier,
                "tier": alert.tier,
            }
            | self._configuration(alert)
        )
        return record | ({"about": dict(alert.about)} if alert.about else {})

    def _configuration(self, alert: Alert) -> Json:
        """What shows the configuration of the alert's moment: a command, and the site's address."""
        if not alert.revision:
            return {}
        tier = "" if alert.tier == _USUAL_TIER else f" --tier {alert.tier}"
        shown: Json = {"revision": alert.revision, "configuration": f"zonebridge show {alert.revision}{tier}"}
        if self.link:
            places = {"cluster": alert.cluster, "tier": alert.tier, "revision": str(alert.revision)}
            shown["configurationUrl"] = self.link.format_map({name: quote(text, "") for name, text in places.items()})
        return shown

    def checkpoint(self, cluster: str, tier: str, checkpoint: Checkpoint, at: float) -> Json:
        """It is no alert: nothing is wrong."""
        in_force = f"revision {checkpoint.revision} of tier {tier} is in force"
        return self._stamped(cluster, at, "checkpoint") | {
            "severity": "informational",
            "message": f"{in_force}; the chain digest of its history is {checkpoint.chain}",
            "tier": tier,
            **asdict(checkpoint),
        }

    def loss(self, cluster: str, destination: str, lost: int, at: float, since: float) -> Json:
        """So many alerts never reached a destination."""
        return self._stamped(cluster, at) | {
            "alert": LOG_LOSS,
            "severity": "high",
            "state": "counted",
            "message": f"{lost} alerts of the bridge were dropped: {destination} did not take them in time",
            "count": lost,
            "suppressed": 0,
            "since": timestamp(since),
            "subject": destination,
        }

    def _stamped(self, cluster: str, at: float, kind: str = "alert") -> Json:
        sequence = next(self._numbers)
        text = "\0".join((cluster, self.node, str(self.start), str(sequence)))
        return {
            "kind": kind,
            "id": hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS],
            "time": timestamp(at),
            "cluster": cluster,
            "node": self.node,
            "sequence": sequence,
        }


def name(kind: AlertKind) -> str:
    """`TierTampered` as `tier-tampered`."""
    return _WORD.sub("-", kind.value).lower()


def severity(alert: Alert) -> str:
    if alert.over:
        return "informational"
    if alert.severity is Severity.CRITICAL:
        return "critical"
    return "low" if alert.severity is Severity.INFO else _SEVERITIES.get(alert.kind, "high")


def timestamp(at: float) -> str:
    """RFC 3339 in UTC with microseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
