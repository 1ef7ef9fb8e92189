"""One pass for one cluster: look at the manager, compile, plan, carry out, report. It can be stopped anywhere.

It holds only what saves work or repairs a tier; `bridge.service` calls it again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

import structlog

from bridge.alerts import AlertKind, Alerts
from bridge.cluster import TierCluster
from bridge.errors import (
    BridgeError,
    ClusterRefusedError,
    ManagerAnswerError,
    ManagerError,
    RevisionRefusedError,
    UnknownDeviceGroupError,
)
from bridge.managers import Manager
from bridge.outcome import Outcome, Result, conditions
from bridge.plan import Guards, Live, Plan, plan
from bridge.report import refusal_lines, summary_json
from bridge.status import Sight, nodes_json, parse_timestamp, says_something_new, status_json
from zones.compile import Compiled, Options, compile_policy
from zones.net import AddressSet
from zones.policy import InfrastructureRule, Policy
from zones.rules import Feed, Rulebase
from zones.tiers import native
from zones.zone import Zoning

Json = dict[str, Any]
_T = TypeVar("_T")
_log = structlog.get_logger()
_NO_GUARDS = Guards(max_deleted_share=1.0, allow_empty=True)


class FeedSource(Protocol):
    """What changes without a commit: the last good content of each feed, and a number that rises with every change."""

    version: int

    async def want(self, feeds: Sequence[Feed], /) -> None: ...
    def contents(self) -> Mapping[str, AddressSet]: ...


class RunBlocking(Protocol):
    """Runs one of the manager's blocking calls elsewhere, one at a time."""

    def __call__(self, call: Callable[[], _T], /) -> Awaitable[_T]: ...


