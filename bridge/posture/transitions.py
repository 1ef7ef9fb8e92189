"""What has changed between two looks at a cluster, as it is told. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.posture.catalogue import number
from bridge.posture.check import CheckOutcome, CheckResult
from bridge.posture.objects import PostureViolation
from bridge.posture.report import TROUBLE
from zones.siem.alerts import Severity

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class PostureTransition:
    """`over`: the check is in trouble no longer."""

    check: str
    message: str
    over: bool
    severity: Severity
    about: Mapping[str, Any]


def transitions(
    before: Mapping[str, CheckOutcome], after: Sequence[CheckOutcome], benchmark: str
) -> Iterator[PostureTransition]:
    """Of each check whose result is another, or that names other objects. `before` is empty at the first look.

    At the first look what is well isn't told.
    """
    for outcome in after:
        last = before.get(outcome.check.id)
        if last is not None and _said(last) == _said(outcome):
            continue
        if outcome.result in TROUBLE or (last is not None and last.result in TROUBLE):
            yield _transition(last, outcome, benchmark)


def _said(outcome: CheckOutcome) -> tuple[object, ...]:
    named = frozenset(violation.what for violation in outcome.violations)
    return outcome.result, named, outcome.why if outcome.result is CheckResult.UNKNOWN else ""


def _transition(last: CheckOutcome | None, outcome: CheckOutcome, benchmark: str) -> PostureTransition:
    known = {violation.what for violation in last.violations} if last is not None else set[str]()
    new = [violation for violation in outcome.violations if violation.what not in known]
    old = [violation for violation in outcome.violations if violation.what in known]
    check, word = outcome.check, outcome.result.value.replace("-", " ")
    failed = outcome.result is CheckResult.FAIL
    about: dict[str, Any] = {
        "check": check.id,
        "title": check.title,
        "result": outcome.result.value,
        "before": None if last is None else last.result.value,
        "remedy": check.remedy,
        "violations": [_violation(violation) for violation in (*new, *old)[:_SHOWN]],
        "count": len(outcome.violations),
        "new": len(new),
    }
    if cited := number(check.id, benchmark):
        about["benchmark"] = f"CIS {benchmark} {cited}"
    return PostureTransition(
        check.id,
        f"{check.title}: {word}: {_why(outcome, new)}",
        outcome.result not in TROUBLE,
        check.severity if failed else Severity.LOW,
        about,
    )


def _why(outcome: CheckOutcome, new: Sequence[PostureViolation]) -> str:
    """What is new comes first, with who changed it and when, as far as the API server noted it."""
    if outcome.result is not CheckResult.FAIL:
        return outcome.why
    if not new:
        return f"still {outcome.why}"
    first = new[0]
    changed = f" (changed with {first.changed.manager} at {first.changed.at})" if first.changed else ""
    others = len(outcome.violations) - 1
    return f"{first.what}{changed}" + (f"; and {others} more" if others else "")


def _violation(violation: PostureViolation) -> dict[str, Any]:
    value: dict[str, Any] = {"object": str(violation.of), "what": violation.what}
    if violation.changed is not None:
        value |= {"changedWith": violation.changed.manager, "changedAt": violation.changed.at}
    return value
