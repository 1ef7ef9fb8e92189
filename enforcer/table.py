"""An nftables table as a value: its sets, maps and chains; its text; and the change from one to another. Pure.

Knows nothing of zones or rules. `enforcer.ruleset` makes it, `enforcer.reconcile` has it loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from enforcer.messages import RawRule

_COMMENT_LENGTH = 100  # nftables holds 127 bytes
_ELEMENTS_A_LINE = 500
_UNSAFE = re.compile(r"[^A-Za-z0-9 ._/:,>=@+~()#-]")


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A set or map. `elements`: key -> what follows it in an element's text (a map's value, a comment), or nothing."""

    type: str
    elements: Mapping[str, str] = field(hash=False)
    interval: bool = False
    comment: str = ""

    @property
    def keyword(self) -> str:
        return "map" if " : " in self.type else "set"

    def declaration(self) -> Iterator[str]:
        yield f"type {self.type};"
        if self.interval:
            yield "flags interval;"
        if self.comment:
            yield f'comment "{self.comment}";'


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of rules in nft's words, or of raw ones. `hook` makes it a base chain."""

    rules: tuple[str, ...] = ()
    raw: tuple[RawRule, ...] = ()
    hook: str = ""

    def lines(self) -> Iterator[str]:
        if self.hook:
            yield self.hook
        yield from self.rules
        yield from (f"# {rule.comment}" for rule in self.raw)


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the family inet."""

    name: str
    sets: Mapping[str, NamedSet] = field(hash=False)
    chains: Mapping[str, Chain] = field(hash=False)

    def text(self) -> str:
        """The whole table, as a file for nft; raw rules are told in remarks."""
        return self._block(self.sets, self.chains)

    def text_without_hooks(self) -> str:
        """Everything but the base chains: loaded, it is not in force."""
        return self._block(self.sets, {name: each for name, each in self.chains.items() if not each.hook})

    def text_of_hooks(self) -> str:
        return self._block({}, {name: each for name, each in self.chains.items() if each.hook})

    def raw(self) -> dict[str, tuple[RawRule, ...]]:
        """The chains whose rules nft can't say."""
        return {name: each.raw for name, each in self.chains.items() if each.raw}

    def _block(self, sets: Mapping[str, NamedSet], chains: Mapping[str, Chain]) -> str:
        lines = chain(_set_blocks(sets), _chain_blocks(chains))
        return "\n".join([f"table inet {self.name} {{", *(f"\t{line}" for line in lines), "}", ""])


def _set_blocks(sets: Mapping[str, NamedSet]) -> Iterator[str]:
    for name, each in sorted(sets.items()):
        yield f"{each.keyword} {name} {{"
        yield from (f"\t{line}" for line in each.declaration())
        if each.elements:
            yield "\telements = {"
            yield from (f"\t\t{key}{tail}," for key, tail in sorted(each.elements.items()))
            yield "\t}"
        yield "}"


def _chain_blocks(chains: Mapping[str, Chain]) -> Iterator[str]:
    for name, each in sorted(chains.items()):
        yield f"chain {name} {{"
        yield from (f"\t{line}" for line in each.lines())
        yield "}"


@dataclass(frozen=True, slots=True)
class ElementChange:
    """What goes out of one set and what comes in. `flush`: everything goes."""

    keyword: str
    gone: tuple[str, ...] = ()
    added: Mapping[str, str] = field(default_factory=dict, hash=False)
    flush: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """The way from one table to another, for one transaction. `raw` chains need their rules by netlink besides."""

    name: str
    new_sets: Mapping[str, NamedSet] = field(default_factory=dict, hash=False)
    gone_sets: Mapping[str, str] = field(default_factory=dict, hash=False)
    new_chains: Mapping[str, Chain] = field(default_factory=dict, hash=False)
    refilled_chains: Mapping[str, Chain] = field(default_factory=dict, hash=False)
    gone_chains: tuple[str, ...] = ()
    elements: Mapping[str, ElementChange] = field(default_factory=dict, hash=False)
    raw: Mapping[str, tuple[RawRule, ...]] = field(default_factory=dict, hash=False)

    @property
    def structural(self) -> bool:
        """Whether more changes than elements."""
        return bool(self.new_sets or self.gone_sets or self.new_chains or self.refilled_chains or self.gone_chains)

    def __bool__(self) -> bool:
        return self.structural or bool(self.elements or self.raw)

    def text(self) -> str:
        return "".join(f"{command}\n" for command in self._commands())

    def _commands(self) -> Iterator[str]:
        """In an order in which nothing is missing when it is named, or still named when it goes."""
        at = f"inet {self.name}"
        for name, each in self.new_sets.items():
            yield f"add {each.keyword} {at} {name} {{ {' '.join(each.declaration())} }}"
        for name, made in self.new_chains.items():
            yield f"add chain {at} {name} {{ {made.hook} }}" if made.hook else f"add chain {at} {name}"
        for name in (*self.refilled_chains, *self.gone_chains):
            yield f"flush chain {at} {name}"
        for name, change in self.elements.items():
            if change.flush:
                yield f"flush {change.keyword} {at} {name}"
            yield from _element_commands("delete", at, name, change.gone)
        for name, made in chain(self.new_chains.items(), self.refilled_chains.items()):
            yield from (f"add rule {at} {name} {rule}" for rule in made.rules)
        for name, each in self.new_sets.items():
            yield from _element_commands("add", at, name, (f"{key}{tail}" for key, tail in each.elements.items()))
        for name, change in self.elements.items():
            yield from _element_commands("add", at, name, (f"{key}{tail}" for key, tail in change.added.items()))
        yield from (f"delete chain {at} {name}" for name in self.gone_chains)
        yield from (f"delete {keyword} {at} {name}" for name, keyword in self.gone_sets.items())


