"""One of two policies that are compared: its rules as boxes, and which of them concern two zones, a bit a rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from zones.difference.boxes import (
    EVERYWHERE,
    Box,
    Conditions,
    buckets,
    conditions,
    meets,
    of_entry,
    of_infrastructure,
    split,
)
from zones.difference.moments import ScheduleMoment
from zones.policy import QUARANTINED, Entry, InfrastructureRule, Policy, Verdict
from zones.quarantine import consulted, is_open
from zones.rules import Origin, RuleType
from zones.schedule import Schedule
from zones.zone import QUARANTINE


@dataclass(frozen=True, slots=True)
class FlowJudgement:
    """What a policy says of flows, and the rule that says it."""

    verdict: Verdict
    origin: Origin


class LaidRule(NamedTuple):
    """A rule as boxes, what each of them asks for, and where they lie by protocol and port."""

    boxes: tuple[Box, ...]
    conditions: tuple[Conditions, ...]
    buckets: frozenset[int]


class _EqualRules:
    """What another side has of an equal rule."""

    def __init__(self, side: Side | None) -> None:
        self._side = side
        self._places = {} if side is None else {rule.origin: place for place, rule in enumerate(side.rules)}

    def __call__(self, rule: Entry | InfrastructureRule) -> LaidRule | None:
        place = self._places.get(rule.origin)
        if self._side is None or place is None or self._side.rules[place] != rule:
            return None
        return self._side.laid(place)


class Side:
    """A policy's rules as boxes and masks: infrastructure that the other policy hasn't, then the entries.

    The zone quarantine is closed at the end, as `zones.verdict.decide` closes it. `like`: the side of the other policy;
    rules that both have are taken from there.
    """

    def __init__(
        self,
        policy: Policy,
        both: set[InfrastructureRule],
        told_apart: Sequence[ScheduleMoment],
        like: Side | None = None,
    ) -> None:
        own = tuple(rule for rule in policy.infrastructure if rule not in both)
        self._consulted = len(own) + len(consulted(policy.entries))
        self.rules: tuple[Entry | InfrastructureRule, ...] = (*own, *policy.entries, *_CLOSING)
        self._told_apart = told_apart
        self._whenever = _every(len(told_apart))
        self._active: dict[Schedule | None, frozenset[int]] = {None: self._whenever}
        self._laid = tuple(map(self._lay, self.rules, map(_EqualRules(like), self.rules)))
        self.zones = policy.known_zones | {QUARANTINE} | {zone for entry in policy.entries for zone in _zones_of(entry)}
        self._lay_masks()
        self._near: dict[frozenset[int], int] = {}
        self._in_bucket: dict[int, int] = {}
        self._everywhere = 0
        self._saying: dict[Verdict, int] = {}
        for place in range(len(self.rules)):
            verdict = self.judgement(place).verdict
            self._saying[verdict] = self._saying.get(verdict, 0) | 1 << place
            lying = self._laid[place].buckets
            if lying == EVERYWHERE:
                self._everywhere |= 1 << place
                continue
            for bucket in lying:
                self._in_bucket[bucket] = self._in_bucket.get(bucket, 0) | 1 << place

    def _lay_masks(self) -> None:
        self._from: dict[object, int] = {}
        self._to: dict[object, int] = {}
        self._intrazone = self._interzone = 0
        self._not_from_quarantine = self._not_to_quarantine = 0
        anywhere = [0, 0]
        for_quarantine = self._for_quarantine()
        for place, rule in enumerate(self.rules):
            bit = 1 << place
            pairing = rule.pairing if isinstance(rule, Entry) else RuleType.UNIVERSAL
            from_zones = rule.from_zones if isinstance(rule, Entry) else None
            to_zones = rule.to_zones if isinstance(rule, Entry) and pairing is not RuleType.INTRAZONE else None
            for zones, masks, side in ((from_zones, self._from, 0), (to_zones, self._to, 1)):
                if zones is None:
                    anywhere[side] |= bit
                for zone in zones or ():
                    masks[zone] = masks.get(zone, 0) | bit
            if pairing is RuleType.INTRAZONE:
                self._intrazone |= bit
            elif pairing is RuleType.INTERZONE:
                self._interzone |= bit
            if place not in for_quarantine or not _counts(rule, QUARANTINE, ""):
                self._not_from_quarantine |= bit
            if place not in for_quarantine or not _counts(rule, "", QUARANTINE):
                self._not_to_quarantine |= bit
        self._from_any, self._to_any = anywhere

    def _for_quarantine(self) -> set[int]:
        """The places of the rules that are gone through for the zone quarantine: up to the last that names it."""
        closing = range(len(self.rules) - len(_CLOSING), len(self.rules))
        return {*range(self._consulted), *closing}

    def concerning(self, from_zone: object, to_zone: object) -> int:
        """The rules that pair two zones, a bit a rule."""
        mask = (self._from.get(from_zone, 0) | self._from_any) & (self._to.get(to_zone, 0) | self._to_any)
        if from_zone == QUARANTINE:
            mask &= ~self._not_from_quarantine
        if to_zone == QUARANTINE:
            mask &= ~self._not_to_quarantine
        return mask & ~(self._interzone if from_zone == to_zone else self._intrazone)

    def boxes(self, place: int) -> tuple[Box, ...]:
        return self._laid[place].boxes

    def conditions(self, place: int) -> tuple[Conditions, ...]:
        """Of each of a rule's boxes."""
        return self._laid[place].conditions

    def laid(self, place: int) -> LaidRule:
        return self._laid[place]

    def _lay(self, rule: Entry | InfrastructureRule, known: LaidRule | None) -> LaidRule:
        if known is not None:
            return known
        if isinstance(rule, Entry):
            boxes = of_entry(rule, self._while_active(rule.schedule))
        else:
            boxes = of_infrastructure(rule, self._whenever)
        return LaidRule(boxes, tuple(map(conditions, boxes)), buckets(boxes))

    def _while_active(self, schedule: Schedule | None) -> frozenset[int]:
        if schedule not in self._active:
            numbers = (number for number, moment in enumerate(self._told_apart) if schedule in moment.active)
            self._active[schedule] = frozenset(numbers)
        return self._active[schedule]

    def judgement(self, place: int) -> FlowJudgement:
        rule = self.rules[place]
        return FlowJudgement(rule.verdict if isinstance(rule, Entry) else Verdict.ALLOW, rule.origin)

    def saying(self, verdict: Verdict) -> int:
        """The rules with a verdict, a bit a rule."""
        return self._saying.get(verdict, 0)

    def near(self, lying: frozenset[int]) -> int:
        """The rules that may overlap what lies in these buckets (`boxes.buckets`), a bit a rule."""
        known = self._near.get(lying)
        if known is None:
            masks = (
                self._in_bucket.values()
                if lying == EVERYWHERE
                else (self._in_bucket.get(bucket, 0) for bucket in lying)
            )
            known = self._near[lying] = self._everywhere | union_of(masks)
        return known

    def buckets(self, place: int) -> frozenset[int]:
        return self._laid[place].buckets

    def overlapping(self, boxes: Sequence[Box]) -> int:
        """The rules that share a flow with some of these boxes, between whatever zones."""
        mask = 0
        for place in bits(self.near(buckets(boxes))):
            if any(meets(asked, box) for asked in self.conditions(place) for box in boxes):
                mask |= 1 << place
        return mask

    def judged(self, boxes: Sequence[Box], places: Iterable[int]) -> Iterator[tuple[Box, int]]:
        """Boxes taken apart by the first rule that matches, of those at ascending places. Raises ValueError."""
        left = list(boxes)
        for place in places:
            for mine in self.boxes(place):
                later: list[Box] = []
                for box in left:
                    common, rest = split(box, mine)
                    later += rest
                    if common is not None:
                        yield common, place
                left = later
            if not left:
                return
        if left:
            raise ValueError("the policy is not total: its last entries must be the default rules")


_QUARANTINE = frozenset({QUARANTINE})
_CLOSING = (
    Entry(QUARANTINED, Verdict.DENY, from_zones=_QUARANTINE),
    Entry(QUARANTINED, Verdict.DENY, to_zones=_QUARANTINE),
)


def _counts(rule: Entry | InfrastructureRule, from_zone: str, to_zone: str) -> bool:
    """Whether a rule counts for the zone quarantine at all: an allow has to name it."""
    return is_open(rule, from_zone, to_zone) if isinstance(rule, Entry) else rule.serves_isolated


@cache
def _every(count: int) -> frozenset[int]:
    """All moments; one and the same object each time, as equal properties are fastest to compare by identity."""
    return frozenset(range(count))


def _zones_of(entry: Entry) -> frozenset[str]:
    return (entry.from_zones or frozenset()) | (entry.to_zones or frozenset())


def bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def mask_of(places: Iterable[int | None]) -> int:
    return union_of(1 << place for place in places if place is not None)


def union_of(masks: Iterable[int]) -> int:
    together = 0
    for mask in masks:
        together |= mask
    return together


def has(mask: int, place: int | None) -> bool:
    return place is not None and bool(mask >> place & 1)
