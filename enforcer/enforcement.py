"""The loop that makes the kernel follow the tier: look, judge the revision, apply, and look again.

It waits for nothing but its own trigger: no log, no shipper, no status stands between a change and the kernel.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from enforcer.cluster import last_good, quarantines
from enforcer.cluster.tier import Revision, TierJudgement, TierStanding, judge
from enforcer.cluster.view import TierText, View
from enforcer.errors import StateError
from enforcer.kernel.bridge_table import NOBODY, PodsBehindPorts
from enforcer.kernel.reconcile import Applied
from enforcer.kernel.stance import Stance, TierAnswer
from enforcer.rules.members.address_delta import AddressDelta
from enforcer.rules.options import Mode
from enforcer.rules.ruleset import VerdictChain
from enforcer.status.histogram import Durations
from zones.canonical import Json
from zones.net import AddressSet
from zones.policy import Policy
from zones.runtime.backoff import Backoff
from zones.tiers.reading import TierReader

_log = structlog.get_logger()
_Result = TypeVar("_Result")
_SAVE_SECONDS = 5.0


class KernelRules(Protocol):
    """What `enforcer.kernel.reconcile` offers; blocking, and called from one thread only."""

    def fileno(self) -> int: ...

    def restore(self, feed: AddressDelta | None = None) -> Applied: ...

    def apply(
        self,
        policy: Policy | None,
        feed: AddressDelta,
        now: datetime,
        *,
        revision: int | None = None,
        answer: TierAnswer = TierAnswer.NO_TIER,
        mode: Mode | None = None,
    ) -> Applied: ...

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """The kernel is written every `least` seconds in the long run, and looked over at least every `longest`.

    `at_once`: so many passes may follow each other without a pause. `after_failure`: when to try again what the kernel
    refused, though nothing has changed. `unheard`: for how long a node without rules waits for the API server's lists,
    or for a tier that can be used, before `failure` decides.
    """

    least: float = 0.02
    longest: float = 2.0
    at_once: int = 10
    after_failure: Backoff = field(default_factory=lambda: Backoff(0.5, 30.0))
    unheard: float = 10.0


@dataclass(slots=True)
class Pauses:
    """How long to pause after a pass. Who was quiet for a while may be quick."""

    pace: Pace
    _due: float = -math.inf

    def after(self, now: float) -> float:
        earliest = now - self.pace.at_once * self.pace.least
        self._due = max(self._due, earliest) + self.pace.least
        return max(0.0, self._due - now)


@dataclass(slots=True)
class Enforcement:
    """`look_again` is the only trigger; it carries nothing. `restored`: what the kernel said already.

    `selector`: the labels by which a node is chosen to enforce; `zones`: those that the settings name. `boot`: what
    tells this boot of the machine from others.
    """

    view: View
    kernel: KernelRules
    tier: str
    state_dir: Path
    pace: Pace = field(default_factory=Pace)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    drifted: Callable[[tuple[str, ...]], None] = lambda _: None
    restored: Applied | None = None
    look_again: asyncio.Event = field(default_factory=asyncio.Event)
    noted: asyncio.Event = field(default_factory=asyncio.Event)
    last_good: Revision | None = None
    judgement: TierJudgement = field(default_factory=lambda: TierJudgement(None, TierStanding.NONE))
    applied: Applied | None = None
    applied_at: datetime | None = None
    terminals: Mapping[str, VerdictChain] = field(default_factory=dict)
    passes: int = 0
    failures: int = 0
    pass_seconds: Durations = field(default_factory=Durations)
    change_seconds: Durations = field(default_factory=Durations)
    selector: Mapping[str, str] | None = None
    mode: Mode = Mode.ENFORCE
    zones: frozenset[str] = frozenset()
    boot: str = ""
    answer: TierAnswer = TierAnswer.WAITING
    _waiting_since: float = field(default_factory=time.monotonic)
    _pages: int = 0
    _is_followed: bool = False
    _changed_at: float | None = None
    _judged: int = -1
    _read: TierText | None = None
    _reader: TierReader = field(default_factory=TierReader)
    _handed: bool = False
    _unsaved: tuple[Json, Mapping[str, Json]] | None = None
    _saving: asyncio.Task[None] | None = None
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="kernel"))

    async def begin(self) -> None:
        """Before anything is known of the cluster: what was in force stays, or comes back after a restart."""
        known = AddressDelta(pod_networks=AddressSet.of(self.view.networks))
        restored, self.restored = self.restored, None  # it holds every rule that there was
        if restored is None:
            restored = await self._blocking(lambda: self.kernel.restore(known))
        self._note(restored)
        try:
            self.last_good = await self._blocking(lambda: last_good.load(self.state_dir, self.tier))
            before = await self._blocking(lambda: quarantines.load(self.view.quarantines, self.state_dir, self.boot))
            self.view.known_before(before)
        except StateError as error:
            _log.error("what held before is not known", error=str(error))

    def heard(self) -> None:
        """Something has changed that the kernel is to follow."""
        if self._changed_at is None:
            self._changed_at = time.monotonic()
        self.look_again.set()

    async def run(self) -> None:
        """Until cancelled. What others do to the kernel's tables is a reason to look, too."""
        loop, tables, pauses = asyncio.get_running_loop(), self.kernel.fileno(), Pauses(self.pace)
        try:
            while True:
                self.look_again.clear()
                await self.once()
                await asyncio.sleep(pauses.after(loop.time()))
                loop.add_reader(tables, self._stirred, loop, tables)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._patience()):
                        await self.look_again.wait()
        finally:
            loop.remove_reader(tables)

    def _stirred(self, loop: asyncio.AbstractEventLoop, tables: int) -> None:
        """Once, until the pass that this brings about has read what there is."""
        loop.remove_reader(tables)
        self.look_again.set()

    async def once(self) -> None:
        """One pass. Without a whole view, a pod that is missing may only be not told yet: no tier is applied then."""
        self.passes += 1
        if not self.view.complete:
            await self._wait()
            return
        self.view.end_quarantines()
        self._unsaved = await self._judge() or self._unsaved
        revision = self.judgement.revision
        policy, number = (None, None) if revision is None else (revision.policy, revision.number)
        self.answer = self._told()
        heard, self._changed_at = self._changed_at, None
        begun = time.monotonic()
        await self._apply(policy, number)
        self._is_followed = True
        self._measure(begun, heard)
        self._keep()

    async def _apply(self, policy: Policy | None, number: int | None) -> None:
        feed, now, answer, mode = self._feed(), self.clock(), self.answer, self._chosen_mode()
        applied = await self._blocking(
            lambda: self.kernel.apply(policy, feed, now, revision=number, answer=answer, mode=mode)
        )
        self._note(applied)
        self._handed = True

    def _chosen_mode(self) -> Mode | None:
        """By this node's labels, where they settle that; None as long as they aren't known."""
        if self.selector is None or self.view.node_labels is None:
            return None
        chosen = self.selector.items() <= self.view.node_labels.items()
        self.mode = Mode.ENFORCE if chosen else Mode.OBSERVE
        return self.mode

    async def _wait(self) -> None:
        """Before everything is listed. That lists are long is no reason to close a node; that none comes is."""
        if self.view.pages != self._pages:
            self._pages, self._waiting_since = self.view.pages, time.monotonic()
        self.answer = TierAnswer.SILENT if self._has_waited() else TierAnswer.WAITING
        if self.answer is TierAnswer.SILENT:
            await self._apply(None, None)

    def _told(self) -> TierAnswer:
        """With everything listed, what that says of the tier; of one that holds it says nothing."""
        if self.judgement.standing is TierStanding.NONE or self.judgement.revision is not None:
            self._waiting_since = time.monotonic()
            return TierAnswer.NO_TIER
        return TierAnswer.UNREADABLE if self._has_waited() else TierAnswer.WAITING

    @property
    def stance(self) -> Stance | None:
        """What is in force on this node; None where the kernel could not be asked."""
        return None if self.applied is None else self.applied.stance

    @property
    def uplinks(self) -> tuple[str, ...]:
        """The links behind which there are no pods of this node, as the last pass took them."""
        return () if self.applied is None else self.applied.uplinks

    @property
    def stations(self) -> PodsBehindPorts:
        """Who is behind the ports of bridges, as the last pass found them."""
        return NOBODY if self.applied is None else self.applied.stations

    @property
    def without_tier(self) -> str:
        """Why this node enforces no revision, and what that means for its pods; empty where it does, or is about to."""
        return "" if self.judgement.revision is not None else _without_tier(self.tier, self.answer, self.stance)

    @property
    def strange_zones(self) -> str:
        """What is wrong with the zones that the settings name: one that nobody knows protects nothing."""
        if self.last_good is None or not self.last_good.policy.known_zones:
            return ""
        zoning = self.last_good.policy.zoning
        usual = {zoning.default, zoning.nodes, zoning.outside, *(zone for _, zone in zoning.networks)}
        strange = sorted(self.zones - self.last_good.policy.known_zones - usual)
        return f"enforcement.zones names {', '.join(strange)}, which Panorama doesn't know" if strange else ""

    @property
    def unready(self) -> str:
        """Why the kernel doesn't hold what it should, as far as anybody can tell; nothing where it does."""
        revision, applied = self.judgement.revision, self.applied
        if not self.view.complete:
            return self.without_tier or "waiting for the API server's first lists"
        if not self._is_followed or applied is None or self.answer is TierAnswer.WAITING:
            return "waiting for the tier"
        if applied.stance is None:
            return "; ".join(applied.problems)
        if revision is None:
            open_for_good = self.answer is TierAnswer.NO_TIER and applied.stance is Stance.NOTHING
            return "" if open_for_good else self.without_tier
        return "" if applied.revision == revision.number else f"revision {revision.number} is not in the kernel yet"

    def _has_waited(self) -> bool:
        return time.monotonic() - self._waiting_since >= self.pace.unheard

    def _measure(self, begun: float, heard: float | None) -> None:
        """What the kernel refused is still on its way there."""
        ended = time.monotonic()
        self.pass_seconds.add(ended - begun)
        if heard is not None and self.failures:
            self._changed_at = heard
        elif heard is not None:
            self.change_seconds.add(ended - heard)

    async def close(self) -> None:
        """After the pass that is under way. The rules stay in force, and the next start knows their revision."""
        await self._blocking(self.kernel.stop)
        self._keep()
        if self._saving is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SAVE_SECONDS):
                    await asyncio.shield(self._saving)
        self._thread.shutdown()

    def _feed(self) -> AddressDelta:
        """What has changed since the last pass; everything where it is not known how that one ended."""
        holders = self.view.holders
        is_full, self._handed = not self._handed, False
        if not is_full:
            return AddressDelta(holders.take_changed(), holders.pod_networks, is_full)
        holders.forget_changed()
        return AddressDelta(holders.snapshot(), holders.pod_networks, is_full)

    async def _judge(self) -> tuple[Json, Mapping[str, Json]] | None:
        """Only where the Tier or its parts changed: to read them is work. The objects of a new revision are given."""
        if self.view.generation == self._judged:
            return None
        generation, text = self.view.generation, self.view.tier_text()
        if text == self._read:
            self._judged = generation
            return None
        tier, parts, self.judgement = await self._blocking(lambda: judged(self.last_good, text, self._reader))
        self._judged, self._read = generation, text
        if self.judgement.why:
            _log.warning("tier", standing=self.judgement.standing.value, reason=self.judgement.why)
        before, self.last_good = self.last_good, self.judgement.revision
        changed = self.last_good is not None and not _identical(before, self.last_good)
        return (tier, parts) if changed and tier is not None else None

    def _keep(self) -> None:
        """After it is in force, and beside what comes next: a disk that hangs holds up nothing."""
        if self._saving is None and (self._unsaved is not None or self.view.quarantines.changed):
            self._saving = asyncio.create_task(self._save())

    async def _save(self) -> None:
        """What is right by now; what can't be written is tried again after the next pass."""
        try:
            if self.view.quarantines.changed:
                content = self.view.quarantines.content(self.boot)
                await asyncio.to_thread(quarantines.save, self.state_dir, content)
            while self._unsaved is not None:
                written = self._unsaved
                await asyncio.to_thread(last_good.save, self.state_dir, *written)
                self._unsaved = None if self._unsaved is written else self._unsaved
        except OSError as error:
            self.view.quarantines.changed = True
            _log.error("what holds was not saved", error=str(error) or type(error).__name__)
        finally:
            self._saving = None

    def _note(self, applied: Applied) -> None:
        before = self.applied
        self.applied = applied
        self.noted.set()
        if applied.drift is not None:
            self.drifted(applied.drift.what)
        self.failures = self.failures + 1 if applied.problems else 0
        if applied.problems:
            self._complain(before, applied)
        elif before is None or before.revision != applied.revision or self.applied_at is None:
            self.applied_at = self.clock()
            _log.info("applied", revision=applied.revision, action=applied.action.value)
        if applied.ruleset is not None:
            self.terminals = applied.ruleset.terminals

    def _complain(self, before: Applied | None, applied: Applied) -> None:
        if before is None or before.problems != applied.problems:
            _log.error("the kernel is not as it should be", problems=applied.problems)

    def _patience(self) -> float:
        if self.failures:
            return self.pace.after_failure.seconds(self.failures - 1)
        longest = min(self.pace.longest, self.view.quarantines.next_end())
        change = None if self.applied is None or self.applied.ruleset is None else self.applied.ruleset.next_change
        if change is None:
            return longest
        return max(0.0, min(longest, (change - self.clock()).total_seconds()))

    async def _blocking(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


_MEANS = {
    Stance.NOTHING: "nothing is enforced on this node",
    Stance.ENFORCED: "the rules that are in the kernel stay in force; pods that are new are cut off",
    Stance.OBSERVED: "the rules that are in the kernel stay, and drop nothing",
    Stance.CLOSED: "this node's pods are cut off (failure: closed)",
    Stance.LOST: "this node's pods are cut off (failure: closed); `zone-enforcer flush` or mode: observe opens them",
}


def _without_tier(tier: str, answer: TierAnswer, stance: Stance | None) -> str:
    if stance is None or answer is TierAnswer.WAITING:
        return ""
    if answer is TierAnswer.SILENT:
        return f"the API server has not told everything since the agent began; {_MEANS[stance]}"
    if answer is TierAnswer.UNREADABLE:
        return f"tier '{tier}' can't be used; {_MEANS[stance]}"
    if stance in {Stance.ENFORCED, Stance.OBSERVED}:
        return ""
    if stance is Stance.LOST:
        return f"there is no tier '{tier}' any more, nor what was saved of it; {_MEANS[stance]}"
    return f"there is no tier '{tier}' yet; {_MEANS[stance]} until the bridge publishes one"


def judged(
    current: Revision | None, text: TierText, reader: TierReader
) -> tuple[Json | None, Mapping[str, Json], TierJudgement]:
    """The Tier and its parts, and what to apply of them."""
    tier, parts = text.read()
    return tier, parts, judge(current, tier, parts, reader)


def _identical(current: Revision | None, fresh: Revision) -> bool:
    return current is not None and (current.uid, current.number, current.digest) == (
        fresh.uid,
        fresh.number,
        fresh.digest,
    )
