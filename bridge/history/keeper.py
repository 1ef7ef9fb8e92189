"""Keeps one tier's history in its cluster: records each revision before its Tier is written, and lets old ones go.

It can be stopped anywhere. What it remembers is read anew by whoever comes to lead, and after every call that failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from bridge.history.ledger import Retention, RevisionLedger
from bridge.history.revision import REVISION, Reasons, RevisionError, object_name, recorded_of, revision_object
from bridge.tier.plan import Part
from zones.kube.errors import ClusterRefusedError
from zones.policy import Policy

Json = dict[str, Any]
_log = structlog.get_logger()


class HistoryCluster(Protocol):
    """What a history needs of a cluster."""

    async def revisions(self, tier: str) -> list[Json]: ...
    async def create(self, part: Json) -> Json: ...
    async def delete(self, part: Part) -> Json | None: ...
    async def kept_parts(self, tier: str) -> list[Part]: ...


@dataclass(frozen=True, slots=True)
class Published:
    """A revision that this process put in force, with the policy before it, where that is known."""

    revision: int
    policy: Policy
    before: tuple[int, Policy] | None


class History:
    """One tier's. `ledger` is empty until `load`; `news` is set whenever there may be something to work out or tell."""

    def __init__(
        self,
        cluster: HistoryCluster,
        tier: str,
        retention: Retention | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._tier = tier
        self._retention = retention or Retention()
        self._now = now
        self._loaded = self._swept = False
        self.ledger = RevisionLedger()
        self.published: Published | None = None
        self.news = asyncio.Event()

    def forget(self) -> None:
        """Trust nothing that was remembered."""
        self._loaded = self._swept = False
        self.published = None

    async def load(self, tier: Json | None, *, ours: bool) -> RevisionLedger:
        """What is recorded, with what is in force: a Tier of before there was a history gets its record now.

        Raises ClusterError.
        """
        with self._certain():
            if not self._loaded:
                self.ledger = self._read(await self._cluster.revisions(self._tier))
                self._loaded = True
                self.news.set()
            if tier is not None and self.ledger.lacks(tier, ours=ours):
                unknown = "this revision was published without a record, or its record was lost"
                await self._create(
                    revision_object(tier, self.ledger.place(tier), Reasons(unknown=unknown), self._now())
                )
        return self.ledger

    async def record(self, pointer: Json, live: Json | None, reasons: Reasons) -> None:
        """Before a Tier is written. One that was prepared for just this Tier before stays as it is."""
        last = self.ledger.last
        if last is not None and last.revision == pointer["spec"]["revision"]:
            return
        with self._certain():
            await self._create(revision_object(pointer, self.ledger.place(live), reasons, self._now()))

    async def let_go(self, tier: Json | None) -> None:
        """After a Tier was written: revisions that need not be kept, and parts that only they were made of.

        The oldest goes first, and each before its parts, so that what is left is always whole. What a killed bridge
        left of such parts goes with the next that leads.
        """
        with self._certain():
            gone: set[Part] = set()
            for expired in self.ledger.expired(tier, self._retention, self._now()):
                await self._cluster.delete(Part(REVISION, object_name(self._tier, expired.revision)))
                self.ledger = self.ledger.without(expired)
                self._swept = False
            if not self._swept:
                named = self.ledger.parts | _named_by(tier)
                gone = {part for part in await self._cluster.kept_parts(self._tier) if part.name not in named}
            for part in sorted(gone, key=lambda part: part.name):
                await self._cluster.delete(part)
            self._swept = True

    def in_force(self, revision: int, policy: Policy, before: tuple[int, Policy] | None) -> None:
        """The Tier of a recorded revision was written."""
        self.published = Published(revision, policy, before)
        self.news.set()

    async def _create(self, wanted: Json) -> None:
        stored = await self._cluster.create(wanted)
        if stored.get("spec") != wanted["spec"]:
            raise ClusterRefusedError(
                f"recording revision {wanted['spec']['revision']}: the API server stored something else; install the "
                "custom resource definitions of this version, and look for a webhook that changes them"
            )
        self.ledger = self.ledger.with_(recorded_of(stored))

    @contextmanager
    def _certain(self) -> Iterator[None]:
        """A call that failed may have come through all the same: all is read again before the next."""
        try:
            yield
        except BaseException:
            self._loaded = False
            raise

    def _read(self, raws: Iterable[Json]) -> RevisionLedger:
        """One that others have spoiled takes its number with it, and keeps nothing from being recorded."""
        readable, taken = [], []
        for raw in raws:
            try:
                readable.append(recorded_of(raw))
            except RevisionError as error:
                _log.error("revision not counted", tier=self._tier, error=str(error))
                number = str(raw["metadata"]["name"]).rpartition("-")[2]
                taken += [int(number)] if number.isdecimal() else []
        return RevisionLedger.of(readable, taken)


def _named_by(tier: Mapping[str, Any] | None) -> frozenset[str]:
    spec = (tier or {}).get("spec") or {}
    return frozenset((*spec.get("policyChunks", ()), *spec.get("addressSets", ())))
