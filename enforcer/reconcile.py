"""The only writer to the kernel: brings our table to what policy and inventory say, and back when others changed it.

Decides nothing about traffic. Blocking, for one thread at a time: `enforcer.service` calls it from a thread of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from enforcer import netlink, saved
from enforcer.errors import KernelError, LoadError
from enforcer.family import address_text
from enforcer.nft import Listing, Nft
from enforcer.ruleset import TABLE, Options, Ruleset, Terminal, build, lockdown, raw_chains
from enforcer.table import Table, diff, take_over, without_addresses
from zones.inventory import Inventory, Node
from zones.net import IPAddress
from zones.policy import Policy

_SAVE_EVERY = 60.0  # seconds between saves that only pods have changed for
_AUDIT_EVERY = 5.0  # seconds, at least, between two listings of all elements
_AUDIT_SHARE = 20  # and so many times as long as one takes


class Failure(StrEnum):
    """What pods may do on a node that never had a tier."""

    CLOSED = "closed"
    OPEN = "open"


class Action(StrEnum):
    """What a pass did to the kernel. TAKE_OVER: a table was there that wasn't, or was no longer, as we knew it."""

    NONE = "nothing to do"
    FIRST_LOAD = "first load"
    TAKE_OVER = "taken over"
    SWAP = "rules swapped"
    ELEMENTS = "elements changed"


