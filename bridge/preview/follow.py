"""Keeps a preview ready while Panorama's candidate differs from what is committed, and tells the SIEM once of each.

It reads only; what keeps it from a preview never keeps a pass from publishing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import structlog

from bridge.alerts import Alerts
from bridge.compilation import worker_process
from bridge.compilation.recompile import CompiledReading, CompileTarget, FeedSource, RunBlocking
from bridge.errors import BridgeError, UnknownDeviceGroupError
from bridge.evidence.seen import Evidence
from bridge.guard_rail import GuardRail
from bridge.listeners.preview import PreviewAnswer, nothing_pending
from bridge.managers import Editor
from bridge.population.picture import Population
from bridge.preview.population import Resident
from bridge.preview.prepared import ComparisonInput, Prepared, prepare
from zones.rules import Rulebase
from zones.runtime.errors import ZonebridgeError
from zones.siem.alerts import AlertKind, Severity

_log = structlog.get_logger()
# A candidate may change without its list of changes showing that: it is read again after so many seconds.
READ_AGAIN = 300.0


class PendingChanges(Protocol):
    """What differs from the running configuration. `version` changes with what is known of it."""

    @property
    def version(self) -> str: ...
    @property
    def editors(self) -> tuple[Editor, ...]: ...


class CandidateManager(Protocol):
    """What is needed of a manager that has a candidate. Calls block."""

    def pending(self) -> PendingChanges | None: ...
    def candidate(self) -> Rulebase: ...


Make = Callable[[ComparisonInput], Awaitable[Prepared]]


async def in_a_process(question: ComparisonInput) -> Prepared:
    """Raises WorkerError."""
    return await asyncio.to_thread(worker_process.run, prepare, question, worker_process.Bounds())


def residents_of(population: Population) -> Iterator[Resident]:
    """The pods of a cluster that hold addresses."""
    for member in population.members():
        pod = member.pod
        yield Resident(pod.namespace, pod.name, member.zone, pod.workload, pod.addresses, pod.node)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the material comes from: the manager, the running configuration as it was last read, feeds and pods.

    `seen`: what nodes counted, None where nobody collects that; it blocks, and raises BridgeError. `own_admin`: as whom
    this bridge writes to the manager.
    """

    target: CompileTarget
    manager: CandidateManager
    reading: Callable[[], CompiledReading | None]
    feeds: FeedSource
    residents: Callable[[], Iterable[Resident]]
    run_blocking: RunBlocking
    rails: tuple[GuardRail, ...] = ()
    seen: Callable[[], Evidence | None] = lambda: None
    own_admin: str | None = None

    def is_own(self, pending: PendingChanges) -> bool:
        """Whether nobody but this bridge edits."""
        return self.own_admin is not None and {editor.admin for editor in pending.editors} == {self.own_admin}


@dataclass(slots=True)
class Previewing:
    """One cluster's, looked at each `interval` seconds.

    `ready` is the newest preview, None while nothing differs; `trouble`: why there is no newer one.
    """

    sources: Sources
    alerts: Alerts
    interval: float = 60.0
    make: Make = in_a_process
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] = time.monotonic
    looked: bool = False
    ready: Prepared | None = None
    trouble: str = ""
    _made_of: tuple[object, ...] = ()
    _read_at: float = 0.0
    _told: str = field(default="")

    def answer(self, cluster: str) -> PreviewAnswer:
        """What is served of it now."""
        reading = self.sources.reading()
        if self.ready is not None:
            digests = self.ready.running_digest, self.ready.candidate_digest, self.ready.seen_digest
            tag = "-".join(filter(None, digests))
            stale = f'"trouble": {json.dumps(self.trouble)}, ' if self.trouble else ""
            head = f'{{"cluster": {json.dumps(cluster)}, "pending": true, {stale}'
            return PreviewAnswer(head + self.ready.text.removeprefix("{"), tag, page=self.ready.page)
        if self.trouble or not self.looked or reading is None:
            return PreviewAnswer(unavailable=self.trouble or "the candidate was not looked at yet")
        return nothing_pending(cluster, reading.version)

    async def look(self) -> None:
        """Make a preview where there is something new to compare. Nothing but cancellation escapes."""
        try:
            await self._look()
        except (ZonebridgeError, worker_process.WorkerError) as error:
            if str(error) != self.trouble:
                _log.warning("no preview of the candidate", error=str(error))
            self.trouble = str(error)

    async def _look(self) -> None:
        sources, reading = self.sources, self.sources.reading()
        if reading is None:
            return
        pending = await sources.run_blocking(sources.manager.pending)
        self.looked = True
        if pending is None:
            self.ready, self.trouble, self._made_of = None, "", ()
            return
        made_of = (reading.version, reading.feeds_version, reading.infrastructure, pending.version, pending.editors)
        if made_of == self._made_of and self.clock() - self._read_at < READ_AGAIN:
            self.trouble = ""
            return
        try:
            candidate = await sources.run_blocking(sources.manager.candidate)
        except UnknownDeviceGroupError as error:
            raise BridgeError(f"the candidate has no such device group any more: {error}") from error
        target, evidence = sources.target, await self._evidence()
        prepared = await self.make(
            ComparisonInput(
                running=reading.rulebase,
                candidate=candidate,
                at=self.now(),
                zoning=target.zoning,
                options=target.options,
                infrastructure=reading.infrastructure,
                feeds=dict(sources.feeds.contents()),
                residents=tuple(sources.residents()),
                rails=sources.rails,
                editors=pending.editors,
                versions=(reading.version, f"{reading.version}+{pending.version}"),
                evidence=evidence,
            )
        )
        self.trouble, self._made_of, self._read_at = "", made_of, self.clock()
        self.ready = None if prepared.changes_nothing and sources.is_own(pending) else prepared
        await self._tell(prepared)

    async def _evidence(self) -> Evidence | None:
        """A database that is away keeps nobody from a preview: it says then that nothing is known of what was seen."""
        try:
            return await asyncio.to_thread(self.sources.seen)
        except BridgeError as error:
            _log.warning("a preview without what was seen", error=str(error))
            return None

    async def _tell(self, prepared: Prepared) -> None:
        """Once of each candidate that means something else for this cluster."""
        if prepared.changes_nothing or prepared.candidate_digest == self._told:
            return
        self._told = prepared.candidate_digest
        severity = Severity.HIGH if prepared.bad else Severity.LOW
        await self.alerts.tell(AlertKind.CANDIDATE_CHANGES, prepared.message, severity, prepared.about)
