"""The bridge's own alerts: told once when trouble begins or changes, and once when it ends. It never stops a pass.

`bridge.sync` raises and clears them; a sink carries them out (the log, a Kubernetes Event, later the SIEM).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import structlog

from bridge.cluster import TierCluster
from bridge.errors import ClusterError

_log = structlog.get_logger()


class AlertKind(StrEnum):
    """What an alert is about; also the reason of its Kubernetes Event."""

    REVISION_REFUSED = "RevisionRefused"
    SYNC_STALE = "SyncStale"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `over` says that its trouble has ended."""

    kind: AlertKind
    cluster: str
    tier: str
    message: str
    over: bool = False


class Sink(Protocol):
    """Where alerts go."""

    async def send(self, alert: Alert) -> None: ...


class LogSink:
    """Alerts as structured log lines."""

    async def send(self, alert: Alert) -> None:
        say = _log.info if alert.over else _log.error
        say("alert", alert=alert.kind, cluster=alert.cluster, tier=alert.tier, message=alert.message, over=alert.over)


@dataclass(frozen=True, slots=True)
class EventSink:
    """Alerts as Kubernetes Events about the Tier. One that can't be recorded is logged."""

    cluster: TierCluster

    async def send(self, alert: Alert) -> None:
        reason = f"{alert.kind}Over" if alert.over else str(alert.kind)
        try:
            await self.cluster.record(alert.tier, reason, alert.message, warning=not alert.over)
        except ClusterError as error:
            _log.warning("event not recorded", cluster=alert.cluster, reason=reason, error=str(error))


@dataclass(slots=True)
class Alerts:
    """What is wrong at the moment with one cluster's tier."""

    cluster: str
    tier: str
    sinks: Sequence[Sink]
    _current: dict[AlertKind, str] = field(default_factory=dict)

    async def raise_(self, kind: AlertKind, message: str) -> None:
        """Tell it, unless just that has been told."""
        if self._current.get(kind) != message:
            self._current[kind] = message
            await self._send(Alert(kind, self.cluster, self.tier, message))

    async def clear(self, kind: AlertKind, message: str) -> None:
        """Tell that it is over, where it was told."""
        if self._current.pop(kind, None) is not None:
            await self._send(Alert(kind, self.cluster, self.tier, message, over=True))

    async def _send(self, alert: Alert) -> None:
        for sink in self.sinks:
            await sink.send(alert)
