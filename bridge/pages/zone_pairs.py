"""A policy as a matrix: for each pair of zones, the rules that concern it and what they leave open. Pure.

A pair's rules end with the first that matches everything; what comes after can't be reached. So a pair is

    open           everything is allowed, but for what earlier rules deny
    open in part   some rules allow something, the rest is denied
    closed         nothing is allowed
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zones.net import ANY_ADDRESS
from zones.policy import Entry, Policy, Traffic, Verdict
from zones.rules import RuleType

ANY_OTHER = "any other zone"
"""How a zone that no rule names is shown. Rules are asked for with OTHER, as a zone may have that very name."""
OTHER = object()


@dataclass(frozen=True, slots=True)
class Pair:
    """What a policy says between two zones: places of rules in the policy, in the order of evaluation.

    `last` matches everything that is left; `allowing` and `denying` come before it.
    """

    allowing: int
    denying: int
    last: int


class ZonePairs:
    """Which rules of a policy concern two zones, a bit a rule."""

    def __init__(self, policy: Policy) -> None:
        self.entries = policy.entries
        self._from: dict[object, int] = {}
        self._to: dict[object, int] = {}
        self._from_any = self._to_any = self._intrazone = self._interzone = self._allow = self._whole = 0
        for place, entry in enumerate(policy.entries):
            self._lay(entry, 1 << place)

    def _lay(self, entry: Entry, bit: int) -> None:
        self._from_any |= _by_zone(self._from, entry.from_zones, bit)
        self._to_any |= _by_zone(self._to, _to_zones(entry), bit)
        if entry.pairing is RuleType.INTRAZONE:
            self._intrazone |= bit
        elif entry.pairing is RuleType.INTERZONE:
            self._interzone |= bit
        if entry.verdict is Verdict.ALLOW:
            self._allow |= bit
        if matches_everything(entry):
            self._whole |= bit

    def named_alike(self, zone: str) -> bool:
        """Whether no rule names a zone, so that it is as any other."""
        return zone not in self._from and zone not in self._to

    def concerning(self, from_zone: object, to_zone: object, *, same: bool) -> int:
        """The rules that pair two zones, a bit a rule. `same`: both are one zone."""
        mask = (self._from.get(from_zone, 0) | self._from_any) & (self._to.get(to_zone, 0) | self._to_any)
        return mask & ~(self._interzone if same else self._intrazone)

    def between(self, from_zone: object, to_zone: object, *, same: bool) -> Pair:
        """What is between two zones: names, or OTHER."""
        mask = self.concerning(from_zone, to_zone, same=same)
        covering = mask & self._whole
        last = (covering & -covering).bit_length() - 1
        before = mask & ((1 << last) - 1)
        return Pair((before & self._allow).bit_count(), (before & ~self._allow).bit_count(), last)


def _to_zones(entry: Entry) -> frozenset[str] | None:
    """Within a zone, a rule ends where it begins, whatever else it names."""
    return None if entry.pairing is RuleType.INTRAZONE else entry.to_zones


def _by_zone(masks: dict[object, int], zones: frozenset[str] | None, bit: int) -> int:
    """Note a rule for its zones; the bit again where it is for any."""
    if zones is None:
        return bit
    for zone in zones:
        masks[zone] = masks.get(zone, 0) | bit
    return 0


def matches_everything(entry: Entry) -> bool:
    """Whether a rule leaves nothing to the next ones, between zones that it pairs."""
    return (
        entry.schedule is None
        and entry.sources == ANY_ADDRESS
        and entry.destinations == ANY_ADDRESS
        and Traffic() in entry.traffic
    )


def zones_of(policies: Iterable[Policy]) -> tuple[str, ...]:
    """The zones that policies know, as people sort them: zone-9 before zone-10."""
    names: set[str] = set()
    for policy in policies:
        zoning = policy.zoning
        names |= policy.known_zones | {zoning.default, zoning.nodes, zoning.outside}
        names |= {zone for _, zone in zoning.networks}
        for entry in policy.entries:
            names |= (entry.from_zones or frozenset()) | (entry.to_zones or frozenset())
    return tuple(sorted(names, key=natural))


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key by which numbers in names count as numbers."""
    parts = re.split(r"([0-9]{1,18})", name.casefold())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


def zone_sets(entries: Sequence[Entry], places: dict[str, int]) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Each set of zones once, as places of zones, and of each rule the numbers of its two sets; -1 is any."""
    numbers: dict[frozenset[str], int] = {}

    def number(zones: frozenset[str] | None) -> int:
        return -1 if zones is None else numbers.setdefault(zones, len(numbers))

    pairs = [(number(entry.from_zones), number(_to_zones(entry))) for entry in entries]
    return [sorted(places[zone] for zone in zones) for zones in numbers], pairs
