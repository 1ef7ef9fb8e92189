"""One pass for one cluster: look at the manager, compile, plan, carry out, report. It can be stopped anywhere.

It holds only what saves work or repairs a tier; `bridge.service` calls it again and again, and `repair` between passes
whenever the watch has told of something that may not be ours.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from bridge.alerts import Alerts
from bridge.compilation.recompile import (
    AskInfrastructure,
    CompiledReading,
    CompileTarget,
    FeedSource,
    RulebaseReader,
    RunBlocking,
    nothing_more,
)
from bridge.compilation.report import summary_json
from bridge.errors import BridgeError, ManagerError, ManagerRefusedError, RevisionRefusedError
from bridge.history.keeper import History
from bridge.history.ledger import Retention
from bridge.history.reasons import PublishSituation, SeenReading, reasons
from bridge.history.revision import Reasons
from bridge.managers import Manager
from bridge.nodes.enforcement import Nodes, existing_nodes, states_of
from bridge.nodes.enforcement import about_json as about_late
from bridge.nodes.enforcement import text as text_of_late
from bridge.tier.cache import Picture
from bridge.tier.cluster import TierCluster
from bridge.tier.drift import LastApplied, differences, with_attempts, written_by_others
from bridge.tier.lifelines import AskCutOff, never_cut_off
from bridge.tier.outcome import PassOutcome, Result, conditions
from bridge.tier.plan import Live, Plan
from bridge.tier.publish import Publisher
from bridge.tier.repair_backoff import RepairAttempt, RepairBackoff, about_json, text
from bridge.tier.status import StatusInput, nodes_json, parse_timestamp, says_something_new, status_json
from bridge.tier.vetting import Planned, Vetted, Vetting, bare
from zones.policy import Policy
from zones.siem.alerts import AlertKind, Severity
from zones.tiers import native

Json = dict[str, Any]
__all__ = ["CompileTarget", "FeedSource", "RunBlocking", "Sync"]
_log = structlog.get_logger()
# How long the watch may take for its first lists; after that a pass lists by itself.
LISTED_SECONDS = 20.0
# Where there is no tier at all, a manager that doesn't answer is told of sooner.
FIRST_ANSWER = timedelta(minutes=1)
NOTHING_YET = "no tier is published yet, the cluster goes on as it was"
# Writes that were given up may come through later: so many plans are remembered as ours.
ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class _Cluster:
    """The cluster as a pass finds it."""

    live: Live
    nodes: list[Json]
    rounds: tuple[RepairAttempt, ...] = ()

    @property
    def status(self) -> Json:
        status: Json = (self.live.tier or {}).get("status", {})
        return status


class Sync:
    """The passes of one cluster. `picture` is kept by a watch where there is one, and then read instead of lists.

    `present`: the nodes that there are, where they are known.
    """

    def __init__(
        self,
        target: CompileTarget,
        manager: Manager,
        cluster: TierCluster,
        alerts: Alerts,
        feeds: FeedSource,
        *,
        run_blocking: RunBlocking,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        picture: Picture | None = None,
        present: Callable[[], Collection[str] | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        infrastructure: AskInfrastructure = nothing_more,
        cut_off: AskCutOff = never_cut_off,
        retention: Retention | None = None,
    ) -> None:
        self._cut_off = cut_off
        self._target = target
        self._reader = RulebaseReader(
            target, manager, feeds, run_blocking, now=now, clock=clock, infrastructure=infrastructure
        )
        self._cluster = cluster
        self._alerts = alerts
        self._now = now
        self.picture = picture or Picture()
        self.history = History(cluster, target.tier, retention, now)
        self._publisher = Publisher(cluster, self.picture, self.history, target.tier)
        self._writing = asyncio.Lock()
        self._clock = clock
        self._since = clock()
        self._trouble: BridgeError | None = None
        self._vetting = Vetting(target)
        self._vetted: Vetted | None = None
        self._left: LastApplied | None = None
        self._seen: SeenReading | None = None
        self._attempts: deque[Plan] = deque(maxlen=ATTEMPTS)
        self._term = ""
        self._repairs = RepairBackoff(clock)
        self._present = present
        self._nodes = Nodes(clock)

    @property
    def accepted(self) -> bool:
        """Whether the manager has ever taken this process's credentials."""
        return self._reader.accepted

    @property
    def reading(self) -> CompiledReading | None:
        """What the manager has committed, as it was last read."""
        return self._reader.last

    @property
    def policy(self) -> Policy | None:
        """What was last found fit to be published."""
        return None if self._vetted is None else self._vetted.policy

    @property
    def in_force(self) -> tuple[int, str] | None:
        """Number and digest of the tier as we left it, or as it was when we came."""
        spec = ((self._left.tier if self._left is not None else None) or {}).get("spec")
        return None if spec is None else (int(spec["revision"]), str(spec["digest"]))

    async def introduce(self) -> BridgeError | None:
        """Ask the manager for its version alone, as one who doesn't lead may: what keeps us from an answer."""
        return await self._reader.introduce()

    def forget(self) -> None:
        """Trust nothing that was remembered."""
        self._reader.forget()
        self.history.forget()
        self._vetted = self._trouble = self._left = self._seen = None
        self._attempts.clear()
        self._repairs = RepairBackoff(self._clock)

    def lead(self, term: str) -> None:
        """We lead now; in another term than before, another bridge may have written meanwhile."""
        if term != self._term:
            self.forget()
        self._term = term

    async def once(self) -> PassOutcome:
        """One pass. Raises ClusterError; trouble with the manager or the revision is in the outcome."""
        self._trouble = await self._reader.look()
        async with self._writing:
            observed = await self._notice(await self._find())
            return await self._settle(observed, prune=True)

    async def repair(self) -> PassOutcome | None:
        """Put back what others changed, without asking the manager. None where nothing was, or nothing is known yet."""
        async with self._writing:
            if self._left is None:
                return None
            observed = await self._notice(await self._find())
            due = self._repairs.wait()
            if not observed.rounds and (due is None or due > 0):
                return None
            return await self._settle(observed, prune=False)

    def due(self) -> float | None:
        """Seconds until something that is held back may be put back."""
        return self._repairs.wait()

    async def adopt(self) -> None:
        """Hold on to the tier that an earlier bridge left, where it is whole, until the manager answers."""
        async with self._writing:
            if self._vetted is None and self._left is None:
                await self._adopt(await self._find())

    async def _find(self) -> _Cluster:
        """The pointer is always asked for: that the cluster answers must be known, and which version is replaced."""
        tier = await self._cluster.tier(self._target.tier)
        if await self.picture.soon_whole(LISTED_SECONDS):
            parts, nodes = self.picture.parts(), self.picture.nodes()
        else:
            parts, nodes = await self._cluster.parts(self._target.tier), await self._cluster.node_states()
        states = [node.get("status", {}) for node in nodes]
        seen = [int(state.get("revision", 0)) for state in states if state.get("tier") == self._target.tier]
        published = 0 if self._left is None else self._left.revision
        ours = tier is None or not written_by_others(tier)
        as_left = self._left is None or (tier is not None and tier["spec"] == (self._left.tier or {}).get("spec"))
        recorded = await self.history.load(tier, ours=ours and as_left)
        if (record := recorded.record_of(tier)) is not None:
            self._alerts.revision = record.revision
        live = Live(tier, parts, max(seen, default=0), published, ours, recorded)
        return _Cluster(live, existing_nodes(nodes, self._present()))

    async def _notice(self, observed: _Cluster) -> _Cluster:
        """What others changed since we left it; told where it is new."""
        if self._left is None:
            return observed
        self._left = with_attempts(self._left, self._attempts, observed.live)
        drifts = differences(self._left, observed.live)
        rounds = self._repairs.seen(drifts)
        if rounds:
            await self._tell_drift(rounds)
        elif self._repairs.is_idle:
            await self._alerts.clear(AlertKind.TIER_TAMPERED, "nobody has changed the tier for a while")
        changed = any(drift.kind == native.TIER and not drift.of_status_alone for drift in drifts)
        live = replace(observed.live, ours=observed.live.ours and not changed)
        return replace(observed, live=live, rounds=rounds)

    async def _tell_drift(self, rounds: Sequence[RepairAttempt]) -> None:
        worst = max(rounds, key=lambda attempt: attempt.wait)
        severity = Severity.CRITICAL if worst.wait else Severity.HIGH
        await self._alerts.tell(AlertKind.TIER_TAMPERED, text(rounds), severity, about_json(rounds))

    async def _adopt(self, observed: _Cluster) -> None:
        """The live tier, where it is whole and a bridge wrote it; where not, nobody can put it back but the manager."""
        tier = observed.live.tier
        if tier is None:
            return
        name = self._target.tier
        if not observed.live.ours:
            hands = ", ".join(map(str, written_by_others(tier)))
            message = f"Tier '{name}' was written by {hands} while no bridge watched; it stays till the manager answers"
            await self._alerts.raise_(AlertKind.TIER_TAMPERED, message)
            return
        try:
            policy = await asyncio.to_thread(native.parse, tier, observed.live.parts)
        except native.TierError as error:
            message = f"Tier '{name}' was damaged while no bridge watched, and is put back when the manager answers"
            await self._alerts.raise_(AlertKind.TIER_DAMAGED, f"{message}: {error}")
            return
        named = {*tier["spec"]["policyChunks"], *tier["spec"]["addressSets"]}
        parts = tuple(bare(part) for part_name, part in observed.live.parts.items() if part_name in named)
        self._vetted = Vetted(policy, native.Rendered(bare(tier | {"kind": native.TIER}), parts))
        self._left = LastApplied(tier, observed.live.parts)

    async def _settle(self, observed: _Cluster, *, prune: bool) -> PassOutcome:
        """Bring the cluster to what is known of the manager's wishes, and tell how that went."""
        if self._vetted is None:
            await self._adopt(observed)
        read = self._reader.last, self._reader.infrastructure
        planning = await asyncio.to_thread(self._vetting.plan, observed.live, *read, self._vetted)
        planning = await self._unless_cut_off(planning, observed.live)
        before = self._vetted
        if planning.vetted is not None and planning.vetted is not self._vetted:
            self._vetted = planning.vetted
            self.picture.share(planning.vetted.rendered.parts)
        problem = (
            self._trouble if isinstance(self._trouble, RevisionRefusedError) else planning.refused or self._trouble
        )
        planned = None if planning.plan is None else await self._carry_out(planning.plan, observed.live, prune=prune)
        self._remember(planned, before, observed.live, right=planning.refused is None)
        outcome = self._outcome(planned, observed, problem)
        await self._tell(outcome, observed)
        await self._write_status(planned, observed, outcome)
        return outcome

    def _remember(self, done: Plan | None, before: Vetted | None, live: Live, *, right: bool) -> None:
        """Which reading the revision in force is of, and between which two policies it is a step."""
        reading, vetted = self._reader.last, self._vetted
        if done is None or vetted is None:
            return
        if right and reading is not None and reading.compiled.policy is vetted.policy:
            self._seen = SeenReading.of(reading)
        if done.pointer is not None:
            record = live.recorded.record_of(live.tier)
            known = before is not None and record is not None and before.rendered.digest == record.digest
            last = (record.revision, before.policy) if known and record and before else None
            self.history.in_force(done.revision, vetted.policy, last)
            self._alerts.revision = done.revision

    def _reasons(self, planned: Plan, live: Live) -> Reasons:
        before = live.recorded.record_of(live.tier) or live.recorded.last
        first = live.tier is None and before is None
        return reasons(PublishSituation(before, self._seen, self._reader.last, first), planned.digest)

    async def _unless_cut_off(self, planning: Planned, live: Live) -> Planned:
        """A new policy, unless it would keep this bridge from ever publishing another."""
        if planning.vetted is None or planning.vetted is self._vetted:
            return planning
        lost = await self._cut_off(planning.vetted.policy)
        if not lost:
            return planning
        refused = RevisionRefusedError("CutsOffBridge", *lost)
        return await asyncio.to_thread(self._vetting.again, live, self._vetted, refused)

    async def _carry_out(self, planned: Plan, live: Live, *, prune: bool) -> Plan:
        """As much of it as may be now; what was done."""
        allowed = self._allowed(planned, live, prune=prune)
        self._attempts.append(allowed)
        pointer = await self._publisher.carry_out(allowed, live, self._reasons(allowed, live))
        self._attempts[-1] = replace(allowed, remove=(), prune=())
        self._repairs.settled()
        self._left = self._leave(allowed, pointer, live)
        if pointer is not None:
            _log.info("published", cluster=self._target.cluster, tier=self._target.tier, revision=allowed.revision)
        await self._alerts.clear(AlertKind.TIER_DAMAGED, "the tier is whole again")
        return allowed

    def _allowed(self, planned: Plan, live: Live, *, prune: bool) -> Plan:
        """Without what is held back because others fight over it. A new revision is never held back."""
        left, repairs = self._left, self._repairs
        if left is None or planned.digest != left.digest:
            return planned
        postponed = planned.pointer is not None and not repairs.may_write(native.TIER, self._target.tier)
        return replace(
            planned,
            release=tuple(part for part in planned.release if repairs.may_write(part.kind, part.name)),
            remove=tuple(part for part in planned.remove if repairs.may_write(part.kind, part.name)),
            create=tuple(part for part in planned.create if repairs.may_write(part["kind"], part["metadata"]["name"])),
            pointer=None if postponed else planned.pointer,
            prune=tuple(
                part
                for part in planned.prune
                if (prune if part.name in left.parts else repairs.may_remove_stranger(part.kind))
            ),
            revision=live.revision if postponed else planned.revision,
        )

    def _leave(self, done: Plan, pointer: Json | None, live: Live) -> LastApplied:
        """What there should be from now on."""
        left = self._left
        gone = {part.name for part in done.prune}
        gone |= {name for name, part in live.parts.items() if "deletionTimestamp" in part["metadata"]}
        stays = live.parts.keys() - gone if left is None else (live.parts.keys() & left.parts.keys()) - gone
        parts = {name: live.parts[name] for name in stays}
        if self._vetted is not None:
            parts |= {part["metadata"]["name"]: part for part in self._vetted.rendered.parts}
        tier = pointer or (left.tier if left is not None else live.tier)
        return LastApplied(tier, parts, left.statuses if left is not None else ())

    def _outcome(self, planned: Plan | None, observed: _Cluster, problem: BridgeError | None) -> PassOutcome:
        revision, digest = _revision_of(planned, observed.live)
        reports = self._reader.last.compiled.reports if self._reader.last else ()
        return PassOutcome(
            result=Result.of(problem, published=planned is not None and planned.pointer is not None),
            revision=revision,
            rules=summary_json(reports),
            nodes=nodes_json(observed.nodes, self._target.tier, revision, digest),
            stale=self._silent_for(observed) > self._target.stale_after,
            problem=problem,
            drifts=Counter(attempt.drift.kind for attempt in observed.rounds),
            fought=self._repairs.held_back,
            late=self._nodes.look(states_of(observed.nodes, self._target.tier), (revision, digest), self._present()),
            read=self._reader.last is not None,
            feeds=self._reader.feed_troubles,
        )

    def _silent_for(self, observed: _Cluster) -> timedelta:
        """Since the manager was last heard: in this process, by one before it, or else not since we started."""
        silent = self._reader.silent_for
        if silent is not None:
            return silent
        last_sync = parse_timestamp(observed.status.get("lastSyncTime"))
        return timedelta(seconds=self._clock() - self._since) if last_sync is None else self._now() - last_sync

    async def _tell(self, outcome: PassOutcome, observed: _Cluster) -> None:
        problem = outcome.problem
        stays = "the last good tier stays" if observed.live.tier else NOTHING_YET
        if isinstance(problem, RevisionRefusedError):
            await self._alerts.raise_(AlertKind.REVISION_REFUSED, f"{stays}: {problem}")
        elif problem is None:
            await self._alerts.clear(AlertKind.REVISION_REFUSED, "the configuration is accepted again")
        if isinstance(problem, ManagerRefusedError):
            await self._alerts.raise_(AlertKind.MANAGER_REFUSED, f"{stays}: {problem}")
        elif problem is None or isinstance(problem, RevisionRefusedError):
            await self._alerts.clear(AlertKind.MANAGER_REFUSED, "the manager takes our credentials again")
        if outcome.stale:
            message = f"no usable answer for {self._target.stale_after}; {stays}: {problem}"
            await self._alerts.raise_(AlertKind.SYNC_STALE, message)
        elif (
            observed.live.tier is None
            and isinstance(problem, ManagerError)
            and self._silent_for(observed) > FIRST_ANSWER
        ):
            await self._alerts.raise_(AlertKind.SYNC_STALE, f"{stays}: {problem}")
        else:
            await self._alerts.clear(AlertKind.SYNC_STALE, "the manager answers again")
        if outcome.late:
            message, about = text_of_late(outcome.late, outcome.revision), about_late(outcome.late, outcome.revision)
            await self._alerts.raise_(AlertKind.NODE_OUT_OF_SYNC, message, about)
        else:
            await self._alerts.clear(AlertKind.NODE_OUT_OF_SYNC, "every node enforces what is published")

    async def _write_status(self, planned: Plan | None, observed: _Cluster, outcome: PassOutcome) -> None:
        """Where there is no Tier yet there is nothing to write on; the alert has told."""
        if planned is None and observed.live.tier is None:
            return
        if not self._repairs.may_write(native.TIER, self._target.tier):
            return
        now = self._now()
        known = self._left.statuses[:1] if self._left is not None else ()
        before = known[0] if known else observed.status
        status = status_json(self._sight(planned, observed, outcome), self._target.tier, before, now)
        if says_something_new(status, observed.status, now):
            self._expect(*known, status)
            status = await self._cluster.write_status(self._target.tier, status)
            self._expect(status)
        elif not known:
            self._expect(observed.status)

    def _expect(self, *statuses: Json) -> None:
        """One of these is the Tier's status from now on; more than one where a write may have come through or not."""
        if self._left is not None:
            self._left = replace(self._left, statuses=statuses)

    def _sight(self, planned: Plan | None, observed: _Cluster, outcome: PassOutcome) -> StatusInput:
        revision, digest = _revision_of(planned, observed.live)
        reading, vetted = self._reader.last, self._vetted
        return StatusInput(
            revision=revision,
            digest=digest,
            version=reading.version if reading else str(observed.status.get("sourceVersion", "")),
            reports=reading.compiled.reports if reading else None,
            zones=len(vetted.policy.known_zones) if vetted else int(observed.status.get("zones", 0)),
            nodes=observed.nodes,
            last_sync=self._reader.answered or parse_timestamp(observed.status.get("lastSyncTime")),
            conditions=conditions(outcome),
        )


def _revision_of(planned: Plan | None, live: Live) -> tuple[int, str]:
    if planned is not None:
        return planned.revision, planned.digest
    return live.revision, str((live.tier or {}).get("spec", {}).get("digest", ""))
