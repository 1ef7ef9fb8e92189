"""The bridge's tasks: for each cluster a lease and a loop of passes, beside them health; ended by a signal.

Only it starts tasks. Each cluster fails alone; all share one thread for the manager's blocking calls.
"""

from __future__ import annotations

import asyncio
import queue
import random
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import structlog

from bridge.alerts import Alerts
from bridge.errors import BridgeError, RevisionRefusedError
from bridge.feeds import Feeds
from bridge.history.followup import FollowUp
from bridge.listeners.preview import PreviewAnswer, previews
from bridge.listeners.quarantines import QuarantineDoor, quarantine_requests
from bridge.listeners.wakeup import ListenAddress, listening
from bridge.metrics import Metrics
from bridge.nodes.startup_taint import Untaint
from bridge.population import Publishing
from bridge.posture.follow import PostureFollower
from bridge.preview.follow import Previewing
from bridge.quarantine.requests import SoarQuarantines
from bridge.quarantine.tagged import TagFollower
from bridge.registration import Registration
from bridge.siem import SiemSink
from bridge.tier.lease import Leadership, LeadershipLostError
from bridge.tier.outcome import PassOutcome
from bridge.tier.reachability import PATIENCE, ReachabilityMonitor
from bridge.tier.sync import RunBlocking, Sync
from bridge.tier.watcher import TierWatcher
from zones.kube.errors import ClusterError, ClusterUnreachableError
from zones.runtime.backoff import Backoff
from zones.runtime.errors import ZonebridgeError
from zones.runtime.health import serving
from zones.runtime.supervise import supervised

_T = TypeVar("_T")
Task = Callable[[], Coroutine[Any, Any, None]]
_log = structlog.get_logger()
FIRST_RETRY = 1.0
LONGEST_RETRY = 120.0


@dataclass(slots=True)
class Work:
    """One cluster's part. `trigger` says 'look again' before the interval is over; it carries nothing."""

    cluster: str
    sync: Sync
    leadership: Leadership
    feeds: Feeds
    close: Callable[[], Awaitable[None]]
    guard: TierWatcher | None = None
    trigger: asyncio.Event = field(default_factory=asyncio.Event)
    population: Publishing | None = None
    registration: Registration | None = None
    reach: ReachabilityMonitor | None = None
    untaint: Untaint | None = None
    follow_up: FollowUp | None = None
    posture: PostureFollower | None = None
    previewing: Previewing | None = None
    tags: TagFollower | None = None
    quarantines: SoarQuarantines | None = None
    alerts: Alerts | None = None
    trouble: str = ""
    passed: bool = False
    unanswered: str = ""
    """What kept us from the manager's answer when it was last asked for."""


@asynccontextmanager
async def one_at_a_time() -> AsyncIterator[RunBlocking]:
    """A way to run blocking calls, one at a time, in a thread of their own. One that hangs doesn't hold up the end."""
    calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def work() -> None:
        while (call := calls.get()) is not None:
            call()

    def run(call: Callable[[], _T], /) -> Awaitable[_T]:
        done: Future[_T] = Future()
        calls.put(lambda: _resolve(done, call))
        return asyncio.wrap_future(done)

    threading.Thread(target=work, name="manager", daemon=True).start()
    try:
        yield run
    finally:
        calls.put(None)


def _resolve(done: Future[_T], call: Callable[[], _T]) -> None:
    """Make the call, unless nobody waits for it any more."""
    if not done.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - it is the waiting task's
        done.set_exception(error)
    else:
        done.set_result(result)


async def serve(
    works: Sequence[Work],
    interval: float,
    address: tuple[str, int] | None,
    wake_up: ListenAddress | None,
    metrics: Metrics,
    *,
    preview: ListenAddress | None = None,
    quarantine: QuarantineDoor | None = None,
) -> None:
    """Run until SIGTERM or SIGINT. `wake_up`, `preview`, `quarantine`: where those are served, if anywhere."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with AsyncExitStack() as stack:
        if address is not None:
            port = await stack.enter_async_context(serving(address, lambda: unready(works), metrics.text))
            _log.info("serving", host=address[0], port=port)
        if wake_up is not None:
            port = await stack.enter_async_context(listening(wake_up, lambda: _look_again(works)))
            _log.info("listening for wake-ups", port=port)
        if preview is not None:
            port = await stack.enter_async_context(previews(preview, lambda name: answer_of(works, name)))
            _log.info("serving previews", port=port)
        if quarantine is not None:
            clusters = {work.cluster: work.quarantines for work in works if work.quarantines is not None}
            port = await stack.enter_async_context(quarantine_requests(quarantine, clusters, time.monotonic))
            _log.info("listening for quarantines", port=port)
        await run_until(stop, works, interval, metrics)
    _log.info("stopped")


def answer_of(works: Sequence[Work], name: str | None) -> PreviewAnswer | None:
    """The preview of the cluster of that name, or of the only one; None where there is none of it."""
    named = [work for work in works if name in {None, work.cluster}]
    if len(named) != 1 or named[0].previewing is None:
        return None
    work, previewing = named[0], named[0].previewing
    if not work.leadership.leading:
        return PreviewAnswer(unavailable="this bridge doesn't lead; ask the other one")
    return previewing.answer(work.cluster)


def _look_again(works: Sequence[Work]) -> None:
    for work in works:
        work.trigger.set()
        if work.tags is not None:
            work.tags.trigger.set()


async def run_until(stop: asyncio.Event, works: Sequence[Work], interval: float, metrics: Metrics) -> None:
    """All clusters' tasks until `stop`, then give the leases back."""
    ends: list[asyncio.Task[Any]] = [asyncio.create_task(stop.wait())]
    for work in works:
        ends += [
            asyncio.create_task(_of_cluster(work, run), name=f"{name} {work.cluster}")
            for name, run in _tasks(work, interval, metrics).items()
        ]
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a task of ours never ends; where one did, its error is the process's
    finally:
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        await asyncio.gather(*map(_let_go, works))


