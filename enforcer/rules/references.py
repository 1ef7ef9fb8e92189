"""Chains and sets by name, each as long as something leads to it. Pure; knows no rules but by whom their text names.

`enforcer.rules.ruleset` holds what packets come to first; all else is held by what names it, and goes with that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from enforcer.rules.table import Chain, NamedSet

_NAMED = re.compile(r"(?:goto |jump |@)([^\s,;]+)")


class InUse:
    """What is made must be held by the next `settle`, or it goes. Its values never change, but its mappings do."""

    def __init__(self) -> None:
        self.chains: dict[str, Chain] = {}
        self.sets: dict[str, NamedSet] = {}
        self._leads: dict[str, tuple[str, ...]] = {}
        self._many: dict[str, int] = {}
        self._doubtful: list[str] = []

    def add_chain(self, name: str, chain: Chain) -> None:
        """One that is there under this name already is the same."""
        if name not in self._leads:
            self.chains[name] = chain
            self._add(name, named_by(chain))

    def add_set(self, name: str, declared: NamedSet, leads: Iterable[str] = ()) -> None:
        """`leads`: texts that name what the elements lead to, where these aren't in the set by itself."""
        if name not in self._leads:
            self.sets[name] = declared
            self._add(name, _named((*declared.elements.values(), *leads)))

    def _add(self, name: str, leads: tuple[str, ...]) -> None:
        self._leads[name] = leads
        self._doubtful.append(name)
        self.hold(leads)

    def refill(self, name: str, chain: Chain) -> None:
        """Other rules in a chain that is there."""
        before, self._leads[name] = self._leads[name], named_by(chain)
        self.chains[name] = chain
        self.hold(self._leads[name])
        self.release(before)

    def hold(self, names: Iterable[str]) -> None:
        """Once more for each time that a name is there; names of what isn't kept here mean nothing."""
        for name in names:
            self._many[name] = self._many.get(name, 0) + 1

    def release(self, names: Iterable[str]) -> None:
        for name in names:
            self._many[name] -= 1
            if not self._many[name]:
                self._doubtful.append(name)

    def times(self, name: str) -> int:
        """How often it is held."""
        return self._many.get(name, 0)

    def has(self, names: Iterable[str]) -> bool:
        """Whether all of them are made."""
        return all(name in self._leads for name in names)

    def settle(self) -> frozenset[str]:
        """Let go of what nothing leads to, and of what only that led to. The names."""
        gone = set[str]()
        while self._doubtful:
            name = self._doubtful.pop()
            if not self._many.get(name):
                self._many.pop(name, None)
                if name in self._leads:
                    gone.add(name)
                    self.chains.pop(name, None)
                    self.sets.pop(name, None)
                    self.release(self._leads.pop(name))
        return frozenset(gone)


def named_by(chain: Chain) -> tuple[str, ...]:
    """What the rules of a chain name: each once."""
    return _named((*chain.rules, *(rule.comment for rule in chain.raw)))


def _named(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_each(texts)))


def _each(texts: Iterable[str]) -> Iterator[str]:
    for text in dict.fromkeys(texts):
        yield from _NAMED.findall(text)
