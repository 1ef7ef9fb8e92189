"""Writes the pods' Events to the API server, as they are due. It holds up nothing, and tries again what may arrive.

`enforcer.service` runs it; `enforcer.cluster.pod_events` says what is due.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from enforcer.cluster.pod_events import PodEvents, Series
from zones.kube.errors import ClusterError, ClusterRefusedError, CredentialsError
from zones.runtime.backoff import Backoff
from zones.siem.records import Json

_LOOK_SECONDS = 1.0
_log = structlog.get_logger()


class EventApi(Protocol):
    """Where Events are put up: what `enforcer.cluster.watch` offers."""

    async def post(self, event: Json) -> None: ...


@dataclass(slots=True)
class EventWriter:
    """`written` and `failed` count since the start. `problem`: why Events aren't written, empty where they are."""

    events: PodEvents
    board: EventApi
    backoff: Backoff = field(default_factory=lambda: Backoff(1.0, 300.0))
    written: int = 0
    failed: int = 0
    problem: str = ""

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            try:
                for series in self.events.due():
                    await self._write(series)
                    failures, self.problem = 0, ""
            except ClusterError as error:
                self._complain(error)
                await asyncio.sleep(self.backoff.seconds(failures, error.retry_after))
                failures += 1
            await asyncio.sleep(_LOOK_SECONDS)

    async def _write(self, series: Series) -> None:
        """One that is refused isn't tried again: its namespace is ending, or we lack the right."""
        count = series.count
        try:
            await self.board.post(series.event(self.events.node))
            self.written += 1
        except CredentialsError:  # perhaps they are just being written
            raise
        except ClusterRefusedError:
            self.events.wrote(series, count)
            raise
        self.events.wrote(series, count)

    def _complain(self, error: ClusterError) -> None:
        """Once for each kind of trouble."""
        self.failed += 1
        problem = f"pods are not told why they are denied: {error}"
        if problem != self.problem:
            _log.warning("event of a pod not written", error=str(error))
        self.problem = problem
