"""From one table to another as one transaction, and what its sets hold then. Pure.

`enforcer.kernel.table` has it sent, and keeps the tally.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from enforcer.kernel import elements, transaction
from enforcer.kernel.elements import element_type
from enforcer.kernel.table_digest import ELEMENTS, RULES, SETS, Key, Tally
from enforcer.kernel.transaction import Transaction
from enforcer.rules.members.address_index import ElementDelta
from enforcer.rules.members.set_membership import SetEntry
from enforcer.rules.table import Chain, ElementChange, NamedSet, Table, TableChange
from zones.addresses.packed_pods import packed


def members(table: Table, moves: ElementDelta) -> Iterator[tuple[SetEntry, list[bytes]]]:
    """The records of those who come, by place."""
    for place, keys in moves.added.items():
        yield place, records(table.sets[place.set].type, place.tail, keys)


def records(type_: str, tail: str, keys: list[int]) -> list[bytes]:
    """Of many addresses with the same tail; without one they are enough to delete."""
    kind = element_type(type_)
    times = len(kind.key.fields)
    packed_keys = packed(keys, kind.key.length // times)
    return elements.keyed((key * times for key in packed_keys), kind.key.length, kind.tail(tail))


def of_address(type_: str, name: str, key: bytes, places: Callable[[bytes], Iterable[SetEntry]]) -> Iterator[bytes]:
    """The record of a key in a set, where the set is among the places of its address; in a set of pairs, both alike."""
    kind = element_type(type_)
    times = len(kind.key.fields)
    address = key[: len(key) // times]
    for place in places(address) if key == address * times else ():
        if place.set == name:
            yield from elements.keyed([key], len(key), kind.tail(place.tail))


def adoption(table: Table, existing: Mapping[Key, int]) -> TableChange | None:
    """From what stands in the kernel under this table's name to this table: only names are believed.

    None where packets don't come to it, or it holds what can't be made ours: it must be loaded from nothing.
    """
    chains = {name for kind, name in existing if kind == "chain"}
    sets = {name: kind for kind, name in existing if kind in SETS}
    kept = {name for name, declared in table.sets.items() if sets.get(name) == declared.keyword}
    others = {key for key in existing if key[0] != "chain" and key[0] not in SETS}
    if others != {("table", table.name), *(("counter", name) for name in table.counters)}:
        return None
    is_awake = existing["table", table.name] == hash(0)
    hooked = {name for name, chain in table.chains.items() if chain.hook}
    if not is_awake or not hooked <= chains or sets.keys() & table.sets.keys() != kept:
        return None
    return TableChange(
        table.name,
        new_sets={name: declared for name, declared in table.sets.items() if name not in kept},
        gone_sets={name: kind for name, kind in sets.items() if name not in table.sets},
        new_chains={name: chain for name, chain in table.chains.items() if name not in chains},
        refilled_chains={name: chain for name, chain in table.chains.items() if name in chains},
        gone_chains=tuple(chains - table.chains.keys()),
        elements={
            name: ElementChange(table.sets[name].keyword, added=table.sets[name].elements, flush=True) for name in kept
        },
    )


def declare(commands: Transaction, table: Table, change: TableChange) -> None:
    """What stands and shall stay: the kernel refuses one that is declared in another way."""
    for name in change.elements:
        commands.add_set(name, table.sets[name])
    for name, chain in change.refilled_chains.items():
        commands.add_chain(name, chain)


def must_be_ready(change: TableChange) -> bool:
    """Whether what is new must stand before the rest changes, lest packets that are under way find it empty.

    Such a packet follows the old rules, but sees the new elements of a map that it comes to: where these lead to new
    chains, it must find their rules. And new ranges hold only some time after the rules that ask for them.
    """
    if any(new_set.interval and new_set.elements for new_set in change.new_sets.values()):
        return True
    tails = {tail for element in change.elements.values() for tail in element.added.values()}
    return not change.new_chains.keys().isdisjoint(tail.rpartition(" ")[2] for tail in tails)


def write_new(commands: Transaction, change: TableChange) -> int:
    """What is new, whole, before anything leads there. How many elements."""
    for name, declared in change.new_sets.items():
        commands.add_set(name, declared)
    for name, chain in change.new_chains.items():
        commands.add_chain(name, chain)
    for name, declared in change.new_sets.items():
        transaction.fill(commands, name, declared)
    for name, chain in change.new_chains.items():
        commands.add_rules(name, chain)
    return sum(len(declared.elements) for declared in change.new_sets.values())


def write(commands: Transaction, new: Table, change: TableChange, moves: ElementDelta) -> int:
    """The rest, in an order in which nothing is still named when it goes. How many elements."""
    for name in (*change.refilled_chains, *change.gone_chains):
        commands.flush_chain(name)
    gone = _take_out(commands, new, change, moves)
    for name, chain in change.refilled_chains.items():
        commands.add_rules(name, chain)
    come = _put_in(commands, new, change, moves)
    # Maps lead to chains: as long as one is there, the kernel keeps the chain. Whatever named the map is empty by now.
    for name in change.gone_sets:
        commands.delete_set(name)
    for name in change.gone_chains:
        commands.delete_chain(name)
    return gone + come


def _take_out(commands: Transaction, new: Table, change: TableChange, moves: ElementDelta) -> int:
    many = 0
    for name, element in change.elements.items():
        if element.flush:
            commands.flush_set(name)
        commands.delete_elements(name, _gone(new.sets[name], element))
        many += len(element.gone)
    for place, keys in moves.removed.items():
        if place.set in new.sets:
            commands.delete_elements(place.set, records(new.sets[place.set].type, "", keys))
            many += len(keys)
    return many


def _put_in(commands: Transaction, new: Table, change: TableChange, moves: ElementDelta) -> int:
    many = 0
    for name, element in change.elements.items():
        declared = new.sets[name]
        commands.add_elements(name, _added(declared, element))
        many += len(element.added)
    for place, new_records in members(new, moves):
        commands.add_elements(place.set, new_records)
        many += len(moves.added[place])
    return many


def _gone(declared: NamedSet, change: ElementChange) -> Iterator[bytes]:
    """Records that are enough to delete: of the keys alone."""
    if declared.interval:
        return elements.bounds(declared.type, change.gone)
    of_keys = declared.type.partition(" : ")[0]
    return elements.records(of_keys, dict.fromkeys(change.gone, ""), interval=False)


def _added(declared: NamedSet, change: ElementChange) -> Iterator[bytes]:
    if is_within(declared, change):
        return elements.bounds(declared.type, change.added)
    return elements.records(declared.type, change.added, interval=declared.interval)


def is_within(declared: NamedSet, change: ElementChange) -> bool:
    """Whether ranges come and go among others that stay."""
    return declared.interval and not change.flush


def within(table: Table, change: TableChange) -> TableChange:
    """The part of a change that is ranges among others that stay."""
    ranges = {name: element for name, element in change.elements.items() if is_within(table.sets[name], element)}
    return TableChange(table.name, elements=ranges)


def rules_gone(old: Chain, new: Chain) -> list[int]:
    """Which of a chain's rules go, where no other comes and the rest stay in their order; nothing where that isn't so.

    A chain that becomes empty is none of these: it is emptied.
    """
    if (old.raw, old.hook) != (new.raw, new.hook) or not 0 < len(new.rules) < len(old.rules):
        return []
    staying, gone = iter(new.rules), list[int]()
    following = next(staying, None)
    for at, rule in enumerate(old.rules):
        if rule == following:
            following = next(staying, None)
        else:
            gone.append(at)
    return gone if following is None else []


def count(tally: Tally, old: Table, new: Table, change: TableChange, moves: ElementDelta) -> None:
    """What the kernel's sets hold after a change."""
    for name in change.gone_sets:
        tally.sums.pop(name, None)
    for name, declared in change.new_sets.items():
        tally.add(name, elements.records(declared.type, declared.elements, interval=declared.interval))
    for name, elements_ in change.elements.items():
        declared = new.sets[name]
        if elements_.flush:
            tally.sums.pop(name, None)
        if is_within(declared, elements_):
            tally.remove(name, elements.bounds(declared.type, elements_.gone))
        else:
            before = {key: old.sets[name].elements[key] for key in elements_.gone}
            tally.remove(name, elements.records(declared.type, before, interval=declared.interval))
        tally.add(name, _added(declared, elements_))
    for place, keys in moves.removed.items():
        if place.set in new.sets:
            tally.remove(place.set, records(new.sets[place.set].type, place.tail, keys))
    for place, keys in moves.added.items():
        tally.add(place.set, records(new.sets[place.set].type, place.tail, keys))


