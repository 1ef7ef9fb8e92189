"""What follows a publish without holding it up: copies, what it changed, whether the history is whole, a checkpoint.

It runs while the bridge leads. Trouble with the cluster is waited out, and nothing of it keeps a revision back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any, Protocol

import structlog

from bridge.alerts import Alerts, Checkpoint
from bridge.errors import BridgeError
from bridge.history.archive import Archive, ArchiveCluster, Copies
from bridge.history.comparison import changes_json, not_computed
from bridge.history.keeper import History
from bridge.history.revision import REVISION, Recorded, object_name, part_names, sealed
from bridge.history.verification import breaks, part_break, record_breaks
from zones.kube.errors import ClusterError
from zones.policy import Policy
from zones.runtime.errors import ZonebridgeError
from zones.siem.alerts import AlertKind
from zones.tiers.native import API_VERSION

Json = dict[str, Any]
_log = structlog.get_logger()
# Comparing two revisions takes a processor that a publish may need meanwhile.
COMPARE_SECONDS = 10.0
LOOK_SECONDS = 600.0
RETRY_SECONDS = 30.0


class CopyTarget(Copies, Protocol):
    """Where revisions are copied to. It blocks, and raises BridgeError where it is away."""

    def chains(self) -> dict[str, bool]: ...
    def missing_parts(self, names: Collection[str]) -> set[str]: ...
    def add(self, raw: Json, parts: Mapping[str, Json]) -> None: ...
    def add_status(self, raw: Json) -> None: ...


class FollowUpCluster(ArchiveCluster, Protocol):
    """What it needs of a cluster besides reading."""

    async def apply_status(self, wanted: Json) -> Json: ...


class FollowUp:
    """One tier's. It reads the whole history once a day, and after it began; after a publish the records alone.

    `copies`: where there is an evidence database, what the cluster will let go of is copied to it.
    """

    def __init__(
        self,
        cluster: FollowUpCluster,
        tier: str,
        history: History,
        alerts: Alerts,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._tier = tier
        self._history = history
        self._alerts = alerts
        self._now = now
        self._told: tuple[int, date] | None = None
        self._verified: date | None = None
        self.copies: CopyTarget | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            wait = LOOK_SECONDS
            self._history.news.clear()
            try:
                await self.look()
            except (ClusterError, BridgeError) as error:
                _log.warning("history not looked after", error=str(error))
                wait = RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._history.news.wait()

    async def look(self) -> None:
        """Whatever is due, the copies last: a database that is away holds up nothing else. Raises ClusterError.

        Raises BridgeError where the copies' database is away.
        """
        archive = await Archive.read(self._cluster, self._tier)
        if archive.in_force:
            await self._follow(archive)
        if self.copies is not None:
            await self._copy(await Archive.read(self._cluster, self._tier), self.copies)

    async def _follow(self, archive: Archive) -> None:
        today = self._now().date()
        if self._verified != today:
            await self._verify()
            self._verified = today
        newest = archive.in_force[0]
        if self._told != (newest.revision, today):
            await self._alerts.checkpoint(_checkpoint(archive, newest))
            self._told = newest.revision, today
        for revision, before in zip(archive.in_force, (*archive.in_force[1:], None), strict=True):
            raw = archive.raw(revision.revision)
            status = raw.get("status") or {}
            if "changes" not in status or sealed(raw["spec"], status) != status:
                await self._work_out(archive, revision, before)

    async def _copy(self, archive: Archive, copies: CopyTarget) -> None:
        """Whatever isn't copied yet, the oldest first, each in one transaction. One that isn't whole is left out."""
        chains = await asyncio.to_thread(copies.chains)
        for raw in archive.raws:
            spec, status = raw.get("spec") or {}, raw.get("status") or {}
            chain = spec.get("chain")
            if chain not in chains:
                wrong = await self._copy_one(archive, raw, copies)
                if wrong:
                    _log.error("revision not copied", tier=self._tier, revision=spec.get("revision"), error=wrong)
                    continue
            if "changes" in status and sealed(spec, status) == status and not chains.get(str(chain)):
                await asyncio.to_thread(copies.add_status, raw)

    @staticmethod
    async def _copy_one(archive: Archive, raw: Json, copies: CopyTarget) -> str:
        """What is wrong with it, if anything."""
        try:
            wrong = next(record_breaks({name: raw[name] for name in ("metadata", "spec")}), "")
            names = part_names(raw["spec"])
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            return f"it can't be read: {error!r}"
        if wrong:
            return wrong
        missing_parts = await asyncio.to_thread(copies.missing_parts, names)
        parts: dict[str, Json] = {}
        for name in sorted(missing_parts):
            part = await archive.part(name)
            if problem := part_break(name, part):
                return problem
            parts |= {name: part} if part is not None else {}
        await asyncio.to_thread(copies.add, raw, parts)
        return ""

    async def _verify(self) -> None:
        """What isn't whole at a second look either is an alert: the history may be shortened between two calls."""
        for _ in range(2):
            archive = await Archive.read(self._cluster, self._tier)
            parts = await archive.fetch(archive.raws)
            broken = await asyncio.to_thread(breaks, archive.raws, parts, archive.tier)
            if not broken:
                await self._alerts.clear(AlertKind.HISTORY_TAMPERED, "the history is whole again")
                return
        more = f" and at {len(broken) - 1} more places" if len(broken) > 1 else ""
        first = f"the history of tier '{self._tier}' isn't what was recorded: {broken[0]}"
        message = f"{first}{more}; see zonebridge verify-chain"
        about = {"breaks": [str(break_) for break_ in broken[:20]]}
        await self._alerts.raise_(AlertKind.HISTORY_TAMPERED, message, about)

    async def _work_out(self, archive: Archive, revision: Recorded, before: Recorded | None) -> None:
        changes = await self._changes(archive, revision, before)
        spec = archive.raw(revision.revision)["spec"]
        name = object_name(self._tier, revision.revision)
        wanted = {"apiVersion": API_VERSION, "kind": REVISION, "metadata": {"name": name}}
        await self._cluster.apply_status(wanted | {"status": sealed(spec, {"changes": changes})})

    async def _changes(self, archive: Archive, revision: Recorded, before: Recorded | None) -> Json:
        if before is None:
            first = revision.replaces == 0
            return not_computed("it is the first" if first else f"revision {revision.replaces} isn't kept any more")
        try:
            old, new = await self._policies(archive, revision, before)
        except ZonebridgeError as error:
            if isinstance(error, ClusterError) and "verify-chain" not in str(error):
                raise
            return not_computed(str(error)[:1000])
        return await asyncio.to_thread(changes_json, old, new, self._now(), COMPARE_SECONDS)

    async def _policies(self, archive: Archive, revision: Recorded, before: Recorded) -> tuple[Policy, Policy]:
        """Of both revisions: as this process published them, or else from their parts."""
        known = self._history.published
        if known is not None and known.before is not None and known.revision == revision.revision:
            number, policy = known.before
            self._history.published = None  # two policies are much to keep in memory
            if number == before.revision:
                return policy, known.policy
        return await archive.policy(before.revision), await archive.policy(revision.revision)


def _checkpoint(archive: Archive, newest: Recorded) -> Checkpoint:
    kept = archive.ledger.revisions
    return Checkpoint(newest.revision, newest.digest, newest.chain, newest.position, len(kept), kept[0].revision)