@dataclass(frozen=True, slots=True)
class Drift:
    """What somebody else changed in our table, and who, where known. It is put back, or `problems` say why not."""

    what: tuple[str, ...]
    who: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """What is in force after a pass. With `problems`, that is the last good ruleset; `revision` is always its own."""

    revision: int | None
    action: Action
    ruleset: Ruleset | None
    drift: Drift | None = None
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Known:
    """Our table as we last made or verified it. A generation of None has to be looked at."""

    ruleset: Ruleset
    objects: Mapping[tuple[str, str], str]
    rules_at: int | None = None
    elements_at: int | None = None


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a ruleset was built from, by identity; good until its next change."""

    policy: Policy
    inventory: Inventory
    local: tuple[IPAddress, ...]
    ruleset: Ruleset

    def holds(self, policy: Policy, inventory: Inventory, local: tuple[IPAddress, ...], now: datetime) -> bool:
        change = self.ruleset.next_change
        same = self.policy is policy and self.inventory is inventory and self.local == local
        return same and (change is None or now < change)


class Reconciler:
    """Raises LockedError where another agent is at work on this node."""

    def __init__(
        self,
        nft: Nft,
        node_name: str,
        options: Options | None = None,
        failure: Failure = Failure.CLOSED,
        state_dir: Path | None = None,
        *,
        local_addresses: Callable[[], tuple[IPAddress, ...]] = netlink.local_addresses,
    ) -> None:
        self._lock = netlink.NodeLock()
        self._changes = netlink.TableChanges(TABLE)
        self._nft = nft
        self._node_name = node_name
        self._options = options or Options()
        self._failure = failure
        self._state_dir = state_dir
        self._local_addresses = local_addresses
        self._known: _Known | None = None
        self._wish: _Wish | None = None
        self._policy: Policy | None = None
        self._revision: int | None = None
        self._foreign = False  # a table is there that this process did not make
        self._audited = self._saved_at = -1e9
        self._audit_pause = _AUDIT_EVERY

    def restore(self, inventory: Inventory | None = None) -> Applied:
        """First thing at start: without a table in the kernel, load the last good state, or close the node.

        `inventory`: what is known before anybody is asked: the networks of pods, this node.
        """
        try:
            return self._restore(inventory or Inventory())
        except KernelError as error:
            return Applied(None, Action.NONE, None, problems=(str(error),))

    def apply(
        self, policy: Policy | None, inventory: Inventory, now: datetime, *, revision: int | None = None
    ) -> Applied:
        """One pass: look, change, verify. A policy of None changes nothing but closes a node that never had one."""
        drift: Drift | None = None
        try:
            drift = self._audit()
            action = self._converge(policy, inventory, now, revision, drift)
        except KernelError as error:
            self._distrust()
            return Applied(self._revision, Action.NONE, self._in_force, drift, (str(error),))
        return Applied(self._revision, action, self._in_force, drift, tuple(self._save(inventory, action)))

    def counters(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes by the id of the rule that decided, logged or not. Raises KernelError."""
        chains = {f"{each.verdict}-{key}": key for key, each in self._terminals().items()}
        return {chains[chain]: counted for chain, counted in self._nft.counters().items() if chain in chains}

    def flush(self) -> None:
        """Remove the table and what was saved of it: nothing is enforced any more. Raises KernelError."""
        self._nft.delete()
        self._known, self._foreign, self._revision, self._policy = None, False, None, None
        if self._state_dir is None:
            return
        try:
            saved.discard(self._state_dir)
        except OSError as error:
            where = self._state_dir / saved.FILE
            raise KernelError(
                f"{where} can't be removed: {error.strerror}; remove it, or a restart loads it"
            ) from error

    def stop(self) -> None:
        """Let go of the node; the rules stay in force."""
        self._lock.release()
        self._changes.close()

    def _terminals(self) -> Mapping[str, Terminal]:
        return {} if self._known is None else self._known.ruleset.terminals

    @property
    def _in_force(self) -> Ruleset | None:
        return None if self._known is None else self._known.ruleset

    # What should be

    def _converge(
        self,
        policy: Policy | None,
        inventory: Inventory,
        now: datetime,
        revision: int | None,
        drift: Drift | None,
    ) -> Action:
        wanted = self._wanted(policy, inventory, now)
        if wanted is None:
            return Action.NONE
        action = self._take_over(wanted) if self._known is None or drift else self._change(self._known, wanted)
        if policy is not None:
            self._policy, self._revision = policy, revision
        return action

    def _wanted(self, policy: Policy | None, inventory: Inventory, now: datetime) -> Ruleset | None:
        policy = policy or self._policy
        if policy is None:
            if self._failure is Failure.OPEN or (self._known is None and self._table_is_there()):
                return None
            policy = _LOCKDOWN
        local = self._local_addresses()
        if self._wish is None or not self._wish.holds(policy, inventory, local, now):
            here = _with_local(inventory, self._node_name, local)
            ruleset = build(policy, here, self._node_name, now, self._options)
            self._wish = _Wish(policy, inventory, local, ruleset)
        return self._wish.ruleset

    def _table_is_there(self) -> bool:
        self._foreign = self._foreign or self._nft.table_exists()
        return self._foreign

    # What is

    def _audit(self) -> Drift | None:
        """Whether our table is as we left it. Nothing to look at while no table in the kernel has changed."""
        known = self._known
        if known is None:
            return None
        generation = netlink.generation()
        if generation == known.rules_at == known.elements_at:
            return None
        whole = known.elements_at != generation and time.monotonic() >= self._audited + self._audit_pause
        if known.rules_at == generation and not whole:
            return None
        what = tuple(_differences(known, self._listing(elements=whole)))
        if what:
            self._distrust()
            return Drift(what, self._changes.read())
        known.rules_at = generation
        known.elements_at = generation if whole else known.elements_at
        return None

    def _listing(self, *, elements: bool) -> Listing | None:
        started = time.monotonic()
        listing = self._nft.listing(elements=elements)
        if elements:
            self._audited = time.monotonic()
            self._audit_pause = max(_AUDIT_EVERY, _AUDIT_SHARE * (self._audited - started))
        return listing

    def _distrust(self) -> None:
        """Have everything looked at in the next pass."""
        self._audited = -1e9
        if self._known is not None:
            self._known.rules_at = self._known.elements_at = None

    # How to get there

    def _change(self, known: _Known, wanted: Ruleset) -> Action:
        change = diff(known.ruleset.table, wanted.table)
        if not change:
            known.ruleset = wanted
            return Action.NONE
        before = netlink.generation()
        self._nft.load(change.text())
        if change.structural:
            self._remember(wanted)
            return Action.SWAP
        known.ruleset = wanted
        self._changes.read()
        ours = netlink.generation() == before + 1
        known.rules_at = before + 1 if ours and known.rules_at == before else None
        known.elements_at = before + 1 if ours and known.elements_at == before else None
        return Action.ELEMENTS

    def _take_over(self, wanted: Ruleset) -> Action:
        listing = self._nft.listing(elements=False)
        if listing is None:
            self._first_load(wanted.table)
            action = Action.FIRST_LOAD
        else:
            self._load_over(listing, wanted.table)
            netlink.load_rules(wanted.table.name, wanted.table.raw())
            action = Action.TAKE_OVER
        self._remember(wanted)
        return action

    def _first_load(self, table: Table) -> None:
        """Everything first, the hooks last: no half of it is ever in force."""
        self._load_stages(table.text_without_hooks(), table.text_of_hooks())

    def _load_stages(self, text: str, hooks: str) -> None:
        self._nft.load(text)
        try:
            netlink.load_rules(TABLE, raw_chains())
            self._nft.load(hooks)
        except KernelError:
            self._nft.delete()
            raise

    def _load_over(self, listing: Listing, table: Table) -> None:
        try:
            self._nft.load(take_over(listing.objects, table))
        except LoadError:
            # Something of ours is there with another nature. Until the dispatch follows, what concerns pods is dropped.
            self._nft.load(f"delete table inet {table.name}\n{table.text()}")

    def _remember(self, ruleset: Ruleset) -> None:
        """What the kernel's own listing of our rules looks like, to compare with later."""
        self._changes.read()
        before = netlink.generation()
        listing = self._nft.listing(elements=False)
        if listing is None or netlink.generation() != before or not _plausible(listing, ruleset.table):
            self._known = None
            raise KernelError("the rules were changed by somebody else while they were loaded; trying again")
        self._known, self._foreign = _Known(ruleset, listing.objects, rules_at=before), False

    # Restarts

    def _restore(self, inventory: Inventory) -> Applied:
        held = None if self._state_dir is None else saved.load(self._state_dir)
        terminals = {} if held is None else held.terminals
        known = Ruleset(Table(TABLE, {}, {}), terminals, None)
        if self._table_is_there():
            self._revision = None if held is None else held.revision
            return Applied(self._revision, Action.NONE, known)
        if held is not None:
            self._load_stages(held.text, held.hooks)
            self._revision, self._foreign = held.revision, True
            return Applied(held.revision, Action.FIRST_LOAD, known)
        action = self._converge(None, inventory, datetime.min.replace(tzinfo=UTC), None, None)
        return Applied(None, action, self._in_force)

    def _save(self, inventory: Inventory, action: Action) -> Iterator[str]:
        """This node's pods are left out: after a restart they have other addresses, and others may have theirs."""
        due = action is not Action.ELEMENTS or time.monotonic() >= self._saved_at + _SAVE_EVERY
        if self._state_dir is None or self._policy is None or self._known is None or action is Action.NONE or not due:
            return
        ruleset = self._known.ruleset
        own = (pod for pod in inventory.pods.values() if pod.node == self._node_name)
        table = without_addresses(ruleset.table, frozenset(address_text(at) for pod in own for at in pod.addresses))
        self._saved_at = time.monotonic()
        kept = saved.Saved(self._revision, table.text_without_hooks(), table.text_of_hooks(), ruleset.terminals)
        try:
            saved.save(self._state_dir, kept)
        except OSError as error:
            where = self._state_dir / saved.FILE
            yield f"{where} can't be written: {error.strerror}; the rules are in force, but not after a restart"


