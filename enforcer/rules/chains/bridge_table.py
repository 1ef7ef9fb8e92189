"""The table of the family `bridge`: who may say what on the ports of a bridge that lead to pods of this node. Pure.

It keeps no state of connections and asks for none: a source is the port's pod's or it is not, and so is the destination
where a frame goes to another port. What passes here is judged by the other table as ever.
`enforcer.kernel.bridge_table` has it loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from enforcer.netlink.assemble import assemble
from enforcer.netlink.messages import RawRule
from enforcer.rules import log_limits
from enforcer.rules.chains.verdict_chains import (
    FOREIGN_FRAME,
    LINK_LOCAL_END,
    LOGGED,
    MISDIRECTED,
    ROUTER_MESSAGE,
    SPOOFED,
    UNLOGGED,
    VerdictChain,
    VerdictChains,
)
from enforcer.rules.family import Family, address_text, family_of
from enforcer.rules.options import Mode, RulesetOptions
from enforcer.rules.table import Chain, NamedSet, Table
from zones.net import IPAddress

TABLE = "zonebridge-bridge"
OWNED = "owned"
# Ahead of the bridge's own view of netfilter (0), so that no other table sees what is dropped here.
_HOOKS = {name: f"type filter hook {name} priority -300; policy accept;" for name in ("prerouting", "forward")}
_PASSED, _BOUND, _OWN_MACS, _MACS = "passed", "bound", "owned-macs", "taken-macs"
_KNOWN, _REACHED, _TAKEN = "known", "reached", "taken"
_MOST = 4096  # a fixed size makes the kernel take its quickest kind of set; no node has so many pods
_LONGEST_DISCOVERY = 40  # octets: a target and two options; in a third one nobody would look for an address
_Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Station:
    """A pod at its port, of this index. `near`: its link-local addresses, as its namespace has them, like `mac`."""

    port: str
    addresses: frozenset[IPAddress]
    index: int = 0
    near: frozenset[IPAddress] = frozenset()
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`passed`: the links whose frames are nobody's business here: uplinks, and ports of bridges that are uplinks.

    `own`, `own_macs`: the addresses of this machine, which no port has. `disputed`: those that no port may use until it
    is known whose they are.
    """

    passed: tuple[str, ...]
    stations: tuple[Station, ...] = ()
    own: frozenset[IPAddress] = frozenset()
    own_macs: frozenset[str] = frozenset()
    disputed: frozenset[IPAddress] = frozenset()


@dataclass(slots=True)
class _SetElements:
    """The elements of each set."""

    by_set: dict[str, _Row] = field(default_factory=dict)

    def add(self, name: str, element: str) -> None:
        self.by_set.setdefault(name, {})[element] = ""

    def of(self, name: str) -> _Row:
        return self.by_set.get(name, {})


def table(options: RulesetOptions, around: Surroundings) -> Table:
    terminals = VerdictChains(options, limits=log_limits.of_port)
    chains = _chains(terminals) | _to_ports(terminals)
    return Table(TABLE, _sets(around), chains | terminals.chains, (LOGGED, UNLOGGED), "bridge")


def terminals_of(options: RulesetOptions) -> dict[str, VerdictChain]:
    """What this table's log records mean."""
    terminals = VerdictChains(options, limits=log_limits.of_port)
    _chains(terminals)
    _to_ports(terminals)
    return terminals.by_id


def _sets(around: Surroundings) -> dict[str, NamedSet]:
    sets = _SetElements()
    for name in around.passed:
        sets.add(_PASSED, f'"{name}"')
    for mac in around.own_macs:
        sets.add(_MACS, mac)
    for taken in around.own | around.disputed:
        sets.add(family_of(taken).named(_TAKEN), address_text(taken))
    for station in around.stations:
        _add(sets, station)
    declared = {
        _PASSED: NamedSet("ifname", sets.of(_PASSED), comment="no pods are behind these"),
        _BOUND: NamedSet("ifname", sets.of(_BOUND), comment="ports whose pod is known"),
        _MACS: NamedSet("ether_addr", sets.of(_MACS)),
        _OWN_MACS: NamedSet("ifname . ether_addr", sets.of(_OWN_MACS)),
    }
    for family in Family:
        address = family.value.address_type
        known = family.named(_KNOWN)
        declared[known] = NamedSet(f"iface_index . ether_addr . {address}", sets.of(known), size=_MOST)
        reached = family.named(_REACHED)
        declared[reached] = NamedSet(f"iface_index . {address}", sets.of(reached), size=_MOST)
        for name, type_ in ((OWNED, f"ifname . {address}"), (_TAKEN, address)):
            declared[family.named(name)] = NamedSet(type_, sets.of(family.named(name)))
    return declared | log_limits.sets_of_ports()


def _add(sets: _SetElements, station: Station) -> None:
    port = f'"{station.port}"'
    sets.add(_BOUND, port)
    if station.mac:
        sets.add(_MACS, station.mac)
        sets.add(_OWN_MACS, f"{port} . {station.mac}")
    for address in station.addresses | station.near:
        family, text = family_of(address), address_text(address)
        sets.add(family.named(_TAKEN), text)
        sets.add(family.named(OWNED), f"{port} . {text}")
        if station.index:
            sets.add(family.named(_REACHED), f"{station.index} . {text}")
        if station.mac and address in station.addresses:
            sets.add(family.named(_KNOWN), f"{station.index} . {station.mac} . {text}")


