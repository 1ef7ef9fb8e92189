"""An nftables table as a value: its sets, maps and chains; its text; and the change from one to another. Pure.

Knows nothing of zones or rules. `enforcer.rules.ruleset` makes it, `enforcer.kernel.reconcile` has it loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from enforcer.netlink.messages import RawRule

_COMMENT_LENGTH = 100  # nftables holds 127 bytes
_UNSAFE = re.compile(r"[^A-Za-z0-9 ._/:,>=@+~()#-]")


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A set or map. `elements`: key -> what follows it in an element's text (a map's value, a comment), or nothing.

    One with `forgets` is the packets' own: what they put in stays for so many seconds after the last of them.
    """

    type: str
    elements: Mapping[str, str] = field(hash=False)
    interval: bool = False
    comment: str = ""
    size: int = 0
    forgets: int = 0

    @property
    def keyword(self) -> str:
        return "map" if " : " in self.type else "set"

    def declaration(self) -> Iterator[str]:
        yield f"type {self.type};"
        if self.size:
            yield f"size {self.size};"
        if self.interval:
            yield "flags interval;"
        if self.forgets:
            yield "flags dynamic,timeout;"
            yield f"timeout {self.forgets}s;"
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
    """One table. `counters`: the named ones, always the same: no change tells of them."""

    name: str
    sets: Mapping[str, NamedSet] = field(hash=False)
    chains: Mapping[str, Chain] = field(hash=False)
    counters: tuple[str, ...] = ()
    family: str = "inet"

    def text(self) -> str:
        """The whole table, as a file for nft; raw rules are told in remarks."""
        counters = (f"counter {name} {{ }}" for name in self.counters)
        lines = chain(counters, _set_blocks(self.sets), _chain_blocks(self.chains))
        return "\n".join([f"table {self.family} {self.name} {{", *(f"\t{line}" for line in lines), "}", ""])


def _set_blocks(sets: Mapping[str, NamedSet]) -> Iterator[str]:
    for name, declared in sorted(sets.items()):
        yield f"{declared.keyword} {name} {{"
        yield from (f"\t{line}" for line in declared.declaration())
        if declared.elements:
            yield "\telements = {"
            yield from (f"\t\t{key}{tail}," for key, tail in sorted(declared.elements.items()))
            yield "\t}"
        yield "}"


def _chain_blocks(chains: Mapping[str, Chain]) -> Iterator[str]:
    for name, declared in sorted(chains.items()):
        yield f"chain {name} {{"
        yield from (f"\t{line}" for line in declared.lines())
        yield "}"


@dataclass(frozen=True, slots=True)
class ElementChange:
    """What goes out of one set and what comes in. `flush`: everything goes."""

    keyword: str
    gone: tuple[str, ...] = ()
    added: Mapping[str, str] = field(default_factory=dict, hash=False)
    flush: bool = False


@dataclass(frozen=True, slots=True)
class TableChange:
    """The way from one table to another, for one transaction: a chain whose rules differ is refilled whole."""

    name: str
    new_sets: Mapping[str, NamedSet] = field(default_factory=dict, hash=False)
    gone_sets: Mapping[str, str] = field(default_factory=dict, hash=False)
    new_chains: Mapping[str, Chain] = field(default_factory=dict, hash=False)
    refilled_chains: Mapping[str, Chain] = field(default_factory=dict, hash=False)
    gone_chains: tuple[str, ...] = ()
    elements: Mapping[str, ElementChange] = field(default_factory=dict, hash=False)

    @property
    def structural(self) -> bool:
        """Whether more changes than elements."""
        return bool(self.new_sets or self.gone_sets or self.new_chains or self.refilled_chains or self.gone_chains)

    def __bool__(self) -> bool:
        return self.structural or bool(self.elements)


def diff(old: Table, new: Table) -> TableChange:
    """What makes the old table the new one. A set's declaration never changes under its name."""
    before = old.chains
    others = {name: chain for name, chain in new.chains.items() if before.get(name) is not chain}  # hardly any
    new_chains = {name: chain for name, chain in others.items() if name not in before}
    is_any_gone = len(before) > len(new.chains) - len(new_chains)
    return TableChange(
        new.name,
        new_sets={name: new.sets[name] for name in new.sets.keys() - old.sets.keys()},
        gone_sets={name: old.sets[name].keyword for name in old.sets.keys() - new.sets.keys()},
        new_chains=new_chains,
        refilled_chains={name: chain for name, chain in others.items() if _differs(before.get(name), chain)},
        gone_chains=tuple(before.keys() - new.chains.keys()) if is_any_gone else (),
        elements=dict(_element_changes(old, new)),
    )


def _differs(old: Chain | None, new: Chain) -> bool:
    return old is not None and (old.rules, old.raw) != (new.rules, new.raw)


def _element_changes(old: Table, new: Table) -> Iterator[tuple[str, ElementChange]]:
    for name, after in new.sets.items():
        before = old.sets.get(name)
        if before is None or before is after or before.elements == after.elements:
            continue
        if after.interval:
            # Ranges that overlap old ones can't be told apart from them one by one.
            yield name, ElementChange(after.keyword, added=after.elements, flush=True)
            continue
        gone = [key for key, tail in before.elements.items() if after.elements.get(key) != tail]
        added = {key: tail for key, tail in after.elements.items() if before.elements.get(key) != tail}
        yield name, ElementChange(after.keyword, tuple(gone), added)


def remark(text: str) -> str:
    """A name that somebody chose, fit for a comment: no quotes, no line breaks, nothing but plain ASCII, cut to fit."""
    return _UNSAFE.sub("_", text)[:_COMMENT_LENGTH]
