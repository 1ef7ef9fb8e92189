"""A posture report as a ClusterReport of openreports.io, which report viewers read. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from bridge.posture.check import CheckOutcome, CheckResult
from bridge.posture.report import PostureReport

Json = dict[str, Any]
SOURCE = "zonebridge"
NAME = "zonebridge-posture"
# `error` is its word for what could not be evaluated.
_RESULTS: Mapping[CheckResult, str] = {
    CheckResult.PASS: "pass",
    CheckResult.FAIL: "fail",
    CheckResult.UNKNOWN: "error",
    CheckResult.NOT_APPLICABLE: "skip",
}
# An object may have a megabyte and a half; the report's own summary says how many there are.
_MOST = 100


def cluster_report(report: PostureReport) -> Json:
    results = [result for outcome in report.outcomes for result in _results(report, outcome)]
    counted = Counter(_RESULTS[outcome.result] for outcome in report.outcomes)
    return {
        "apiVersion": "openreports.io/v1alpha1",
        "kind": "ClusterReport",
        "metadata": {"name": NAME, "labels": {"app.kubernetes.io/managed-by": SOURCE}},
        "source": SOURCE,
        "summary": {word: counted[word] for word in ("pass", "fail", "warn", "error", "skip")},
        "results": results,
    }


def _results(report: PostureReport, outcome: CheckOutcome) -> Iterator[Json]:
    check = outcome.check
    severity = "info" if check.severity.value == "informational" else check.severity.value
    result: Json = {
        "source": SOURCE,
        "policy": check.id,
        "rule": check.title,
        "category": report.reference(outcome) or SOURCE,
        "result": _RESULTS[outcome.result],
        "severity": severity,
        "message": outcome.why,
        "scored": True,
        "timestamp": {"seconds": int(report.at.timestamp()), "nanos": 0},
        "properties": {"remedy": check.remedy, "violations": str(len(outcome.violations))},
    }
    if outcome.violations:
        result["resources"] = [
            {"kind": violation.of.kind, "name": violation.of.name}
            | ({"namespace": violation.of.namespace} if violation.of.namespace else {})
            for violation in outcome.violations[:_MOST]
        ]
    yield result
