"""Who has which address as the kernel was told, and what of it is new: elements of sets, out and in. Pure.

Costs what has changed, not what there is, but where the function from holders to sets is another one.
`enforcer.reconcile` keeps it and tells it what the kernel took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from enforcer.family import Family
from enforcer.feed import Feed
from enforcer.members import Membership, Place, Profile, zone_key
from enforcer.zoneids import ZoneKey
from zones.inventory import Holder, Node
from zones.net import IPAddress
from zones.zone import Zoning


@dataclass(slots=True)
class Moves:
    """Keys that leave places and keys that come, by place."""

    gone: dict[Place, list[bytes]] = field(default_factory=dict)
    come: dict[Place, list[bytes]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.gone or self.come)


class Residents:
    """Addresses are packed. This node has all of the machine's own, whoever else claims them."""

    def __init__(self, node_name: str) -> None:
        self._own = Node(node_name, ())
        self._held: dict[bytes, Holder] = {}
        self._local: frozenset[bytes] = frozenset()
        self._before: dict[bytes, Holder | None] = {}
        self._zones: Counter[ZoneKey] = Counter()
        self._zoning: Zoning | None = None

    def take(self, feed: Feed, local: Iterable[IPAddress]) -> None:
        """What is so now; the kernel is told later."""
        here = frozenset(address.packed for address in local)
        changed = {address.packed: holder for address, holder in feed.changed.items()}
        if not self._held and not self._before and self._zoning is None:
            self._held = {address: holder for address, holder in changed.items() if holder is not None}
            self._local = here
            self._before = dict.fromkeys((*self._held, *here))
            return
        touched = {*changed, *(here ^ self._local)}
        if feed.whole:
            touched |= self._held.keys()
        before = {address: self.holder(address) for address in touched}
        if feed.whole:
            self._held = {address: holder for address, holder in changed.items() if holder is not None}
        else:
            self._update(changed)
        self._local = here
        for address, was in before.items():
            self._note(address, was, self.holder(address))

    def _update(self, changed: Mapping[bytes, Holder | None]) -> None:
        for address, holder in changed.items():
            if holder is None:
                self._held.pop(address, None)
            else:
                self._held[address] = holder

    def _note(self, address: bytes, was: Holder | None, now: Holder | None) -> None:
        if was is now:
            return
        self._before.setdefault(address, was)
        if self._zoning is None:
            return
        for holder, many in ((was, -1), (now, 1)):
            if holder is not None:
                self._zones[zone_key(self._zoning, holder)] += many

    def holder(self, address: bytes) -> Holder | None:
        return self._own if address in self._local else self._held.get(address)

    def told(self) -> None:
        """The kernel has everything now."""
        self._before.clear()

    def everybody(self) -> Iterator[tuple[bytes, Holder]]:
        local = self._local
        for address, holder in self._held.items():
            if address not in local:
                yield address, holder
        for address in local:
            yield address, self._own

    def zones(self, zoning: Zoning) -> set[ZoneKey]:
        """The zones that anybody is in."""
        if self._zoning != zoning:
            self._zones = Counter()
            for holder, keys in self._alike():
                self._zones[zone_key(zoning, holder)] += len(keys)
            self._zoning = zoning
        return {zone for zone, many in self._zones.items() if many > 0}

    def all(self, members: Membership, *, but_own_pods: bool = False) -> Moves:
        """Everybody, into empty sets."""
        groups: dict[tuple[Family, Profile], list[bytes]] = {}
        for holder, keys in self._alike():
            profile = members.profile(holder)
            if but_own_pods and profile.is_own and not profile.is_node:
                continue
            for family in Family:
                found = [key for key in keys if len(key) == family.value.bytes]
                if found:
                    groups.setdefault((family, profile), []).extend(found)
        moves = Moves()
        for (family, profile), found in groups.items():
            for place in members.places(family, profile):
                moves.come.setdefault(place, []).extend(found)
        return moves

    def _alike(self) -> Iterator[tuple[Holder, list[bytes]]]:
        """Everybody, by the one object that many share."""
        found: dict[int, tuple[Holder, list[bytes]]] = {}
        for address, holder in self.everybody():
            group = found.get(id(holder))
            if group is None:
                found[id(holder)] = holder, [address]
            else:
                group[1].append(address)
        return iter(found.values())

    def changed(self, old: Membership, new: Membership) -> Moves:
        """Those who changed since the kernel was told; all others too, where another function puts them elsewhere."""
        moves = Moves()
        for address, before in self._before.items():
            family, after = _family(address), self.holder(address)
            was = () if before is None else old.places(family, old.profile(before))
            now = () if after is None else new.places(family, new.profile(after))
            _move(moves, [address], was, now)
        if old is not new and not self._same_places(old, new):
            self._regroup(moves, old, new)
        return moves

    def _same_places(self, old: Membership, new: Membership) -> bool:
        """Whether both put everybody into the same sets."""
        if old.zoning != new.zoning or old.wanted != new.wanted:
            return False
        return all(old.ids.get(zone) == new.ids.get(zone) for zone in self.zones(new.zoning))

    def _regroup(self, moves: Moves, old: Membership, new: Membership) -> None:
        for holder, keys in self._alike():
            before, after = old.profile(holder), new.profile(holder)
            for family in Family:
                found = [key for key in keys if len(key) == family.value.bytes and key not in self._before]
                if found:
                    was, now = old.places(family, before), new.places(family, after)
                    _move(moves, found, was, now)


def _family(address: bytes) -> Family:
    return Family.V4 if len(address) == Family.V4.value.bytes else Family.V6


def _move(moves: Moves, keys: list[bytes], was: tuple[Place, ...], now: tuple[Place, ...]) -> None:
    if was == now:
        return
    for place in was:
        if place not in now:
            moves.gone.setdefault(place, []).extend(keys)
    for place in now:
        if place not in was:
            moves.come.setdefault(place, []).extend(keys)