@dataclass(frozen=True, slots=True)
class WrongElement:
    """An element that isn't as it should be: the record that stands there, and the one that should."""

    set: str
    current: bytes | None
    expected: bytes | None


def put_back(commands: Transaction, wrong_elements: Iterable[WrongElement]) -> None:
    for wrong_element in wrong_elements:
        if wrong_element.current is not None:
            commands.delete_elements(
                wrong_element.set, [elements.record(elements.key(elements.key_of(wrong_element.current)))]
            )
        if wrong_element.expected is not None:
            commands.add_elements(wrong_element.set, [wrong_element.expected])


def mend(
    commands: Transaction, tally: Tally, table: Table, torn: Collection[Key], everybody: Callable[[], ElementDelta]
) -> None:
    """Rules and elements as they should be, whatever is there. Ours must be there; chains and sets of others go."""
    for name in (name for kind, name in torn if kind == RULES and name in table.chains):
        commands.flush_chain(name)
        commands.add_rules(name, table.chains[name])
    members_ = everybody() if any(kind == ELEMENTS for kind, _ in torn) else ElementDelta()
    for name in (name for kind, name in torn if kind == ELEMENTS and name in table.sets):
        commands.flush_set(name)
        tally.sums.pop(name, None)
        for encoded in _of_set(table, name, members_):
            records_ = list(encoded)
            commands.add_elements(name, records_)
            tally.add(name, records_)
    _remove(commands, torn)


def _remove(commands: Transaction, torn: Collection[Key]) -> None:
    """Chains and sets of others: first what may name another, then all."""
    chains = [name for kind, name in torn if kind == "chain"]
    for name in chains:
        commands.flush_chain(name)
    for name in (name for kind, name in torn if kind in SETS):
        commands.delete_set(name)
    for name in chains:
        commands.delete_chain(name)


def _of_set(table: Table, name: str, everybody: ElementDelta) -> Iterator[Iterable[bytes]]:
    declared = table.sets[name]
    yield elements.records(declared.type, declared.elements, interval=declared.interval)
    for place, keys in everybody.added.items():
        if place.set == name:
            yield records(declared.type, place.tail, keys)


def without(change: TableChange, moves: ElementDelta, sets: Collection[str]) -> tuple[TableChange, ElementDelta]:
    """What concerns other sets than these."""
    others = {name: element for name, element in change.elements.items() if name not in sets}
    gone = {place: keys for place, keys in moves.removed.items() if place.set not in sets}
    come = {place: keys for place, keys in moves.added.items() if place.set not in sets}
    return replace(change, elements=others), ElementDelta(gone, come)
