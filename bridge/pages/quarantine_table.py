"""Who is in quarantine in a cluster, as a table of its page. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.pages.parts import Cell, Column, PageTable, Row, Tone
from bridge.quarantine.client import IN_FORCE
from bridge.quarantine.text import row
from zones.tiers.quarantines import Quarantine

COLUMNS = (
    *(Column("Subject", 24), Column("State", 10), Column("Left", 8, number=True), Column("Requested by", 20)),
    *(Column("Reason", 22), Column("Name", 16)),
)
NOT_READABLE = "These rights don't let Quarantines be read, or the cluster doesn't know the kind."
ABOUT = "They are in the zone quarantine of the matrix for as long as a Quarantine of theirs is in force."


def quarantine_table(quarantines: Sequence[Quarantine] | None, now: float) -> PageTable:
    """The oldest first. None: whether there are any isn't known. `now`: seconds since the epoch."""
    rows = [_row(row(quarantine, now)) for quarantine in quarantines or ()]
    choices = tuple(dict.fromkeys(choice for line in rows for choice in line.choices))
    empty = NOT_READABLE if quarantines is None else "Nobody is in quarantine."
    return PageTable("quarantine", "Pods in quarantine", COLUMNS, rows, choices, empty, (ABOUT,))


def _row(texts: tuple[str, ...]) -> Row:
    """Of the columns that `zonebridge quarantine list` has."""
    name, state, subject, left, requested_by, reason = texts
    tone = Tone.BAD if state == IN_FORCE else Tone.PLAIN
    return Row(
        (Cell(subject), Cell(state, tone=tone), *map(Cell, (left, requested_by, reason, name))), choices=(state,)
    )