async def _of_cluster(work: Work, run: Task) -> None:
    with structlog.contextvars.bound_contextvars(cluster=work.cluster):
        await run()


def _tasks(work: Work, interval: float, metrics: Metrics) -> dict[str, Task]:
    """One cluster's tasks by name. Those that are supervised end neither the process nor each other by a defect."""
    tasks: dict[str, Task] = {
        "lease": work.leadership.keep,
        "feeds": work.feeds.run,
        "passes": partial(_passes, work, interval, metrics),
        "introduction": partial(_introduce, work),
    }

    def supervise(name: str, event: str, run: Task, backoff: Backoff | None = None) -> None:
        backoff = backoff or Backoff(FIRST_RETRY, LONGEST_RETRY)
        tasks[name] = partial(supervised, name, run, backoff, ClusterError, event=event)

    if (guard := work.guard) is not None:
        repair = _leading(work, partial(_repair, work, guard, metrics), FIRST_RETRY)
        supervise("watch", "tier not watched", guard.watch)
        supervise("repair", "tier not looked after", repair)
    if (population := work.population) is not None:
        publish = _leading(work, lambda: population.run(partial(metrics.populated, work.cluster)), FIRST_RETRY)
        supervise("population", "population not published", publish, Backoff(0.2, 30.0))
    if (registration := work.registration) is not None:
        register = _leading(work, lambda: registration.run(partial(metrics.registered, work.cluster)), FIRST_RETRY)
        supervise("registration", "cluster not registered", register)
    if (reach := work.reach) is not None:
        tasks["reach"] = partial(_reached, work, reach)
    if (untaint := work.untaint) is not None:
        supervise("startup taints", "startup taints stay", _leading(work, untaint.look, FIRST_RETRY))
    for name, event, run in _watchers(work, metrics):
        supervise(name, event, run)
    return tasks


def _watchers(work: Work, metrics: Metrics) -> Iterator[tuple[str, str, Task]]:
    """What no revision waits for, where it is asked for: its name, what is logged of its trouble, and the task."""
    if (previewing := work.previewing) is not None:
        yield "preview", "candidate not looked at", _leading(work, previewing.look, previewing.interval)
    if (tags := work.tags) is not None:
        yield "quarantine tags", "tagged addresses not followed", _leading(work, tags.run, FIRST_RETRY)
    if (follow_up := work.follow_up) is not None:
        yield "history", "history not looked after", _leading(work, follow_up.run, FIRST_RETRY)
    if (posture := work.posture) is not None:
        judge = _leading(work, lambda: posture.run(partial(metrics.posture, work.cluster)), FIRST_RETRY)
        yield "posture", "posture not watched", judge


def _leading(work: Work, run: Task, every: float) -> Task:
    """Again and again while this bridge leads, with so many seconds between; stopped where another one does."""

    async def rounds() -> None:
        while True:
            await work.leadership.wait()
            with suppress(LeadershipLostError):
                await work.leadership.during(run())
                await asyncio.sleep(every)

    return rounds


async def run_once(works: Sequence[Work], metrics: Metrics) -> bool:
    """One pass for each cluster, without the lease. Whether all of them are what the manager says."""
    results = await asyncio.gather(*(_one_pass(work, metrics) for work in works))
    await asyncio.gather(*(work.close() for work in works))
    return all(problem is None for problem in results)


def unready(works: Sequence[Work]) -> tuple[str, ...]:
    """Why this process is of no use, each reason as a sentence: a rollout stops at it.

    A manager that has once answered may be away later: another pod in our place could do no better.
    """
    reasons = []
    if not any(work.sync.accepted for work in works):
        unanswered = next((work.unanswered for work in works if work.unanswered), "it was not asked yet")
        reasons.append(f"the manager has not answered this process yet: {unanswered}")
    reasons += [
        f"cluster '{work.cluster}': waiting for the first pass" + (f": {work.trouble}" if work.trouble else "")
        for work in works
        if work.leadership.leading and not work.passed
    ]
    if all(work.leadership.silent_for > PATIENCE for work in works):
        trouble = next((work.leadership.trouble for work in works if work.leadership.trouble), "none was asked yet")
        reasons.append(f"no cluster's API server answers: {trouble}")
    return tuple(reasons)


