"""The agent's tasks: watch, enforce, read the kernel's log, tell, ship, report. It alone starts tasks.

A task that fails is started again; none of them can hold up enforcement. It stops cleanly and never opens the firewall.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import structlog

from enforcer.cluster.bridge_liveness import Renewal
from enforcer.cluster.tier import Revision
from enforcer.cluster.view import WatchedKind
from enforcer.flows.flows import FlowNames
from enforcer.service_parts import ServiceParts
from enforcer.state_file import write_atomically
from enforcer.status import gauges, metrics
from enforcer.status.loss_alerts import LossAlerts
from enforcer.status.node_state import NodeStateWriter
from enforcer.status.survey import NodeSurvey
from zones.net import AddressSet
from zones.runtime import health
from zones.runtime.backoff import Backoff
from zones.runtime.errors import ZonebridgeError
from zones.runtime.supervise import supervised
from zones.runtime.types import host_and_port
from zones.zone import Zoning

STATUS_FILE = "status.json"
_TICK, _SURVEY = 1.0, 5.0
_READABLE = 0o644
_log = structlog.get_logger()


@dataclass(slots=True)
class AgentService:
    parts: ServiceParts
    backoff: Backoff = field(default_factory=lambda: Backoff(1.0, 60.0))
    losses: LossAlerts = field(init=False)
    survey: NodeSurvey = field(init=False)
    _heard: dict[str, float] = field(default_factory=dict)
    _named: tuple[Revision | None, FlowNames] | None = None
    _renewal: Renewal = field(init=False)

    def __post_init__(self) -> None:
        self.losses = LossAlerts(self.parts)
        if self.parts.seen is not None:
            self.parts.seen.held_back = lambda: sum(self.losses.totals.get(cause, 0) for cause in ("limit", "kernel"))
        self._renewal = Renewal(self.parts.settings.tier)
        self.survey = NodeSurvey(self.parts, self._heard, self.losses.totals, self._renewal)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set."""
        # name look-ups and slow files share these threads; a few that hang must not use them up
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32, thread_name_prefix="waiting"))
        self._heard |= dict.fromkeys((kind.name.lower() for kind in WatchedKind), time.monotonic())
        await self.parts.enforcement.begin()
        self.survey.take({})
        server = await self._serve()
        tasks = [
            asyncio.create_task(supervised(name, work, self.backoff, ZonebridgeError), name=name)
            for name, work in self._tasks().items()
        ]
        _log.info("running", node=self.parts.settings.node_name, tier=self.parts.enforcement.tier)
        try:
            await stop.wait()
        finally:
            await self._close(tasks, server)

    def _tasks(self) -> dict[str, Callable[[], Awaitable[None]]]:
        parts = self.parts
        report = NodeStateWriter(parts, self.survey.standing, self.backoff)
        self.survey.report_problem = lambda: report.problem
        tasks: dict[str, Callable[[], Awaitable[None]]] = {"enforce": parts.enforcement.run}
        tasks |= {f"watch {kind.name.lower()}": partial(self._watch, kind) for kind in WatchedKind}
        tasks |= {"log": lambda: parts.log.run(self._names), "tell": self._tell}
        tasks |= {"write": parts.outbox.write, "report": report.run}
        tasks |= {"events": parts.event_writer.run} if parts.event_writer is not None else {}
        tasks |= {"slices": parts.slice_writer.run} if parts.slice_writer is not None else {}
        tasks |= {"kubelet": parts.kubelet.run} if parts.kubelet is not None else {}
        if (ends := parts.ends) is not None:
            tasks["ends"] = lambda: ends.run(self._names)
        if (seen := parts.seen) is not None:
            tasks["seen"] = lambda: seen.run(self._names)
        if (detection := parts.detection) is not None:
            tasks["detect"] = detection.run
        return tasks | {f"ship {delivery.name}": delivery.deliver for delivery in parts.deliveries}

    async def _watch(self, kind: WatchedKind) -> None:
        name = kind.name.lower()

        def heard() -> None:
            self._heard[name] = time.monotonic()

        async for change in self.parts.cluster.changes(kind, heard):
            self._named = None
            self._renewal.see(change, time.monotonic())
            if self.parts.view.fold(change):
                self.parts.enforcement.heard()
            if self.parts.slice_writer is not None and (kind is WatchedKind.PODS or self.parts.view.own_slices.changed):
                self.parts.slice_writer.look()

    def _names(self) -> FlowNames:
        """Made anew when the policy is another one, or what is known of pods and nodes has changed."""
        revision = self.parts.enforcement.last_good
        if self._named is None or self._named[0] is not revision:
            self._named = revision, self._fresh_names()
        return self._named[1]

    def _fresh_names(self) -> FlowNames:
        enforcement, view, settings = self.parts.enforcement, self.parts.view, self.parts.settings
        labels, services = settings.flows.labels, AddressSet.of(settings.service_networks)
        if enforcement.last_good is None:
            return FlowNames(view.holders.of, Zoning(), labels=labels, known=view.complete, services=services)
        zoning, number = enforcement.last_good.policy.zoning, enforcement.last_good.number
        return FlowNames(view.holders.of, zoning, enforcement.tier, number, labels, view.complete, services)

    async def _tell(self) -> None:
        """Once a second what is due, what was lost, and what holds; now and then the status."""
        surveyed = 0.0
        while True:
            now = time.time()
            while not (self.parts.reporter.tick(now) or self.parts.outbox.crowded):  # noqa: ASYNC110 - others' turn
                await asyncio.sleep(0)
            await self.losses.tell(now)
            self.parts.reporter.conditions(self.survey.conditions(), now)
            if time.monotonic() - surveyed >= _SURVEY:
                surveyed = time.monotonic()
                self.survey.take(await gauges.ages(self.parts.outbox, datetime.now(UTC)))
                await self._save_status()
            await asyncio.sleep(_TICK)

    async def _save_status(self) -> None:
        path = self.parts.settings.state_dir / STATUS_FILE
        try:
            await asyncio.to_thread(write_atomically, path, json.dumps(self.survey.status).encode(), mode=_READABLE)
        except OSError as error:
            _log.warning("status not saved", file=str(path), error=error.strerror)

    async def _serve(self) -> asyncio.Server | None:
        if self.parts.settings.metrics.address is None:
            return None
        host, port = host_and_port(self.parts.settings.metrics.address)

        def unready() -> tuple[str, ...]:
            """Where a rollout ought to stop: a tier that this version can't read, a kernel that refuses its rules."""
            reason = self.parts.enforcement.unready
            return (reason,) if reason else ()

        paths = health.paths_of(unready, lambda: metrics.rendered(lambda: self.survey.status), ready="ready")
        try:
            return await health.serve(host, port, paths)
        except OSError as error:
            problem = f"metrics can't be served on {host}:{port}: {error.strerror or error}"
            self.survey.serve_problem = problem
            _log.error("metrics not served", error=problem)
            return None

    async def _close(self, tasks: list[asyncio.Task[None]], server: asyncio.Server | None) -> None:
        """What waits in memory goes to the spool; what the spool holds is sent after the next start."""
        if server is not None:
            server.close()
        await _end(tasks)
        self.parts.reporter.finish(time.time())
        if self.parts.seen is not None:
            self.parts.seen.tell()
        if (detection := self.parts.detection) is not None:
            await asyncio.to_thread(detection.save, detection.detection.content())
        self.parts.log.audit.close()
        await self.parts.enforcement.close()
        await self.parts.outbox.close()
        for delivery in self.parts.deliveries:
            with suppress(Exception):
                await delivery.sender.close()
        if self.parts.slice_writer is not None:
            self.parts.slice_writer.close()
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


async def until_signal(service: AgentService) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await service.run(stop)
