"""Values as text for a terminal or a pipe: JSON, CSV, and a table that no width cuts off. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence

# What a spreadsheet takes for the beginning of a formula, the wide forms of some alphabets included.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def printable(text: str) -> str:
    """Text that can't steer a terminal: control characters, line ends and what turns the direction are escaped."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def lines_text(lines: Iterable[str]) -> str:
    return "\n".join(map(printable, lines))


def json_text(value: object, *, indent: int | None = 2) -> str:
    """JSON of which no text steers a terminal: what isn't printable is escaped, which means the same to programs."""
    lines = json.dumps(value, indent=indent, ensure_ascii=False).split("\n")
    return "\n".join(line if line.isprintable() else "".join(map(_escaped, line)) for line in lines)


def _escaped(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV with a header, of which no cell steers a terminal or is a formula to a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_harmless(str(cell)) for cell in row] for row in rows)
    return text.getvalue()


def _harmless(cell: str) -> str:
    text = printable(cell)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def table_text(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(table_lines(columns, rows))


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as they need, the last one as long as it is."""
    table = [columns, *(tuple(map(printable, row)) for row in rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(columns) - 1)]
    return [_line(row, widths) for row in table]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
    return "  ".join([*cells, row[-1]]).rstrip()
