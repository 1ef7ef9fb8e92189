"""The only writer to the kernel: brings our table to what policy and holders say, and back when others changed it.

Decides nothing about traffic. Blocking, for one thread at a time: `enforcer.service` calls it from a thread of its own.
"""

from __future__ import annotations

import select
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from enforcer import memory
from enforcer.errors import EnforcerError, KernelError, LoadError, StateError
from enforcer.kernel.bridge_table import NOBODY, BridgeTable, PodsBehindPorts
from enforcer.kernel.drift import TableDrift
from enforcer.kernel.stance import Choice, Stance, TierAnswer, choose
from enforcer.kernel.table import KernelTable
from enforcer.netlink import sockets
from enforcer.node import feature_probe
from enforcer.node.uplinks import Neighbours, Uplinks
from enforcer.restart import saved, snapshot
from enforcer.restart.schedule import Keeping
from enforcer.restart.snapshot import SavedTable
from enforcer.rules.chains import bridge_table
from enforcer.rules.chains.base_chains import HOOKED
from enforcer.rules.chains.lockdown import deny_all, deny_unknown_pods
from enforcer.rules.members.address_delta import AddressDelta
from enforcer.rules.members.address_index import AddressIndex
from enforcer.rules.members.set_membership import SetEntry, SetMembership
from enforcer.rules.members.zone_ids import ZoneKey
from enforcer.rules.options import Failure, Mode, RulesetOptions
from enforcer.rules.ruleset import TABLE, Ruleset, RulesetPlan, lockdown
from enforcer.rules.table import Chain, Table
from zones.addresses.packed_pods import address_of
from zones.net import AddressSet, IPAddress
from zones.policy import Policy

_OTHER_SETTINGS = (
    "the last rules were made with other settings (mode, enforcement, nflog, connectionMark); "
    "new ones come as soon as the API server has told everything"
)


class AppliedAction(StrEnum):
    """What a pass did to the kernel. TAKE_OVER: a table was there that wasn't, or was no longer, as we knew it."""

    NONE = "nothing to do"
    REMOVED = "rules removed"
    FIRST_LOAD = "first load"
    TAKE_OVER = "taken over"
    SWAP = "rules swapped"
    ELEMENTS = "elements changed"


@dataclass(frozen=True, slots=True)
class Applied:
    """What is in force after a pass. With `problems`, that is the last good ruleset; `revision` is always its own.

    `stance`: None where the kernel could not be asked. `uplinks`: the links behind which there are no pods; `stations`:
    who is behind the ports of bridges.
    """

    revision: int | None
    action: AppliedAction
    ruleset: Ruleset | None
    drift: TableDrift | None = None
    problems: tuple[str, ...] = ()
    stance: Stance | None = None
    uplinks: tuple[str, ...] = ()
    stations: PodsBehindPorts = NOBODY


