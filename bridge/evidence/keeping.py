"""Keeps the evidence database while the bridge runs: its schema, the nodes' records, edits of rules, and its size.

Nothing waits for it: a database that is away is told, and tried again; the tier is published all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from bridge.alerts import EvidenceCheckpoint
from bridge.evidence.collector import CollectorAddress, collecting
from bridge.evidence.database import EvidenceError
from bridge.evidence.store import Store, micros
from bridge.evidence.usage import rule_digests
from bridge.intervals.fold import IntervalKind
from bridge.intervals.recorder import Recorder
from bridge.intervals.reminder import ReviewReminder
from bridge.intervals.seals import Seals, date_text
from bridge.intervals.store import IntervalStore
from zones.policy import Policy

_LOOK_SECONDS, _AGAIN_SECONDS, _PRUNE_SECONDS = 10.0, 30.0, 3600.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EvidenceTerms:
    """`retention`: how long days, intervals but those of pods, and copies of revisions are kept.

    `prune_revisions`: takes away copies of what was replaced before a time.

    `policies`: what each cluster's bridge last published or found in force. `recorders`: of each cluster.
    `reminders`: of those whose bridge leads. `sealed`: told of each cluster's newest seal.
    """

    retention: timedelta
    pod_retention: timedelta
    policies: Callable[[], Mapping[str, Policy]]
    door: CollectorAddress | None = None
    intervals: IntervalStore | None = None
    prune_revisions: Callable[[int], int] | None = None
    seals: Seals | None = None
    recorders: Sequence[Recorder] = ()
    reminders: Callable[[], Sequence[ReviewReminder]] = tuple
    sealed: Callable[[str, EvidenceCheckpoint], Awaitable[None]] | None = None


@asynccontextmanager
async def keeping(store: Store, terms: EvidenceTerms) -> AsyncIterator[None]:
    """Until left. Raises OSError where the address can't be listened on."""
    async with AsyncExitStack() as stack:
        if terms.door is not None:
            port = await stack.enter_async_context(collecting(terms.door, store))
            _log.info("collecting what nodes saw", port=port)
        stop = asyncio.Event()
        task = asyncio.create_task(_keep(store, terms, stop), name="evidence database")
        try:
            yield
        finally:
            stop.set()
            await task  # what a thread is writing is written
    store.close()


async def _keep(store: Store, terms: EvidenceTerms, stop: asyncio.Event) -> None:
    ready, pruned = False, float("-inf")
    noted: dict[str, Policy] = {}
    clock = asyncio.get_running_loop().time
    while not stop.is_set():
        wait = _LOOK_SECONDS
        try:
            if not ready:
                await asyncio.to_thread(store.open)
                ready = True
                _log.info("evidence database ready", where=store.where)
            for cluster, policy in terms.policies().items():
                if noted.get(cluster) is not policy:
                    await asyncio.to_thread(store.note_rules, cluster, rule_digests(policy), datetime.now(UTC))
                    noted[cluster] = policy
            for recorder in terms.recorders:
                await _look(recorder)
            if clock() - pruned >= _PRUNE_SECONDS:
                await _seal(terms)
                for reminder in terms.reminders():
                    await reminder.look(datetime.now(UTC))
                gone = await asyncio.to_thread(_prune, store, terms, datetime.now(UTC))
                pruned = clock()
                _log.info("evidence database pruned", rows=gone)
        except EvidenceError as error:
            _log.error("evidence database in trouble", error=str(error))
            wait = _AGAIN_SECONDS
        except Exception:  # noqa: BLE001 - the sync must not end with it
            _log.exception("evidence not kept")
            wait = _AGAIN_SECONDS
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await stop.wait()


async def _look(recorder: Recorder) -> None:
    """A defect of one cluster's concerns no other. Raises EvidenceError: the database is everybody's."""
    try:
        await recorder.look()
    except EvidenceError:
        raise
    except Exception:  # noqa: BLE001 - the others go on
        _log.exception("intervals not recorded", cluster=recorder.sight.cluster)


async def _seal(terms: EvidenceTerms) -> None:
    """Days that are over, of clusters whose recorder records: before that, what a former one left may still end."""
    for recorder in terms.recorders if terms.seals is not None else ():
        if terms.seals is not None and recorder.records:
            cluster = recorder.sight.cluster
            sealed = await asyncio.to_thread(terms.seals.seal, cluster, micros(datetime.now(UTC)))
            if sealed is not None:
                checkpoint = EvidenceCheckpoint(date_text(sealed.day), sealed.chain)
                _log.info("evidence sealed", cluster=cluster, day=checkpoint.day, chain=checkpoint.chain)
                if terms.sealed is not None:
                    await terms.sealed(cluster, checkpoint)


def _prune(store: Store, terms: EvidenceTerms, now: datetime) -> int:
    before = dict.fromkeys(IntervalKind, now - terms.retention) | {IntervalKind.POD: now - terms.pod_retention}
    gone = store.prune(now - terms.retention)
    limits = {kind: micros(time) for kind, time in before.items()}
    if terms.seals is not None:
        terms.seals.let_go(limits)
    if terms.intervals is not None:
        gone += terms.intervals.prune(limits)
    if terms.prune_revisions is not None:
        gone += terms.prune_revisions(micros(now - terms.retention))
    return gone
