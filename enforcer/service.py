"""The agent's tasks: watch, enforce, read the kernel's log, tell, ship, report. It alone starts tasks.

A task that fails is started again; none of them can hold up enforcement. It stops cleanly and never opens the firewall.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Protocol

import structlog

from enforcer import conditions, metrics, nflog, probes, status
from enforcer.alerts import AlertKind, Condition
from enforcer.delivery import Delivery
from enforcer.enforcement import Enforcement
from enforcer.errors import ClusterError, EnforcerError
from enforcer.flows import Names
from enforcer.lastgood import write_atomically
from enforcer.outbox import Outbox
from enforcer.patience import Patience
from enforcer.probes import Answer
from enforcer.records import Json
from enforcer.reporter import Reporter
from enforcer.section import host_and_port
from enforcer.settings import Settings
from enforcer.tier import Standing
from enforcer.view import Change, Kind, View
from zones.policy import Policy
from zones.zone import Zoning

STATUS_FILE = "status.json"
_TICK, _SURVEY = 1.0, 5.0
_log = structlog.get_logger()


class Cluster(Protocol):
    """What `enforcer.watch` offers."""

    def changes(self, kind: Kind, heard: Callable[[], None]) -> AsyncIterator[Change]: ...

    async def report(self, node: str, status: Json) -> None: ...

    async def close(self) -> None: ...


class PacketSource(Protocol):
    """What `enforcer.netlink` offers."""

    lost: int

    def fileno(self) -> int: ...

    def read(self) -> list[bytes]: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Parts:
    """Everything the service runs, made by `enforcer.assembly` or by a test."""

    settings: Settings
    view: View
    enforcement: Enforcement
    cluster: Cluster
    packets: Callable[[], PacketSource]
    reporter: Reporter
    outbox: Outbox
    deliveries: tuple[Delivery, ...] = ()


@dataclass(slots=True)
class Service:
    parts: Parts
    patience: Patience = field(default_factory=lambda: Patience(1.0, 60.0))
    _heard: dict[str, float] = field(default_factory=dict)
    _lost: dict[str, int] = field(default_factory=dict)
    _told: dict[str, int] = field(default_factory=dict)
    _status: Json = field(default_factory=dict)
    _source: PacketSource | None = None
    _log_problem: str = ""
    _serve_problem: str = ""
    _waiting_since: float | None = None
    _surveyed: tuple[Condition, ...] = ()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        # name look-ups and slow files share these threads; a few that hang must not use them up
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32, thread_name_prefix="waiting"))
        now = time.monotonic()
        self._heard = {kind.name.lower(): now for kind in Kind}
        await self.parts.enforcement.begin()
        self._survey()
        server = await self._serve()
        tasks = [asyncio.create_task(self._supervised(name, work), name=name) for name, work in self._tasks().items()]
        _log.info("running", node=self.parts.settings.node_name, tier=self.parts.enforcement.tier)
        try:
            await stop.wait()
        finally:
            await self._close(tasks, server)

    def _tasks(self) -> dict[str, Callable[[], Awaitable[None]]]:
        parts = self.parts
        tasks: dict[str, Callable[[], Awaitable[None]]] = {"enforce": parts.enforcement.run}
        tasks |= {f"watch {kind.name.lower()}": lambda kind=kind: self._watch(kind) for kind in Kind}  # type: ignore[misc]
        tasks |= {"log": self._read_log, "tell": self._tell, "write": parts.outbox.write, "report": self._report}
        return tasks | {f"ship {delivery.name}": delivery.deliver for delivery in parts.deliveries}

    async def _supervised(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            try:
                await work()
            except EnforcerError as error:
                _log.error("task ended and is started again", task=name, why=str(error))
            except Exception:  # noqa: BLE001 - a defect in one task must not stop the others
                _log.exception("task failed and is started again", task=name)
            await asyncio.sleep(self.patience.wait(failures))
            failures += 1

    async def _watch(self, kind: Kind) -> None:
        name = kind.name.lower()

        def heard() -> None:
            self._heard[name] = time.monotonic()

        async for change in self.parts.cluster.changes(kind, heard):
            self.parts.view.fold(change)
            self.parts.enforcement.look_again.set()

    async def _read_log(self) -> None:
        """The kernel's log. Where it can't be had, enforcement goes on, and the reason is told."""
        loop = asyncio.get_running_loop()
        try:
            self._source = source = self.parts.packets()
        except (EnforcerError, OSError) as error:
            if not self._log_problem:
                _log.error("the kernel's log can't be read", why=str(error))
            self._log_problem = f"the kernel's log can't be read, so nothing is reported of flows: {error}"
            return
        self._log_problem = ""
        gone = loop.create_future()
        loop.add_reader(source.fileno(), self._packets, source, gone)
        try:
            await gone
        finally:
            loop.remove_reader(source.fileno())
            self._source = None
            source.close()

    def _packets(self, source: PacketSource, gone: asyncio.Future[None]) -> None:
        try:
            packets = [packet for body in source.read() if (packet := nflog.parse(body)) is not None]
            self.parts.reporter.packets(packets, self.parts.enforcement.terminals, self._names(), time.time())
        except Exception as error:  # noqa: BLE001 - handed to the task
            if not gone.done():
                gone.set_exception(error)

    def _names(self) -> Names:
        enforcement, labels = self.parts.enforcement, self.parts.settings.flows.labels
        if enforcement.held is None:
            return Names(self.parts.view.holders.of, Zoning(), labels=labels)
        zoning, number = enforcement.held.policy.zoning, enforcement.held.number
        return Names(self.parts.view.holders.of, zoning, enforcement.tier, number, labels)

    async def _tell(self) -> None:
        surveyed = 0.0
        while True:
            now = time.time()
            self.parts.reporter.tick(now)
            await self._tell_losses(now)
            self.parts.reporter.conditions(self._conditions(), now)
            if time.monotonic() - surveyed >= _SURVEY:
                surveyed = time.monotonic()
                self._survey()
                await self._save_status()
            await asyncio.sleep(_TICK)

    async def _tell_losses(self, now: float) -> None:
        for destination, count in (await self.parts.outbox.take_lost()).items():
            self._lose(
                destination, f"the spool was full: records for destination '{destination}' were dropped", now, count
            )
        self._lose_to("memory", "records came faster than the disk takes them", self.parts.outbox.lost_in_memory, now)
        self._lose_to("disk", "the spool's disk refused records", self.parts.outbox.lost_on_disk, now)
        if self._source is not None:
            self._lose_to("kernel", "the kernel logged faster than this agent reads", self._source.lost, now)

    def _lose_to(self, where: str, message: str, total: int, now: float) -> None:
        """From a total that only grows; it begins anew with a new socket."""
        before = self._told.get(where, 0)
        self._told[where] = total
        if total > before:
            self._lose(where, message, now, total - before)

    def _lose(self, where: str, message: str, now: float, count: int) -> None:
        self._lost[where] = self._lost.get(where, 0) + count
        self.parts.reporter.event(AlertKind.LOG_LOSS, where, message, now, count)

    def _conditions(self) -> Iterator[Condition]:
        parts, alerts = self.parts, self.parts.settings.alerts
        enforcement, now = parts.enforcement, time.monotonic()
        applied = enforcement.applied.problems if enforcement.applied else ()
        waiting = enforcement.judgement.standing is Standing.WAITING
        self._waiting_since = (self._waiting_since or now) if waiting else None
        return chain(
            conditions.of_tier(enforcement.tier, enforcement.judgement),
            conditions.of_sync(self._heard, now, alerts.stale_seconds),
            conditions.of_waiting(
                enforcement.tier, enforcement.judgement, now - (self._waiting_since or now), alerts.stale_seconds
            ),
            self._surveyed,
            conditions.of_addresses(parts.view.holders.disputed(), parts.settings.node_name),
            conditions.of_node([*applied, *parts.view.problems(), *self._own_problems()]),
            conditions.of_destinations(delivery.progress for delivery in parts.deliveries),
        )

    def _survey(self) -> None:
        """What costs a look at every pod of this node, and at every kind of pod: the zones in use, and the status."""
        parts, view, held = self.parts, self.parts.view, self.parts.enforcement.held
        self._surveyed = tuple(self._population(view, held.policy if held else None)) if view.complete else ()
        progress = [delivery.progress for delivery in parts.deliveries]
        backlogs = {each.name: parts.outbox.backlog(each.name) for each in progress}
        self._status = {
            "time": datetime.now(UTC).isoformat(),
            "cluster": parts.settings.cluster,
            "node": parts.settings.node_name,
            **self._standing(),
            **status.of_population(view.holders, view.count(Kind.NODES), held.policy.zoning if held else None),
            **status.of_records(parts.reporter.counts, self._lost),
            "spool_bytes": parts.outbox.size,
            "destinations": status.of_destinations(progress, backlogs, self._lost),
        }

    def _population(self, view: View, policy: Policy | None) -> Iterator[Condition]:
        node = self.parts.settings.node_name
        if policy is not None:
            yield from conditions.of_zones(policy, view.own_pods())
        yield from conditions.of_places(view.holders.misplaced(node), node)

    def _standing(self) -> Json:
        """What is in force, and everything that is wrong here: what the status and the NodeState both tell."""
        told = status.of_enforcement(self.parts.enforcement) | {"mode": self.parts.settings.mode.value}
        told["problems"] += self._own_problems()
        return told

    def _own_problems(self) -> list[str]:
        return [problem for problem in (self._log_problem, self._serve_problem) if problem]

    async def _save_status(self) -> None:
        path = self.parts.settings.state_dir / STATUS_FILE
        try:
            await asyncio.to_thread(write_atomically, path, json.dumps(self._status).encode())
        except OSError as error:
            _log.warning("status not saved", file=str(path), why=error.strerror)

    async def _report(self) -> None:
        """The NodeState, as soon as it changes."""
        told: Json | None = None
        failures = 0
        while True:
            self.parts.enforcement.noted.clear()
            current = status.node_state(self._standing())
            if current != told:
                try:
                    await self.parts.cluster.report(self.parts.settings.node_name, current)
                    told, failures = current, 0
                except ClusterError as error:
                    _log.warning("node state not written", why=str(error))
                    await asyncio.sleep(self.patience.wait(failures, error.retry_after))
                    failures += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self.parts.enforcement.noted.wait()

    async def _serve(self) -> asyncio.Server | None:
        if self.parts.settings.metrics.address is None:
            return None
        host, port = host_and_port(self.parts.settings.metrics.address)
        paths: Mapping[str, Callable[[], Answer]] = {
            "/metrics": lambda: Answer(
                ok=True, body=metrics.rendered(lambda: self._status), content_type="text/plain; version=0.0.4"
            ),
            "/healthz": lambda: Answer(ok=True, body=b"ok\n"),
            "/readyz": self._ready,
        }
        try:
            return await probes.serve(host, port, paths)
        except OSError as error:
            self._serve_problem = f"metrics can't be served on {host}:{port}: {error.strerror or error}"
            _log.error("metrics not served", why=self._serve_problem)
            return None

    def _ready(self) -> Answer:
        ready = self.parts.view.complete and self.parts.enforcement.applied is not None
        return Answer(ok=ready, body=b"ready\n" if ready else b"waiting for the API server's first lists\n")

    async def _close(self, tasks: list[asyncio.Task[None]], server: asyncio.Server | None) -> None:
        """What waits in memory goes to the spool; what the spool holds is sent after the next start."""
        if server is not None:
            server.close()
        await _end(tasks)
        self.parts.reporter.finish(time.time())
        await self.parts.enforcement.close()
        await self.parts.outbox.close()
        for delivery in self.parts.deliveries:
            with suppress(Exception):
                await delivery.sender.close()
        with suppress(Exception):
            await self.parts.cluster.close()
        _log.info("stopped; the rules stay in force")


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: a library in between may swallow one cancellation."""
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=1.0)


async def until_signal(service: Service) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    await service.run(stop)
