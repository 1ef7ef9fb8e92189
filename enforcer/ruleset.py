"""Policy and inventory to the kernel's rules: one nftables table, and whose rule each log record comes from. Pure.

No I/O, no clock. Zones are looked up, not searched: the way through the table is as long for a thousand as for two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from itertools import groupby

from enforcer import dispatch, matching
from enforcer.family import Family, address_text, family_of, span_texts
from enforcer.matching import Sets, short_digest
from enforcer.messages import RawRule
from enforcer.pairs import PairMasks, bits, pair_masks
from enforcer.table import Chain, NamedSet, Table, remark
from enforcer.zoneids import ZoneKey, zone_ids
from zones.inventory import Directory, Inventory, Node, Pod, Stranger
from zones.net import ANY_ADDRESS, AddressSet, union
from zones.policy import ISOLATION, Entry, InfrastructureRule, Peer, Policy, Verdict
from zones.rules import NO_LOG, Log, Origin
from zones.zone import ISOLATED, Zoning

TABLE = "zonebridge"
LOG_PREFIX = "zb"

# Before the hooks that network plug-ins filter in (0), after destination NAT (-100). On input after IPVS (98), which
# takes Service traffic away there before its real end is known.
_BEFORE_PLUGINS, _AFTER_IPVS = -5, 99
_SNAP = 128  # bytes of a logged packet: enough for every header
_COMMON_RULES = 4  # so many rules that all pairs share are worth a chain of their own


class Mode(StrEnum):
    """ENFORCE drops what the tier denies; OBSERVE counts and logs it, and drops nothing."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class Options:
    """`log_group`: the NFLOG group. `log_rate`, `log_burst`: records a second, at most, for each rule and direction."""

    mode: Mode = Mode.ENFORCE
    log_group: int = 9470
    log_rate: int = 50
    log_burst: int = 200


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a packet's way through the rules ends. `enforced` False: a denial that observe mode only logs."""

    origin: Origin
    verdict: Verdict
    log: Log
    enforced: bool = True

    @property
    def id(self) -> str:
        return short_digest(asdict(self))


@dataclass(frozen=True)
class Ruleset:
    """A table, and what its log records mean.

    `terminals`: by the id in the log prefix `zb:<id>:<o|r>` (o: the packet goes with the connection, r: against it).
    `next_change`: when a schedule opens or closes next; build again then.
    """

    table: Table
    terminals: Mapping[str, Terminal] = field(hash=False)
    next_change: datetime | None

    @cached_property
    def origins(self) -> Mapping[str, Origin]:
        return {key: terminal.origin for key, terminal in self.terminals.items()}

    def text(self) -> str:
        """Canonical, deterministic, for people: what `zone-enforcer render` shows."""
        return self.table.text()


_Ending = tuple[Origin, Verdict, Log]
ISOLATED_END: _Ending = (ISOLATION, Verdict.DENY, NO_LOG)
UNTRACKED: _Ending = (Origin("infrastructure/untracked", None, "infrastructure", ""), Verdict.DENY, NO_LOG)


def raw_chains() -> dict[str, tuple[RawRule, ...]]:
    """The chains that are the same in every ruleset, whose rules go by netlink."""
    by_connection = {family.named("dispatch"): dispatch.by_connection(family) for family in Family}
    return by_connection | {family.named("stateless"): dispatch.by_packet(family) for family in Family}


def lockdown() -> Policy:
    """What a node enforces that never had a tier and is to fail closed: a node reaches its own pods, and no more."""
    to_own_pods = InfrastructureRule("node-to-own-pods", source=Peer(nodes=True), own_node=True)
    nothing = Entry(Origin("infrastructure/no-tier", None, "infrastructure", ""), Verdict.DENY)
    return Policy(Zoning(), (to_own_pods,), (nothing,))


