"""What a published revision allows although a guard rail forbids it, and whether the one before it did too. Pure.

The guard rails are those of today: a record has none. `bridge.preview.guardrails` judges by them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.guard_rail import GuardRail
from bridge.preview import violations
from bridge.preview.json_form import violation_json
from bridge.preview.model import Violation
from bridge.preview.table import VIOLATION_COLUMNS, violation_cells
from zones.policy import Policy
from zones.runtime.output import table_lines

Json = dict[str, Any]
UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class JudgedRevision:
    """By how many guard rails a revision was judged, and what it allows against them.

    `replaced`: the revision before it, 0 where it was the first. `compared`: whether that one could be read; where it
    couldn't, nobody knows what of this was so before.
    """

    rails: int
    violations: tuple[Violation, ...]
    replaced: int
    compared: bool


def judged(
    rails: Sequence[GuardRail], policy: Policy, replaced: int, before: Policy | None, at: datetime
) -> JudgedRevision:
    """`before`: the policy of the revision `replaced`. `at`: from when on schedules count."""
    return JudgedRevision(
        len(rails), violations(rails, before, policy, at), replaced, before is not None or replaced == 0
    )


def judged_json(revision: JudgedRevision) -> Json:
    """As in a preview; `existing` is null where it isn't known."""
    unknown = {} if revision.compared else {"existing": None}
    return {
        "guardrails": {
            "judged": revision.rails,
            "broken": _broken(revision),
            "violations": [violation_json(violation) | unknown for violation in revision.violations],
        }
    }


def judged_lines(revision: JudgedRevision) -> Iterator[str]:
    """What is broken, in a sentence and as a table."""
    broken = _broken(revision)
    if not broken:
        yield f"Guard rails: none of {revision.rails} is broken"
        return
    yield f"Guard rails: {broken} of {revision.rails} {'is' if broken == 1 else 'are'} broken"
    if not revision.compared:
        yield f"Revision {revision.replaced}, which it replaced, can't be read: what of this was so before isn't known"
    yield from table_lines(VIOLATION_COLUMNS, [_row(violation, revision) for violation in revision.violations])


def _broken(revision: JudgedRevision) -> int:
    return len({violation.rail for violation in revision.violations})


def _row(violation: Violation, revision: JudgedRevision) -> tuple[str, ...]:
    since = f"before, in {revision.replaced}" if violation.existing else "NEW"
    return (*violation_cells(violation), since if revision.compared else UNKNOWN)
