"""When a preview should stop a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from bridge.preview.comparison import Preview
from zones.policy import Verdict


class FailOn(StrEnum):
    """What a preview may not have. Any one that it has ends the command with 1."""

    REFUSED = "refused"
    ANY_DENIED = "any-denied"
    NEW_ALLOW = "new-allow"


def failures(preview: Preview, conditions: Iterable[FailOn]) -> tuple[str, ...]:
    """Why the preview fails, a sentence for each condition that it meets."""
    return tuple(_failures(preview, frozenset(conditions)))


def _failures(preview: Preview, conditions: frozenset[FailOn]) -> Iterator[str]:
    if preview.refused and FailOn.REFUSED in conditions:
        yield "the candidate would be refused"
    closed, opened = counted(preview)
    if closed and FailOn.ANY_DENIED in conditions:
        yield f"{closed} zone pairs lose something that is allowed today"
    if opened and FailOn.NEW_ALLOW in conditions:
        yield f"{opened} zone pairs get something that is denied today"


def counted(preview: Preview) -> tuple[int, int]:
    """Zone pairs in which something allowed is closed, and in which something is opened."""
    zones = () if preview.flows is None else preview.flows.zones
    closed = sum(any(piece.old.verdict is Verdict.ALLOW for piece in change.pieces) for change in zones)
    opened = sum(any(piece.new.verdict is Verdict.ALLOW for piece in change.pieces) for change in zones)
    return closed, opened
