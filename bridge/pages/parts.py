"""What a page is made of: a headline, figures, tables, a matrix of zones, and the neighbours of each zone. Values only.

Every text may be hostile: it is escaped where the page is written (`bridge.pages.html`), never before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Json = dict[str, Any]


class Tone(StrEnum):
    """What a text means for its reader; each has a colour and, where it is a label, a glyph."""

    PLAIN = "plain"
    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Headline:
    """The page's first sentence, and the lines that explain it."""

    text: str
    tone: Tone = Tone.PLAIN
    lines: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PageFigure:
    """A number with its name."""

    label: str
    value: int | str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Cell:
    """A table's cell: its text, and beneath it `small`. With a `tone` the text is a label.

    `link`: a path of ours that its text leads to.
    """

    text: str
    small: str = ""
    tone: Tone | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """`name`: a constant of ours, never somebody's text. `share`: of the table's width, in percent.

    `number`: its cells are aligned to the right.
    """

    name: str
    share: int
    number: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """`anchor`: what links to it, unique on the page. `choices`: those of the table's filter that it belongs to."""

    cells: Sequence[Cell]
    anchor: str = ""
    choices: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table with a filter by text and, where there are `choices`, by these. `key` is unique on the page.

    `empty` is what stands there without rows, `notes` what stands beneath it.
    """

    key: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    choices: Sequence[str] = ()
    empty: str = "None."
    notes: Sequence[str] = ()
    folded: bool = False


class Glyph(StrEnum):
    """The glyph of a cell, drawn within one unit."""

    NONE = "none"
    DOT1 = "dot1"
    DOT2 = "dot2"
    DOT3 = "dot3"
    DOT4 = "dot4"
    SQUARE = "square"
    FRAME = "frame"
    CROSS = "cross"


@dataclass(frozen=True, slots=True)
class CellClass:
    """A kind of cell: its colour (`key` is a class of the style sheet), its glyph, and what the legend says of it."""

    key: str
    label: str
    shape: Glyph = Glyph.NONE


class Mark(StrEnum):
    """What changes in a cell: something is opened, something is closed, both, or something else."""

    OPENS = "opens"
    CLOSES = "closes"
    BOTH = "both"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Matrix:
    """Zones against zones. `cells[from][to]` is a place in `classes`, `counts[from][to]` the number that a cell shows.

    `sentences`: what is said of a pair, by class, with a count of one and with more, which `{}` stands for. `marks` are
    of pairs (from, to) that change. `details`: what the script needs to open a cell (`PolicyMatrix.matrix`).
    """

    title: str
    zones: Sequence[str]
    classes: Sequence[CellClass]
    cells: Sequence[Sequence[int]]
    counts: Sequence[Sequence[int]]
    sentences: Sequence[tuple[str, str]]
    marks: Mapping[tuple[int, int], Mark]
    details: Json
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A zone at the other end: its name, the cell's class, its count and its mark."""

    zone: str
    key: str
    count: int
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """One zone, those that reach it and those that it reaches, the most rules first."""

    zone: str
    reached_from: Sequence[Neighbour]
    reaches: Sequence[Neighbour]


@dataclass(frozen=True, slots=True)
class PageLink:
    """To another page of ours, by its path."""

    text: str
    path: str


@dataclass(frozen=True, slots=True)
class StatusPage:
    """A whole page. `subtitle` says of what it is; sections stand in their order. `back`: a path of ours above it.

    `links`: other pages beside it.
    """

    title: str
    subtitle: str
    headline: Headline
    figures: Sequence[PageFigure] = ()
    matrix: Matrix | None = None
    neighbourhoods: Sequence[Neighbourhood] = ()
    tables: Sequence[PageTable] = ()
    back: str = ""
    links: Sequence[PageLink] = ()