@dataclass(frozen=True, slots=True)
class Target:
    """What a cluster's tier is made of, from the settings. `manager` is a name for people."""

    cluster: str
    tier: str
    device_group: str
    zoning: Zoning
    options: Options = field(default_factory=Options)
    infrastructure: tuple[InfrastructureRule, ...] = ()
    guards: Guards = field(default_factory=Guards)
    stale_after: timedelta = timedelta(minutes=10)
    manager: str = "panorama"


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the manager said last, compiled."""

    version: str
    rulebase: Rulebase
    feeds_version: int
    compiled: Compiled


@dataclass(frozen=True, slots=True)
class _Vetted:
    """What was last found fit to be published: the policy, and its objects but for the revision."""

    policy: Policy
    rendered: native.Rendered


@dataclass(frozen=True, slots=True)
class _Cluster:
    """The cluster as a pass finds it."""

    live: Live
    nodes: list[Json]

    @property
    def status(self) -> Json:
        status: Json = (self.live.tier or {}).get("status", {})
        return status


class Sync:
    """The passes of one cluster."""

    def __init__(
        self,
        target: Target,
        manager: Manager,
        cluster: TierCluster,
        alerts: Alerts,
        feeds: FeedSource,
        *,
        run_blocking: RunBlocking,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._target = target
        self._manager = manager
        self._cluster = cluster
        self._alerts = alerts
        self._feeds = feeds
        self._run_blocking = run_blocking
        self._now = now
        self._since = now()
        self._answered: datetime | None = None
        self._reading: _Reading | None = None
        self._vetted: _Vetted | None = None

    def forget(self) -> None:
        """Another bridge may have written meanwhile: trust nothing that was remembered."""
        self._reading = self._vetted = self._answered = None

    async def once(self) -> Outcome:
        """One pass. Raises ClusterError; trouble with the manager or the revision is in the outcome."""
        trouble = await self._look()
        found = await self._find()
        planned, refused = await asyncio.to_thread(self._plan, found.live)
        problem = trouble if isinstance(trouble, RevisionRefusedError) else refused or trouble
        if planned is not None:
            await self._carry_out(planned, found.live)
        outcome = self._outcome(planned, found, problem)
        await self._tell(outcome)
        await self._write_status(planned, found, outcome)
        return outcome

    async def _look(self) -> BridgeError | None:
        """Read and compile the configuration, where it may have changed. What keeps us from it is returned."""
        try:
            version = await self._run_blocking(self._manager.version)
            rulebase = await self._rulebase(version)
        except UnknownDeviceGroupError as error:
            return RevisionRefusedError("UnknownDeviceGroup", str(error))
        except ManagerAnswerError as error:
            return RevisionRefusedError("UnusableAnswer", str(error))
        except ManagerError as error:
            return error
        self._answered = self._now()
        await self._read(version, rulebase)
        return None

    async def _rulebase(self, version: str) -> Rulebase:
        if self._reading is not None and self._reading.version == version:
            return self._reading.rulebase
        rulebase = await self._run_blocking(self._manager.rulebase)
        await self._feeds.want(rulebase.feeds)
        return rulebase

    async def _read(self, version: str, rulebase: Rulebase) -> None:
        """Compile, unless the rulebase and what its feeds hold are those of the last reading."""
        feeds_version, contents = self._feeds.version, self._feeds.contents()
        before = self._reading
        if before is None or before.rulebase is not rulebase or before.feeds_version != feeds_version:
            compiled = await asyncio.to_thread(self._compile, rulebase, contents)
            self._reading = _Reading(version, rulebase, feeds_version, compiled)

    def _compile(self, rulebase: Rulebase, feeds: Mapping[str, AddressSet]) -> Compiled:
        target = self._target
        return compile_policy(rulebase, target.zoning, target.options, target.infrastructure, feeds)

    async def _find(self) -> _Cluster:
        tier = await self._cluster.tier(self._target.tier)
        parts = await self._cluster.parts(self._target.tier)
        nodes = await self._cluster.node_states()
        states = [node.get("status", {}) for node in nodes]
        seen = [int(state.get("revision", 0)) for state in states if state.get("tier") == self._target.tier]
        return _Cluster(Live(tier, parts, max(seen, default=0)), nodes)

    def _plan(self, live: Live) -> tuple[Plan | None, RevisionRefusedError | None]:
        """The plan for what was read; where that is refused, for the last vetted policy, which repairs the tier."""
        refused: RevisionRefusedError | None = None
        if self._reading is not None:
            try:
                return self._plan_reading(self._reading, live), None
            except RevisionRefusedError as error:
                refused = error
        if self._vetted is None:
            return None, refused
        return _plan_for(self._vetted, live, _NO_GUARDS), refused

    def _plan_reading(self, reading: _Reading, live: Live) -> Plan:
        policy = reading.compiled.policy
        if policy is None:
            raise RevisionRefusedError("InexpressibleDeny", *refusal_lines(reading.compiled))
        if self._vetted is not None and self._vetted.policy is policy:
            return _plan_for(self._vetted, live, _NO_GUARDS)
        source = native.Source(self._target.manager, self._target.device_group, reading.version)
        candidate = _Vetted(policy, native.render(policy, self._target.tier, live.next_revision, source))
        planned = _plan_for(candidate, live, self._target.guards)
        self._vetted = candidate
        return planned

    async def _carry_out(self, planned: Plan, live: Live) -> None:
        """Objects first, pointer last, prune after: whoever reads in between has the old revision or the new one."""
        for part in planned.remove:
            await self._cluster.delete(part)
        for part_json in planned.create:
            await self._apply(part_json)
        if planned.pointer is not None:
            await self._apply(_onto(live.tier, planned.pointer))
            _log.info("published", cluster=self._target.cluster, tier=self._target.tier, revision=planned.revision)
        for part in planned.prune:
            await self._cluster.delete(part)

    async def _apply(self, wanted: Json) -> None:
        applied = await self._cluster.apply(wanted)
        if applied.get("spec") != wanted["spec"]:
            raise ClusterRefusedError(
                f"applying {wanted['kind']} '{wanted['metadata']['name']}' in cluster '{self._target.cluster}': the "
                "API server stored something else; install the custom resource definitions of this version, and look "
                "for a webhook that changes them"
            )

    def _outcome(self, planned: Plan | None, found: _Cluster, problem: BridgeError | None) -> Outcome:
        revision, digest = _revision_of(planned, found.live)
        reports = self._reading.compiled.reports if self._reading else ()
        return Outcome(
            result=Result.of(problem, published=planned is not None and planned.pointer is not None),
            revision=revision,
            rules=summary_json(reports),
            nodes=nodes_json(found.nodes, self._target.tier, revision, digest),
            stale=self._now() - self._last_answer(found) > self._target.stale_after,
            problem=problem,
        )

    def _last_answer(self, found: _Cluster) -> datetime:
        """When the manager was last heard: in this process, by one before it, or else not since we started."""
        return self._answered or parse_timestamp(found.status.get("lastSyncTime")) or self._since

    async def _tell(self, outcome: Outcome) -> None:
        if isinstance(outcome.problem, RevisionRefusedError):
            await self._alerts.raise_(AlertKind.REVISION_REFUSED, f"the last good tier stays: {outcome.problem}")
        elif outcome.problem is None:
            await self._alerts.clear(AlertKind.REVISION_REFUSED, "the configuration is accepted again")
        if outcome.stale:
            message = f"no usable answer for {self._target.stale_after}; the last good tier stays: {outcome.problem}"
            await self._alerts.raise_(AlertKind.SYNC_STALE, message)
        else:
            await self._alerts.clear(AlertKind.SYNC_STALE, "the manager answers again")

    async def _write_status(self, planned: Plan | None, found: _Cluster, outcome: Outcome) -> None:
        """Where there is no Tier yet there is nothing to write on; the alert has told."""
        if planned is None and found.live.tier is None:
            return
        now = self._now()
        status = status_json(self._sight(planned, found, outcome), self._target.tier, found.status, now)
        if says_something_new(status, found.status, now):
            await self._cluster.write_status(self._target.tier, status)

    def _sight(self, planned: Plan | None, found: _Cluster, outcome: Outcome) -> Sight:
        revision, digest = _revision_of(planned, found.live)
        reading, vetted = self._reading, self._vetted
        return Sight(
            revision=revision,
            digest=digest,
            version=reading.version if reading else str(found.status.get("sourceVersion", "")),
            reports=reading.compiled.reports if reading else None,
            zones=len(vetted.policy.known_zones) if vetted else int(found.status.get("zones", 0)),
            nodes=found.nodes,
            last_sync=self._answered or parse_timestamp(found.status.get("lastSyncTime")),
            conditions=conditions(outcome),
        )


def _plan_for(vetted: _Vetted, live: Live, guards: Guards) -> Plan:
    """The plan for a vetted policy at the revision that comes next."""
    tier = vetted.rendered.tier
    tier = tier | {"spec": tier["spec"] | {"revision": live.next_revision}}
    return plan(native.Rendered(tier, vetted.rendered.parts), live, guards, vetted.policy)


def _onto(live: Json | None, pointer: Json) -> Json:
    """The pointer, to be applied only onto the version that the plan was made for."""
    if live is None:
        return pointer
    return pointer | {"metadata": pointer["metadata"] | {"resourceVersion": live["metadata"]["resourceVersion"]}}


def _revision_of(planned: Plan | None, live: Live) -> tuple[int, str]:
    if planned is not None:
        return planned.revision, planned.digest
    return live.revision, str((live.tier or {}).get("spec", {}).get("digest", ""))
