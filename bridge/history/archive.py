"""Reads a history: records, and the parts that they name, of the cluster, and where that let go, of their copies.

It changes nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from bridge.history.ledger import RevisionLedger
from bridge.history.revision import Recorded, RevisionError, part_names, policy_of, recorded_of
from bridge.tier.plan import Part
from zones.kube.errors import ClusterError
from zones.policy import Policy
from zones.runtime.errors import InputError
from zones.tiers.native import ADDRESS_SET, POLICY_CHUNK

Json = dict[str, Any]
AT_ONCE = 8


class ArchiveCluster(Protocol):
    """What reading a history needs of a cluster."""

    async def tier(self, name: str) -> Json | None: ...
    async def revisions(self, tier: str) -> list[Json]: ...
    async def part(self, part: Part) -> Json | None: ...


class Copies(Protocol):
    """Copies of one tier's revisions, such as an evidence database has. It blocks."""

    def raws(self) -> list[Json]: ...
    def parts(self, names: Collection[str]) -> dict[str, Json]: ...


@dataclass(slots=True)
class Archive:
    """The records of one tier as they were when they were read, and the parts that were asked for since.

    `raws` are all Revisions, the oldest first, of which the first `copied` are in the copies alone; `ledger` those that
    can be read.
    """

    cluster: ArchiveCluster
    tier: Json | None
    raws: Sequence[Json]
    ledger: RevisionLedger
    parts: dict[str, Json] = field(default_factory=dict)
    copies: Copies | None = None
    copied: int = 0
    _by_number: Mapping[int, Json] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._by_number = {_number(raw): raw for raw in reversed(self.raws)}

    @classmethod
    async def read(cls, cluster: ArchiveCluster, name: str, copies: Copies | None = None) -> Archive:
        """The Tier first: its record was written before it. Raises ClusterError, and what the copies raise."""
        tier = await cluster.tier(name)
        raws = sorted(await cluster.revisions(name), key=_number)
        older = [] if copies is None else _before(raws, await asyncio.to_thread(copies.raws))
        every = [*older, *raws]
        return cls(cluster, tier, every, RevisionLedger.of(_readable(every)), copies=copies, copied=len(older))

    @property
    def in_force(self) -> tuple[Recorded, ...]:
        """Those that were in force, the newest first."""
        return tuple(self.ledger.in_force(self.tier))

    def raw(self, number: int) -> Json:
        """The Revision of that number. Raises InputError."""
        if number in self._by_number:
            return self._by_number[number]
        if not self.raws:
            raise InputError("there are no revisions: the bridge has published none since it keeps a history")
        kept = f"{_number(self.raws[0])} to {_number(self.raws[-1])}"
        raise InputError(f"there is no revision {number}: kept are some of {kept} (zonebridge history)")

    def at(self, moment: datetime) -> Recorded:
        """What was in force at an instant (aware). Raises InputError where no record reaches back so far."""
        for revision in self.in_force:
            if revision.recorded <= moment:
                return revision
        oldest = f"{self.in_force[-1].recorded.isoformat()}" if self.in_force else "none at all"
        raise InputError(f"no record says what was in force at {moment.isoformat()}: the oldest is of {oldest}")

    async def policy(self, number: int) -> Policy:
        """Raises InputError, ClusterError; ClusterError too where the record or a part of it was changed."""
        raw = self.raw(number)
        await self.fetch([raw])
        try:
            return await asyncio.to_thread(policy_of, raw["spec"], self.parts)
        except RevisionError as error:
            raise ClusterError(f"{error} (zonebridge verify-chain says more)") from error

    async def fetch(self, raws: Iterable[Json]) -> Mapping[str, Json]:
        """Every part that these records name and that is there, by name. Raises ClusterError."""
        names = frozenset().union(*(_names(raw) for raw in raws)) - self.parts.keys()
        left = iter(sorted(names))

        async def some() -> None:
            for name in left:
                part = await self.part(name)
                if part is not None:
                    self.parts[name] = part

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        missing = names - self.parts.keys()
        if self.copies is not None and missing:
            self.parts |= await asyncio.to_thread(self.copies.parts, missing)
        return self.parts

    async def part(self, name: str) -> Json | None:
        """The cluster's part of that name. Raises ClusterError."""
        for kind in (POLICY_CHUNK, ADDRESS_SET):
            part = await self.cluster.part(Part(kind, name))
            if part is not None:
                return part
        return None


def entries_of(spec: Json, parts: Mapping[str, Json]) -> list[Json]:
    """A revision's rules in order, in the form that PolicyChunks have them."""
    return [entry for name in json.loads(spec["content"])["policyChunks"] for entry in parts[name]["spec"]["entries"]]


def _before(raws: Sequence[Json], copies: Iterable[Json]) -> list[Json]:
    """The copies of what came before these records, the oldest first: as far back as the chain goes.

    Where there are two of a number (a cluster was restored, or made anew), the one that the chain names.
    """
    by_number: dict[int, list[Json]] = {}
    for copy in copies:
        by_number.setdefault(_number(copy), []).append(copy)
    older: list[Json] = []
    for number in sorted(by_number, reverse=True):
        after = older[-1] if older else raws[0] if raws else None
        if after is None:
            older.append(by_number[number][-1])
            continue
        previous = (after.get("spec") or {}).get("previous")
        if previous is None:
            break
        if number < _number(after):
            chained = (copy for copy in by_number[number] if copy["spec"].get("chain") == previous.get("chain"))
            older.append(next(chained, by_number[number][-1]))
    return older[::-1]


def _names(raw: Json) -> frozenset[str]:
    try:
        return part_names(raw.get("spec") or {})
    except (KeyError, TypeError, ValueError, RecursionError):
        return frozenset()


def _readable(raws: Iterable[Json]) -> list[Recorded]:
    readable = []
    for raw in raws:
        try:
            readable.append(recorded_of(raw))
        except RevisionError:
            continue
    return readable


def _number(raw: Json) -> int:
    number = (raw.get("spec") or {}).get("revision", 0)
    return number if isinstance(number, int) else 0