def _chains(terminals: VerdictChains) -> dict[str, Chain]:
    spoofed, foreign = f"goto {terminals.chain(SPOOFED)}", f"goto {terminals.chain(FOREIGN_FRAME)}"
    router, link_local = f"goto {terminals.chain(ROUTER_MESSAGE)}", f"goto {terminals.chain(LINK_LOCAL_END)}"
    chains = {
        # Nearly everything is accepted by the first two. Tags count as a kind of their own: `ether type` sees them.
        "prerouting": (
            "ether type ip iif . ether saddr . ip saddr @known4 accept",
            "ether type ip6 meta l4proto != icmpv6 iif . ether saddr . ip6 saddr @known6 accept",
            f"iifname @{_PASSED} accept",
            *_macs("ether saddr", spoofed),
            "ether type ip goto from4",
            "ether type ip6 goto from6",
            "ether type arp goto arp",
            foreign,
        ),
        "from4": (
            "iifname . ip saddr @owned4 accept",
            f"ip saddr 169.254.0.0/16 {link_local}",
            "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept",
            *_others("ip saddr", Family.V4, spoofed),
        ),
        "arp": (
            f"arp head != ethernet-to-ip {foreign}",
            f"arp behind 0-255 {foreign}",
            *_macs("arp saddr ether", spoofed),
            "iifname . arp saddr ip @owned4 accept",
            "arp saddr ip 0.0.0.0 accept",
            *_others("arp saddr ip", Family.V4, spoofed),
        ),
        "from6": (
            "meta l4proto icmpv6 jump icmp6",
            "iifname . ip6 saddr @owned6 accept",
            # Whether it may be a source here is the other table's to say.
            f"ip6 saddr fe80::/10 ip6 saddr @taken6 {spoofed}",
            "ip6 saddr fe80::/10 accept",
            "ip6 saddr :: meta l4proto icmpv6 accept",  # before an address is one's own: duplicates are looked for
            *_others("ip6 saddr", Family.V6, spoofed),
        ),
        "icmp6": (
            f"icmpv6 type 134 {router}",
            f"icmpv6 type 137 {router}",
            "icmpv6 type 136 jump advertised",
            f"icmpv6 type 133 ip6 length {_LONGEST_DISCOVERY + 1}-65535 {foreign}",
            "icmpv6 type 135-136 jump options",
        ),
        "advertised": (
            "iifname . nd target @owned6 return",
            f"nd target @taken6 {spoofed}",
            "nd target fe80::/10 return",
            f"iifname @{_BOUND} {spoofed}",
        ),
        "options": (
            f"ip6 length {_LONGEST_DISCOVERY + 1}-65535 {spoofed}",
            *_macs("nd first ether", spoofed),
            *_macs("nd second ether", spoofed),
        ),
    }
    return _assembled(chains)


def _to_ports(terminals: VerdictChains) -> dict[str, Chain]:
    """A frame goes to the port of whom its packet is for: the other table judges by the packet's addresses alone.

    Group members and routers are no pod's business: what hosts say to those goes to the node and no further, unlogged,
    as every host says it.
    """
    enforces = terminals.options.mode is Mode.ENFORCE
    unsaid = f"counter {'drop' if enforces else 'accept'}"
    misdirected = f"goto {terminals.chain(MISDIRECTED)}"

    def elsewhere(selector: str, family: Family) -> Iterator[str]:
        # Copies, where the bridge doesn't know behind which port the hardware address is: one of them goes there.
        yield f"ether daddr @{_MACS} oifname . ether daddr != @{_OWN_MACS} {unsaid}"
        yield f"iifname @{_PASSED} {unsaid}"
        yield f"oifname @{_BOUND} {misdirected}"
        yield f"{selector} @{family.named(_TAKEN)} {misdirected}"

    chains = {
        "forward": (
            "ether type ip oif . ip daddr @reached4 accept",
            "ether type ip6 oif . ip6 daddr @reached6 accept",
            f"oifname @{_PASSED} accept",
            "ether type ip goto to4",
            "ether type ip6 goto to6",
        ),
        "to4": (
            "oifname . ip daddr @owned4 accept",
            "ip daddr 224.0.0.0/4 accept",
            "ip daddr 255.255.255.255 accept",
            *elsewhere("ip daddr", Family.V4),
        ),
        "to6": (
            "oifname . ip6 daddr @owned6 accept",
            "ip6 daddr ff00::/8 goto groups",
            # Is a pod that has just gone still there? Any host asks that of its last hardware address, nobody's by now.
            f"icmpv6 type 135 ip6 daddr != @taken6 {unsaid}",
            *elsewhere("ip6 daddr", Family.V6),
        ),
        "groups": tuple(f"icmpv6 type {types} {unsaid}" for types in ("130-133", "143")),
    }
    return _assembled(chains)


def _assembled(chains: Mapping[str, Iterable[str]]) -> dict[str, Chain]:
    return {name: Chain(raw=tuple(map(_said, rules)), hook=_HOOKS.get(name, "")) for name, rules in chains.items()}


def _macs(selector: str, end: str) -> Iterator[str]:
    """A hardware address of one port is no other port's; what nobody is known to have may be anybody's."""
    yield f"{selector} @{_MACS} iifname . {selector} != @{_OWN_MACS} {end}"


def _others(selector: str, family: Family, end: str) -> Iterable[str]:
    """Not the port's own: nothing for a port whose pod is known; from others, what nobody else has."""
    return f"iifname @{_BOUND} {end}", f"{selector} @{family.named(_TAKEN)} {end}", "accept"


def _said(rule: str) -> RawRule:
    return replace(assemble(rule, bridge=True), comment=rule)
