"""Policy and inventory to the kernel's rules: one nftables table, and whose rule each log record comes from. Pure.

No I/O, no clock. Zones are looked up, not searched: the way through the table is as long for a thousand as for two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, partial
from hashlib import sha256
from itertools import groupby, repeat

from enforcer.rules import frame, links, matching
from enforcer.rules.clause import Clause, Spaces
from enforcer.rules.family import Family, address_text, family_of, span_texts
from enforcer.rules.generations import PHASES, Marks
from enforcer.rules.matching import Sets, short_digest
from enforcer.rules.members import ADDRESSES, NETWORKS, SELVES, Membership, ThisMachine, zone_value
from enforcer.rules.options import Mode, Options
from enforcer.rules.pairs import PairMasks, bits, pair_masks
from enforcer.rules.table import Chain, NamedSet, Table, remark
from enforcer.rules.terminals import ACCEPTED, LIVE, LOGGED, UNLOGGED, Terminal, Terminals
from enforcer.rules.tree import Forest
from enforcer.rules.treechains import TreeChains
from enforcer.rules.zoneids import ZoneKey, zone_ids
from zones.inventory import Inventory, Node
from zones.net import ANY_ADDRESS, AddressSet, union
from zones.policy import Entry, InfrastructureRule, Peer, Policy, Verdict
from zones.quarantine import closed
from zones.rules import Origin
from zones.zone import Zoning

TABLE = "zonebridge"
NO_TIER = Origin("infrastructure/no-tier", None, "infrastructure", "")
_COMMON_RULES = 4  # so many rules in a row that all pairs share are worth a chain of their own
_COMMON_RUNS = 3  # more of them cost a packet more than one tree for each pair costs the kernel

__all__ = ["NO_TIER", "TABLE", "Mode", "Options", "Plan", "Ruleset", "Terminal", "build", "lockdown"]


@dataclass(frozen=True)
class Ruleset:
    """A table, and what its log records mean.

    `terminals`: by the id in the log prefix `zb:<id>:<o|r>` (o: the packet goes with the connection, r: against it).
    `next_change`: when a schedule opens or closes next; build again then. `members`: whom its sets hold.
    """

    table: Table
    terminals: Mapping[str, Terminal] = field(hash=False)
    next_change: datetime | None
    members: Membership | None = None

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


class Plan:
    """One policy on one node at one instant (aware). What holds for any pods is worked out once."""

    def __init__(self, policy: Policy, node_name: str, now: datetime, options: Options | None = None) -> None:
        self._policy = policy = closed(policy)
        self._options = options or Options()
        entries = [entry for entry in policy.entries if entry.schedule is None or entry.schedule.active(now)]
        blocklists = {entry.origin: entry.blocklists for entry in entries if entry.blocklists}
        self._builder = _Builder(
            Sets(), entries, pair_masks(entries), Terminals(self._options, blocklists), self._options.observes
        )
        self._chains = frame.chains(self._options, policy.infrastructure, self._builder.sets, self._builder.terminals)
        for family in Family:
            self._chains |= frame.police(family, policy.infrastructure, self._builder.sets, self._builder.terminals)
        self.next_change = _next_change(policy, now)
        self.members = Membership(policy.zoning, node_name, self._builder.sets.members, self._builder.ids)

    def ruleset(self, zones: Iterable[ZoneKey], pod_networks: AddressSet, uplinks: Iterable[str] = ()) -> Ruleset:
        """The rules for pods and nodes of these zones; who they are is for `members`. Later calls bring more zones.

        `uplinks`: the names of the links behind which there are no pods of this node.
        """
        zoning, builder = self._policy.zoning, self._builder
        networks, nodes = _network_zones(zoning, pod_networks), ZoneKey(zoning.nodes, of_pods=False)
        builder.name({*networks, nodes}, zones)
        sets = frame.sets(self._options) | links.sets(uplinks, AddressSet.of(zoning.link_local))
        for family in Family:
            sets |= builder.addresses(family, networks)
            sets[family.named("pairs")] = builder.pairs(family)
        sets["bystanders"] = NamedSet("ifname . ifname : verdict", builder.bystanders("accept"))
        infrastructure, asked, terminals = self._policy.infrastructure, builder.sets, builder.terminals
        to_node = {
            family.named(frame.TO_NODE): frame.to_node(family, infrastructure, asked, terminals, builder.ids[nodes])
            for family in Family
        }
        chains = self._chains | to_node | builder.chains | builder.parts() | terminals.chains
        builder.forget()
        table = Table(TABLE, builder.sets.made | sets, chains, (LOGGED, UNLOGGED))
        return Ruleset(table, builder.terminals.by_id, self.next_change, self.members)


def build(
    policy: Policy, inventory: Inventory, node_name: str, now: datetime, options: Options | None = None
) -> Ruleset:
    """The rules of one node at one instant (aware), with everybody in their sets: for people to read.

    The machine is not asked here: what the node's Node says stands for what addresses it has.
    """
    plan = Plan(policy, node_name, now, options)
    directory = inventory.directory()
    machine = ThisMachine(node_name, ())
    held_by = {
        address: machine if isinstance(holder, Node) and holder.name == node_name else holder
        for address, holder in directory.held.items()
    }
    profiles = {address: plan.members.profile(holder) for address, holder in held_by.items()}
    made = plan.ruleset({profile.zone for profile in profiles.values()}, directory.pod_networks)
    held: dict[str, dict[str, str]] = {LIVE: _first_generation((options or Options()).marks)}
    for address, profile in profiles.items():
        family, text = family_of(address), address_text(address)
        for place in plan.members.places(family, profile):
            key = f"{text} . {text}" if place.set == family.named(SELVES) else text
            held.setdefault(place.set, {})[key] = place.tail
    sets = {name: replace(each, elements=held.get(name, each.elements)) for name, each in made.table.sets.items()}
    return replace(made, table=replace(made.table, sets=sets))


def _first_generation(marks: Marks) -> dict[str, str]:
    return frame.live(marks, marks.first(PHASES[0]))


def _next_change(policy: Policy, now: datetime) -> datetime | None:
    changes = (entry.schedule.next_change(now) for entry in policy.entries if entry.schedule is not None)
    return min((change for change in changes if change is not None), default=None)


@dataclass(slots=True)
class _Builder:
    """Gathers sets, chains and terminals of one plan. `observes`: whether denials between two zones drop nothing."""

    sets: Sets
    entries: Sequence[Entry]
    masks: PairMasks
    terminals: Terminals
    observes: Callable[..., bool]
    chains: dict[str, Chain] = field(default_factory=dict)
    ids: dict[ZoneKey, str] = field(default_factory=dict)
    _spaces: Spaces = field(default_factory=Spaces)
    _by_entry: dict[tuple[Family, int, bool], tuple[Clause, ...]] = field(default_factory=dict)
    _by_mask: dict[tuple[Family, str, bool], str] = field(default_factory=dict)
    _trees: Forest = field(default_factory=lambda: Forest())  # noqa: PLW0108 - tests put another one there
    _tree_chains: dict[Family, TreeChains] = field(init=False)
    _runs: list[int | None] = field(init=False)

    def __post_init__(self) -> None:
        self._runs = self.masks.common_runs(len(self.entries))
        self._tree_chains = {family: TreeChains(family, self.sets) for family in Family}

    def parts(self) -> dict[str, Chain]:
        """The chains of trees, beside those of pairs."""
        return {name: chain for each in self._tree_chains.values() for name, chain in each.made.items()}

    def forget(self) -> None:
        """What only the making of rules needs. What is made again gets the same name again."""
        self._spaces, self._by_entry, self._trees = Spaces(), {}, Forest()
        for each in self._tree_chains.values():
            each.forget()

    # Addresses to zones

    def name(self, networks: Iterable[ZoneKey], zones: Iterable[ZoneKey]) -> None:
        """An id for every zone; those that have one keep it."""
        first = sorted(networks, key=_key_order)
        named = self.masks.from_zone.keys() | self.masks.to_zone.keys()
        others = sorted(set(zones) - set(first), key=lambda key: (key.zone not in named, *_key_order(key)))
        self.ids.update(zone_ids([*self.ids, *first, *others]))

    def addresses(self, family: Family, networks: Mapping[ZoneKey, AddressSet]) -> Iterator[tuple[str, NamedSet]]:
        """The two maps of a family: of single addresses, and of the networks, which together miss no address."""
        type_ = f"{family.value.address_type} : mark . ifname"
        spans = {
            text: zone_value(self.ids[key])
            for key, space in networks.items()
            for text in span_texts(family, family.spans(space))
        }
        yield family.named(ADDRESSES), NamedSet(type_, {})
        yield family.named(NETWORKS), NamedSet(type_, spans, interval=True)

    # Pairs of zones to chains

    def pairs(self, family: Family) -> NamedSet:
        """The verdict map of pairs; a pair that it doesn't hold is of zones that no entry tells apart."""
        elsewhere = self.masks.elsewhere, self.observes()
        self.chains[family.named("elsewhere")] = Chain((f"goto {self._chain_of(family, *elsewhere)}",))
        elements = {"*": f" : goto {family.named('elsewhere')}"} | self.bystanders(f"goto {ACCEPTED}")
        for client, client_id in self.ids.items():
            for server, server_id in self.ids.items():
                rules = self.masks.of(client.zone, server.zone), self.observes(client.zone, server.zone)
                if rules != elsewhere and (client.of_pods or server.of_pods):
                    comment = remark(f"{client.zone} > {server.zone}")
                    target = self._chain_of(family, *rules)
                    elements[f'"{client_id}" . "{server_id}"'] = f' comment "{comment}" : goto {target}'
        return NamedSet("ifname . ifname : verdict", elements)

    def bystanders(self, verdict: str) -> dict[str, str]:
        """The pairs in which no pod takes part."""
        apart = [name for key, name in self.ids.items() if not key.of_pods]
        return {f'"{client}" . "{server}"': f" : {verdict}" for client in apart for server in apart}

    def _chain_of(self, family: Family, mask: int, observed: bool) -> str:  # noqa: FBT001 - a part of the key
        """The chain for these entries, made when first asked for; equal rules share one chain."""
        digest = sha256(mask.to_bytes(len(self.entries) // 8 + 1)).hexdigest()  # as numbers, they would be long
        key = family, digest, observed
        if key not in self._by_mask:
            rules = self._pair_rules(family, mask, observed)
            name = f"pair{family.value.number}-{short_digest(rules)}"
            self.chains[name] = Chain(rules)
            self._by_mask[key] = name
        return self._by_mask[key]

    def _pair_rules(self, family: Family, mask: int, observed: bool) -> tuple[str, ...]:  # noqa: FBT001
        """First match, by tree. Long runs of what all pairs have in common are trees of their own, shared by them."""
        chains = self._tree_chains[family]
        runs = [
            (common, self._clauses(family, run, observed))
            for common, run in groupby(bits(mask), key=self._runs.__getitem__)
        ]
        rules: list[str] = []
        for shared, clauses in _pieces(runs):
            node = self._trees.tree(clauses)
            apart = shared and len(node.steps) > 1
            rules += [f"jump {chains.chain(node, 'common')}"] if apart else chains.rules(node)
            if node.final:
                break
        return tuple(rules)

    def _clauses(self, family: Family, numbers: Iterable[int], observed: bool) -> list[Clause]:  # noqa: FBT001
        return [clause for n in numbers for clause in self._entry_clauses(family, n, observed)]

    def _entry_clauses(self, family: Family, n: int, observed: bool) -> tuple[Clause, ...]:  # noqa: FBT001
        """The chain where it ends is made only if there is any."""
        found = self._by_entry.get((family, n, observed))
        if found is None:
            entry = self.entries[n]
            observed_ = observed and entry.verdict is not Verdict.ALLOW
            target = partial(self.terminals.chain, (entry.origin, entry.verdict, entry.log), observed=observed_)
            found = tuple(matching.of_entry(entry, family, self._spaces, target))
            families = Family if matching.same_in_all_families(entry) else (family,)
            self._by_entry.update({(each, n, observed): found for each in families})
        return found


def _pieces(runs: Sequence[tuple[int | None, list[Clause]]]) -> Iterator[tuple[bool, list[Clause]]]:
    """What is looked through one after the other, and whether all pairs share it; in one where it would be too many."""
    shared = [common is not None and len(clauses) >= _COMMON_RULES for common, clauses in runs]
    if sum(shared) > _COMMON_RUNS:
        yield False, [clause for _, clauses in runs for clause in clauses]
        return
    for share, group in groupby(zip(shared, runs, strict=True), key=lambda each: each[0]):
        yield share, [clause for _, (_, clauses) in group for clause in clauses]


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
