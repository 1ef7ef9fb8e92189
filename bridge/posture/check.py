"""What a check is, and what came of one. Values only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter

from bridge.posture.objects import PostureViolation
from bridge.posture.snapshot import Input
from bridge.posture.view import PostureView
from zones.siem.alerts import Severity


class CheckResult(StrEnum):
    """UNKNOWN is never as good as PASS; NOT_APPLICABLE is what can't be wrong here."""

    PASS = "pass"  # noqa: S105 - a result
    FAIL = "fail"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not-applicable"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A result and why; FAIL has violations."""

    result: CheckResult
    why: str
    violations: Sequence[PostureViolation] = ()


@dataclass(frozen=True, slots=True)
class PostureCheck:
    """`title` is what is true where it passes, `remedy` what to do where it fails. `judge` is pure."""

    id: str
    title: str
    remedy: str
    severity: Severity
    needs: frozenset[Input]
    judge: Callable[[PostureView], Judgement]


@dataclass(frozen=True, slots=True)
class ExceptedViolation:
    """A violation that somebody answers for."""

    violation: PostureViolation
    owner: str
    reason: str
    until: str


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What came of a check. `source`: of results that were taken in from another program, that program."""

    check: PostureCheck
    result: CheckResult
    why: str
    violations: Sequence[PostureViolation] = ()
    excepted: Sequence[ExceptedViolation] = ()


def judged(violations: Iterable[PostureViolation], otherwise: str) -> Judgement:
    """FAIL where there are any; PASS, and why, otherwise."""
    listed = sorted(violations, key=attrgetter("what"))  # which begins with the object
    if listed:
        return Judgement(CheckResult.FAIL, _counted(listed), listed)
    return Judgement(CheckResult.PASS, otherwise)


def unknown(why: str) -> Judgement:
    return Judgement(CheckResult.UNKNOWN, why)


def not_applicable(why: str) -> Judgement:
    return Judgement(CheckResult.NOT_APPLICABLE, why)


def _counted(violations: Sequence[PostureViolation]) -> str:
    first = violations[0].what
    return first if len(violations) == 1 else f"{first}; and {len(violations) - 1} more"