def build(
    policy: Policy, inventory: Inventory, node_name: str, now: datetime, options: Options | None = None
) -> Ruleset:
    """The rules of one node at one instant (aware)."""
    directory = inventory.directory()
    holders = [(address, who) for address, who in directory.held.items() if not isinstance(who, Stranger)]
    active = [entry for entry in policy.entries if entry.schedule is None or entry.schedule.active(now)]
    builder = _Builder(options or Options(), Sets(holders, node_name), active, pair_masks(active))
    builder.addresses(directory, policy.zoning)
    builder.hooks()
    for family in Family:
        builder.police(family, policy.infrastructure)
        builder.pairs(family)
    builder.bystanders()
    return Ruleset(builder.table(), builder.terminals, _next_change(policy, now))


def _next_change(policy: Policy, now: datetime) -> datetime | None:
    changes = (entry.schedule.next_change(now) for entry in policy.entries if entry.schedule is not None)
    return min((change for change in changes if change is not None), default=None)


@dataclass(slots=True)
class _Builder:
    """Gathers sets, chains and terminals; lives as long as one build."""

    options: Options
    sets: Sets
    entries: Sequence[Entry]
    masks: PairMasks
    chains: dict[str, Chain] = field(default_factory=dict)
    terminals: dict[str, Terminal] = field(default_factory=dict)
    ids: dict[ZoneKey, str] = field(default_factory=dict)
    _rules: dict[tuple[Family, int], tuple[str, ...]] = field(default_factory=dict)
    _by_mask: dict[tuple[Family, int], str] = field(default_factory=dict)
    _by_ending: dict[_Ending, str] = field(default_factory=dict)

    def table(self) -> Table:
        return Table(TABLE, self.sets.made, self.chains)

    # Addresses to zones

    def addresses(self, directory: Directory, zoning: Zoning) -> None:
        """The two maps of each family: of single addresses, and of the networks, which together miss no address."""
        held = {address: _zone_of(who, zoning) for address, who in directory.held.items()}
        networks = _network_zones(zoning, directory.pod_networks)
        first = sorted({*networks, ZoneKey(zoning.nodes, of_pods=False)}, key=_key_order)
        named = self.masks.from_zone.keys() | self.masks.to_zone.keys()
        others = sorted(set(held.values()) - set(first), key=lambda key: (key.zone not in named, *_key_order(key)))
        self.ids = zone_ids([*first, *others])
        values = {key: f' : 0x00000000 . "{name}"' for key, name in self.ids.items()}  # the word is overwritten
        for family in Family:
            type_ = f"{family.value.address_type} : mark . ifname"
            singles = {address_text(at): values[key] for at, key in held.items() if family_of(at) is family}
            self.sets.made[family.named("addresses")] = NamedSet(type_, singles)
            spans = {
                text: values[key] for key, space in networks.items() for text in span_texts(family, family.spans(space))
            }
            cut_off = {
                address_text(at): "" for at, key in held.items() if key.zone == ISOLATED and family_of(at) is family
            }
            self.sets.made[family.named("isolated")] = NamedSet(family.value.address_type, cut_off)
            self.sets.made[family.named("networks")] = NamedSet(type_, spans, interval=True)

    # Pairs of zones to chains

    def pairs(self, family: Family) -> None:
        """The verdict map of pairs; a pair that it doesn't hold is of zones that no entry tells apart."""
        elsewhere = self.masks.elsewhere
        self.chains[family.named("elsewhere")] = Chain((f"goto {self._chain_of(family, elsewhere)}",))
        elements = {"*": f" : goto {family.named('elsewhere')}"} | self._bystander_elements()
        for client, client_id in self.ids.items():
            for server, server_id in self.ids.items():
                mask = self.masks.of(client.zone, server.zone)
                if mask != elsewhere and (client.of_pods or server.of_pods):
                    comment = remark(f"{client.zone} > {server.zone}")
                    target = self._chain_of(family, mask)
                    elements[f'"{client_id}" . "{server_id}"'] = f' comment "{comment}" : goto {target}'
        self.sets.made[family.named("pairs")] = NamedSet("ifname . ifname : verdict", elements)

    def bystanders(self) -> None:
        self.sets.made["bystanders"] = NamedSet("ifname . ifname : verdict", self._bystander_elements())

    def _bystander_elements(self) -> dict[str, str]:
        """The pairs in which no pod takes part."""
        apart = [name for key, name in self.ids.items() if not key.of_pods]
        return {f'"{client}" . "{server}"': " : accept" for client in apart for server in apart}

    def _chain_of(self, family: Family, mask: int) -> str:
        """The chain for these entries, made when first asked for; equal rules share one chain."""
        if (family, mask) not in self._by_mask:
            rules = tuple(self._pair_rules(family, mask))
            self._by_mask[family, mask] = self._shared_chain(f"pair{family.value.number}", rules)
        return self._by_mask[family, mask]

    def _shared_chain(self, kind: str, rules: tuple[str, ...]) -> str:
        name = f"{kind}-{short_digest(rules)}"
        self.chains[name] = Chain(rules)
        return name

    def _pair_rules(self, family: Family, mask: int) -> Iterator[str]:
        """First match: up to the rule that always matches. What all pairs have in common is jumped to."""
        for common, run in groupby(bits(mask), key=self.masks.common_run):
            rules = [rule for n in run for rule in self._entry_rules(family, n)]
            final = next((at for at, rule in enumerate(rules) if rule.startswith("goto ")), None)
            kept = rules if final is None else rules[: final + 1]
            if common is not None and len(kept) >= _COMMON_RULES:
                verb = "jump" if final is None else "goto"
                yield f"{verb} {self._shared_chain(f'common{family.value.number}', tuple(kept))}"
            else:
                yield from kept
            if final is not None:
                return

    def _entry_rules(self, family: Family, n: int) -> tuple[str, ...]:
        if (family, n) not in self._rules:
            entry = self.entries[n]
            found = matching.of_entry(entry, family, self.sets)
            self._rules[family, n] = tuple(self._ending(found, (entry.origin, entry.verdict, entry.log)))
        return self._rules[family, n]

    # Ways in and ways out

    def hooks(self) -> None:
        """Forwarded, to this node, from this node: each packet passes one of the three, after destination NAT."""
        self.chains["forward"] = Chain(("goto police",), hook=_hook("forward", _BEFORE_PLUGINS))
        self.chains["input"] = Chain(('iifname "lo" accept', "goto police"), hook=_hook("input", _AFTER_IPVS))
        self.chains["output"] = Chain(
            (
                'oifname "lo" accept',
                # What the rules' own rejects send belongs to the connection that was rejected.
                "tcp flags & rst == rst accept",
                "icmp type destination-unreachable accept",
                "icmpv6 type destination-unreachable accept",
                "goto police",
            ),
            hook=_hook("output", _BEFORE_PLUGINS),
        )
        self.chains["police"] = Chain(
            (
                "icmpv6 type 133-137 ip6 hoplimit 255 accept",  # neighbour discovery, never from beyond the link
                "ct state untracked goto untracked",
                "ct state invalid goto no-connection",
                # A connection picked up in the middle would have its ends the wrong way round.
                "ct state new tcp flags & (fin | syn | rst | ack) != syn goto no-connection",
                "meta nfproto vmap { ipv4 : goto police4, ipv6 : goto police6 }",
            )
        )
        self.chains |= {name: Chain(raw=rules) for name, rules in raw_chains().items()}
        verdict = "drop" if self.options.mode is Mode.ENFORCE else "accept"
        by_packet = "meta nfproto vmap { ipv4 : jump stateless4, ipv6 : jump stateless6 }"
        self.chains["no-connection"] = Chain((by_packet, f'counter {verdict} comment "no connection"'))
        self.chains["untracked"] = Chain((by_packet, f"goto {self._terminal(UNTRACKED)}"))
        self.chains["unjudged"] = Chain((f'counter {verdict} comment "never reached while the table is whole"',))

    def police(self, family: Family, infrastructure: Iterable[InfrastructureRule]) -> None:
        """Infrastructure first, then the pair of zones."""
        apart = family.named("isolated")
        ends = [f"ct {side} {family.value.header} saddr @{apart} goto {apart}" for side in ("original", "reply")]
        own = [rule for rule in infrastructure if rule.own_node]
        self.chains[apart] = Chain((*self._allowed(family, own), f"goto {self._terminal(ISOLATED_END)}"))
        rules = (*ends, *self._allowed(family, infrastructure))
        self.chains[family.named("police")] = Chain((*rules, f"jump {family.named('dispatch')}", "goto unjudged"))

    def _allowed(self, family: Family, infrastructure: Iterable[InfrastructureRule]) -> Iterator[str]:
        for rule in infrastructure:
            found = matching.of_infrastructure(rule, family, self.sets)
            yield from self._ending(found, (rule.origin, Verdict.ALLOW, NO_LOG))

    def _ending(self, found: tuple[str, ...], ending: _Ending) -> Iterator[str]:
        """Each alternative with the way to the chain where it ends, which is made only if there is any."""
        for condition in found:
            target = self._terminal(ending)
            yield f"{condition} goto {target}" if condition else f"goto {target}"

    def _terminal(self, ending: _Ending) -> str:
        if ending not in self._by_ending:
            origin, verdict, log = ending
            enforced = verdict is Verdict.ALLOW or self.options.mode is Mode.ENFORCE
            terminal = Terminal(origin, verdict, log, enforced)
            key = terminal.id
            self.terminals[key] = terminal
            self._by_ending[ending] = f"{verdict}-{key}"
            self.chains[f"{verdict}-{key}"] = Chain(tuple(self._terminal_rules(terminal, key)))
        return self._by_ending[ending]

    def _terminal_rules(self, terminal: Terminal, key: str) -> Iterator[str]:
        """Counted before logged: what the limit swallows is known. Denials are always logged."""
        yield f'counter comment "{remark(terminal.origin.name)}"'
        if terminal.origin == UNTRACKED[0]:
            yield self._log(key, "o")
        elif terminal.verdict is not Verdict.ALLOW:
            yield f"ct direction original {self._log(key, 'o')}"
            yield f"ct direction reply {self._log(key, 'r')}"
        elif terminal.log.start:
            yield f"ct state new {self._log(key, 'o')}"
        if terminal.verdict is Verdict.ALLOW or not terminal.enforced:
            yield "accept"
        elif terminal.verdict is Verdict.RESET:
            yield "meta l4proto tcp reject with tcp reset"
            yield "reject with icmpx admin-prohibited"
        else:
            yield "drop"

    def _log(self, key: str, direction: str) -> str:
        limit = f"limit rate {self.options.log_rate}/second burst {self.options.log_burst} packets"
        return f'{limit} log group {self.options.log_group} snaplen {_SNAP} prefix "{LOG_PREFIX}:{key}:{direction}"'


