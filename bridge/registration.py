"""Keeps a cluster registered at its manager: the device group that it is, its pods' addresses, tags of its rules.

Only where a site opts in, `bridge.service` runs it while this bridge leads. Trouble is told and never holds up a sync.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from bridge.alerts import Alerts
from bridge.errors import ManagerError, ManagerRefusedError, RegistrationBlockedError, RegistrationWaitsError
from bridge.explain.services import Selectors, Services
from bridge.managers.wanted_tags import WantedTags
from bridge.population import Member, Population
from bridge.quarantine.client import is_over
from bridge.tier.sync import RunBlocking
from zones.kube.errors import ClusterError
from zones.kube.watch import Change
from zones.runtime.backoff import Backoff
from zones.runtime.errors import ZonebridgeError
from zones.siem.alerts import AlertKind
from zones.tiers.quarantines import Quarantine

_log = structlog.get_logger()
FIRST_RETRY, LONGEST_RETRY = 2.0, 300.0
RETRY_SERVICES = 30.0
# Many pods that change all the time must not keep a processor busy: so many times a look's length, and seconds at most.
REST, LONGEST_REST = 4.0, 10.0


class Registrar(Protocol):
    """A manager's side. Each goes on by one blocking step for each value, the seconds to wait before the next."""

    def forget(self) -> None: ...
    def group(self) -> Iterator[float]: ...
    def addresses(self, members: Sequence[Member], selectors: Selectors) -> Iterator[float]: ...
    def rule_tags(self, wanted: WantedTags) -> Iterator[float]: ...