class Reconciler:
    """Raises LockedError where another agent is at work on this node."""

    def __init__(
        self,
        node_name: str,
        options: RulesetOptions | None = None,
        failure: Failure = Failure.CLOSED,
        state_dir: Path | None = None,
        *,
        by_node: bool = False,
        uplinks: tuple[str, ...] = (),
    ) -> None:
        self._lock = sockets.NodeLock()
        self._options = options or RulesetOptions()
        self._table = KernelTable(TABLE, self._options.marks)
        self._addresses = AddressIndex(node_name)
        self._node_name = node_name
        self._failure = failure
        self._by_node = by_node and self._options.mode is Mode.ENFORCE
        self._state_dir = state_dir
        self._keeping = None if state_dir is None else Keeping(state_dir)
        self._local_addresses = sockets.LocalAddresses()
        self._own_addresses: tuple[IPAddress, ...] = ()
        self._address_problem = ""
        self._uplinks = Uplinks(uplinks)
        self._guard = BridgeTable()
        self._stirred = select.epoll()
        for descriptor in (self._table.fileno(), self._uplinks.fileno(), *self._guard.filenos()):
            self._stirred.register(descriptor, select.EPOLLIN)
        self._networks = AddressSet()
        self._wish: _Wish | None = None
        self._told: SetMembership | None = None
        self._in_force: Ruleset | None = None
        self._policy: Policy | None = None
        self._revision: int | None = None
        self._stance = Stance.NOTHING
        self._had_tier = False
        self._state_problems: tuple[str, ...] = ()

    def fileno(self) -> int:
        """Readable when somebody changed any table of nftables, a link or a route: worth a pass."""
        return self._stirred.fileno()

    def restore(self, feed: AddressDelta | None = None) -> Applied:
        """First thing at start: without a table in the kernel, load the last good state; or `choose` what fits.

        `feed`: what is known before anybody is asked: the networks of pods.
        """
        try:
            return self._restore(feed or AddressDelta())
        except (KernelError, OSError) as error:
            return Applied(self._revision, AppliedAction.NONE, None, problems=_why(error))

    def apply(
        self,
        policy: Policy | None,
        feed: AddressDelta,
        now: datetime,
        *,
        revision: int | None = None,
        answer: TierAnswer = TierAnswer.NO_TIER,
        mode: Mode | None = None,
    ) -> Applied:
        """One pass: look, change. Without a policy, now or before, `answer` says why, and `choose` what follows.

        `mode`: of this node, where that is known.
        """
        if mode is not None:
            self._options = replace(self._options, mode=mode)
        drift: TableDrift | None = None
        self._take(feed)  # before anything can fail: nobody tells this again
        try:
            self._look_for_uplinks()
            drift = _both(self._table.audit(self._places), self._guard.audit())
            with memory.gc_paused():
                action = self._converge(policy, now, revision, answer, drifted=drift is not None)
        except (KernelError, OSError) as error:
            return Applied(self._revision, AppliedAction.NONE, self._in_force, drift, (*_why(error), *self._problems()))
        self._save(action)
        return Applied(
            self._revision,
            action,
            self._in_force,
            drift,
            self._problems(),
            self._stance,
            self._uplinks.names(),
            self._guard.stations,
        )

    def enforces(self) -> bool:
        """Whether there is any table of ours that packets come to. Raises KernelError."""
        return self._table.is_active()

    def settle(self) -> None:
        """Wait until what is in force is saved too."""
        if self._keeping is not None:
            self._keeping.settle()

    def counters(self) -> dict[str, tuple[int, int]]:
        """By the id of the rule that decided: packets that it denied, connections that it allowed, and bytes.

        Raises KernelError.
        """
        if self._in_force is None:
            return {}
        chains = {f"{terminal.verdict}-{key}": key for key, terminal in self._in_force.terminals.items()}
        return {chains[chain]: counted[0] for chain, counted in self._table.counters().items() if chain in chains}

    def flush(self) -> None:
        """Remove the table, its marks on connections, and what was saved of it. Raises KernelError."""
        self._remove()
        self._had_tier = False
        if self._state_dir is not None and self._keeping is not None:
            self._keeping.forget()
            _discard(self._state_dir)
        self._table.forget_connections()

    def stop(self) -> None:
        """Let go of the node; the rules stay in force, and are saved."""
        if self._keeping is not None:
            self._keeping.close()
        self._lock.release()
        self._table.close()
        self._local_addresses.close()
        self._stirred.close()
        self._uplinks.close()
        self._guard.close()

    # What should be

    def _take(self, feed: AddressDelta) -> None:
        """Where the machine's own addresses can't be read, those that were read last hold on."""
        try:
            self._own_addresses, self._address_problem = self._local_addresses(), ""
        except (KernelError, OSError) as error:
            self._address_problem = f"{_said(error)}; a new address of this node is not known as its own until then"
        self._addresses.update(feed, self._own_addresses)
        self._networks = feed.pod_networks

    def _converge(
        self, policy: Policy | None, now: datetime, revision: int | None, answer: TierAnswer, *, drifted: bool
    ) -> AppliedAction:
        if policy is not None:
            action = self._enforce(policy, Stance.of_tier(self._options.mode), now, drifted=drifted)
            self._policy, self._revision = policy, revision
            return action
        if self._policy is not None:
            return self._enforce(self._policy, Stance.of_tier(self._options.mode), now, drifted=drifted)
        if not self._table.known:
            self._stance = self._table.stance()
        self._had_tier = self._had_tier or self._stance in {Stance.ENFORCED, Stance.LOST}
        match choose(self._options.mode, self._failure, answer, self._stance, had_tier=self._had_tier):
            case Choice.LEAVE:
                return AppliedAction.NONE
            case Choice.OPEN:
                return self._remove() if self._table.exists() else AppliedAction.NONE
            case Choice.CLOSE:
                stance = Stance.LOST if self._had_tier else Stance.CLOSED
                return self._enforce(_LOCKDOWN, stance, now, drifted=drifted)

    def _remove(self) -> AppliedAction:
        """Nothing is enforced afterwards."""
        self._guard.remove()
        self._table.delete()
        self._in_force = self._told = self._revision = self._policy = self._wish = None
        self._stance = Stance.NOTHING
        return AppliedAction.REMOVED

    def _enforce(self, policy: Policy, stance: Stance, now: datetime, *, drifted: bool) -> AppliedAction:
        wish = self._wanted(policy, stance, now)
        known = self._table.known and self._told is not None
        action = self._change(wish) if known else self._load(wish)
        self._addresses.mark_applied()
        self._told, self._in_force, self._stance = wish.plan.members, wish.ruleset, stance
        self._guard.follow(self._options, self._addresses.by_pod(), self._uplinks.names(), self._own_addresses)
        return AppliedAction.TAKE_OVER if drifted else action

    def _wanted(self, policy: Policy, stance: Stance, now: datetime) -> _Wish:
        wish = self._wish
        if wish is None or not wish.is_of(policy, stance, now):
            self._wish = None
            plan = None if wish is None else wish.plan_for(policy, stance, now)
            before = None if wish is None else wish.plan
            plan = plan or RulesetPlan(policy, self._node_name, now, self._options, before)
            wish = self._wish = _Wish(policy, stance, plan, self._around, self._ruleset(policy, stance, plan))
        elif self._around != wish.around or not self._zones(policy) <= wish.plan.members.ids.keys():
            wish.around, wish.ruleset = self._around, self._ruleset(policy, stance, wish.plan)
        return wish

    @property
    def _around(self) -> tuple[AddressSet, tuple[str, ...]]:
        return self._networks, self._uplinks.names()

    def _ruleset(self, policy: Policy, stance: Stance, plan: RulesetPlan) -> Ruleset:
        rules = plan.ruleset(self._addresses.zones(plan.members.zoning), self._networks, self._uplinks.names())
        if policy is _LOCKDOWN and not self._networks:
            rules = deny_all(rules, self._options)
        chains = {**rules.table.chains, stance.marker: Chain()}
        terminals = {**bridge_table.terminals_of(self._options), **rules.terminals}
        return replace(rules, table=replace(rules.table, chains=chains), terminals=terminals)

    def _look_for_uplinks(self) -> None:
        if self._uplinks.stirred():
            nodes, pods = self._addresses.other_nodes(), self._addresses.own_pods()
            around = Neighbours(frozenset(map(address_of, nodes)), frozenset(map(address_of, pods)), self._networks)
            self._uplinks.look(around)

    def _zones(self, policy: Policy) -> set[ZoneKey]:
        return self._addresses.zones(policy.zoning)

    # How to get there

    def _places(self, address: bytes) -> tuple[SetEntry, ...]:
        return () if self._told is None else self._addresses.places(address, self._told)

    def _change(self, wish: _Wish) -> AppliedAction:
        applied = self._told or wish.plan.members
        moves = self._addresses.changed(applied, wish.plan.members)
        change = self._table.change(wish.ruleset.table, moves, lambda: self._addresses.all(wish.plan.members))
        if change is None:
            return AppliedAction.NONE
        return AppliedAction.SWAP if change.structural else AppliedAction.ELEMENTS

    def _load(self, wish: _Wish) -> AppliedAction:
        existed = self._table.exists()
        self._table.load(wish.ruleset.table, self._addresses.all(wish.plan.members))
        return AppliedAction.TAKE_OVER if existed else AppliedAction.FIRST_LOAD

    # Restarts

    def _restore(self, feed: AddressDelta) -> Applied:
        saved, known = self._held()
        self._stance = self._table.stance(HOOKED if saved is None else saved.hooked)
        if (
            self._by_node
        ):  # whether this node is chosen is not known yet: as it was, and never closed for the first time
            enforced = self._had_tier or self._stance in {Stance.ENFORCED, Stance.CLOSED, Stance.LOST}
            self._options = replace(self._options, mode=Mode.ENFORCE if enforced else Mode.OBSERVE)
        alike = saved is not None and saved.options == self._options
        problems = self._state_problems if alike or saved is None else (_OTHER_SETTINGS,)
        if saved is not None and alike and self._stance is Stance.NOTHING:
            self._table.restore(saved)
            self._guard.restore(saved.of_bridges())
            self._table.begin_numbers()
            self._revision, self._stance = saved.revision, Stance.of_tier(self._options.mode)
            return Applied(saved.revision, AppliedAction.FIRST_LOAD, known, stance=self._stance)
        self._take(feed)
        self._look_for_uplinks()
        action = self._converge(None, datetime.min.replace(tzinfo=UTC), None, TierAnswer.WAITING, drifted=False)
        if action is AppliedAction.NONE and saved is not None and self._stance is not Stance.NOTHING:
            self._revision = saved.revision
            if alike:
                self._table.begin_numbers()
            return Applied(saved.revision, action, known, problems=problems, stance=self._stance)
        return Applied(None, action, self._in_force, problems=problems, stance=self._stance)

    def _held(self) -> tuple[SavedTable | None, Ruleset | None]:
        """What was saved, and what its log records mean."""
        self._state_problems = ()
        try:
            saved_table = None if self._state_dir is None else snapshot.read(self._state_dir)
            self._had_tier = saved_table is not None and saved_table.options.mode is Mode.ENFORCE
            if saved_table is None:
                return None, None
            known = Ruleset(Table(TABLE, {}, {}), saved.terminals(saved_table), None)
        except StateError as error:
            self._had_tier = True  # as far as anybody can tell
            self._state_problems = (str(error),)
            return None, None
        return saved_table, known

    def _save(self, action: AppliedAction) -> None:
        if self._keeping is not None and self._policy is not None and self._told is not None:
            self._keeping.passed(
                self._revision, self._in_force, self._what_is_in_force, rests=action is AppliedAction.NONE
            )

    def _what_is_in_force(self) -> saved.Saved | None:
        """For a restart. This node's pods are left out: they will have other addresses, and others may have theirs."""
        if self._in_force is None or self._told is None:
            return None
        members = self._addresses.all(self._told, but_own_pods=True)
        kept = deny_unknown_pods(self._in_force, self._told, self._options)
        frames = self._guard.without_pods(self._options)
        return saved.Saved(self._revision, kept.table, members, dict(kept.terminals), self._options, frames)

    def _problems(self) -> tuple[str, ...]:
        saving = self._keeping.problem if self._keeping else ""
        texts = self._address_problem, self._uplinks.problem, self._table.problem, self._guard.problem, saving
        return tuple(filter(None, texts))