def _hook(name: str, priority: int) -> str:
    return f"type filter hook {name} priority {priority}; policy accept;"


def _zone_of(who: Pod | Node | Stranger, zoning: Zoning) -> ZoneKey:
    if isinstance(who, Pod):
        return ZoneKey(zoning.of_pod(who.labels, who.allowed), of_pods=True)
    if isinstance(who, Node):
        return ZoneKey(zoning.nodes, of_pods=False)
    return ZoneKey(zoning.outside, of_pods=True)


def _network_zones(zoning: Zoning, pod_networks: AddressSet) -> dict[ZoneKey, AddressSet]:
    """All addresses, by the zone of one that no pod and no node has."""
    parts: dict[ZoneKey, list[AddressSet]] = {ZoneKey(zoning.outside, of_pods=True): [pod_networks]}
    left = ANY_ADDRESS - pod_networks
    for network, zone in zoning.networks:
        part = AddressSet.of([network]) & left
        parts.setdefault(ZoneKey(zone, of_pods=False), []).append(part)
        left -= part
    parts.setdefault(ZoneKey(zoning.outside, of_pods=False), []).append(left)
    return {key: union(spaces) for key, spaces in parts.items()}


def _key_order(key: ZoneKey) -> tuple[bool, str]:
    return key.of_pods, key.zone
