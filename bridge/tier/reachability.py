"""Whether a cluster can be worked with: what keeps its API server from answering us is an alert once it lasts.

The cluster itself can't be told, so only the other sinks hear of it. `bridge.service` looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from bridge.alerts import Alerts
from zones.siem.alerts import AlertKind

PATIENCE = 15.0


class ReachabilityMonitor:
    """One cluster's. `patience`: the seconds that a hiccup may last."""

    def __init__(self, alerts: Alerts, clock: Callable[[], float] = time.monotonic, patience: float = PATIENCE) -> None:
        self._alerts = alerts
        self._clock = clock
        self._patience = patience
        self._since: float | None = None
        self._told = False

    async def look(self, trouble: str) -> None:
        """`trouble` is what is wrong at this moment; empty where nothing is."""
        now = self._clock()
        if not trouble:
            self._since, self._told = None, False
            await self._alerts.clear(AlertKind.CLUSTER_UNREACHABLE, "the cluster answers again")
            return
        self._since = now if self._since is None else self._since
        if not self._told and now - self._since >= self._patience:
            self._told = True
            await self._alerts.raise_(AlertKind.CLUSTER_UNREACHABLE, f"the last good tier stays: {trouble}")
