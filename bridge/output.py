"""Values as text for a terminal or a pipe: JSON, and a table that no width cuts off. Pure; `bridge.cli` prints it."""

from __future__ import annotations

import json
from collections.abc import Sequence


def printable(text: str) -> str:
    """Text that can't steer a terminal: control characters, line ends and what turns the direction are escaped."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def json_text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def table_text(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need, the last one as long as it is."""
    table = [columns, *(tuple(map(printable, row)) for row in rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(columns) - 1)]
    return "\n".join(_line(row, widths) for row in table)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
    return "  ".join([*cells, row[-1]]).rstrip()
