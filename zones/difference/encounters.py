"""Which rules a rule shares flows with, so that no other one is looked at when its flows are taken apart.

rule 7        web -> data, tcp 5432, to 10.1.0.0/16
meets         3 (tcp 5000-6000), 9 (to 10.0.0.0/8, tcp: covers it), 12 (any)
first match   asked of rules 3 and 9 alone: none of rule 7's flows gets past 9
"""

from __future__ import annotations

from dataclasses import dataclass

from zones.difference.boxes import holds_all, meets
from zones.difference.sides import Side, bits


@dataclass(slots=True)
class _Met:
    """Of one rule, a bit a rule: those that may share flows with it; of those that were asked, who does, who covers."""

    near: int
    asked: int = 0
    shares: int = 0
    covers: int = 0


class Encounters:
    """The rules of one side against those of the other, or of the same. Each pair is worked out once."""

    def __init__(self, side: Side, against: Side) -> None:
        self._side, self._against = side, against
        self._met: list[_Met | None] = [None] * len(side.rules)

    def until_covered(self, place: int, concerned: int) -> tuple[tuple[int, ...], bool]:
        """The places, of those concerned, that share flows with a rule up to the first that has all of its flows.

        And whether there is one that has.
        """
        met = self._met[place]
        if met is None:
            met = self._met[place] = _Met(self._against.near(self._side.buckets(place)))
        left = met.near & concerned
        known = left & met.covers
        if known:
            left &= ((known & -known) << 1) - 1
        for other in bits(left & ~met.asked):
            if self._ask(met, place, other):
                left &= (1 << other + 1) - 1
                break
        return tuple(bits(left & met.shares)), bool(left & met.covers)

    def _ask(self, met: _Met, place: int, other: int) -> bool:
        bit = 1 << other
        met.asked |= bit
        mine = self._side.boxes(place)
        if not any(meets(asked, box) for asked in self._against.conditions(other) for box in mine):
            return False
        met.shares |= bit
        if not all(any(holds_all(asked, box) for asked in self._against.conditions(other)) for box in mine):
            return False
        met.covers |= bit
        return True
