"""A matrix and a zone's neighbours as SVG: few paths, whatever the number of cells. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from bridge.pages.parts import CellClass, Glyph, Mark, Matrix, Neighbour, Neighbourhood

# Where counts fit into cells, and where every zone's name fits beside its row: sizes in CSS pixels.
SIZES = ((16, 30), (32, 24), (60, 14), (120, 9))
LEAST_SIZE = 6
COUNTED_SIZE = 24
LABEL_PITCH = 13
LONGEST_LABEL = 22
CHARACTER = 7

# Glyphs in a cell of 20 by 20, drawn at (0, 0) of it.
UNIT = 20
_GLYPHS = {
    Glyph.DOT1: "M{x} {y}m10 8a2 2 0 1 0 .01 0z",
    Glyph.DOT2: "M{x} {y}m10 7a3 3 0 1 0 .01 0z",
    Glyph.DOT3: "M{x} {y}m10 5.5a4.5 4.5 0 1 0 .01 0z",
    Glyph.DOT4: "M{x} {y}m10 4a6 6 0 1 0 .01 0z",
    Glyph.SQUARE: "M{x} {y}m5 5h10v10h-10z",
    Glyph.FRAME: "M{x} {y}m4 4h12v12h-12zm3 3v6h6v-6z",
    Glyph.CROSS: (
        "M{x} {y}m6.5 5l3.5 3.5l3.5 -3.5l1.5 1.5l-3.5 3.5l3.5 3.5l-1.5 1.5l-3.5 -3.5l-3.5 3.5l-1.5 -1.5l3.5 -3.5"
        "l-3.5 -3.5z"
    ),
}
_MARKS = {
    Mark.OPENS: "M{x} {y}m10 3l7 13h-14z",
    Mark.CLOSES: "M{x} {y}m10 17l7 -13h-14z",
    Mark.BOTH: "M{x} {y}m10 2l7 8l-7 8l-7 -8z",
    Mark.OTHER: "M{x} {y}m4 8h12v4h-12z",
}


@dataclass(frozen=True, slots=True)
class Path:
    """An SVG path with its class of the style sheet."""

    key: str
    d: str


@dataclass(frozen=True, slots=True)
class Label:
    """A row's or column's name. `place`: of its middle, in cells; `short`: what fits."""

    place: float
    short: str
    full: str


@dataclass(frozen=True, slots=True)
class Count:
    """A number in a cell, at a column and a row."""

    column: int
    row: int
    text: str
    key: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A matrix as the template draws it: one path for each class of cells, each glyph, and each mark.

    `size`: of a cell in CSS pixels. `units`: of the whole picture, `UNIT` a cell. `label_length`: of the longest
    label, in CSS pixels. `lines` are between cells.
    """

    size: int
    units: int
    label_length: int
    lines: str
    cells: Sequence[Path]
    glyphs: Sequence[Path]
    marks: Sequence[Path]
    labels: Sequence[Label]
    counts: Sequence[Count]


def drawn(matrix: Matrix) -> Drawn:
    count = len(matrix.zones)
    size = next((size for most, size in SIZES if count <= most), LEAST_SIZE)
    counted = size >= COUNTED_SIZE
    marked = frozenset(matrix.marks)
    return Drawn(
        size,
        count * UNIT,
        min(max(map(len, matrix.zones)), LONGEST_LABEL) * CHARACTER + 14,
        "".join(f"M0 {at * UNIT}H{count * UNIT}M{at * UNIT} 0V{count * UNIT}" for at in range(count + 1)),
        tuple(_fills(matrix)),
        tuple(_glyphs(matrix, counted=counted)),
        tuple(_marks(matrix.marks)),
        tuple(_labels(matrix.zones, size)),
        tuple(_counts(matrix, marked)) if counted else (),
    )


def _fills(matrix: Matrix) -> Iterator[Path]:
    """Each class's cells as rectangles one row high, as long as the class goes on."""
    runs: dict[int, list[str]] = {}
    for row, cells in enumerate(matrix.cells):
        column = 0
        for number, run in groupby(cells):
            length = len(list(run))
            runs.setdefault(number, []).append(
                f"M{column * UNIT} {row * UNIT}h{length * UNIT}v{UNIT}h-{length * UNIT}z"
            )
            column += length
    for number, parts in sorted(runs.items()):
        yield Path(matrix.classes[number].key, "".join(parts))


def _glyphs(matrix: Matrix, *, counted: bool) -> Iterator[Path]:
    """The glyph of each class, but where the cell's count or its mark stands instead."""
    parts: dict[int, list[str]] = {}
    for row, (cells, counts) in enumerate(zip(matrix.cells, matrix.counts, strict=True)):
        for column, (number, count) in enumerate(zip(cells, counts, strict=True)):
            shape = matrix.classes[number].shape
            if shape is Glyph.NONE or (counted and count) or (row, column) in matrix.marks:
                continue
            parts.setdefault(number, []).append(_at(_GLYPHS[shape], column, row))
    for number, some in sorted(parts.items()):
        yield Path(matrix.classes[number].key, "".join(some))


