"""Reads a history out of a cluster: records, and the parts that they name. It changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from bridge.errors import InputError
from bridge.history.ledger import RevisionLedger
from bridge.history.revision import Recorded, RevisionError, part_names, policy_of, recorded_of
from bridge.tier.plan import Part
from zones.kube.errors import ClusterError
from zones.policy import Policy
from zones.tiers.native import ADDRESS_SET, POLICY_CHUNK

Json = dict[str, Any]
AT_ONCE = 8


class ArchiveCluster(Protocol):
    """What reading a history needs of a cluster."""

    async def tier(self, name: str) -> Json | None: ...
    async def revisions(self, tier: str) -> list[Json]: ...
    async def part(self, part: Part) -> Json | None: ...


@dataclass(slots=True)
class Archive:
    """The records of one tier as they were when they were read, and the parts that were asked for since.

    `raws` are all Revisions, the oldest first; `ledger` those that can be read.
    """

    cluster: ArchiveCluster
    tier: Json | None
    raws: Sequence[Json]
    ledger: RevisionLedger
    parts: dict[str, Json] = field(default_factory=dict)

    @classmethod
    async def read(cls, cluster: ArchiveCluster, name: str) -> Archive:
        """The Tier first: its record was written before it. Raises ClusterError."""
        tier = await cluster.tier(name)
        raws = sorted(await cluster.revisions(name), key=_number)
        return cls(cluster, tier, raws, RevisionLedger.of(_readable(raws)))

    @property
    def in_force(self) -> tuple[Recorded, ...]:
        """Those that were in force, the newest first."""
        return tuple(self.ledger.in_force(self.tier))

    def raw(self, number: int) -> Json:
        """The Revision of that number. Raises InputError."""
        for raw in self.raws:
            if _number(raw) == number:
                return raw
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
                for kind in (POLICY_CHUNK, ADDRESS_SET):
                    part = await self.cluster.part(Part(kind, name))
                    if part is not None:
                        self.parts[name] = part
                        break

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        return self.parts


def entries_of(spec: Json, parts: Mapping[str, Json]) -> list[Json]:
    """A revision's rules in order, in the form that PolicyChunks have them."""
    return [entry for name in json.loads(spec["content"])["policyChunks"] for entry in parts[name]["spec"]["entries"]]


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
