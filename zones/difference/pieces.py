"""The exact difference of two policies: which flows change their verdict, from which rule to which.

Only flows that match a changed rule can (`zones.difference.alignment`). For two zones: what the changed rules match is
taken apart by what the old policy says of it, and each part by what the new one says:

    old  1 allow web->data tcp 5432             new  1 deny web->data 10.0.0.0/8   2 allow web->data tcp 5432
    changed: rule 1 of new, so the region is web->data 10.0.0.0/8
    old says    tcp 5432: allow (1)             the rest: deny (interzone-default)
    new says    tcp 5432: deny (1)  CHANGED     the rest: deny (1)  the same verdict, by another rule

Zone pairs are told apart by bit masks, a bit a rule, and pairs that the same rules concern are worked out once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from zones.difference.alignment import ChangedRule, align
from zones.difference.boxes import (
    Box,
    common,
    conditions,
    disjoint,
    meets,
    merged,
    narrowness,
    of_infrastructure,
    without,
)
from zones.difference.encounters import Encounters
from zones.difference.moments import ScheduleMoment, moments_of
from zones.difference.sides import FlowJudgement, Side, bits, has, mask_of, union_of
from zones.policy import InfrastructureRule, Policy, Verdict
from zones.verdict import Flow, serves

_SOME_ZONE, _ANOTHER_ZONE = object(), object()
_MERGED_AT_MOST = 64


@dataclass(frozen=True, slots=True)
class Piece:
    """Flows whose verdict changes alike.

    `unless`: infrastructure rules of both policies that allow some of them before either rule is asked, so that nothing
    changes for those.
    """

    box: Box
    old: FlowJudgement
    new: FlowJudgement
    unless: tuple[InfrastructureRule, ...] = ()

    def holds(self, flow: Flow, moment: int) -> bool:
        """Whether a flow between the piece's zones changes with it. What no rule can open isn't asked for here."""
        return self.box.holds(flow, moment) and not any(serves(rule, flow) for rule in self.unless)


@dataclass(frozen=True, slots=True)
class ZoneChange:
    """What changes between two zones; None is any zone that no rule names. `intrazone`: within one zone, also there."""

    from_zone: str | None
    to_zone: str | None
    intrazone: bool
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Difference:
    """What changes from one policy to another.

    `untouched`: how many zone pairs changed rules concern without a change of any verdict.
    """

    rules: tuple[ChangedRule, ...]
    moments: tuple[ScheduleMoment, ...]
    known_zones: frozenset[str]
    zones: tuple[ZoneChange, ...]
    untouched: int

    def between(self, from_zone: str, to_zone: str) -> tuple[Piece, ...]:
        """What changes from one zone to another, whether rules name them or not."""
        from_known, to_known = (zone if zone in self.known_zones else None for zone in (from_zone, to_zone))
        return self._by_pair.get((from_known, to_known, from_zone == to_zone), ())

    @cached_property
    def _by_pair(self) -> dict[tuple[str | None, str | None, bool], tuple[Piece, ...]]:
        return {(change.from_zone, change.to_zone, change.intrazone): change.pieces for change in self.zones}

    def moment(self, at: datetime) -> int | None:
        """The number of the moment at an instant, as boxes count them; None where it lies outside of what was asked."""
        schedules = {schedule for moment in self.moments for schedule in moment.active}
        active = frozenset(one for one in schedules if one.active(at))
        return next((number for number, moment in enumerate(self.moments) if moment.active == active), None)


def _go_on() -> None:
    """Nothing ends it."""


def difference(old: Policy, new: Policy, at: datetime, halt: Callable[[], None] = _go_on) -> Difference:
    """Every flow that is judged otherwise from `at` (aware) on, and how.

    Zones are taken as they are: pods and addresses that change their zone are not a difference of rules. `halt` is
    called again and again, and may raise to end it.
    """
    both = set(old.infrastructure) & set(new.infrastructure)
    told_apart = moments_of((old, new), at)
    before = Side(old, both, told_apart)
    sides = before, Side(new, both, told_apart, before)
    rules = align(sides[0].rules, sides[1].rules)
    comparison = _Comparison(
        *sides, rules, tuple(rule for rule in old.infrastructure if rule in both), told_apart, halt=halt
    )
    zones, untouched = comparison.zones()
    return Difference(rules, told_apart, sides[0].zones | sides[1].zones, tuple(zones), untouched)


_Changed = tuple[int, int]
"""The changed rules of the old and of the new policy that concern two zones, a bit a rule."""
_Places = tuple[int, ...]
_Asked = tuple[bool, int, _Places, _Places, int, Verdict]


@dataclass(frozen=True, slots=True)
class _Region:
    """The flows that some changed rules may have changed, in disjoint boxes.

    `old` and `new`: the rules of either side that share flows with those, a bit a rule.
    """

    number: int
    old: int
    new: int
    boxes: tuple[Box, ...]


class _Comparison:
    def __init__(
        self,
        old: Side,
        new: Side,
        changed: Sequence[ChangedRule],
        infrastructure: tuple[InfrastructureRule, ...],
        told_apart: Sequence[ScheduleMoment],
        *,
        halt: Callable[[], None],
    ) -> None:
        self._halt = halt
        self._old, self._new = old, new
        self._changed = changed
        whenever = frozenset(range(len(told_apart)))
        self._infrastructure = [
            (rule, tuple(map(conditions, of_infrastructure(rule, whenever)))) for rule in infrastructure
        ]
        self._earlier = {old: Encounters(old, old), new: Encounters(new, new)}
        self._others = {old: Encounters(old, new), new: Encounters(new, old)}
        self._worked: dict[_Asked, tuple[Piece, ...]] = {}
        self._regions: dict[_Changed, _Region] = {}
        self._relevant = [self._overlapping(rule) for rule in changed]
        self._changed_old = mask_of(rule.old for rule in changed)
        self._changed_new = mask_of(rule.new for rule in changed)

    def _overlapping(self, rule: ChangedRule) -> tuple[int, int]:
        self._halt()
        boxes = [*self._boxes_of(rule.old, self._old), *self._boxes_of(rule.new, self._new)]
        return self._old.overlapping(boxes), self._new.overlapping(boxes)

    @staticmethod
    def _boxes_of(place: int | None, side: Side) -> tuple[Box, ...]:
        return () if place is None else side.boxes(place)

    @staticmethod
    def _verdict(place: int | None, side: Side) -> Verdict | None:
        return None if place is None else side.judgement(place).verdict

    def zones(self) -> tuple[list[ZoneChange], int]:
        named = sorted(self._old.zones | self._new.zones)
        changes = []
        untouched = 0
        for from_zone in (*named, _SOME_ZONE):
            for to_zone in (*named, _SOME_ZONE, *((_ANOTHER_ZONE,) if from_zone is _SOME_ZONE else ())):
                old = self._old.concerning(from_zone, to_zone)
                new = self._new.concerning(from_zone, to_zone)
                if not (old & self._changed_old or new & self._changed_new):
                    continue
                pieces = self._between(old, new)
                untouched += not pieces
                if pieces:
                    pair = [zone if isinstance(zone, str) else None for zone in (from_zone, to_zone)]
                    changes.append(ZoneChange(pair[0], pair[1], from_zone == to_zone, pieces))
        return changes, untouched

    def _between(self, old: int, new: int) -> tuple[Piece, ...]:
        """What changes between zones that these rules of both policies concern.

        A flow of which both say what the old last rule says can't change, and is never looked at: after an any-to-any
        deny that is nearly everything. So the rules that say otherwise are gone through, on either side.
        """
        region = self._concerned(old & self._changed_old, new & self._changed_new)
        usual = self._old.judgement(old.bit_length() - 1).verdict
        pieces: list[Piece] = []
        for side, concerned, others, relevant in (
            (self._old, old, new, region.old),
            (self._new, new, old, region.new),
        ):
            for place in bits(concerned & relevant & ~side.saying(usual)):
                self._halt()
                earlier, covered = self._earlier[side].until_covered(place, concerned & ((1 << place) - 1))
                if not covered:
                    judges, _ = self._others[side].until_covered(place, others)
                    pieces += self._first_matched(side, place, earlier, judges, (region, usual))
        return tuple(pieces)

    def _concerned(self, old: int, new: int) -> _Region:
        """What may change where these changed rules of both policies concern two zones."""
        key = old, new
        if key not in self._regions:
            concerned = [
                (rule, relevant)
                for rule, relevant in zip(self._changed, self._relevant, strict=True)
                if has(old, rule.old) or has(new, rule.new)
            ]
            boxes = [box for rule, _ in concerned for box in self._region(rule, old, new)]
            self._regions[key] = _Region(
                len(self._regions),
                union_of(of_old for _, (of_old, _) in concerned),
                union_of(of_new for _, (_, of_new) in concerned),
                tuple(disjoint(sorted(boxes, key=narrowness))),
            )
        return self._regions[key]

    def _region(self, rule: ChangedRule, old: int, new: int) -> list[Box]:
        """The flows that a changed rule may have changed, where `old` and `new` are the rules that concern them."""
        before = self._old.boxes(rule.old) if rule.old is not None and has(old, rule.old) else ()
        after = self._new.boxes(rule.new) if rule.new is not None and has(new, rule.new) else ()
        if rule.in_place and self._verdict(rule.old, self._old) is self._verdict(rule.new, self._new):
            return [*without(before, after), *without(after, before)]
        return [*before, *after]

    def _first_matched(
        self, side: Side, place: int, earlier: _Places, others: _Places, where: tuple[_Region, Verdict]
    ) -> tuple[Piece, ...]:
        """What changes of the flows whose first match is a rule of one side, by the rules of the other side."""
        region, usual = where
        key = side is self._old, place, earlier, others, region.number, usual
        if key not in self._worked:
            own = [
                part for box in side.boxes(place) for region_box in region.boxes if (part := common(box, region_box))
            ]
            own = without(disjoint(own), (box for before in earlier for box in side.boxes(before)))
            self._worked[key] = tuple(self._changes(side, place, own, others, usual))
        return self._worked[key]

    def _changes(self, side: Side, place: int, own: list[Box], others: _Places, usual: Verdict) -> Iterator[Piece]:
        other = self._new if side is self._old else self._old
        verdict = side.judgement(place).verdict
        by_rule: dict[int, list[Box]] = {}
        for box, at_other in other.judged(own, others):
            becomes = other.judgement(at_other).verdict
            # What neither side judges as usual is found from the old side.
            if becomes is not verdict and (side is self._old or becomes is usual):
                by_rule.setdefault(at_other, []).append(box)
        for at_other, boxes in sorted(by_rule.items()):
            ours, theirs = side.judgement(place), other.judgement(at_other)
            old, new = (ours, theirs) if side is self._old else (theirs, ours)
            for box in merged(boxes) if len(boxes) <= _MERGED_AT_MOST else boxes:
                yield Piece(box, old, new, self._unless(box))

    def _unless(self, box: Box) -> tuple[InfrastructureRule, ...]:
        return tuple(rule for rule, allowed in self._infrastructure if any(meets(asked, box) for asked in allowed))
