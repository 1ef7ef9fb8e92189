"""What others did to our table: it looks at what their edits name, and at everything only where that isn't known.

Changes nothing. `enforcer.kernel.table` asks, and puts it right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from enforcer.kernel import table_change, table_digest
from enforcer.kernel.nft import Nftables
from enforcer.kernel.nft_monitor import ForeignChange
from enforcer.kernel.set_names import NamedTable
from enforcer.kernel.table_change import WrongElement
from enforcer.kernel.table_digest import ELEMENTS, RULES, SETS, Key, TableDigest, Tally, differences, unequal
from enforcer.rules.chains.verdict_chains import LIVE
from enforcer.rules.members.set_membership import SetEntry
from enforcer.rules.table import NamedSet, Table

FEW = 500  # questions one by one; of more, everything is looked at in one
UNKNOWN = -1  # no digest is that
_MENDABLE = frozenset({ELEMENTS, RULES})
_REMOVABLE = SETS | {"chain"}
Places = Callable[[bytes], Iterable[SetEntry]]
"""Where the kernel was told that an address is."""


@dataclass(frozen=True, slots=True)
class TableDrift:
    """What somebody else changed in our table, and who, where known. It is put back, or `problems` say why not."""

    what: tuple[str, ...]
    who: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Damage:
    """What others did: `keys` are made anew or removed, `wrong_elements` are put back one by one."""

    keys: frozenset[Key] = frozenset()
    wrong_elements: tuple[WrongElement, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keys or self.wrong_elements)

    def __or__(self, other: Damage) -> Damage:
        return Damage(self.keys | other.keys, tuple(dict.fromkeys((*self.wrong_elements, *other.wrong_elements))))

    def describe(self) -> tuple[str, ...]:
        return tuple(
            map(
                table_digest.describe,
                sorted(self.keys | {(ELEMENTS, wrong_element.set) for wrong_element in self.wrong_elements}),
            )
        )


@dataclass(slots=True)
class Known:
    """The table as we last made or verified it, at a generation of all tables."""

    named: NamedTable
    generation: int
    tally: Tally
    objects: dict[Key, int] = field(default_factory=dict)
    rules: dict[str, int] = field(default_factory=dict)
    damage: Damage = Damage()

    @property
    def table(self) -> Table:
        return self.named.table

    def mends(self, key: Key) -> bool:
        """Whether this can be put right without loading all: rules and elements, and what isn't ours."""
        return key[0] in _MENDABLE or (key[0] in _REMOVABLE and key not in self.objects)


def of_everything(kernel: Nftables, known: Known) -> Damage | None:
    """The whole table, element by element. None where others were at work meanwhile: it must be looked at again."""
    before = kernel.generation()
    current = kernel.look(known.table.name, elements_of=tuple(_with_elements_of_ours(known.table)))
    if kernel.generation() != before and current is not None:
        return None
    known.generation = before
    return Damage(frozenset(differences(TableDigest(known.objects, known.rules, known.tally.sums), current)))


def _with_elements_of_ours(table: Table) -> Iterator[str]:
    return (name for name, declared in table.sets.items() if not declared.forgets)


def of_edits(kernel: Nftables, known: Known, edits: list[ForeignChange], places: Places) -> Damage:
    """What the edits name. What is edited meanwhile is heard of in the next pass."""
    keys: frozenset[Key] = frozenset().union(*(edit.keys for edit in edits))
    damage = _objects(kernel, known, keys)
    if any(kind == "table" for kind, _ in damage):
        return Damage(frozenset(damage))
    damage.update(_rules(kernel, known, [name for kind, name in keys if kind == RULES]))
    wrong_elements: list[WrongElement] = []
    ours = set(_with_elements_of_ours(known.table))
    for name in (name for kind, name in keys if kind == ELEMENTS and name in ours):
        touched = frozenset[bytes]().union(*(edit.elements.get(name, frozenset()) for edit in edits))
        if _is_of_addresses(known.table.sets[name], name) and len(touched) <= FEW:
            wrong_elements += _wrong_elements(kernel, known, name, touched, places)
        elif table_digest.tally(kernel.elements(known.table.name, name)) != known.tally.sums.get(name, (0, 0)):
            damage.add((ELEMENTS, name))
    return Damage(frozenset(damage), tuple(wrong_elements))


def _objects(kernel: Nftables, known: Known, keys: Iterable[Key]) -> set[Key]:
    if all(kind in _MENDABLE for kind, _ in keys):
        return set()
    current = kernel.objects(known.table.name)
    return {("table", "")} if current is None else unequal(known.objects, current)


def _rules(kernel: Nftables, known: Known, chains: Iterable[str]) -> Iterator[Key]:
    ours = [name for name in chains if ("chain", name) in known.objects]
    current = kernel.rules_digests(known.table.name, ours)
    return ((RULES, name) for name in ours if current.get(name) != known.rules.get(name))


def _wrong_elements(
    kernel: Nftables, known: Known, name: str, touched: Iterable[bytes], places: Places
) -> Iterator[WrongElement]:
    """The elements of a set of addresses that aren't as they should be."""
    type_ = known.table.sets[name].type
    for key in touched:
        current = kernel.element(known.table.name, name, key)
        expected = next(table_change.of_address(type_, name, key, places), None)
        if current != expected:
            yield WrongElement(name, current, expected)


def _is_of_addresses(declared: NamedSet, name: str) -> bool:
    """Whether all that it holds is told by who has an address; one by one, such sets are looked at cheaply."""
    return not declared.interval and not declared.elements and name != LIVE
