"""Sets that keep their name in the kernel while their content changes, so that a long list isn't loaded anew. Pure.

The rules name such sets by content: with other content they have another name, and every rule that asks them is another
one. Where that is all that changed, the set that stands takes the new content in place, and no rule is written.
`enforcer.kernel.table` asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count, filterfalse

from enforcer.rules.table import Chain, ElementChange, NamedSet, Table, TableChange, diff

_SET = re.compile(r"@([^\s,;]+)")
_LOWEST = re.compile(r"(0|0\.0\.0\.0|::)(?=[-/]|$)")


@dataclass(frozen=True, slots=True)
class NamedTable:
    """`wanted`: as the rules have it; `table`: as the kernel has it.

    `names`: what the kernel calls the sets that have another name there; `chains`: those that name one.
    """

    wanted: Table
    table: Table
    names: Mapping[str, str] = field(default_factory=dict, hash=False)
    chains: Mapping[str, tuple[Chain, Chain]] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, table: Table) -> NamedTable:
        return cls(table, table)

    def following(self, wanted: Table) -> tuple[NamedTable, TableChange]:
        """The table with this content, and the change from the one to the other as the kernel names it."""
        change = TableChange(wanted.name) if wanted is self.wanted else diff(self.wanted, wanted)
        successors = _successors(self.wanted, wanted, change)
        if not self.names and not successors and self.table.sets.keys().isdisjoint(change.new_sets):
            return NamedTable(wanted, wanted), change
        following = self._renamed(wanted, change, successors)
        return following, self._change_to(following, change, successors)

    def _renamed(self, wanted: Table, change: TableChange, successors: Mapping[str, _Successor]) -> NamedTable:
        names = {name: called for name, called in self.names.items() if name in wanted.sets}
        names |= {name: self.names.get(of.before, of.before) for name, of in successors.items()}
        stay = {successor.before for successor in successors.values()}
        gone = {self.names.get(name, name) for name in change.gone_sets.keys() - stay}
        taken = (self.table.sets.keys() - gone) | set(names.values())
        for name in change.new_sets.keys() - successors.keys():
            if name in taken:
                names[name] = next(free for n in count(2) if (free := f"{name}-{n}") not in taken)
                taken.add(names[name])
        names = {name: called for name, called in names.items() if name != called}
        sets = {names.get(name, name): declared for name, declared in wanted.sets.items()}
        chains = {name: both for name, both in self.chains.items() if wanted.chains.get(name) == both[0]} | dict(
            _calling(names, {**change.new_chains, **change.refilled_chains})
        )
        table = replace(wanted, sets=sets, chains={**wanted.chains, **{name: both[1] for name, both in chains.items()}})
        return NamedTable(wanted, table, names, chains)

    def _change_to(self, new: NamedTable, change: TableChange, successors: Mapping[str, _Successor]) -> TableChange:
        elements = {new.names.get(name, name): element for name, element in change.elements.items()}
        elements |= {new.names.get(name, name): successor.change for name, successor in successors.items()}
        fresh = change.new_sets.keys() - successors.keys()
        gone = change.gone_sets.keys() - {successor.before for successor in successors.values()}
        chains = new.table.chains
        return replace(
            change,
            new_sets={new.names.get(name, name): new.wanted.sets[name] for name in fresh},
            gone_sets={self.names.get(name, name): change.gone_sets[name] for name in gone},
            new_chains={name: chains[name] for name in change.new_chains},
            refilled_chains={
                name: chains[name] for name in change.refilled_chains if chains[name] != self.table.chains[name]
            },
            elements=elements,
        )


def _calling(names: Mapping[str, str], chains: Mapping[str, Chain]) -> Iterator[tuple[str, tuple[Chain, Chain]]]:
    """The chains that name such a set, and what they say in the kernel."""
    for name, chain in chains.items():
        rules = tuple(_SET.sub(lambda match: f"@{names.get(match[1], match[1])}", rule) for rule in chain.rules)
        if rules != chain.rules:
            yield name, (chain, replace(chain, rules=rules))


@dataclass(frozen=True, slots=True)
class _Successor:
    """What has the place of the set called `before`."""

    before: str
    change: ElementChange


def _successors(old: Table, new: Table, change: TableChange) -> dict[str, _Successor]:
    """The new sets that can have the place of an old one, by their names; none where anything else changes, too.

    A packet that is under way follows the rules as they were, but asks the sets as they are. So no rule may change with
    them, and of those that a packet comes to, one set alone.
    """
    if change.new_chains or change.elements or not change.new_sets:
        return {}
    before: dict[str, str] = {}
    for name, chain in change.refilled_chains.items():
        swapped = _swapped(old.chains[name], chain)
        if swapped is None:
            return {}
        known = before.setdefault(swapped[1], swapped[0])
        if known != swapped[0]:
            return {}
    is_whole = before.keys() == change.new_sets.keys() and set(before.values()) == change.gone_sets.keys()
    if not is_whole or len(before) != len(change.gone_sets):
        return {}
    changes = {name: _difference(old.sets[was], new.sets[name]) for name, was in before.items()}
    successors = {name: _Successor(before[name], difference) for name, difference in changes.items() if difference}
    return successors if successors.keys() == before.keys() else {}


def _swapped(old: Chain, new: Chain) -> tuple[str, str] | None:
    """The one set that the new rules name instead of one of the old."""
    if (old.raw, old.hook, len(old.rules)) != (new.raw, new.hook, len(new.rules)):
        return None
    pairs: set[tuple[str, str]] = set()
    for one, other in zip(old.rules, new.rules, strict=True):
        if one != other:
            if _SET.sub("@", one) != _SET.sub("@", other):
                return None
            both = zip(_SET.findall(one), _SET.findall(other), strict=True)
            pairs |= {(was, becomes) for was, becomes in both if was != becomes}
    return pairs.pop() if len(pairs) == 1 else None


def _difference(old: NamedSet, new: NamedSet) -> ElementChange | None:
    """Where it is a few elements: of lists of addresses or ports, or what goes out of a map.

    An element of a map that leads to a chain has the kernel walk through the whole table, as a rule would.
    """
    if replace(old, elements={}) != replace(new, elements={}) or not (old.elements and new.elements):
        return None
    gone = tuple(filterfalse(new.elements.__contains__, old.elements))
    added = {key: new.elements[key] for key in filterfalse(old.elements.__contains__, new.elements)}
    if " : " in old.type:
        stays = not added and all(old.elements[key] == tail for key, tail in new.elements.items())
        return ElementChange(new.keyword, gone) if stays and not old.interval else None
    if not old.interval or " . " in old.type or any(map(_LOWEST.match, (*gone, *added))):
        return None  # what lies below the first range is an element, too
    return ElementChange(new.keyword, gone, added)
