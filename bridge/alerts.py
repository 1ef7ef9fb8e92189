"""The bridge's own alerts: told when trouble begins or changes, and once when it ends. It never stops a pass for long.

`bridge.tier.sync` raises and clears them; a sink carries them out (the log, a Kubernetes Event, the SIEM).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

import structlog

from bridge.tier.cluster import TierCluster
from zones.kube.errors import ClusterError
from zones.siem.alerts import SEVERITIES, AlertKind, Severity

_log = structlog.get_logger()
# An event that the API server doesn't take must not keep a changed tier from being put back.
EVENT_SECONDS = 2.0


HAPPENINGS = frozenset({AlertKind.CANDIDATE_CHANGES, AlertKind.QUARANTINE_REFUSED})
"""What is told once and doesn't last: nobody is reminded of it, and nothing ends it."""
REMINDED_DAILY = frozenset({AlertKind.CONFIGURATION_DRIFT})
"""What lasts, and is of many subjects: told again once a day, not each hour."""


# Here, what others changed is put back at once; a node says `critical`, as the tier that it reads is not the bridge's.
_SEVERITIES = {**SEVERITIES, AlertKind.TIER_TAMPERED: Severity.HIGH}


@dataclass(frozen=True, slots=True)
class TierAlert:
    """One alert of a cluster's tier. `over` says that its trouble has ended; `about` has the message's facts as data.

    `severity`: another than its kind's. `subject`: what it is about, where that isn't the tier.
    """

    kind: AlertKind
    cluster: str
    tier: str
    message: str
    over: bool = False
    severity: Severity | None = None
    about: Mapping[str, object] = field(default_factory=dict)
    revision: int = 0
    subject: str = ""

    @property
    def level(self) -> Severity:
        """How severe it is; that something is over is no trouble."""
        if self.over:
            return Severity.INFORMATIONAL
        return self.severity or _SEVERITIES[self.kind]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What somebody outside must know of a history to see that it was written anew: the newest revision in force.

    `kept`: how many records there are, `first` the number of the oldest.
    """

    revision: int
    digest: str
    chain: str
    position: int
    kept: int
    first: int


@dataclass(frozen=True, slots=True)
class EvidenceCheckpoint:
    """What somebody outside must know of the evidence database: the last day (UTC) that is sealed, and its chain."""

    day: str
    chain: str


class Sink(Protocol):
    """Where alerts go, and checkpoints of the history and of the evidence of a cluster's tier."""

    async def send(self, alert: TierAlert) -> None: ...

    async def checkpoint(self, cluster: str, tier: str, checkpoint: Checkpoint | EvidenceCheckpoint) -> None: ...


class LogSink:
    """Alerts as structured log lines."""

    async def send(self, alert: TierAlert) -> None:
        say = {Severity.CRITICAL: _log.critical, Severity.INFORMATIONAL: _log.info, Severity.LOW: _log.info}
        say.get(alert.level, _log.error)(
            "alert",
            alert=alert.kind.reason,
            cluster=alert.cluster,
            tier=alert.tier,
            message=alert.message,
            over=alert.over,
            **({"about": alert.about} if alert.about else {}),
        )

    async def checkpoint(self, cluster: str, tier: str, checkpoint: Checkpoint | EvidenceCheckpoint) -> None:
        _log.info("checkpoint", cluster=cluster, tier=tier, **asdict(checkpoint))


@dataclass(frozen=True, slots=True)
class EventSink:
    """Alerts as Kubernetes Events about the Tier. One that can't be recorded is logged."""

    cluster: TierCluster

    async def send(self, alert: TierAlert) -> None:
        reason = f"{alert.kind.reason}Over" if alert.over else alert.kind.reason
        try:
            async with asyncio.timeout(EVENT_SECONDS):
                await self.cluster.record(alert.tier, reason, alert.message, warning=not alert.over)
        except (ClusterError, TimeoutError) as error:
            problem = str(error) or "no answer in time"
            _log.warning("event not recorded", cluster=alert.cluster, reason=reason, error=problem)

    async def checkpoint(self, cluster: str, tier: str, checkpoint: Checkpoint | EvidenceCheckpoint) -> None:
        """Events don't last: they prove nothing."""


@dataclass(slots=True)
class Alerts:
    """What is wrong at the moment with one cluster's tier. `revision`: the recorded one in force, 0 for none known."""

    cluster: str
    tier: str
    sinks: Sequence[Sink]
    revision: int = 0
    _current: dict[tuple[AlertKind, str], str] = field(default_factory=dict)

    async def raise_(
        self,
        kind: AlertKind,
        message: str,
        about: Mapping[str, object] | None = None,
        *,
        subject: str = "",
        severity: Severity | None = None,
    ) -> None:
        """Tell it, unless just that has been told. `subject`: where there may be several of a kind."""
        if self._current.get((kind, subject)) != message:
            self._current[kind, subject] = message
            alert = TierAlert(kind, self.cluster, self.tier, message, about=about or {})
            await self._send(replace(alert, subject=subject, severity=severity))

    async def tell(self, kind: AlertKind, message: str, severity: Severity, about: Mapping[str, object]) -> None:
        """Tell it, each time: it has happened again."""
        self._current[kind, ""] = message
        await self._send(TierAlert(kind, self.cluster, self.tier, message, severity=severity, about=about))

    async def clear(self, kind: AlertKind, message: str, *, subject: str = "") -> None:
        """Tell that it is over, where it was told."""
        if self._current.pop((kind, subject), None) is not None:
            await self._send(TierAlert(kind, self.cluster, self.tier, message, over=True, subject=subject))

    async def checkpoint(self, checkpoint: Checkpoint | EvidenceCheckpoint) -> None:
        for sink in self.sinks:
            await sink.checkpoint(self.cluster, self.tier, checkpoint)

    async def _send(self, alert: TierAlert) -> None:
        alert = replace(alert, revision=self.revision)
        for sink in self.sinks:
            await sink.send(alert)
