"""Policy and inventory to the kernel's rules: one nftables table, and whose rule each log record comes from. Pure.

No I/O, no clock. Zones are looked up, not searched: the way through the table is as long for a thousand as for two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import repeat

from enforcer.rules import references
from enforcer.rules.chains import base_chains, link_checks
from enforcer.rules.chains.pair_chains import PairChains
from enforcer.rules.chains.verdict_chains import LIVE, LOGGED, UNLOGGED, VerdictChain, VerdictChains
from enforcer.rules.connmark import PHASES, ConnmarkLayout
from enforcer.rules.family import Family, address_text, family_of, span_texts
from enforcer.rules.match import Sets
from enforcer.rules.members.set_membership import ADDRESSES, NETWORKS, SELVES, SetMembership, ThisMachine, zone_value
from enforcer.rules.members.zone_ids import ZoneKey, zone_ids
from enforcer.rules.options import Mode, RulesetOptions
from enforcer.rules.references import InUse
from enforcer.rules.table import NamedSet, Table
from zones.addresses.inventory import Inventory, Node
from zones.net import ANY_ADDRESS, AddressSet, union
from zones.policy import NO_BLOCKLISTS, Blocklists, Entry, InfrastructureRule, Peer, Policy, Verdict
from zones.quarantine import closed
from zones.rules import Origin
from zones.zone import Zoning

TABLE = "zonebridge"
NO_TIER = Origin("infrastructure/no-tier", None, "infrastructure", "")

__all__ = ["NO_TIER", "TABLE", "Mode", "Ruleset", "RulesetOptions", "RulesetPlan", "VerdictChain", "build", "lockdown"]


@dataclass(frozen=True)
class Ruleset:
    """A table, and what its log records mean.

    `terminals`: by the id in the log prefix `zb:<id>:<o|r>` (o: the packet goes with the connection, r: against it).
    `next_change`: when a schedule opens or closes next; build again then. `members`: whom its sets hold.
    """

    table: Table
    terminals: Mapping[str, VerdictChain] = field(hash=False)
    next_change: datetime | None
    members: SetMembership | None = None

    @cached_property
    def origins(self) -> Mapping[str, Origin]:
        return {key: terminal.origin for key, terminal in self.terminals.items()}

    def text(self) -> str:
        """Canonical, deterministic, for people: what `zone-enforcer render` shows."""
        return self.table.text()


def lockdown() -> Policy:
    """What a node enforces that never had a tier and is to fail closed: a node reaches its own pods, and no more."""
    to_own_pods = InfrastructureRule("node-to-own-pods", source=Peer(nodes=True), own_node=True)
    nothing = Entry(NO_TIER, Verdict.DENY)
    return Policy(Zoning(), (to_own_pods,), (nothing,))


class RulesetPlan:
    """One policy after the other on one node, each at one instant (aware): what changes is worked out, and no more.

    What comes of it is the same as from nothing, up to the names that chains of pairs have from before.
    """

    def __init__(
        self,
        policy: Policy,
        node_name: str,
        now: datetime,
        options: RulesetOptions | None = None,
        before: RulesetPlan | None = None,
    ) -> None:
        """`before`: the plan whose rules are in force, so that no chain of its gets other rules and pairs at once."""
        self._head: dict[Entry, Entry] = {}
        self._policy = policy = self._closed(policy)
        self._options = options or RulesetOptions()
        self._node_name = node_name
        self._in_use = InUse()
        self._sets = Sets(self._in_use)
        entries = _active(policy, now)
        self._terminals = VerdictChains(self._options, _blocklists(entries), add=self._in_use.add_chain)
        self.pairs = PairChains(entries, self._sets, self._terminals, self._options.observes)
        if before is not None:
            self.pairs.avoid(before.pairs)
        self._frame = base_chains.chains(self._options, policy.infrastructure, self._sets, self._terminals)
        for family in Family:
            self._frame |= base_chains.police(family, policy.infrastructure, self._sets, self._terminals)
        self._ids: dict[ZoneKey, str] = {}
        self._is_new = False
        self.next_change = _next_change(policy, now)
        self.members = SetMembership(policy.zoning, node_name, self._sets.lend(), self._ids)
        self._hold(self._frame)

    def follow(self, policy: Policy, now: datetime) -> bool:
        """Make the rules of this policy from now on; False where that takes another plan."""
        if (policy.zoning, policy.infrastructure) != (self._policy.zoning, self._policy.infrastructure):
            return False
        policy = self._closed(policy)
        entries = _active(policy, now)
        self._policy, self.next_change = policy, _next_change(policy, now)
        self.pairs.follow(entries)
        self._terminals.follow(_blocklists(entries))
        self._is_new = True
        return True

    def _closed(self, policy: Policy) -> Policy:
        """With entries for quarantine, which stay the same objects while they say the same."""
        entries = closed(policy).entries
        head = [self._head.get(entry, entry) for entry in entries[: len(entries) - len(policy.entries)]]
        self._head = {entry: entry for entry in head}
        return replace(policy, entries=(*head, *policy.entries))

    def ruleset(self, zones: Iterable[ZoneKey], pod_networks: AddressSet, uplinks: Iterable[str] = ()) -> Ruleset:
        """The rules for pods and nodes of these zones; who they are is for `members`. Later calls bring more zones.

        `uplinks`: the names of the links behind which there are no pods of this node.
        """
        zoning, infrastructure = self._policy.zoning, self._policy.infrastructure
        networks, nodes = _network_zones(zoning, pod_networks), ZoneKey(zoning.nodes, of_pods=False)
        self._name({*networks, nodes}, zones)
        sets = (
            base_chains.sets(self._options)
            | link_checks.sets(uplinks, AddressSet.of(zoning.link_local))
            | self.pairs.maps(self._ids)
        )
        for family in Family:
            sets |= _addresses(family, networks, self._ids)
        sets["bystanders"] = NamedSet("ifname . ifname : verdict", self.pairs.bystanders("accept"))
        by_zone = {family.named("elsewhere"): self.pairs.elsewhere(family) for family in Family}
        for family in Family:
            name, asked = family.named(base_chains.TO_NODE), (self._sets, self._terminals)
            if name not in self._frame:
                self._frame[name] = base_chains.to_node(family, infrastructure, *asked, self._ids[nodes])
                self._hold([name])
        self._settle()
        chains = {**self._frame, **by_zone, **self._in_use.chains}
        table = Table(TABLE, {**self._in_use.sets, **sets}, chains, (LOGGED, UNLOGGED))
        return Ruleset(table, dict(self._terminals.by_id), self.next_change, self.members)

    def _hold(self, names: Iterable[str]) -> None:
        """What chains that always stand lead to."""
        for name in names:
            self._in_use.hold(references.named_by(self._frame[name]))

    def _settle(self) -> None:
        gone = self._in_use.settle()
        self.pairs.gone(gone)
        self._terminals.forget(gone)
        self._sets.forget(gone)
        if self.members.wanted is not self._sets.members or self.members.ids is not self._ids:
            self.members = SetMembership(self._policy.zoning, self._node_name, self._sets.lend(), self._ids)

    def _name(self, networks: Iterable[ZoneKey], zones: Iterable[ZoneKey]) -> None:
        """An id for every zone; those that have one keep it. With a new policy, those that nobody is in have none."""
        first, present = sorted(networks, key=_key_order), {*networks, *zones}
        if self._is_new and not self._ids.keys() <= present:
            self.pairs.drop(self._ids.keys() - present)
            self._ids = {key: name for key, name in self._ids.items() if key in present}
        self._is_new = False
        named = self.pairs.masks.from_zone.keys() | self.pairs.masks.to_zone.keys()
        others = sorted(present - set(first), key=lambda key: (key.zone not in named, *_key_order(key)))
        self._ids.update(zone_ids([*self._ids, *first, *others]))


def _active(policy: Policy, now: datetime) -> list[Entry]:
    return [entry for entry in policy.entries if entry.schedule is None or entry.schedule.active(now)]


def _blocklists(entries: Iterable[Entry]) -> dict[Origin, Blocklists]:
    named = (entry for entry in entries if entry.blocklists is not NO_BLOCKLISTS)  # hardly any
    return {entry.origin: entry.blocklists for entry in named if entry.blocklists}


def _addresses(
    family: Family, networks: Mapping[ZoneKey, AddressSet], ids: Mapping[ZoneKey, str]
) -> Iterator[tuple[str, NamedSet]]:
    """The two maps of a family: of single addresses, and of the networks, which together miss no address."""
    type_ = f"{family.value.address_type} : mark . ifname"
    spans = {
        text: zone_value(ids[key])
        for key, space in networks.items()
        for text in span_texts(family, family.spans(space))
    }
    yield family.named(ADDRESSES), NamedSet(type_, {})
    yield family.named(NETWORKS), NamedSet(type_, spans, interval=True)


def build(
    policy: Policy, inventory: Inventory, node_name: str, now: datetime, options: RulesetOptions | None = None
) -> Ruleset:
    """The rules of one node at one instant (aware), with everybody in their sets: for people to read.

    The machine is not asked here: what the node's Node says stands for what addresses it has.
    """
    plan = RulesetPlan(policy, node_name, now, options)
    directory = inventory.directory()
    machine = ThisMachine(node_name, ())
    held_by = {
        address: machine if isinstance(holder, Node) and holder.name == node_name else holder
        for address, holder in directory.owners.items()
    }
    profiles = {address: plan.members.profile(holder) for address, holder in held_by.items()}
    ruleset = plan.ruleset({profile.zone for profile in profiles.values()}, directory.pod_networks)
    contents: dict[str, dict[str, str]] = {LIVE: _first_generation((options or RulesetOptions()).marks)}
    for address, profile in profiles.items():
        family, text = family_of(address), address_text(address)
        for place in plan.members.places(family, profile):
            key = f"{text} . {text}" if place.set == family.named(SELVES) else text
            contents.setdefault(place.set, {})[key] = place.tail
    sets = {
        name: replace(declared, elements=contents.get(name, declared.elements))
        for name, declared in ruleset.table.sets.items()
    }
    return replace(ruleset, table=replace(ruleset.table, sets=sets))


def _first_generation(marks: ConnmarkLayout) -> dict[str, str]:
    return base_chains.live(marks, marks.first(PHASES[0]))


def _next_change(policy: Policy, now: datetime) -> datetime | None:
    changes = (entry.schedule.next_change(now) for entry in policy.entries if entry.schedule is not None)
    return min((change for change in changes if change is not None), default=None)


def _network_zones(zoning: Zoning, pod_networks: AddressSet) -> dict[ZoneKey, AddressSet]:
    """All addresses, by the zone of one that no pod and no node has.

    A prefix of `networks` that is longer than a network of pods takes its part out of it: databases in the pods' VPC.
    """
    parts: dict[ZoneKey, list[AddressSet]] = {}
    left, pods = ANY_ADDRESS, pod_networks
    for network, zone in zoning.networks:
        space = AddressSet.of([network])
        named = space & left if _lies_within(space, pod_networks) else space & (left - pods)
        parts.setdefault(ZoneKey(zone, of_pods=False), []).append(named)
        left, pods = left - named, pods - named
    parts.setdefault(ZoneKey(zoning.outside, of_pods=True), []).append(pods)
    parts.setdefault(ZoneKey(zoning.outside, of_pods=False), []).append(left - pods)
    return {key: union(spaces) for key, spaces in parts.items()}


def _lies_within(prefix: AddressSet, networks: AddressSet) -> bool:
    """Whether a prefix is a part of one network, and not all of it."""
    spans = [*zip(prefix.v4.spans, repeat(networks.v4)), *zip(prefix.v6.spans, repeat(networks.v6))]
    return all(
        any(a <= first and last <= b and (a, b) != (first, last) for a, b in r.spans) for (first, last), r in spans
    )


def _key_order(key: ZoneKey) -> tuple[bool, str]:
    return key.of_pods, key.zone
