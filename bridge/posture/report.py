"""A cluster's posture at one time, and its form as JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bridge.posture.catalogue import FIREWALL, NEWEST, number
from bridge.posture.check import CheckOutcome, CheckResult
from bridge.posture.exceptions import ExceptionUse, PostureException
from bridge.posture.kube_bench import KubeBenchResult
from bridge.posture.objects import PostureViolation

Json = dict[str, Any]
BENCHMARK = "CIS Kubernetes Benchmark"
TROUBLE = frozenset({CheckResult.FAIL, CheckResult.UNKNOWN})


@dataclass(frozen=True, slots=True)
class PostureReport:
    """`benchmark`: the version that numbers are of. `hidden`: lists that could not be read, and why.

    `imported`: results of another program, which this one didn't look at itself.
    """

    cluster: str
    at: datetime
    outcomes: Sequence[CheckOutcome]
    exceptions: ExceptionUse = field(default_factory=lambda: ExceptionUse((), ()))
    hidden: Sequence[str] = ()
    imported: Sequence[KubeBenchResult] = ()
    benchmark: str = NEWEST

    @property
    def good(self) -> bool:
        """Nothing failed and nothing is unknown."""
        results = [*(outcome.result for outcome in self.outcomes), *(result.result for result in self.imported)]
        return not any(result in TROUBLE for result in results)

    def reference(self, outcome: CheckOutcome) -> str:
        """`CIS 2.0.1 5.1.1`, `firewall` for what no benchmark has, or nothing."""
        cited = number(outcome.check.id, self.benchmark)
        if cited:
            return f"CIS {self.benchmark} {cited}"
        return "firewall" if outcome.check.id in FIREWALL else ""

    def counts(self) -> Mapping[CheckResult, int]:
        """Of the checks of our own: every result, also those that none has."""
        counted = Counter(outcome.result for outcome in self.outcomes)
        return {result: counted[result] for result in CheckResult}


def counts_text(counts: Mapping[CheckResult, int]) -> str:
    """Never a percentage: what is unknown is in none."""
    names = {CheckResult.PASS: "pass", CheckResult.FAIL: "fail", CheckResult.UNKNOWN: "unknown"}
    return ", ".join(f"{count} {names.get(result, 'not applicable')}" for result, count in counts.items())


def report_json(report: PostureReport) -> Json:
    return {
        "cluster": report.cluster,
        "at": report.at.isoformat(timespec="seconds"),
        "good": report.good,
        "benchmark": {"name": BENCHMARK, "version": report.benchmark},
        "counts": {result.value: count for result, count in report.counts().items()},
        "checks": [_outcome_json(report, outcome) for outcome in report.outcomes],
        "imported": [result.json() for result in report.imported],
        "hidden": list(report.hidden),
        "exceptions": {
            "expired": [_exception_json(exception) for exception in report.exceptions.expired],
            "unused": [_exception_json(exception) for exception in report.exceptions.unused],
        },
    }


def _outcome_json(report: PostureReport, outcome: CheckOutcome) -> Json:
    check = outcome.check
    return {
        "id": check.id,
        "title": check.title,
        "result": outcome.result.value,
        "why": outcome.why,
        "severity": check.severity.value,
        "reference": report.reference(outcome),
        "remedy": check.remedy,
        "needs": sorted(kind.value for kind in check.needs),
        "violations": [_violation_json(violation) for violation in outcome.violations],
        "excepted": [
            _violation_json(accepted.violation)
            | {"owner": accepted.owner, "reason": accepted.reason, "until": accepted.until}
            for accepted in outcome.excepted
        ],
    }


def _violation_json(violation: PostureViolation) -> Json:
    of = violation.of
    named = {"kind": of.kind, "name": of.name} | ({"namespace": of.namespace} if of.namespace else {})
    changed = violation.changed
    return {"object": named, "what": violation.what} | (
        {} if changed is None else {"changed": {"by": changed.manager, "at": changed.at}}
    )


def _exception_json(exception: PostureException) -> Json:
    return {
        "check": exception.check,
        "object": exception.object,
        "owner": exception.owner,
        "reason": exception.reason,
        "until": f"{exception.until:%F}",
    }
