"""What somebody answers for: violations that are accepted until a day, with an owner and a reason. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase

from bridge.posture.check import CheckOutcome, CheckResult, ExceptedViolation
from bridge.posture.objects import PostureViolation


@dataclass(frozen=True, slots=True)
class PostureException:
    """Of a check's violations those of the object, as it is shown: `ClusterRoleBinding ops`; `*` stands for any text.

    `until`: the last day on which it holds.
    """

    check: str
    object: str
    owner: str
    reason: str
    until: date

    def covers(self, check_id: str, violation: PostureViolation) -> bool:
        return check_id == self.check and fnmatchcase(str(violation.of), self.object)


@dataclass(frozen=True, slots=True)
class ExceptionUse:
    """`expired` hold no longer; `unused` are in date, and no violation is of them."""

    expired: tuple[PostureException, ...]
    unused: tuple[PostureException, ...]


def with_exceptions(
    outcomes: Iterable[CheckOutcome], exceptions: Sequence[PostureException], today: date
) -> tuple[list[CheckOutcome], ExceptionUse]:
    """A check all of whose violations are excepted passes, and says so."""
    current = [exception for exception in exceptions if today <= exception.until]
    used: set[PostureException] = set()
    looked_at = [_without_excepted(outcome, current, used) for outcome in outcomes]
    return looked_at, ExceptionUse(
        tuple(exception for exception in exceptions if today > exception.until),
        tuple(exception for exception in current if exception not in used),
    )


def _without_excepted(
    outcome: CheckOutcome, current: Sequence[PostureException], used: set[PostureException]
) -> CheckOutcome:
    named = [exception for exception in current if exception.check == outcome.check.id]
    if not named or outcome.result is not CheckResult.FAIL:
        return outcome
    left: list[PostureViolation] = []
    excepted: list[ExceptedViolation] = []
    for violation in outcome.violations:
        covering = next((exception for exception in named if exception.covers(outcome.check.id, violation)), None)
        if covering is None:
            left.append(violation)
            continue
        used.add(covering)
        excepted.append(ExceptedViolation(violation, covering.owner, covering.reason, f"{covering.until:%F}"))
    if left:
        more = f"; and {len(left) - 1} more" if len(left) > 1 else ""
        return replace(outcome, why=f"{left[0].what}{more}", violations=left, excepted=excepted)
    count = "1 exception" if len(excepted) == 1 else f"{len(excepted)} exceptions"
    return replace(outcome, result=CheckResult.PASS, why=f"but for {count}", violations=(), excepted=excepted)
