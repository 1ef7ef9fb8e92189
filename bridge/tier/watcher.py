"""Between passes: follows a tier's objects, and has what others change put back at once.

`bridge.service` runs both parts: following always, so that a bridge that comes to lead knows the cluster; repairing
only while it leads.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

import structlog

from bridge.tier.cache import NODE_STATE
from bridge.tier.outcome import PassOutcome
from bridge.tier.sync import Sync
from zones.kube.errors import ClusterError
from zones.kube.watch import Change, pause
from zones.tiers.native import ADDRESS_SET, POLICY_CHUNK, TIER

KINDS = (TIER, POLICY_CHUNK, ADDRESS_SET, NODE_STATE)
# Everything is listed again this often, whatever the watch has told; and so often at most the tier is looked at.
FULL_CHECK_SECONDS = 900.0
LEAST_SECONDS = 0.1
_PATIENT = 8
_log = structlog.get_logger()


class TierWatcher:
    """One cluster's. `follow` yields the changes of one kind, for ever."""

    def __init__(self, sync: Sync, follow: Callable[[str], AsyncGenerator[Change]]) -> None:
        self._sync = sync
        self._follow = follow
        self._disturbed = asyncio.Event()

    async def watch(self) -> None:
        """Keep the picture, until cancelled. One kind's trouble is no other kind's."""
        self._sync.picture.watched = True
        async with asyncio.TaskGroup() as group:
            for kind in KINDS:
                group.create_task(self._watch_kind(kind))

    async def repair(self, report: Callable[[PassOutcome], None]) -> None:
        """Put back what others change, until cancelled. `report` hears of every repair."""
        failures = 0
        while True:
            try:
                await self._sync.adopt()
                outcome = await self._sync.repair()
            except ClusterError as error:
                _log.warning("tier not looked after", error=str(error))
                await asyncio.sleep(pause(failures, error))
                failures += 1
                continue
            failures = 0
            if outcome is not None:
                report(outcome)
            await asyncio.sleep(LEAST_SECONDS)
            await self._until_disturbed()

    async def _until_disturbed(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._sync.due()):
                await self._disturbed.wait()
        self._disturbed.clear()

    async def _watch_kind(self, kind: str) -> None:
        before = ""
        while True:
            try:
                seconds = FULL_CHECK_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311 - spread, not secrecy
                async with asyncio.timeout(seconds), aclosing(self._follow(kind)) as changes:
                    async for change in changes:
                        self._fold(kind, change)
                        before = ""
            except TimeoutError:
                continue
            except ClusterError as error:
                if str(error) != before:
                    _log.warning("tier not watched", kind=kind, error=str(error))
                before = str(error)
                self._sync.picture.lost(kind)
                await asyncio.sleep(pause(_PATIENT, error))

    def _fold(self, kind: str, change: Change) -> None:
        if kind != TIER:
            self._sync.picture.fold(kind, change)
        if kind != NODE_STATE:
            self._disturbed.set()
