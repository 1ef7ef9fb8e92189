"""Which sets and maps hold an address, told by who has it: a function of one holder, so a pod is changed alone. Pure.

`enforcer.rules.match` asks for sets as rules need them; `enforcer.rules.ruleset` makes the function; no address is
listed here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from enforcer.rules.family import Family
from enforcer.rules.members.zone_ids import ZoneKey
from zones.addresses.inventory import Holder, Node, Pod
from zones.policy import Peer
from zones.workload import in_namespace
from zones.zone import ISOLATED, QUARANTINE, Zoning

ADDRESSES, NETWORKS = "addresses", "networks"
ISOLATED_SET, QUARANTINED_SET, SPECIAL = "isolated", "quarantined", "special"
SERVICES = "services"  # the prefixes that Services have addresses from
UPLINKS = "uplinks"  # the links behind which there are no pods of this node
LOCAL, SELVES, HERE = "local", "selves", "here"  # own pods; each beside itself; this machine's own addresses


class SetEntry(NamedTuple):
    """An element: in which set, and what follows its key. The key is the address; in a set of pairs, twice."""

    set: str
    tail: str


@dataclass(frozen=True, slots=True)
class RequestedSets:
    """The sets that rules have asked for so far. `workloads`: places by workload; `peers`: sets by whom they hold."""

    workloads: dict[Family, dict[str, list[SetEntry]]] = field(
        default_factory=lambda: {family: {} for family in Family}
    )
    peers: dict[Family, dict[str, tuple[Peer, bool]]] = field(default_factory=lambda: {family: {} for family in Family})

    def workload(self, family: Family, workload: str, name: str, tail: str = "") -> None:
        """The pods of a workload, of one namespace where the name says so, shall be in a set or map."""
        places = self.workloads[family].setdefault(workload, [])
        if (name, tail) not in places:
            places.append(SetEntry(name, tail))

    def peer(self, family: Family, peer: Peer, name: str, *, own_node: bool) -> None:
        self.peers[family][name] = peer, own_node

    def concern(self, names: Collection[str]) -> bool:
        """Whether anybody is in one of these sets."""
        ours = {place.set for of in self.workloads.values() for places in of.values() for place in places}
        return not ours.isdisjoint(names) or any(not of.keys().isdisjoint(names) for of in self.peers.values())

    def without(self, names: Collection[str]) -> RequestedSets:
        """A copy, but for these sets."""
        rest = RequestedSets()
        for family, of in self.workloads.items():
            kept = {workload: [place for place in places if place.set not in names] for workload, places in of.items()}
            rest.workloads[family].update({workload: places for workload, places in kept.items() if places})
        for family, peers in self.peers.items():
            rest.peers[family].update({name: peer for name, peer in peers.items() if name not in names})
        return rest

    def names(self, node: str) -> bool:
        """Whether a rule asks for this node by name."""
        return any(node in (peer.node_names or ()) for of in self.peers.values() for peer, _ in of.values())


class AddressClass(NamedTuple):
    """What of a holder its places depend on."""

    zone: ZoneKey
    workload: str
    namespace: str
    is_node: bool
    is_known: bool
    is_own: bool
    node: str = ""
    """The name of a node that a rule names."""


@dataclass(frozen=True, slots=True)
class ThisMachine(Node):
    """This node by an address that the machine really has. What its Node object says of it may be anything."""


@dataclass(frozen=True, slots=True)
class SetMembership:
    """`ids`: the zones' names in the kernel; it may grow while this is in use."""

    zoning: Zoning
    node_name: str
    wanted: RequestedSets
    ids: Mapping[ZoneKey, str]
    _places: dict[tuple[Family, AddressClass], tuple[SetEntry, ...]] = field(default_factory=dict, compare=False)

    def profile(self, holder: Holder) -> AddressClass:
        """One that is disputed is a pod of the outside zone, and in no other set but that of special ones."""
        zone = zone_key(self.zoning, holder)
        if isinstance(holder, Pod):
            own = holder.node == self.node_name
            return AddressClass(zone, holder.workload, holder.namespace, is_node=False, is_known=True, is_own=own)
        if isinstance(holder, Node):
            own, name = isinstance(holder, ThisMachine), holder.name if self.wanted.names(holder.name) else ""
            return AddressClass(zone, "", "", is_node=True, is_known=True, is_own=own, node=name)
        return AddressClass(zone, "", "", is_node=False, is_known=False, is_own=False)

    def places(self, family: Family, profile: AddressClass) -> tuple[SetEntry, ...]:
        """Equal profiles get the same tuple. Raises KeyError where the zone has no id yet."""
        entries = self._places.get((family, profile))
        if entries is None:
            entries = tuple(self._found(family, profile))
            self._places[family, profile] = entries
        return entries

    def _found(self, family: Family, profile: AddressClass) -> Iterable[SetEntry]:
        peers = self._peers(family, profile) if profile.is_known else {}
        closed = {ISOLATED: ISOLATED_SET, QUARANTINE: QUARANTINED_SET}.get(profile.zone.zone, "")
        special = bool(closed) or not profile.is_known or any(peer.names_holders for peer in peers.values())
        yield SetEntry(family.named(ADDRESSES), zone_value(self.ids[profile.zone], special=special))
        if special:
            yield SetEntry(family.named(SPECIAL), "")
        if closed:
            yield SetEntry(family.named(closed), "")
        if profile.is_own:
            yield from (SetEntry(family.named(name), "") for name in ((HERE,) if profile.is_node else (LOCAL, SELVES)))
        yield from (SetEntry(name, "") for name in peers)
        if profile.is_known and not profile.is_node:
            yield from self._of_workload(family, profile)

    def _of_workload(self, family: Family, profile: AddressClass) -> Iterable[SetEntry]:
        """In a map that has a way for its workload in its namespace, it has none by its workload's name alone."""
        wanted = self.wanted.workloads[family]
        nearer = wanted.get(in_namespace(profile.namespace, profile.workload), ())
        sets = {place.set for place in nearer}
        return (*nearer, *(place for place in wanted.get(profile.workload, ()) if place.set not in sets))

    def _peers(self, family: Family, profile: AddressClass) -> dict[str, Peer]:
        """The sets of infrastructure rules that it is in."""
        wanted = self.wanted.peers[family].items()
        return {name: peer for name, (peer, own) in wanted if _is(peer, profile) and (profile.is_own or not own)}


def zone_key(zoning: Zoning, holder: Holder) -> ZoneKey:
    if isinstance(holder, Pod):
        return ZoneKey(zoning.of_pod(holder.labels, holder.allowed, quarantined=holder.quarantined), of_pods=True)
    if isinstance(holder, Node):
        return ZoneKey(zoning.nodes, of_pods=False)
    return ZoneKey(zoning.outside, of_pods=True)


def zone_value(zone_id: str, *, special: bool = False) -> str:
    """What follows an address or a network: whether more than its zone is to be asked, and the zone's id."""
    return f' : {special:#010x} . "{zone_id}"'


def _is(peer: Peer, profile: AddressClass) -> bool:
    if peer.nodes and not (profile.is_node and (peer.node_names is None or profile.node in peer.node_names)):
        return False
    if peer.namespaces is not None and profile.namespace not in peer.namespaces:
        return False
    return peer.workloads is None or profile.workload in peer.workloads
