"""Keeps the evidence database while the bridge runs: its schema, the nodes' records, edits of rules, and its size.

Nothing waits for it: a database that is away is told, and tried again; the tier is published all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from bridge.evidence.collector import CollectorDoor, collecting
from bridge.evidence.database import EvidenceError
from bridge.evidence.store import Store
from bridge.evidence.usage import rule_digests
from zones.policy import Policy

_LOOK_SECONDS, _AGAIN_SECONDS, _PRUNE_SECONDS = 10.0, 30.0, 3600.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Terms:
    """`retention`: how long days are kept. `policies`: what each cluster's bridge last published or found in force."""

    retention: timedelta
    policies: Callable[[], Mapping[str, Policy]]
    door: CollectorDoor | None = None


@asynccontextmanager
async def keeping(store: Store, terms: Terms) -> AsyncIterator[None]:
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


async def _keep(store: Store, terms: Terms, stop: asyncio.Event) -> None:
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
            if clock() - pruned >= _PRUNE_SECONDS:
                gone = await asyncio.to_thread(store.prune, datetime.now(UTC) - terms.retention)
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
