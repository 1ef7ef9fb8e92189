"""Keeps this node's NodeState true: as soon as what it says changes, and now and then, since who is silent is missed.

`enforcer.service` runs it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from enforcer.service_parts import ServiceParts
from enforcer.status import status
from zones.kube.errors import ClusterError
from zones.runtime.backoff import Backoff
from zones.siem.records import Json

_TICK, _HEARTBEAT = 1.0, 300.0
_log = structlog.get_logger()


@dataclass(slots=True)
class NodeStateWriter:
    """`standing`: what there is to say now. `problem`: why it can't be written, empty where it can."""

    parts: ServiceParts
    standing: Callable[[], Json]
    backoff: Backoff
    problem: str = ""
    _told: Json | None = None
    _told_at: float = 0.0
    _failures: int = 0

    async def run(self) -> None:
        """Until cancelled."""
        noted = self.parts.enforcement.noted
        while True:
            noted.clear()
            kubelet = None if self.parts.kubelet is None else self.parts.kubelet.state
            current = status.node_state(self.standing(), kubelet)
            if current != self._told or time.monotonic() - self._told_at >= _HEARTBEAT:
                await self._write(current)
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await noted.wait()

    async def _write(self, current: Json) -> None:
        reported = current | {"reportedAt": datetime.now(UTC).isoformat(timespec="seconds")}
        try:
            await self.parts.cluster.report(self.parts.settings.node_name, reported)
            self._told, self._told_at, self._failures = current, time.monotonic(), 0
            self.problem = ""
        except ClusterError as error:
            problem = f"the NodeState can't be written: {error}"
            if problem != self.problem:
                _log.warning("node state not written", error=str(error))
            self.problem = problem
            await asyncio.sleep(self.backoff.seconds(self._failures, error.retry_after))
            self._failures += 1