def _both(one: TableDrift | None, other: TableDrift | None) -> TableDrift | None:
    if one is None or other is None:
        return one or other
    return TableDrift(one.what + other.what, tuple(dict.fromkeys(one.who + other.who)))


def _discard(state_dir: Path) -> None:
    try:
        saved.discard(state_dir)
    except OSError as error:
        where = state_dir / snapshot.FILE
        raise KernelError(f"{where} can't be removed: {error.strerror}; remove it, or a restart loads it") from error


def _why(error: EnforcerError | OSError) -> tuple[str, ...]:
    """Where the kernel refuses rules, what it lacks is worth knowing."""
    lacking = feature_probe.missing_features() if isinstance(error, LoadError) else ""
    return tuple(filter(None, (_said(error), lacking)))


def _said(error: EnforcerError | OSError) -> str:
    if isinstance(error, OSError):
        return f"talking to the kernel over netlink: {error.strerror or type(error).__name__}; trying again"
    return str(error)


@dataclass(slots=True)
class _Wish:
    """The rules that a policy asks for, as long as no schedule opens or closes.

    `around`: the networks of pods and the uplinks that they were made with.
    """

    policy: Policy
    stance: Stance
    plan: RulesetPlan
    around: tuple[AddressSet, tuple[str, ...]]
    ruleset: Ruleset

    def is_of(self, policy: Policy, stance: Stance, now: datetime) -> bool:
        if self.stance is not stance:
            return False
        if self.policy is not policy:
            if self.policy != policy:
                return False
            self.policy = policy
        change = self.plan.next_change
        return change is None or now < change

    def plan_for(self, policy: Policy, stance: Stance, now: datetime) -> RulesetPlan | None:
        """The plan as it goes on with another policy, or at another instant; None where it can't."""
        return self.plan if self.stance is stance and self.plan.follow(policy, now) else None


_LOCKDOWN = lockdown()
