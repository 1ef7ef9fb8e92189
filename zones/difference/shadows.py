"""Which entries of a policy never decide anything, as entries before them match all that they match. Exact, and pure.

By the boxes of `zones.difference.boxes`: several earlier entries together may take a whole entry. Infrastructure rules
are not counted in: whom they are for depends on what runs in the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from zones.difference.boxes import Box, without
from zones.difference.moments import moments_of
from zones.difference.sides import Side, bits
from zones.policy import Entry, Policy
from zones.rules import Origin, RuleType

_SOME_ZONE, _ANOTHER_ZONE = object(), object()


def shadowed(policy: Policy, at: datetime) -> dict[int, tuple[Origin, ...]]:
    """Of each entry that decides nothing from `at` (aware) on: by its place, the rules that take what it matches.

    An entry without anything to match (an empty group, a schedule that is over) is not shadowed; the default rules
    never are.
    """
    side = Side(policy, set(policy.infrastructure), moments_of((policy,), at))
    named = sorted(side.zones)
    takers_of: dict[int, tuple[Origin, ...]] = {}
    for place, entry in enumerate(policy.entries):
        boxes = side.boxes(place)
        if entry.origin.rulebase == "default" or not boxes:
            continue
        takers = _takers(side, place, boxes, _pairs(entry, named))
        if takers:
            takers_of[place] = tuple(policy.entries[bit].origin for bit in bits(takers))
    return takers_of


def _takers(side: Side, place: int, boxes: tuple[Box, ...], pairs: Iterator[tuple[object, object]]) -> int:
    """The entries before that take everything, a bit an entry; none where anything is left between any two zones."""
    bit = 1 << place
    before = side.near(side.buckets(place)) & (bit - 1)
    takers, looked_at = 0, set()
    for from_zone, to_zone in pairs:
        concerning = side.concerning(from_zone, to_zone)
        earlier = concerning & before
        if not concerning & bit or earlier in looked_at:
            continue
        looked_at.add(earlier)
        left: list[Box] = list(boxes)
        for taker in bits(earlier):
            less = without(left, side.boxes(taker))
            if less != left:
                takers |= 1 << taker
                left = less
            if not left:
                break
        if left:
            return 0
    return takers


def _pairs(entry: Entry, named: list[str]) -> Iterator[tuple[object, object]]:
    """The zone pairs that an entry concerns, among them a zone that no rule names, and two of them."""
    from_zones = (_SOME_ZONE, *named) if entry.from_zones is None else sorted(entry.from_zones)
    to_zones = (_ANOTHER_ZONE, _SOME_ZONE, *named) if entry.to_zones is None else sorted(entry.to_zones)
    for from_zone in from_zones:
        for to_zone in (from_zone,) if entry.pairing is RuleType.INTRAZONE else to_zones:
            yield from_zone, to_zone
