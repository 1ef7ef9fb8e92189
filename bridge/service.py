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
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import structlog

from bridge.errors import BridgeError, ClusterError, ClusterUnreachableError, RevisionRefusedError
from bridge.feeds import Feeds
from bridge.history.followup import FollowUp
from bridge.kube.watch import pause
from bridge.listeners.health import serving
from bridge.listeners.preview import Answer, previews
from bridge.listeners.wakeup import Door, listening
from bridge.metrics import Metrics
from bridge.nodes.startup_taint import Untaint
from bridge.population import Figures, Publishing
from bridge.preview.follow import Previewing
from bridge.registration import Registration
from bridge.siem import SiemSink
from bridge.tier.lease import Leadership, LeadershipLostError
from bridge.tier.outcome import Outcome
from bridge.tier.reachability import PATIENCE, Reach
from bridge.tier.sync import RunBlocking, Sync
from bridge.tier.watcher import Guard
from zones.runtime.backoff import Backoff

_T = TypeVar("_T")
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
    guard: Guard | None = None
    trigger: asyncio.Event = field(default_factory=asyncio.Event)
    population: Publishing | None = None
    registration: Registration | None = None
    reach: Reach | None = None
    untaint: Untaint | None = None
    follow_up: FollowUp | None = None
    previewing: Previewing | None = None
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
    wake_up: Door | None,
    metrics: Metrics,
    *,
    preview: Door | None = None,
) -> None:
    """Run until SIGTERM or SIGINT. `wake_up` and `preview`: where those two are served, if anywhere."""
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
        await run_until(stop, works, interval, metrics)
    _log.info("stopped")


def answer_of(works: Sequence[Work], name: str | None) -> Answer | None:
    """The preview of the cluster of that name, or of the only one; None where there is none of it."""
    named = [work for work in works if name in {None, work.cluster}]
    if len(named) != 1 or named[0].previewing is None:
        return None
    work, previewing = named[0], named[0].previewing
    if not work.leadership.leading:
        return Answer(unavailable="this bridge doesn't lead; ask the other one")
    return previewing.answer(work.cluster)


def _look_again(works: Sequence[Work]) -> None:
    for work in works:
        work.trigger.set()


async def run_until(stop: asyncio.Event, works: Sequence[Work], interval: float, metrics: Metrics) -> None:
    """All clusters' tasks until `stop`, then give the leases back."""
    tasks = [asyncio.create_task(work.leadership.keep(), name=f"lease {work.cluster}") for work in works]
    tasks += [asyncio.create_task(work.feeds.run(), name=f"feeds {work.cluster}") for work in works]
    for work in works:
        if work.guard is not None:
            tasks.append(asyncio.create_task(_watch(work, work.guard), name=f"watch {work.cluster}"))
            tasks.append(asyncio.create_task(_repair(work, work.guard, metrics), name=f"repair {work.cluster}"))
    tasks += [asyncio.create_task(_passes(work, interval, metrics), name=f"passes {work.cluster}") for work in works]
    tasks += [
        asyncio.create_task(_populate(work, work.population, metrics), name=f"population {work.cluster}")
        for work in works
        if work.population is not None
    ]
    tasks += [
        asyncio.create_task(_register(work, work.registration, metrics), name=f"registration {work.cluster}")
        for work in works
        if work.registration is not None
    ]
    tasks += [
        asyncio.create_task(_reached(work, work.reach), name=f"reach {work.cluster}")
        for work in works
        if work.reach is not None
    ]
    tasks += [
        asyncio.create_task(_untaint(work, work.untaint), name=f"startup taints {work.cluster}")
        for work in works
        if work.untaint is not None
    ]
    tasks += [
        asyncio.create_task(_preview(work, work.previewing), name=f"preview {work.cluster}")
        for work in works
        if work.previewing is not None
    ]
    tasks += [
        asyncio.create_task(_follow_up(work, work.follow_up), name=f"history {work.cluster}")
        for work in works
        if work.follow_up is not None
    ]
    tasks += [asyncio.create_task(_introduce(work), name=f"introduction {work.cluster}") for work in works]
    ends = [asyncio.create_task(stop.wait()), *tasks]
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a task of ours never ends; where one did, its error is the process's
    finally:
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        await asyncio.gather(*map(_let_go, works))


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
    with structlog.contextvars.bound_contextvars(cluster=work.cluster):
        while True:
            await asyncio.sleep(delay(failures, FIRST_RETRY, None, random.random()))  # noqa: S311
            if not work.sync.accepted and not work.leadership.leading:
                problem = str(await work.sync.introduce() or "")
                if problem and problem != work.unanswered:
                    _log.warning("not ready: the manager has not answered yet", error=problem)
                work.unanswered = problem
                failures += 1