def glyph_of(cell_class: CellClass) -> Markup:
    """The glyph of a class alone, for the legend."""
    if cell_class.shape is Glyph.NONE:
        return Markup()
    return Markup('<path class="glyph {}" d="{}"/>').format(cell_class.key, _at(_GLYPHS[cell_class.shape], 0, 0))


def mark_path(mark: str) -> str:
    return _at(_MARKS[Mark(mark)], 0, 0)


def _marks(marks: Mapping[tuple[int, int], Mark]) -> Iterator[Path]:
    for mark in Mark:
        parts = [_at(_MARKS[mark], column, row) for (row, column), other in sorted(marks.items()) if other is mark]
        if parts:
            yield Path(mark.value, "".join(parts))


def _at(glyph: str, column: int, row: int) -> str:
    return glyph.format(x=column * UNIT, y=row * UNIT)


def _counts(matrix: Matrix, marked: frozenset[tuple[int, int]]) -> Iterator[Count]:
    for row, (cells, counts) in enumerate(zip(matrix.cells, matrix.counts, strict=True)):
        for column, (number, count) in enumerate(zip(cells, counts, strict=True)):
            if count and (row, column) not in marked:
                yield Count(column, row, short_number(count), matrix.classes[number].key)


def short_number(number: int) -> str:
    """What fits into a cell: 999, 1k, 12M."""
    unit = ""
    for larger in ("k", "M", "G", "T"):
        if number < 1000:  # noqa: PLR2004 - three digits
            break
        number, unit = number // 1000, larger
    return f"{number}{unit}"


def _labels(zones: Sequence[str], size: int) -> Iterator[Label]:
    """Every zone's name, or every n-th where they would lie upon each other."""
    step = -(-LABEL_PITCH // size)
    for place in range(0, len(zones), step):
        yield Label(place + 0.5, shortened(zones[place], LONGEST_LABEL), zones[place])


def shortened(name: str, longest: int) -> str:
    """A name that is too long loses its middle: both ends may tell it from others."""
    if len(name) <= longest:
        return name
    tail = (longest - 1) // 3
    return f"{name[: longest - 1 - tail]}…{name[-tail:]}"


# A zone's neighbours: three columns, the zone in the middle.
WIDTH, ROW, TOP = 720, 22, 30
_LEFT, _RIGHT = 200, 520
_MIDDLE_LEFT, _MIDDLE_RIGHT = 300, 420
MOST_NEIGHBOURS = 16
MIDDLE_LABEL = 15


@dataclass(frozen=True, slots=True)
class Edge:
    """A neighbour: a curve to or from the middle, its name, and its count at the curve's outer end."""

    d: str
    key: str
    mark: str
    width: float
    name: str
    full: str
    count: str
    x: int
    y: float


@dataclass(frozen=True, slots=True)
class Graph:
    """One zone in the middle, those that reach it at the left, those that it reaches at the right."""

    short: str
    height: int
    middle: float
    left: Sequence[Edge]
    right: Sequence[Edge]
    more_left: int
    more_right: int


def graph(around: Neighbourhood) -> Graph:
    left, right = around.reached_from[:MOST_NEIGHBOURS], around.reaches[:MOST_NEIGHBOURS]
    more = len(around.reached_from) - len(left), len(around.reaches) - len(right)
    rows = max(len(left) + bool(more[0]), len(right) + bool(more[1]), 2)
    height = TOP + rows * ROW + ROW // 2
    middle = TOP + rows * ROW / 2
    return Graph(
        shortened(around.zone, MIDDLE_LABEL),
        height,
        middle,
        tuple(_edges(left, middle, rows, to_left=True)),
        tuple(_edges(right, middle, rows, to_left=False)),
        *more,
    )


def _edges(neighbours: Sequence[Neighbour], middle: float, rows: int, *, to_left: bool) -> Iterator[Edge]:
    outer, inner = (_LEFT, _MIDDLE_LEFT) if to_left else (_RIGHT, _MIDDLE_RIGHT)
    half = (outer + inner) / 2
    spare = (rows - len(neighbours)) * ROW / 2 if len(neighbours) < rows else 0
    for place, neighbour in enumerate(neighbours):
        y = TOP + spare + (place + 0.5) * ROW
        yield Edge(
            f"M{outer} {y:g}C{half:g} {y:g} {half:g} {middle:g} {inner} {middle:g}",
            neighbour.key,
            neighbour.mark.value if neighbour.mark else "",
            min(1 + neighbour.count**0.5, 7),
            shortened(neighbour.zone, LONGEST_LABEL),
            neighbour.zone,
            short_number(neighbour.count) if neighbour.count else "",
            outer,
            y,
        )