def delay(failures: int, interval: float, retry_after: float | None, spread: float) -> float:
    """Seconds to the next pass; `spread` (0 to 1) keeps many bridges and clusters from asking at the same moment."""
    if not failures:
        return interval * (0.9 + 0.2 * spread)
    return Backoff(FIRST_RETRY, max(LONGEST_RETRY, interval)).seconds(failures - 1, retry_after, spread)


async def _passes(work: Work, interval: float, metrics: Metrics) -> None:
    failures = 0
    while True:
        metrics.leads(work.cluster, leading=work.leadership.leading)
        await work.leadership.wait()
        metrics.leads(work.cluster, leading=True)
        work.sync.lead(work.leadership.term)
        try:
            problem = await work.leadership.during(_one_pass(work, metrics))
        except LeadershipLostError:
            continue
        work.trouble = str(problem) if isinstance(problem, ClusterError) else ""
        work.unanswered = str(problem or "")
        failures = 0 if problem is None or isinstance(problem, RevisionRefusedError) else failures + 1
        await _wait(work.trigger, delay(failures, interval, _retry_after(problem), random.random()))  # noqa: S311


async def _introduce(work: Work) -> None:
    """Ask the manager once, leading or not: a pod that it refuses must not take another's place."""
    failures = 0
    while True:
        await asyncio.sleep(delay(failures, FIRST_RETRY, None, random.random()))  # noqa: S311
        if not work.sync.accepted and not work.leadership.leading:
            problem = str(await work.sync.introduce() or "")
            if problem and problem != work.unanswered:
                _log.warning("not ready: the manager has not answered yet", error=problem)
            work.unanswered = problem
            failures += 1


async def _repair(work: Work, guard: TierWatcher, metrics: Metrics) -> None:
    """Put back what others change."""

    def repaired(outcome: PassOutcome) -> None:
        metrics.repaired(work.cluster, outcome)
        _log.info("repaired", revision=outcome.revision, changed=dict(outcome.drifts), held_back=outcome.fought)

    work.sync.lead(work.leadership.term)
    await guard.repair(repaired)


async def _reached(work: Work, reach: ReachabilityMonitor) -> None:
    """Tell of a cluster that doesn't answer us, leading or not."""
    while True:
        await asyncio.sleep(FIRST_RETRY)
        await reach.look(work.leadership.trouble or (work.trouble if work.leadership.leading else ""))


@asynccontextmanager
async def shipping(siem: SiemSink | None) -> AsyncIterator[None]:
    """Ship alerts to the SIEM until left; then what is left, for some seconds."""
    if siem is None:
        yield
        return
    task = asyncio.create_task(_ship(siem), name="siem")
    try:
        yield
    finally:
        siem.stop()
        await task
        await siem.finish()


async def _ship(siem: SiemSink) -> None:
    while True:
        try:
            await siem.run()
        except Exception:  # noqa: BLE001 - the sync must not end with it
            _log.exception("alerts not shipped")
            await asyncio.sleep(FIRST_RETRY)
        else:
            return


async def _wait(trigger: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await trigger.wait()
    trigger.clear()


async def _one_pass(work: Work, metrics: Metrics) -> ZonebridgeError | None:
    """A pass with its log line and figures; what was wrong, if anything. Nothing but cancellation escapes."""
    started = time.monotonic()
    with structlog.contextvars.bound_contextvars(cluster=work.cluster):
        try:
            outcome = await work.sync.once()
        except ClusterError as error:
            _log.warning("pass failed", error=str(error))
            metrics.failed(work.cluster, time.monotonic() - started)
            return error
        except Exception as error:  # noqa: BLE001 - one cluster's bug must not end the others
            _log.exception("pass failed")
            metrics.failed(work.cluster, time.monotonic() - started)
            return BridgeError(f"unexpected {type(error).__name__}; report it with the log above")
        work.passed = True
        metrics.passed(work.cluster, outcome, time.monotonic() - started, time.time())
        _say(outcome)
    return outcome.problem


def _say(outcome: PassOutcome) -> None:
    say = _log.info if outcome.problem is None else _log.warning
    more = {} if outcome.problem is None else {"error": str(outcome.problem)}
    say("pass", result=outcome.result, revision=outcome.revision, stale=outcome.stale, **more)


def _retry_after(problem: ZonebridgeError | None) -> float | None:
    return problem.retry_after if isinstance(problem, ClusterUnreachableError) else None


async def _let_go(work: Work) -> None:
    try:
        async with asyncio.timeout(5):
            await work.leadership.release()
    except (ClusterError, TimeoutError) as error:
        _log.warning("lease not given back", cluster=work.cluster, error=str(error))
    await work.close()
