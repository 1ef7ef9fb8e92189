"""What was measured beside what the policy says: by zones, and each connection that is otherwise. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bridge.segmentation.attempts import Attempt
from bridge.segmentation.probe import Outcome

Json = dict[str, Any]
MOST_DIFFERENCES = 1_000


class Deviation(StrEnum):
    """How a connection differs from what the policy says, the worst first."""

    OPEN = "open though denied"
    CLOSED = "closed though allowed"
    OTHERWISE = "closed in another way"
    UNMEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Measured:
    """A connection and its outcome; None: it is not known, since one of both ends was not there."""

    attempt: Attempt
    outcome: Outcome | None

    @property
    def difference(self) -> Deviation | None:
        """None: it is as the policy says."""
        if self.outcome is None:
            return Deviation.UNMEASURED
        if self.outcome is self.attempt.expected:
            return None
        if self.outcome is Outcome.ALLOWED:
            return Deviation.OPEN
        return Deviation.CLOSED if self.attempt.expected is Outcome.ALLOWED else Deviation.OTHERWISE


@dataclass(frozen=True, slots=True)
class MeasuredCell:
    """From one zone to another in one family. `open`: ports that were; `closed`: ports of which none was.

    `agree`: how many are as the policy says.
    """

    from_zone: str
    to_zone: str
    version: int
    tried: int
    agree: int
    open: tuple[int, ...]
    closed: tuple[int, ...]


def cells(results: Iterable[Measured]) -> list[MeasuredCell]:
    """By from-zone, to-zone and family."""
    grouped: dict[tuple[str, str, int], list[Measured]] = defaultdict(list)
    for result in results:
        attempt = result.attempt
        grouped[attempt.source.zone, attempt.destination.zone, attempt.address.version].append(result)
    return [_cell(key, some) for key, some in sorted(grouped.items())]


def _cell(key: tuple[str, str, int], some: Sequence[Measured]) -> MeasuredCell:
    passed = {result.attempt.port for result in some if result.outcome is Outcome.ALLOWED}
    closed = {result.attempt.port for result in some if result.outcome not in {Outcome.ALLOWED, None}} - passed
    agree = sum(result.difference is None for result in some)
    return MeasuredCell(*key, len(some), agree, tuple(sorted(passed)), tuple(sorted(closed)))


def cell_json(cell: MeasuredCell) -> Json:
    return {
        "from": cell.from_zone,
        "to": cell.to_zone,
        "family": f"IPv{cell.version}",
        "tried": cell.tried,
        "agree": cell.agree,
        "open": list(cell.open),
        "closed": list(cell.closed),
    }


def differences_json(results: Iterable[Measured]) -> list[Json]:
    """The worst first, MOST_DIFFERENCES of them."""
    places = list(Deviation)
    wrong = [(result, result.difference) for result in results]
    ranked = sorted(
        ((places.index(kind), result, kind) for result, kind in wrong if kind is not None), key=lambda row: row[0]
    )
    return [_difference_json(result, kind) for _, result, kind in ranked[:MOST_DIFFERENCES]]


def _difference_json(result: Measured, kind: Deviation) -> Json:
    attempt, origin = result.attempt, result.attempt.decision.origin
    return {
        "kind": kind.value,
        "from": attempt.source.zone,
        "to": attempt.destination.zone,
        "source": attempt.source.name,
        "source_node": attempt.source.node,
        "destination": attempt.destination.name,
        "destination_node": attempt.destination.node,
        "address": str(attempt.address),
        "port": attempt.port,
        "expected": attempt.expected.value,
        "outcome": None if result.outcome is None else result.outcome.value,
        "rule": origin.name,
        "rule_uuid": origin.uuid,
        "rulebase": origin.rulebase,
        "device_group": origin.device_group,
    }
