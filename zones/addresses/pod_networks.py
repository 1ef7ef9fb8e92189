"""Which pod networks a node is believed to have: none that is absurdly wide, none that overlaps another node's. Pure.

A Node's podCIDRs are what somebody wrote there once. Where two nodes say the same, nothing tells which of them was
first: a Node may be older than its podCIDRs. So neither is believed, their pods are cut off, and an alert says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from zones.net import NO_ADDRESS, V4_LAST, V6_LAST, AddressSet, IPNetwork, Ranges, union

# A million addresses of IPv4 for one node; controllers give 256 by default, and of IPv6 a /64.
WIDEST = {4: 12, 6: 40}


@dataclass(frozen=True, slots=True)
class Doubt:
    """A network that a node says it has, and isn't believed to. `others`: those that say they have some of it."""

    network: IPNetwork
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.others:
            return f"{self.network} is wider than a node's pods can need (/{WIDEST[self.network.version]})"
        return f"{self.network} overlaps a pod network of {', '.join(self.others)}"


class _Span(NamedTuple):
    first: int
    last: int
    node: str
    network: IPNetwork


def doubts(networks_of: Mapping[str, Sequence[IPNetwork]]) -> dict[str, list[Doubt]]:
    """By node. Prefixes hold each other or have nothing in common, so those around one are on a stack as it comes.

    10.1.0.0/16 of a, 10.1.3.0/24 of b, 10.2.0.0/16 of c: b's comes while a's is on the stack, so both are doubted; c's
    comes when a's has ended, and is not.
    """
    doubts_of: dict[str, list[Doubt]] = {}
    spans: dict[int, list[_Span]] = {4: [], 6: []}
    for node, networks in networks_of.items():
        for network in dict.fromkeys(networks):
            if is_absurd(network):
                doubts_of.setdefault(node, []).append(Doubt(network))
            else:
                span = _Span(int(network.network_address), int(network.broadcast_address), node, network)
                spans[network.version].append(span)
    for spans_of_version in spans.values():
        for span, others in _overlapping(spans_of_version).items():
            doubts_of.setdefault(span.node, []).append(Doubt(span.network, tuple(sorted(others))))
    return doubts_of


def _overlapping(spans: Iterable[_Span]) -> dict[_Span, set[str]]:
    """Those that have something in common with another node's, each with one such node or more."""
    overlaps: dict[_Span, set[str]] = {}
    around: list[_Span] = []
    for span in sorted(spans, key=lambda span: (span.first, -span.last, span.node)):
        while around and around[-1].last < span.first:
            around.pop()
        for outer in reversed(around):
            if outer.node == span.node:
                continue
            known = outer in overlaps
            overlaps.setdefault(outer, set()).add(span.node)
            overlaps.setdefault(span, set()).add(outer.node)
            if known:
                break  # what is around a doubted one is doubted
        around.append(span)
    return overlaps


@dataclass(slots=True)
class PodNetworks:
    """Of all nodes, as they are told. `configured`: prefixes that any node's pods may have."""

    configured: AddressSet
    _told: dict[str, tuple[IPNetwork, ...]] = field(default_factory=dict)
    _spaces: dict[str, AddressSet] = field(default_factory=dict)
    _doubts: dict[str, list[Doubt]] = field(default_factory=dict)
    _settled: tuple[AddressSet, AddressSet] | None = None
    _changed: set[str] = field(default_factory=set)

    @property
    def has_changes(self) -> bool:
        """Whether something was told since it was last asked who is concerned."""
        return self._settled is None or bool(self._changed)

    def tell(self, node: str, networks: Sequence[IPNetwork]) -> AddressSet:
        """What a node says from now on; none where it is gone. Returns what it said or says, where that is another."""
        before = self._told.get(node, ())
        if before == tuple(networks):
            return NO_ADDRESS
        self._told[node] = tuple(networks)
        if not networks:
            del self._told[node]
        self._settled = None
        return AddressSet.of([*before, *networks])

    def take_changed(self) -> set[str]:
        """The nodes that are believed to have other networks now than when this was last asked."""
        self._settle()
        changed, self._changed = self._changed, set()
        return changed

    def _settle(self) -> tuple[AddressSet, AddressSet]:
        """Judge what was told since: all that nodes say, and with what is configured."""
        if self._settled is not None:
            return self._settled
        before, spaces = self._spaces, {}
        self._doubts = doubts(self._told)
        for node, networks in self._told.items():
            doubted = {doubt.network for doubt in self._doubts.get(node, ())}
            spaces[node] = AddressSet.of([network for network in networks if network not in doubted])
        self._spaces = spaces
        known = AddressSet.of(
            [network for networks in self._told.values() for network in networks if not is_absurd(network)]
        )
        self._changed |= {node for node in before.keys() | spaces.keys() if before.get(node) != spaces.get(node)}
        self._settled = known, union([known, self.configured])
        return self._settled

    def doubted(self, node: str) -> Sequence[Doubt]:
        """What a node says it has and isn't believed to."""
        self._settle()
        return self._doubts.get(node, ())

    def of(self, node: str) -> AddressSet:
        """What a node is believed to have."""
        self._settle()
        return self._spaces.get(node, NO_ADDRESS)

    @property
    def announced(self) -> AddressSet:
        """All that nodes say, but the absurd; whosoever it is, it is pods'."""
        return self._settle()[0]

    @property
    def all(self) -> AddressSet:
        """With those that are configured; another object whenever they change."""
        return self._settle()[1]

    def believes(self, number: int, version: int, node: str) -> bool:
        """Whether a node's pod may have an address, of this IP version, as a number.

        It is in one of the node's pod networks, or of those that are configured. Where the node tells none, and none is
        configured, of this IP version, nothing speaks against it but that it is another node's.
        """
        mine, configured = _of_version(self.of(node), version), _of_version(self.configured, version)
        if number in mine or number in configured:
            return True
        if configured or self._tells(node, version):
            return False
        return number not in _of_version(self.announced, version)

    def _tells(self, node: str, version: int) -> bool:
        return any(network.version == version for network in self._told.get(node, ()))


def is_absurd(network: IPNetwork) -> bool:
    """Wider than the pods of a node can need."""
    return network.prefixlen < WIDEST[network.version]


def _of_version(space: AddressSet, version: int) -> Ranges:
    return space.v4 if version == 4 else space.v6  # noqa: PLR2004


def within(key: int, space: AddressSet) -> bool:
    """Whether an address (`zones.addresses.packed_pods.key_of`) is in a set."""
    return key in space.v4 if key <= V4_LAST else key & V6_LAST in space.v6
