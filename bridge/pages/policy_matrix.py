"""A compiled policy as the matrix of a page, as each zone's neighbours, and as a table in words. Pure.

The zone of pods in quarantine is always among the zones, closed but for what an allow that names it opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple

from bridge.pages.parts import (
    Cell,
    CellClass,
    Column,
    Glyph,
    Json,
    Mark,
    Matrix,
    Neighbour,
    Neighbourhood,
    PageTable,
    Row,
)
from bridge.pages.wording import addresses_text, entry_traffic_text, listed
from bridge.pages.zone_pairs import ANY_OTHER, OTHER, ZonePairs, matches_everything, zone_sets, zones_of
from zones.policy import Entry, Policy, Verdict
from zones.problems import RuleReport
from zones.quarantine import closed
from zones.rules import Origin, RuleType
from zones.zone import QUARANTINE

CLASSES = (
    CellClass("closed", "closed"),
    CellClass("denied", "closed by a rule", Glyph.CROSS),
    CellClass("part1", "1 rule allows something", Glyph.DOT1),
    CellClass("part2", "2 or 3 rules", Glyph.DOT2),
    CellClass("part3", "4 to 9 rules", Glyph.DOT3),
    CellClass("part4", "10 or more", Glyph.DOT4),
    CellClass("exceptions", "open but for what rules deny", Glyph.FRAME),
    CellClass("open", "open", Glyph.SQUARE),
)
_CLOSED, _DENIED, _PART, _EXCEPTIONS, _OPEN = 0, 1, 2, 6, 7
_IN_PART = ("1 rule allows something, everything else is denied", "{} rules allow something, everything else is denied")
SENTENCES = (
    ("nothing is allowed",) * 2,
    ("nothing is allowed: a rule denies everything",) * 2,
    *(_IN_PART,) * 4,
    ("everything is allowed but what 1 rule denies", "everything is allowed but what {} rules deny"),
    ("everything is allowed",) * 2,
)
_HOW_TO_READ = (
    "A cell counts the rules that can decide something between its zones; where two of them overlap, the first one "
    "decides. Infrastructure rules come before all of them, and what no rule can open stays closed. Pods in quarantine "
    f"are in the zone {QUARANTINE}, which only an allow that names it opens."
)
_MORE_IN_PART = (2, 4, 10)
LEAST_ALLOWING = _PART
"""The first of the classes in which rules allow something."""
# As many zones are shown one by one even where no rule tells them apart.
MOST_UNFOLDED = 24
_IN_WORDS = (
    ("Open to", frozenset({_OPEN})),
    ("Open with exceptions to", frozenset({_EXCEPTIONS})),
    ("Open in part to (rules)", frozenset(range(_PART, _EXCEPTIONS))),
    ("Closed by a rule to", frozenset({_DENIED})),
)
_PAIRINGS = {RuleType.UNIVERSAL: 0, RuleType.INTRAZONE: 1, RuleType.INTERZONE: 2}
MOST_LISTED = 40


class RuleRemark(NamedTuple):
    """What is said of a rule where a cell lists it: its number in Panorama, its action, and beneath that its status."""

    number: str
    action: str
    status: str


def remarks_of(reports: Iterable[RuleReport]) -> dict[Origin, RuleRemark]:
    """What became of each rule."""
    return {
        report.origin: RuleRemark(str(report.number or ""), report.action, report.status.value) for report in reports
    }


class PolicyMatrix:
    """A policy between all zones: those that rules name, and any other as one."""

    classes: ClassVar[Sequence[CellClass]] = CLASSES
    sentences: ClassVar[Sequence[tuple[str, str]]] = SENTENCES
    how_to_read: ClassVar[str] = _HOW_TO_READ
    columns: ClassVar[Sequence[tuple[str, frozenset[int]]]] = _IN_WORDS
    not_listed: ClassVar[str] = "What isn't listed is closed: no rule allows anything."

    def __init__(self, policy: Policy, beside: Sequence[Policy] = ()) -> None:
        """`beside`: further policies whose zones are shown."""
        self.policy = closed(policy)
        self.pairs = ZonePairs(self.policy)
        others = [self.pairs, *map(ZonePairs, beside)]
        named = zones_of([self.policy, *beside])
        fold = len(named) > MOST_UNFOLDED
        self.folded = tuple(zone for zone in named if fold and all(other.named_alike(zone) for other in others))
        folded = frozenset(self.folded)
        shown = [zone for zone in named if zone not in folded]
        self.zones = (*shown, ANY_OTHER)
        self.places = {zone: place for place, zone in enumerate(shown)}
        self.other = len(shown)
        self._asked: tuple[object, ...] = (*shown, OTHER)
        both = [[self._cell(row, column) for column in range(len(self.zones))] for row in range(len(self.zones))]
        self.cells = tuple(tuple(number for number, _ in row) for row in both)
        self.counts = tuple(tuple(count for _, count in row) for row in both)

    def _cell(self, row: int, column: int) -> tuple[int, int]:
        """The class of a pair and the number that it shows. Any other zone to itself is one such zone to another."""
        pair = self.pairs.between(self._asked[row], self._asked[column], same=row == column != self.other)
        last = self.policy.entries[pair.last]
        if last.verdict is Verdict.ALLOW:
            return (_EXCEPTIONS, pair.denying) if pair.denying else (_OPEN, 0)
        if pair.allowing:
            return _PART + sum(pair.allowing >= least for least in _MORE_IN_PART), pair.allowing
        return (_CLOSED if last.origin.rulebase == "default" else _DENIED), 0

    def matrix(
        self,
        title: str,
        remarks: Mapping[Origin, RuleRemark],
        anchors: Mapping[Origin, str],
        marks: Mapping[tuple[int, int], Mark] | None = None,
        pieces: Json | None = None,
    ) -> Matrix:
        """`anchors`: of the rules' rows on the page. `pieces`: what changes in which pairs, for the script."""
        return Matrix(
            title,
            self.zones,
            self.classes,
            self.cells,
            self.counts,
            self.sentences,
            marks or {},
            self._details(remarks, anchors) | (pieces or {}),
            tuple(self._notes()),
        )

    def _notes(self) -> list[str]:
        notes = [self.how_to_read]
        if self.folded:
            notes.append(
                f"{ANY_OTHER} stands for {len(self.folded)} zones that no rule names, too: "
                f"{listed(self.folded, MOST_LISTED)}."
            )
        return notes

    def _details(self, remarks: Mapping[Origin, RuleRemark], anchors: Mapping[Origin, str]) -> Json:
        """The rules as the script reads them: each text once, each set of zones once.

        A rule is [number, name, place, verdict, status, source, destination, traffic, from, to, pairing, whole,
        anchor]; texts are places in `texts`, zones places in `sets` (-1 is any), `whole` says that it ends the list.
        """
        texts: dict[str, int] = {}
        sets, ends = zone_sets(self.policy.entries, self.places)

        def place(text: str) -> int:
            return texts.setdefault(text, len(texts))

        rules = []
        for entry, (from_set, to_set) in zip(self.policy.entries, ends, strict=True):
            origin = entry.origin
            remark = remarks.get(origin, RuleRemark("", entry.verdict.value, ""))
            words = (
                *(remark.number, origin.name, f"{origin.rulebase} of {origin.device_group}"),
                *(remark.action, remark.status),
                *(addresses_text(entry.sources), addresses_text(entry.destinations), entry_traffic_text(entry)),
            )
            numbers = (_PAIRINGS[entry.pairing], int(matches_everything(entry)))
            rules.append([*map(place, words), from_set, to_set, *numbers, place(anchors.get(origin, ""))])
        return {"texts": list(texts), "sets": sets, "rules": rules, "other": self.other}

    def neighbourhoods(self, marks: Mapping[tuple[int, int], Mark] | None = None) -> tuple[Neighbourhood, ...]:
        """Of each zone; none where there is but one."""
        if len(self.zones) == 1:
            return ()
        everywhere = range(len(self.zones))
        return tuple(
            Neighbourhood(
                zone,
                self._neighbours([(other, place) for other in everywhere if other != place], marks or {}, end=0),
                self._neighbours([(place, other) for other in everywhere if other != place], marks or {}, end=1),
            )
            for place, zone in enumerate(self.zones)
        )

    def _neighbours(
        self, pairs: Sequence[tuple[int, int]], marks: Mapping[tuple[int, int], Mark], end: int
    ) -> tuple[Neighbour, ...]:
        neighbours = [
            Neighbour(self.zones[pair[end]], self.classes[number].key, self.counts[pair[0]][pair[1]], marks.get(pair))
            for pair in pairs
            if (number := self.cells[pair[0]][pair[1]]) > _DENIED or pair in marks
        ]
        return tuple(sorted(neighbours, key=lambda neighbour: (neighbour.mark is None, -neighbour.count)))

    def in_words(self) -> PageTable:
        """The matrix as a table: of each zone, what is open to which others."""
        share = 84 // len(self.columns)
        columns = (Column("From", 16), *(Column(name, share) for name, _ in self.columns))
        rows = [
            Row((Cell(zone), *(Cell(self._reached(place, classes)) for _, classes in self.columns)))
            for place, zone in enumerate(self.zones)
        ]
        return PageTable(
            "pairs",
            "The matrix in words",
            columns,
            rows,
            notes=(self.not_listed,),
            folded=True,
        )

    def _reached(self, place: int, classes: frozenset[int]) -> str:
        """`web (3), data (1)`, or what all are but a few."""
        row = self.cells[place]
        counted = {column: self.counts[place][column] for column, number in enumerate(row) if number in classes}
        if len(counted) == len(row) and len(row) > 1:
            return "every zone, itself included"
        quarantine = self.places[QUARANTINE]
        missing = [column for column in range(len(row)) if column not in counted]
        elsewhere = [column for column in missing if column not in {place, quarantine}]
        if counted and not elsewhere and len(counted) > 1:
            besides = f" but {QUARANTINE}" if quarantine in missing and quarantine != place else ""
            return ("every other zone" if place in missing else "every zone, itself included,") + besides
        return ", ".join(
            ("itself" if column == place else self.zones[column]) + (f" ({count:,})" if count else "")
            for column, count in counted.items()
        )


def entry_of(policy: Policy | None) -> dict[Origin, Entry]:
    return {} if policy is None else {entry.origin: entry for entry in policy.entries}