async def _watch(work: Work, guard: Guard) -> None:
    """Know the cluster, leading or not."""
    with structlog.contextvars.bound_contextvars(cluster=work.cluster):
        while True:
            try:
                await guard.watch()
            except Exception:  # noqa: BLE001 - one cluster's bug must not end the others
                _log.exception("tier not watched")
            await asyncio.sleep(LONGEST_RETRY)


async def _repair(work: Work, guard: Guard, metrics: Metrics) -> None:
    """Put back what others change while we lead."""

    def told(outcome: Outcome) -> None:
        metrics.repaired(work.cluster, outcome)
        _log.info("repaired", revision=outcome.revision, changed=dict(outcome.drifts), held_back=outcome.fought)

    with structlog.contextvars.bound_contextvars(cluster=work.cluster):
        while True:
            await work.leadership.wait()
            work.sync.lead(work.leadership.term)
            try:
                await work.leadership.during(guard.repair(told))
            except LeadershipLostError:
                continue
            except Exception:  # noqa: BLE001 - one cluster's bug must not end the others
                _log.exception("tier not looked after")
            await asyncio.sleep(FIRST_RETRY)


async def _populate(work: Work, population: Publishing, metrics: Metrics) -> None:
    """Publish who is where while we lead; what ends it for one cluster concerns no other."""

    def told(figures: Figures) -> None:
        metrics.populated(work.cluster, figures)

    failures = 0
    with structlog.contextvars.bound_contextvars(cluster=work.cluster):
        while True:
            await work.leadership.wait()
            started = time.monotonic()
            try:
                await work.leadership.during(population.run(told))
            except LeadershipLostError:
                continue
            except ClusterError as error:
                _log.warning("population not published", error=str(error))
            except Exception:  # noqa: BLE001 - one cluster's bug must not end the others
                _log.exception("population not published")
            failures = 1 if time.monotonic() - started > LONGEST_RETRY else failures + 1
            await asyncio.sleep(pause(failures))


async def _register(work: Work, registration: Registration, metrics: Metrics) -> None:
    """Keep the cluster registered at its manager while we lead. Its trouble is told; only a defect ends it."""
    with structlog.contextvars.bound_contextvars(cluster=work.cluster):
        while True:
            await work.leadership.wait()
            try:
                await work.leadership.during(registration.run(partial(metrics.registered, work.cluster)))
            except LeadershipLostError:
                continue
            except Exception:  # noqa: BLE001 - one cluster's bug must not end the others
                _log.exception("cluster not registered")
                await asyncio.sleep(LONGEST_RETRY)


async def _reached(work: Work, reach: Reach) -> None:
    """Tell of a cluster that doesn't answer us, leading or not."""
    while True:
        await asyncio.sleep(FIRST_RETRY)
        await reach.look(work.leadership.trouble or (work.trouble if work.leadership.leading else ""))


async def _preview(work: Work, previewing: Previewing) -> None:
    """Look at the candidate while we lead; a defect of it must not end the sync."""
    with structlog.contextvars.bound_contextvars(cluster=work.cluster):
        while True:
            await work.leadership.wait()
            try:
                await work.leadership.during(previewing.look())
            except LeadershipLostError:
                continue
            except Exception:  # noqa: BLE001 - one cluster's bug must not end the others
                _log.exception("candidate not looked at")
            await asyncio.sleep(previewing.interval)


async def _follow_up(work: Work, follow_up: FollowUp) -> None:
    """Work out and verify what was published, while we lead."""
    with structlog.contextvars.bound_contextvars(cluster=work.cluster):
        while True:
            await work.leadership.wait()
            try:
                await work.leadership.during(follow_up.run())
            except LeadershipLostError:
                continue
            except Exception:  # noqa: BLE001 - one cluster's bug must not end the others
                _log.exception("history not looked after")
                await asyncio.sleep(LONGEST_RETRY)


async def _untaint(work: Work, untaint: Untaint) -> None:
    while True:
        await work.leadership.wait()
        with suppress(LeadershipLostError):
            await work.leadership.during(untaint.look())
        await asyncio.sleep(FIRST_RETRY)


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


async def _one_pass(work: Work, metrics: Metrics) -> BridgeError | None:
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


def _say(outcome: Outcome) -> None:
    say = _log.info if outcome.problem is None else _log.warning
    more = {} if outcome.problem is None else {"problem": str(outcome.problem)}
    say("pass", result=outcome.result, revision=outcome.revision, stale=outcome.stale, **more)


def _retry_after(problem: BridgeError | None) -> float | None:
    return problem.retry_after if isinstance(problem, ClusterUnreachableError) else None


async def _let_go(work: Work) -> None:
    try:
        async with asyncio.timeout(5):
            await work.leadership.release()
    except (ClusterError, TimeoutError) as error:
        _log.warning("lease not given back", cluster=work.cluster, error=str(error))
    await work.close()