def _element_commands(verb: str, at: str, name: str, elements: Iterable[str]) -> Iterator[str]:
    left = iter(elements)
    while some := list(islice(left, _ELEMENTS_A_LINE)):
        yield f"{verb} element {at} {name} {{ {', '.join(some)} }}"


def diff(old: Table, new: Table) -> Change:
    """What makes the old table the new one. A set's declaration never changes under its name."""
    return Change(
        new.name,
        new_sets={name: new.sets[name] for name in new.sets if name not in old.sets},
        gone_sets={name: old.sets[name].keyword for name in old.sets if name not in new.sets},
        new_chains={name: new.chains[name] for name in new.chains if name not in old.chains},
        refilled_chains={
            name: new.chains[name] for name in new.chains if _differs(old.chains.get(name), new.chains[name])
        },
        gone_chains=tuple(name for name in old.chains if name not in new.chains),
        elements=dict(_element_changes(old, new)),
        raw={name: rules for name, rules in new.raw().items() if old.raw().get(name) != rules},
    )


def _differs(old: Chain | None, new: Chain) -> bool:
    return old is not None and old.rules != new.rules


def _element_changes(old: Table, new: Table) -> Iterator[tuple[str, ElementChange]]:
    for name, there in new.sets.items():
        before = old.sets.get(name)
        if before is None or before.elements == there.elements:
            continue
        if there.interval:
            # Ranges that overlap old ones can't be told apart from them one by one.
            yield name, ElementChange(there.keyword, added=there.elements, flush=True)
            continue
        gone = [key for key, tail in before.elements.items() if there.elements.get(key) != tail]
        added = {key: tail for key, tail in there.elements.items() if before.elements.get(key) != tail}
        yield name, ElementChange(there.keyword, tuple(gone), added)


def without_addresses(table: Table, addresses: frozenset[str]) -> Table:
    """The same table, these addresses in none of its sets of single ones."""
    kept = {
        name: each if each.interval else replace(each, elements=_without(each.elements, addresses))
        for name, each in table.sets.items()
    }
    return replace(table, sets=kept)


def _without(elements: Mapping[str, str], keys: frozenset[str]) -> dict[str, str]:
    return {key: tail for key, tail in elements.items() if key not in keys}


def take_over(there: Iterable[tuple[str, str]], new: Table) -> str:
    """One transaction to the new table from whatever objects, by keyword and name, there are.

    Raw chains that are there keep their rules: those are replaced by netlink.
    """
    at = f"inet {new.name}"
    ours = new.chains.keys() | new.sets.keys()
    raw = new.raw()
    objects = [(keyword, name) for keyword, name in there if keyword != "table" and name not in raw]
    objects.sort(key=lambda each: each[0] != "chain")  # what refers goes before what is referred to
    commands = [f"add table {at}"]
    commands += [f"flush {keyword} {at} {name}" for keyword, name in objects if keyword in {"chain", "set", "map"}]
    commands += [f"delete {keyword} {at} {name}" for keyword, name in objects if name not in ours]
    return "\n".join([*commands, new.text()])


def remark(text: str) -> str:
    """A name that somebody chose, fit for a comment: no quotes, no line breaks, nothing but plain ASCII, cut to fit."""
    return _UNSAFE.sub("_", text)[:_COMMENT_LENGTH]