_LOCKDOWN = lockdown()


def _with_local(inventory: Inventory, node_name: str, local: tuple[IPAddress, ...]) -> Inventory:
    """A node talks to its pods from whatever address it has on the way, a bridge's say, not only its known ones."""
    own = inventory.nodes.get(node_name) or Node(node_name, ())
    return inventory.with_node(replace(own, addresses=tuple(dict.fromkeys([*own.addresses, *local]))))


def _differences(known: _Known, found: Listing | None) -> Iterator[str]:
    if found is None:
        yield "the table was deleted"
        return
    for keyword, name in sorted(known.objects.keys() | found.objects.keys()):
        if known.objects.get((keyword, name)) != found.objects.get((keyword, name)):
            yield f"{keyword} {name}"
    sets = known.ruleset.table.sets
    for name, elements in sorted(found.elements.items()):
        if name in sets and elements != frozenset(f"{key}{tail}" for key, tail in sets[name].elements.items()):
            yield f"the elements of {name}"


def _plausible(listing: Listing, table: Table) -> bool:
    """Whether the listing has our objects and as many rules as we made: all that can be said without knowing nft."""
    chains = {name for keyword, name in listing.objects if keyword == "chain"}
    if chains != table.chains.keys() or set(listing.named("set", "map")) != table.sets.keys():
        return False
    return all(
        listing.objects["chain", name].count("\n") == len(each.rules) + len(each.raw) + bool(each.hook)
        for name, each in table.chains.items()
    )
