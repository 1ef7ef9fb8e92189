"""By what a list of clauses is best told apart, and which of them can hold under each key. Pure.

`enforcer.rules.tree.tree` asks for the best split of a list and makes a selection of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from typing import Any, TypeVar

from enforcer.rules.tree.clause import FIELD, PORTS, Clause, Dimension, Key, asks_only
from zones.net import Span
from zones.workload import split_namespace

_SPREAD, _SLACK = 2, 16  # so many times its spans, and some, a list may be put into the stretches that they make
LONG, _FEW_LONG = 64, 8  # spans that make an address list a long one; so many may be asked one after the other
_WORTH = 10  # a split must settle at least one clause in so many
_DIVIDED = 4  # so much less a clause weighs in a branch, which is divided further, than in the way of every branch
_WORKLOADS = frozenset({Dimension.SERVER, Dimension.CLIENT})

Spans = tuple[Span, ...]
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class ClauseSplit:
    """The positions of the clauses that can hold under each key, up to the first that is certain to.

    `settled`: the positions that are in no other branch than those; the others hold, or don't, under any key.
    """

    dimension: Dimension
    branches: dict[Key, list[int]] = field(hash=False)
    settled: frozenset[int]

    def spares(self, many: int) -> bool:
        """Whether a packet has enough less before it, in the longest branch, than so many clauses."""
        return bool(self.branches) and (len(self.settled) - self._longest) * _WORTH >= many

    def weight(self, many: int) -> float:
        """What a packet still has before it of so many clauses."""
        return many - len(self.settled) + self._longest / _DIVIDED

    @property
    def _longest(self) -> int:
        return max(map(len, self.branches.values()))


def spans_of_long(clauses: Sequence[Clause]) -> int:
    """How many spans the long address lists have; none where they are so few that a packet may ask one by one."""
    spaces = [space for clause in clauses for space in (clause.sources, clause.destinations) if space is not None]
    long = [many for space in spaces if (many := len(space.ranges.spans)) > LONG]
    return sum(long) if len(long) > _FEW_LONG else 0


def best_split(clauses: Sequence[Clause], *, copy_long: bool) -> ClauseSplit | None:
    """What spares a packet most; None where nothing helps. Without `copy_long`, long lists stay whole."""
    many = len(clauses)
    best: ClauseSplit | None = None
    weight = float(many)
    for ignoring, dimension, concerned in _promising(clauses):
        if ignoring >= weight:
            break
        split = _split(dimension, clauses, concerned, copy_long=copy_long)
        if split.spares(many) and split.weight(many) < weight:
            best, weight = split, split.weight(many)
    return best


def _promising(clauses: Sequence[Clause]) -> list[tuple[int, Dimension, list[int]]]:
    """The dimensions, those that fewest clauses ignore first, each with the positions of the others."""
    candidates = []
    for dimension, index in FIELD.items():
        concerned = [at for at, clause in enumerate(clauses) if clause[index] is not None]
        if concerned:
            candidates.append((len(clauses) - len(concerned), dimension, concerned))
    return sorted(candidates, key=lambda candidate: candidate[0])


def _split(dimension: Dimension, clauses: Sequence[Clause], concerned: list[int], *, copy_long: bool) -> ClauseSplit:
    asked: dict[int, Any] = {at: clauses[at][FIELD[dimension]] for at in concerned}
    if dimension is Dimension.PROTOCOL:
        return ClauseSplit(dimension, _by_value(asked), frozenset(asked))
    if dimension in _WORKLOADS:
        return ClauseSplit(dimension, _by_workload(asked), frozenset(asked))
    spans = {at: space.ranges.spans for at, space in asked.items()}
    certain = {at for at in concerned if asks_only(clauses[at], dimension)}
    if dimension in PORTS:
        return ClauseSplit(dimension, *_by_port(clauses, spans, certain))
    if not copy_long:
        spans = {at: ranges for at, ranges in spans.items() if len(ranges) <= LONG}
    by_span, settled = _by_span(spans, certain)
    return ClauseSplit(dimension, dict(by_span.items()), settled)


def _by_value(values: Mapping[int, Name]) -> dict[Name, list[int]]:
    by_value: dict[Name, list[int]] = {}
    for at, value in values.items():
        by_value.setdefault(value, []).append(at)
    return by_value


def _by_workload(names: Mapping[int, str]) -> dict[Key, list[int]]:
    """A pod of a workload in one namespace is a pod of that workload: what is asked of any holds in its branch too."""
    by_name = _by_value(names)
    anywhere = {name: by_name.get(split_namespace(name)[1], []) for name in by_name if "/" in name}
    return {name: sorted({*positions, *anywhere.get(name, ())}) for name, positions in by_name.items()}


def _by_port(
    clauses: Sequence[Clause], spans: dict[int, Spans], certain: set[int]
) -> tuple[dict[Key, list[int]], frozenset[int]]:
    branches: dict[Key, list[int]] = {}
    every: frozenset[int] = frozenset()
    for number, positions in _by_value({at: clauses[at].protocol or 0 for at in spans}).items():
        by_span, settled = _by_span({at: spans[at] for at in positions}, certain)
        branches |= {(number, span): inside for span, inside in by_span.items()}
        every |= settled
    return branches, every


def _by_span(spans_of: dict[int, Spans], certain: set[int]) -> tuple[dict[Span, list[int]], frozenset[int]]:
    """The stretches of numbers in which the same positions hold; and which positions are in them."""
    edges = sorted({edge for spans in spans_of.values() for first, last in spans for edge in (first, last + 1)})
    place = {edge: at for at, edge in enumerate(edges)}
    cover = {at: [(place[first], place[last + 1]) for first, last in spans] for at, spans in spans_of.items()}
    cover = _narrow(cover, certain)
    inside = _filled(cover, len(edges), certain)
    by_span: dict[Span, list[int]] = {}
    for positions, run in groupby(range(len(edges)), key=inside.__getitem__):
        if positions:
            stretches = list(run)
            by_span[edges[stretches[0]], edges[stretches[-1] + 1] - 1] = positions
    return by_span, frozenset(cover)


def _narrow(cover: dict[int, list[Span]], certain: set[int]) -> dict[int, list[Span]]:
    """Without those that cover most stretches, where the whole would become too large."""
    width = {at: sum(end - start for start, end in cover[at]) for at in cover if at not in certain}
    limit = _SPREAD * sum(map(len, cover.values())) + _SLACK
    if sum(width.values()) <= limit:
        return cover
    by_width = sorted(width, key=width.__getitem__)
    sums = list(accumulate(width[at] for at in by_width))
    wide = set(by_width[bisect_right(sums, limit) :])
    return {at: places for at, places in cover.items() if at not in wide}


def _filled(cover: dict[int, list[Span]], many: int, certain: set[int]) -> list[list[int]]:
    """The positions in each stretch, in order; one that is certain ends its stretches, which are passed over then."""
    inside: list[list[int]] = [[] for _ in range(many)]
    following = list(range(many + 1))
    for at, places in cover.items():
        for start, end in places:
            stretch = _unended(following, start)
            while stretch < end:
                inside[stretch].append(at)
                if at in certain:
                    following[stretch] = stretch + 1
                stretch = _unended(following, stretch + 1)
    return inside


def _unended(following: list[int], stretch: int) -> int:
    """The first stretch from this one on that has not ended."""
    last = stretch
    while following[last] != last:
        last = following[last]
    while following[stretch] != last:
        following[stretch], stretch = last, following[stretch]
    return last
