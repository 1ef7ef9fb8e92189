"""Who has which address as the kernel was told, and what of it is new: elements of sets, out and in. Pure.

Costs what has changed, not what there is, but where the function from holders to sets is another one.
`enforcer.kernel.reconcile` keeps it and tells it what the kernel took.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from enforcer.rules.family import Family
from enforcer.rules.members.address_delta import AddressDelta
from enforcer.rules.members.set_membership import AddressClass, SetEntry, SetMembership, ThisMachine, zone_key
from enforcer.rules.members.zone_ids import ZoneKey
from zones.addresses.inventory import Holder, Node, Pod
from zones.addresses.packed_pods import address_of, key_of, key_of_packed
from zones.net import V4_LAST, IPAddress
from zones.zone import Zoning


@dataclass(slots=True)
class ElementDelta:
    """Addresses that leave places and addresses that come, by place; as numbers, each place's of one family."""

    removed: dict[SetEntry, list[int]] = field(default_factory=dict)
    added: dict[SetEntry, list[int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.removed or self.added)


class AddressIndex:
    """Addresses are numbers, as `zones.addresses.packed_pods` makes them: small, and the same objects as the view's.

    This node has all of the machine's own addresses, whoever else claims them.
    """

    def __init__(self, node_name: str) -> None:
        self._own = ThisMachine(node_name, ())
        self._held: dict[int, Holder] = {}
        self._local: frozenset[int] = frozenset()
        self._own_pods: dict[int, Pod] = {}
        self._by_pod: dict[str, frozenset[IPAddress]] | None = None
        self._before: dict[int, Holder | None] = {}
        self._not_applied = True
        self._zones: Counter[ZoneKey] = Counter()
        self._zoning: Zoning | None = None

    def update(self, feed: AddressDelta, local: Iterable[IPAddress]) -> None:
        """What is so now; the kernel is told later."""
        here = frozenset(map(key_of, local))
        before = {} if self._not_applied else {address: self.holder(address) for address in self._touched(feed, here)}
        if feed.replaces_all:
            self._held = {address: holder for address, holder in feed.changed.items() if holder is not None}
            self._own_pods = {at: who for at, who in self._held.items() if self._is_own_pod(who)}
            self._by_pod = None
        else:
            self._update_owners(feed.changed)
        self._local = here
        if feed.replaces_all or self._not_applied:
            self._zoning = None  # counted anew when they are asked for
        for address, was in before.items():
            self._note(address, was, self.holder(address))

    def _touched(self, feed: AddressDelta, here: frozenset[int]) -> set[int]:
        """The addresses that may have another holder now."""
        touched = {address for address, holder in feed.changed.items() if self._held.get(address) is not holder}
        if feed.replaces_all:
            touched |= self._held.keys() - feed.changed.keys()
        return touched | (here ^ self._local)

    def _update_owners(self, changed: Mapping[int, Holder | None]) -> None:
        for address, holder in changed.items():
            if holder is None:
                self._held.pop(address, None)
            else:
                self._held[address] = holder
            if self._is_own_pod(holder):
                self._own_pods[address], self._by_pod = holder, None
            elif self._own_pods.pop(address, None) is not None:
                self._by_pod = None

    def _is_own_pod(self, holder: Holder | None) -> TypeGuard[Pod]:
        return isinstance(holder, Pod) and holder.node == self._own.name

    def _note(self, address: int, was: Holder | None, now: Holder | None) -> None:
        if was is now:
            return
        self._before.setdefault(address, was)
        if self._zoning is None:
            return
        for holder, many in ((was, -1), (now, 1)):
            if holder is not None:
                self._zones[zone_key(self._zoning, holder)] += many

    def holder(self, address: int) -> Holder | None:
        return self._own if address in self._local else self._held.get(address)

    def places(self, address: bytes, members: SetMembership) -> tuple[SetEntry, ...]:
        """Where the kernel was told that an address is, in sets of the function that it was told."""
        key = key_of_packed(address)
        holder = self._before[key] if key in self._before else self.holder(key)
        family = Family.V4 if key <= V4_LAST else Family.V6
        return () if holder is None else members.places(family, members.profile(holder))

    def mark_applied(self) -> None:
        """The kernel has everything now."""
        self._before.clear()
        self._not_applied = False

    def own_pods(self) -> set[int]:
        """Addresses of pods of this node."""
        return set(self._own_pods)

    def by_pod(self) -> Mapping[str, frozenset[IPAddress]]:
        """The addresses of each pod of this node, by its uid; the same object as long as none changed."""
        if self._by_pod is None:
            by_uid: dict[str, set[IPAddress]] = {}
            for address, pod in self._own_pods.items():
                by_uid.setdefault(pod.uid, set()).add(address_of(address))
            self._by_pod = {uid: frozenset(addresses) for uid, addresses in by_uid.items()}
        return self._by_pod

    def other_nodes(self) -> set[int]:
        """Addresses of other nodes."""
        return {at for at, who in self._held.items() if isinstance(who, Node) and who.name != self._own.name}

    def zones(self, zoning: Zoning) -> set[ZoneKey]:
        """The zones that anybody is in."""
        if self._zoning != zoning:
            self._zones = Counter()
            for holder, keys in self._alike():
                self._zones[zone_key(zoning, holder)] += len(keys)
            self._zoning = zoning
        return {zone for zone, many in self._zones.items() if many > 0}

    def all(self, members: SetMembership, *, but_own_pods: bool = False) -> ElementDelta:
        """Everybody, into empty sets."""
        groups: dict[AddressClass, list[int]] = {}
        for holder, keys in self._alike():
            profile = members.profile(holder)
            if not (but_own_pods and profile.is_own and not profile.is_node):
                groups.setdefault(profile, []).extend(keys)
        moves = ElementDelta()
        for profile, keys in groups.items():
            for family, of_family in _by_family(keys):
                _move(moves, of_family, (), members.places(family, profile))
        return moves

    def _alike(self) -> Iterator[tuple[Holder, list[int]]]:
        """Everybody, by the one object that many share."""
        by_owner: defaultdict[int, list[int]] = defaultdict(list)
        for address, holder in self._held.items():
            by_owner[id(holder)].append(address)
        for address in self._local & self._held.keys():
            by_owner[id(self._held[address])].remove(address)
        yield from ((self._held[keys[0]], keys) for keys in by_owner.values() if keys)
        if self._local:
            yield self._own, list(self._local)

    def changed(self, old: SetMembership, new: SetMembership) -> ElementDelta:
        """Those who changed since the kernel was told; all others too, where another function puts them elsewhere."""
        moves = ElementDelta()
        groups: dict[tuple[int, int], tuple[Holder | None, Holder | None, list[int]]] = {}
        for address, before in self._before.items():
            after = self.holder(address)
            groups.setdefault((id(before), id(after)), (before, after, []))[2].append(address)
        for before, after, keys in groups.values():
            for family, of_family in _by_family(keys):
                was = () if before is None else old.places(family, old.profile(before))
                now = () if after is None else new.places(family, new.profile(after))
                _move(moves, of_family, was, now)
        if old is not new and not self._same_places(old, new):
            self._regroup(moves, old, new)
        return moves

    def _same_places(self, old: SetMembership, new: SetMembership) -> bool:
        """Whether both put everybody into the same sets."""
        if old.zoning != new.zoning or old.wanted != new.wanted:
            return False
        return all(old.ids.get(zone) == new.ids.get(zone) for zone in self.zones(new.zoning))

    def _regroup(self, moves: ElementDelta, old: SetMembership, new: SetMembership) -> None:
        for holder, keys in self._alike():
            before, after = old.profile(holder), new.profile(holder)
            for family, of_family in _by_family([key for key in keys if key not in self._before]):
                _move(moves, of_family, old.places(family, before), new.places(family, after))


def _by_family(addresses: list[int]) -> Iterator[tuple[Family, list[int]]]:
    """Where there are any."""
    short = [address for address in addresses if address <= V4_LAST]
    if short:
        yield Family.V4, short
    if len(short) < len(addresses):
        yield Family.V6, [address for address in addresses if address > V4_LAST]


def _move(moves: ElementDelta, keys: list[int], was: tuple[SetEntry, ...], now: tuple[SetEntry, ...]) -> None:
    if was == now:
        return
    for place in was:
        if place not in now:
            moves.removed.setdefault(place, []).extend(keys)
    for place in now:
        if place not in was:
            moves.added.setdefault(place, []).extend(keys)
