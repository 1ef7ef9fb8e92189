"""Carries out a plan: objects first, then their record, pointer last, prune after. It can be stopped anywhere.

`bridge.tier.sync` is its only caller. Objects are named by what they hold, so their order among themselves is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from bridge.history.keeper import History
from bridge.history.revision import Reasons
from bridge.tier.cache import Picture
from bridge.tier.cluster import TierCluster
from bridge.tier.plan import Live, Part, Plan
from zones.kube.errors import ClusterConflictError, ClusterRefusedError

Json = dict[str, Any]
_T = TypeVar("_T")
AT_ONCE = 8


class Publisher:
    """Writes to one cluster, and keeps the picture up with it."""

    def __init__(self, cluster: TierCluster, picture: Picture, history: History, tier: str) -> None:
        self._cluster = cluster
        self._picture = picture
        self._history = history
        self._tier = tier

    async def carry_out(self, planned: Plan, live: Live, reasons: Reasons) -> Json | None:
        """The pointer as the API server has stored it, where one was written; `reasons` are recorded with it."""
        await _each(self._cluster.release, planned.release)
        await _each(self._delete, planned.remove)
        await _each(self._put, planned.create)
        pointer = None
        if planned.pointer is not None:
            await self._history.record(planned.pointer, live.tier, reasons)
            pointer = _as_wanted(planned.pointer, await self._cluster.apply(_onto(live.tier, planned.pointer)))
        await self._history.let_go(pointer or live.tier)
        kept = self._history.ledger.parts
        await _each(self._retire, [part for part in planned.prune if part.name in kept])
        await _each(self._delete, [part for part in planned.prune if part.name not in kept])
        return pointer

    async def _delete(self, part: Part) -> None:
        left = await self._cluster.delete(part)
        if left is None:
            self._picture.deleted(part.kind, part.name)
        else:
            self._picture.wrote(left | {"kind": part.kind})

    async def _retire(self, part: Part) -> None:
        answer = await self._cluster.retire(part, self._tier)
        if answer is not None:
            self._picture.retired(part.kind, part.name, answer)

    async def _put(self, part: Json) -> None:
        try:
            answer = _as_wanted(part, await self._cluster.create(part))
        except ClusterConflictError:
            answer = await self._over(part)
        self._picture.wrote(answer | {"spec": part["spec"]})

    async def _over(self, part: Json) -> Json:
        """Onto what has the name but not the tier's label, or was made since; where it holds something else, anew."""
        try:
            return _as_wanted(part, await self._cluster.apply(part))
        except ClusterRefusedError:
            named = Part(part["kind"], part["metadata"]["name"])
            await self._cluster.release(named)
            await self._cluster.delete(named)
            return _as_wanted(part, await self._cluster.create(part))


def _as_wanted(wanted: Json, stored: Json) -> Json:
    """What the API server has stored, where that is what it was told."""
    if stored.get("spec") != wanted["spec"]:
        raise ClusterRefusedError(
            f"writing {wanted['kind']} '{wanted['metadata']['name']}': the API server stored something else; "
            "install the custom resource definitions of this version, and look for a webhook that changes them"
        )
    return stored


async def _each(work: Callable[[_T], Awaitable[None]], items: Sequence[_T]) -> None:
    """For every item, several at once; the first failure stops the others."""
    left = iter(items)

    async def some() -> None:
        for item in left:
            await work(item)

    tasks = [asyncio.ensure_future(some()) for _ in range(min(AT_ONCE, len(items)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _onto(live: Json | None, pointer: Json) -> Json:
    """The pointer, to be applied only onto the version that the plan was made for."""
    if live is None or "deletionTimestamp" in live["metadata"]:
        return pointer
    return pointer | {"metadata": pointer["metadata"] | {"resourceVersion": live["metadata"]["resourceVersion"]}}
