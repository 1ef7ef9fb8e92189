"""Who is in quarantine in a cluster, as a table of its page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bridge.pages.parts import Cell, Column, PageTable, Row, Tone
from bridge.quarantine.client import IN_FORCE
from bridge.quarantine.text import row
from zones.addresses.inventory import FINISHED_PHASES, Pod
from zones.runtime.findings import some
from zones.tiers.quarantines import Quarantine

COLUMNS = (
    *(Column("Subject", 24), Column("State", 10), Column("Left", 8, number=True), Column("Requested by", 20)),
    *(Column("Reason", 22), Column("Name", 16)),
)
NOT_READABLE = "These rights don't let Quarantines be read, or the cluster doesn't know the kind."
ABOUT = "They are in the zone quarantine of the matrix for as long as a Quarantine of theirs is in force."


def quarantine_table(
    quarantines: Sequence[Quarantine] | None, now: float, pods: Mapping[str, Sequence[Pod] | None]
) -> PageTable:
    """The oldest first. None: whether there are any isn't known. `now`: seconds since the epoch.

    `pods`: those of the namespaces that Quarantines name; None of one whose pods aren't known.
    """
    rows = [_row(row(listed, now), _pods_text(listed, pods.get(listed.namespace))) for listed in quarantines or ()]
    choices = tuple(dict.fromkeys(choice for line in rows for choice in line.choices))
    empty = NOT_READABLE if quarantines is None else "Nobody is in quarantine."
    return PageTable("quarantine", "Pods in quarantine", COLUMNS, rows, choices, empty, (ABOUT,))


def _pods_text(quarantine: Quarantine, pods: Sequence[Pod] | None) -> str:
    """Whom it is about now, of those that have not ended."""
    if pods is None:
        return "which pods these are can't be read"
    running = [pod for pod in pods if pod.phase not in FINISHED_PHASES and not pod.stopped]
    names = [pod.name for pod in running if quarantine.names(pod.namespace, pod.name, pod.uid, pod.workload)]
    if not names:
        return "no pod now"
    return f"1 pod: {names[0]}" if len(names) == 1 else f"{len(names)} pods: {some(names)}"


def _row(texts: tuple[str, ...], pods: str) -> Row:
    """Of the columns that `zonebridge quarantine list` has. `pods`: of its subject."""
    name, state, subject, left, requested_by, reason = texts
    tone = Tone.BAD if state == IN_FORCE else Tone.PLAIN
    return Row(
        (Cell(subject, pods), Cell(state, tone=tone), *map(Cell, (left, requested_by, reason, name))), choices=(state,)
    )
