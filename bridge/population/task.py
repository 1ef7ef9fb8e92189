"""Publishing who is where in one cluster: follow pods, nodes and namespaces; keep PodSlices and Zones what they say.

Only `bridge.service` runs it, while this bridge leads. Nothing is published before everything was listed once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import structlog

from bridge.alerts import Alerts
from bridge.population.assignment import Assignment
from bridge.population.census import Census
from bridge.population.mirror import Mirror
from bridge.population.picture import FollowedKind, MemberMove, Population
from bridge.population.spoken import Spoken
from bridge.tier.cluster import ZONE, TierApi
from bridge.tier.plan import Part
from zones.kube.client import ApiServer
from zones.kube.errors import ClusterError, ClusterRefusedError, ClusterUnreachableError
from zones.kube.objects import Source
from zones.kube.watch import Change, Changed, Listed, follow, pause
from zones.siem.alerts import AlertKind
from zones.tiers import slices
from zones.tiers.native import API_VERSION, PLURALS, TIER, TIER_LABEL
from zones.zone import Zoning

Json = dict[str, Any]
Fold = Callable[[Change], None]
_ROOT = f"/apis/{API_VERSION}"
RETRY_REFUSED = 30.0
_LISTEN, _TOLD = 1.0, 20
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PopulationTerms:
    """Of which tier, how zones are known, which labels slices carry besides the zone's; seconds between writes.

    `most`: pods in one slice. `clock`: seconds, of which only the difference counts.
    """

    tier: str
    zoning: Zoning
    labels: tuple[str, ...] = ()
    slices_every: float = 0.15
    zones_every: float = 1.0
    most: int = slices.MOST_PODS
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class PopulationFigures:
    """How much there is, and how many objects were written just now.

    `overruled`: nodes for which the bridge speaks though they say something themselves.
    """

    pods: int
    slices: int
    writes: int
    overruled: int = 0


Tell = Callable[[PopulationFigures], None]


class Publishing:
    """One cluster's part. `population` is who is where, as far as it has been told; `moved` hears each change."""

    def __init__(self, api: ApiServer, terms: PopulationTerms, alerts: Alerts | None = None) -> None:
        self._api = api
        self._terms = terms
        self._alerts = alerts or Alerts(api.name, terms.tier, ())
        self.moved: Callable[[MemberMove], None] = lambda _: None
        self._begin()

    def _begin(self) -> None:
        """With nothing known: another bridge may have led meanwhile."""
        terms, door = self._terms, TierApi(self._api)
        self.population = Population(terms.zoning)
        self._assignment = Assignment(terms.tier, (terms.zoning.label_key, *terms.labels), terms.most)
        self._census = Census(terms.tier, terms.zoning.default)
        self._spoken = Spoken(terms.zoning.label_key, self._assignment.pods_of, terms.clock)
        self._slices = Mirror(slices.POD_SLICE, door, self._wanted)
        self._zones = Mirror(ZONE, door, self._census.render)
        self._zones.touch(*self._census)
        self._slices_due, self._zones_due = asyncio.Event(), asyncio.Event()
        self._ready = asyncio.Event()

    async def run(self, tell: Tell = lambda _: None) -> None:
        """Until cancelled. Raises ClusterRefusedError where a kind or a right is missing that enforcers depend on."""
        self._begin()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._publish_slices(tell), name="slices")
                group.create_task(self._publish_zones(tell), name="zones")
        except BaseExceptionGroup as failed:
            raise _first(failed) from failed

    async def close(self) -> None:
        await self._api.close()

    async def _publish_slices(self, tell: Tell) -> None:
        """Slices, nodes and namespaces are known before the first pod is looked at, and all pods before any is told."""
        ours = Source(f"{_ROOT}/{slices.PLURAL}", "PodSlices", self._of_tier(), page=100)
        nodes, namespaces = (
            Source(FollowedKind.NODES.value, "nodes", page=100),
            Source(FollowedKind.NAMESPACES.value, "namespaces"),
        )
        async with asyncio.TaskGroup() as group:
            listed = [
                self._follow(group, ours, self._see_slices),
                self._follow(group, nodes, lambda change: self._see(FollowedKind.NODES, change)),
                self._follow(group, namespaces, lambda change: self._see(FollowedKind.NAMESPACES, change)),
            ]
            await _all(listed)
            pods = Source(FollowedKind.PODS.value, "pods")
            await self._follow(group, pods, lambda change: self._see(FollowedKind.PODS, change)).wait()
            self._assignment.settle()
            self._ready.set()
            group.create_task(self._listen_to_nodes(), name="nodes")
            await self._keep(self._slices, self._slices_due, self._terms.slices_every, tell)

    async def _publish_zones(self, tell: Tell) -> None:
        """Nobody but people depends on them: what refuses them doesn't stop the slices."""
        named = {"fieldSelector": f"metadata.name={self._terms.tier}"}
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    listed = [
                        self._follow(group, Source(f"{_ROOT}/zones", "Zones", self._of_tier()), self._see_zones),
                        self._follow(group, Source(f"{_ROOT}/{PLURALS[TIER]}", "Tiers", named), self._see_tier),
                        self._ready,
                    ]
                    await _all(listed)
                    await self._keep(self._zones, self._zones_due, self._terms.zones_every, tell)
            except* ClusterRefusedError as refused:
                _log.warning("zones not published", error=str(_first(refused)))
            _end_if_cancelled()  # a group that fails while it is cancelled tells the failure alone
            await asyncio.sleep(RETRY_REFUSED)

    def _wanted(self, name: str) -> Json | None:
        """A slice that the bridge is to write: none for a node that speaks for itself."""
        node = self._assignment.node_of(name)
        return None if node is not None and self._spoken.speaks(node) else self._assignment.render(name)

    async def _listen_to_nodes(self) -> None:
        """Speak for those that don't, or say what isn't so; take away what nodes left behind that are gone."""
        while True:
            self._look()
            await self._tell_of(sorted(self._spoken.overruled))
            for name in self._spoken.left(self.population.nodes or ()):
                await self._remove(name)
            await asyncio.sleep(_LISTEN)

    async def _tell_of(self, overruled: Sequence[str]) -> None:
        """While there are any: their agents are dead, or they say what isn't so."""
        if not overruled:
            await self._alerts.clear(AlertKind.NODE_OVERRULED, "what nodes say of their pods is so")
            return
        named = ", ".join(overruled[:_TOLD]) + (f" and {len(overruled) - _TOLD} more" if len(overruled) > _TOLD else "")
        message = f"the pods of these nodes are not what their agents say; they are told by the bridge: {named}"
        about = {"count": len(overruled), "nodes": list(overruled[:_TOLD])}
        await self._alerts.raise_(AlertKind.NODE_OVERRULED, message, about)

    async def _remove(self, name: str) -> None:
        try:
            await TierApi(self._api).delete(Part(slices.POD_SLICE, name))
        except ClusterError as error:
            _log.warning("a slice of a node that is gone was not deleted", name=name, error=str(error))

    def _of_tier(self) -> dict[str, str]:
        return {"labelSelector": f"{TIER_LABEL}={self._terms.tier}"}

    def _follow(self, group: asyncio.TaskGroup, source: Source, fold: Fold) -> asyncio.Event:
        """From now on; the event is set once everything was listed."""
        listed = asyncio.Event()

        async def work() -> None:
            async with aclosing(follow(self._api, source)) as changes:
                async for change in changes:
                    fold(change)
                    if isinstance(change, Listed) and change.last:
                        listed.set()

        group.create_task(work(), name=f"follow {source.what}")
        return listed

    def _see(self, kind: FollowedKind, change: Change) -> None:
        for move in self.population.fold(kind, change):
            before, after = (None if member is None else member.pod for member in (move.before, move.after))
            self._slices.touch(*self._assignment.change(before, after))
            for pod in filter(None, (before, after)):
                self._spoken.stir(pod.node)
            self._zones.touch(*self._census.move(move))
            self.moved(move)
        self._look()

    def _see_slices(self, change: Change) -> None:
        if not self._ready.is_set():
            for raw in change.objects if isinstance(change, Listed) else ():
                self._assignment.adopt(raw)
        self._spoken.fold(change)
        if isinstance(change, Listed):
            self._slices.saw(replace(change, objects=[raw for raw in change.objects if not slices.is_own(raw)]))
        elif not slices.is_own(change.raw):
            self._slices.saw(change)
        self._look()

    def _see_zones(self, change: Change) -> None:
        self._zones.saw(change)
        self._look()

    def _see_tier(self, change: Change) -> None:
        """A Tier that is gone is put back soon; until then its zones stay known."""
        raws = [change.raw] if isinstance(change, Changed) else change.objects
        for raw in raws if isinstance(change, Listed) or not change.gone else ():
            self._zones.touch(*self._census.know(frozenset((raw.get("spec") or {}).get("knownZones", ()))))
        self._look()

    def _look(self) -> None:
        if self._ready.is_set():
            for node in self._spoken.look():
                self._slices.touch(*self._assignment.names_of(node))
        if self._slices.dirty:
            self._slices_due.set()
        if self._zones.dirty:
            self._zones_due.set()

    async def _keep(self, mirror: Mirror, due: asyncio.Event, every: float, tell: Tell) -> None:
        """What comes alone is written at once, what comes together in one go."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout(RETRY_REFUSED):
                    await due.wait()
            except TimeoutError:
                mirror.retry()
            due.clear()
            try:
                await mirror.write()
                failures = 0
            except ClusterUnreachableError as error:
                due.set()
                await asyncio.sleep(pause(failures, error))
                failures += 1
            mine = sum(
                not self._spoken.speaks(node)
                for node in map(self._assignment.node_of, self._assignment.names())
                if node
            )
            total, overruled = mine + len(self._spoken), len(self._spoken.overruled)
            tell(PopulationFigures(len(self.population), total, mirror.take_writes(), overruled))
            await asyncio.sleep(every)


def _first(error: BaseException) -> BaseException:
    """What ended a group of tasks, or one within it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _end_if_cancelled() -> None:
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _all(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        await event.wait()
