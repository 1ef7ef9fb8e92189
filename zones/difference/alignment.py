"""Which rules of two rulebases are the same one, and which of them changed.

A flow that matches no changed rule has the same first match in both, as the others stand in the same order:

    old  a b c d      kept in order: a c d
    new  a c x d      changed: b removed, x added. A flow that matches neither b nor x meets a, c, d as before.

A rule that stays in its place and keeps its verdict counts only where its old and its new form differ.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from zones.policy import Entry, InfrastructureRule
from zones.rules import Origin

Ruled = Entry | InfrastructureRule


class RuleChangeKind(StrEnum):
    """What happened to a rule."""

    ADDED = "added"
    REMOVED = "removed"
    EDITED = "edited"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class ChangedRule:
    """A rule that is not what or where it was. `old` and `new`: its places in both lists, None where it isn't."""

    change: RuleChangeKind
    origin: Origin
    old: int | None
    new: int | None

    @property
    def in_place(self) -> bool:
        return self.change is RuleChangeKind.EDITED


def align(old: Sequence[Ruled], new: Sequence[Ruled]) -> tuple[ChangedRule, ...]:
    """The rules that changed from one list to the other: removed ones first, then in the new list's order."""
    old_places, new_places = _places(old), _places(new)
    common = [key for key in new_places if key in old_places]
    in_order = _longest_in_order([old_places[key] for key in common])
    removed = [
        ChangedRule(RuleChangeKind.REMOVED, old[place].origin, place, None)
        for key, place in old_places.items()
        if key not in new_places
    ]
    return (*removed, *_changed(old, new, old_places, new_places, in_order))


def _changed(
    old: Sequence[Ruled],
    new: Sequence[Ruled],
    old_places: dict[Hashable, int],
    new_places: dict[Hashable, int],
    in_order: set[int],
) -> list[ChangedRule]:
    changed = []
    for key, place in new_places.items():
        before = old_places.get(key)
        if before is None:
            changed.append(ChangedRule(RuleChangeKind.ADDED, new[place].origin, None, place))
        elif before not in in_order:
            changed.append(ChangedRule(RuleChangeKind.MOVED, new[place].origin, before, place))
        elif old[before] != new[place]:
            changed.append(ChangedRule(RuleChangeKind.EDITED, new[place].origin, before, place))
    return changed


def _places(rules: Sequence[Ruled]) -> dict[Hashable, int]:
    """Where each rule stands, by its UUID, else by its rulebase and name; counted where those repeat."""
    seen: Counter[Hashable] = Counter()
    places: dict[Hashable, int] = {}
    for place, rule in enumerate(rules):
        origin = rule.origin
        identity = origin.uuid or (origin.rulebase, origin.device_group, origin.name)
        seen[identity] += 1
        places[identity, seen[identity]] = place
    return places


def _longest_in_order(numbers: Sequence[int]) -> set[int]:
    """A longest increasing subsequence of distinct numbers: 3 1 2 5 4 has 1 2 4. Patience sorting."""
    tops: list[int] = []
    before: dict[int, int | None] = {}
    for number in numbers:
        pile = bisect_left(tops, number)
        before[number] = tops[pile - 1] if pile else None
        tops[pile : pile + 1] = [number]
    kept: set[int] = set()
    number_or_end = tops[-1] if tops else None
    while number_or_end is not None:
        kept.add(number_or_end)
        number_or_end = before[number_or_end]
    return kept