@dataclass(frozen=True, slots=True)
class Watched:
    """What is asked of the cluster: who is where, the Services' changes, the quarantines; None for what doesn't count.

    The population is another one whenever this bridge begins to lead. `rule_tags`: what rules are to be tagged with,
    None where they are not to be; what it gives is None where that isn't known yet.
    """

    population: Callable[[], Population]
    services: Callable[[], AsyncGenerator[Change]] | None = None
    rule_tags: Callable[[], Awaitable[WantedTags | None]] | None = None
    quarantines: Callable[[], Awaitable[Sequence[Quarantine]]] | None = None


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds: between two looks at the pods; until everything is compared again, changed or not.

    `tags`: between two looks at the tags of rules, which may be a commit each; `tags_wait`: until the next, where one
    could not be done.
    """

    least: float = 2.0
    resync: float = 300.0
    tags: float = 86400.0
    tags_wait: float = 60.0


@dataclass(frozen=True, slots=True)
class RegistrationFigures:
    """How many pods are registered, and whether all is as it should be."""

    pods: int
    good: bool


class Registration:
    """One cluster's part."""

    def __init__(
        self,
        registrar: Registrar,
        watched: Watched,
        alerts: Alerts,
        run_blocking: RunBlocking,
        *,
        rhythm: Rhythm = Rhythm(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registrar = registrar
        self._watched = watched
        self._alerts = alerts
        self._run_blocking = run_blocking
        self._rhythm = rhythm
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        self._group_due = self._addresses_due = True
        self._compared = self._tags_due = self._clock()
        self._told: tuple[object, ...] | None = None
        self._quarantines: tuple[Quarantine, ...] = ()
        self._services = Services()
        self._services_trouble: ClusterError | None = None
        self._tags_trouble: ZonebridgeError | None = None
        self._registrar.forget()

    async def run(self, tell: Callable[[RegistrationFigures], None] = lambda _: None) -> None:
        """Until cancelled. With nothing known: another bridge may have led meanwhile."""
        self._begin()
        async with asyncio.TaskGroup() as group:
            if self._watched.services is not None:
                group.create_task(self._follow(self._watched.services), name="follow services")
            failures = 0
            while True:
                began = self._clock()
                problem = await self.once(tell)
                failures = 0 if problem is None else failures + 1
                rest = min(REST * (self._clock() - began), LONGEST_REST)
                await asyncio.sleep(max(pause(failures, self._rhythm.least), rest))

    async def _follow(self, services: Callable[[], AsyncGenerator[Change]]) -> None:
        """Without the right to list them nothing is registered: tags that may be right would be taken away."""
        while True:
            try:
                async with aclosing(services()) as changes:
                    async for change in changes:
                        self._services.fold(change)
                        self._services_trouble = None
            except ClusterError as error:
                self._services_trouble = error
            await asyncio.sleep(RETRY_SERVICES)

    async def once(self, tell: Callable[[RegistrationFigures], None] = lambda _: None) -> ZonebridgeError | None:
        """What is due: the device group first. What went wrong stays due, and is told."""
        if self._clock() - self._compared >= self._rhythm.resync:
            self._registrar.forget()
            self._group_due = self._addresses_due = True
            self._compared = self._clock()
        population = self._watched.population()
        try:
            await self._read_quarantines()
        except ClusterError as error:
            return error
        tags_wait = self._watched.rule_tags is not None and self._clock() >= self._tags_due
        if not (self._group_due or self._services_trouble or tags_wait or self._addresses_wait(population)):
            return None
        problems = [await self._group(), await self._addresses(population)]
        if tags_wait or self._tags_trouble is not None:
            problems.append(await self._rule_tags())
        problem = next(filter(None, problems), None)
        await self._tell([raised for raised in problems if raised is not None])
        tell(RegistrationFigures(len(population), good=problem is None))
        return problem

    def _addresses_wait(self, population: Population) -> bool:
        """Whether there is something to compare, and all is known that it takes."""
        if not population.complete or not (self._services.complete or self._watched.services is None):
            return False
        return self._addresses_due or self._moment(population) != self._told

    def _moment(self, population: Population) -> tuple[object, ...]:
        return id(population), population.generation, self._services.generation, self._quarantines

    async def _read_quarantines(self) -> None:
        """Those that cut somebody off now. Raises ClusterError: without them right tags would be taken away."""
        if self._watched.quarantines is not None:
            now = time.time()
            every = await self._watched.quarantines()
            self._quarantines = tuple(
                quarantine for quarantine in every if quarantine.cuts and not is_over(quarantine, now)
            )

    def _member(self, member: Member) -> Member:
        pod = member.pod
        cut = any(named.names(pod.namespace, pod.name, pod.uid, pod.workload) for named in self._quarantines)
        return replace(member, pod=replace(pod, quarantined=True)) if cut else member

    async def _group(self) -> ZonebridgeError | None:
        if not self._group_due:
            return None
        problem = await self._through(self._registrar.group())
        self._group_due = problem is not None
        return problem

    async def _addresses(self, population: Population) -> ZonebridgeError | None:
        if not self._addresses_wait(population):
            return self._services_trouble
        moment, members = self._moment(population), tuple(map(self._member, population.members()))
        problem = await self._through(self._registrar.addresses(members, self._services.snapshot()))
        self._addresses_due, self._told = problem is not None, moment
        return problem

    async def _rule_tags(self) -> ZonebridgeError | None:
        """After trouble not before the time of the next look, so that nobody is disturbed: it is only told again."""
        if self._watched.rule_tags is None or self._clock() < self._tags_due:
            return self._tags_trouble
        wanted = await self._watched.rule_tags()
        if wanted is None:  # no answer of the manager yet, or a refused one
            return self._tags_trouble
        self._tags_due = self._clock() + self._rhythm.tags_wait
        try:
            self._tags_trouble = await self._through(self._registrar.rule_tags(wanted))
        except RegistrationWaitsError as error:
            _log.info("tags of rules wait", error=str(error))
            return self._tags_trouble
        if self._tags_trouble is None:
            self._tags_due = self._clock() + self._rhythm.tags
        return self._tags_trouble

    async def _through(self, steps: Iterator[float]) -> ZonebridgeError | None:
        """All steps, one blocking call at a time: between them the sync has its turn."""
        try:
            while (wait := await self._run_blocking(lambda: next(steps, None))) is not None:  # noqa: ASYNC110 - Panorama sends no event
                await asyncio.sleep(wait)
        except (ManagerError, RegistrationBlockedError) as error:
            return error
        return None

    async def _tell(self, problems: Sequence[ZonebridgeError]) -> None:
        if problems:
            await self._alerts.raise_(AlertKind.REGISTRATION_FAILED, "; ".join(map(_advice, problems)))
        else:
            await self._alerts.clear(AlertKind.REGISTRATION_FAILED, "the cluster is registered")


def pause(failures: int, least: float) -> float:
    """Seconds to the next look; after failures ever longer, half of it left to chance."""
    if not failures:
        return least
    return Backoff(FIRST_RETRY, LONGEST_RETRY).seconds(failures - 1, least)


def _advice(problem: ZonebridgeError) -> str:
    if isinstance(problem, ManagerRefusedError):
        return f"{problem}; to register it needs the rights to Configuration, Commit and User-ID Agent in the XML API"
    return str(problem)
