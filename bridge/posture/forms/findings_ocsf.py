"""A posture report as OCSF: a Compliance Finding (2003) for each check. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.posture.check import CheckOutcome, CheckResult
from bridge.posture.objects import PostureViolation
from bridge.posture.report import BENCHMARK, PostureReport
from zones.siem.values import VENDOR, VERSION

Json = dict[str, Any]
SCHEMA, PRODUCT = "1.8.0", "zonebridge"
_FINDINGS, _COMPLIANCE, _CREATE = 2, 2003, 1
_SEVERITIES = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
_STATUSES: Mapping[CheckResult, tuple[int, str]] = {
    CheckResult.PASS: (1, "Pass"),
    CheckResult.FAIL: (3, "Fail"),
    CheckResult.UNKNOWN: (0, "Unknown"),
    CheckResult.NOT_APPLICABLE: (99, "Not applicable"),
}


def compliance_findings(report: PostureReport) -> Iterator[Json]:
    """Their ids are the same from run to run; a check's objects are its finding's resources."""
    for outcome in report.outcomes:
        yield _finding(report, outcome)


def _finding(report: PostureReport, outcome: CheckOutcome) -> Json:
    check, at = outcome.check, round(report.at.timestamp() * 1000)
    is_trouble = outcome.result is CheckResult.FAIL
    status_id, status = _STATUSES[outcome.result]
    uid = f"{report.cluster}/{check.id}"
    finding: Json = {
        "category_uid": _FINDINGS,
        "class_uid": _COMPLIANCE,
        "activity_id": _CREATE,
        "type_uid": _COMPLIANCE * 100 + _CREATE,
        "time": at,
        "severity_id": _SEVERITIES[check.severity.value] if is_trouble else 1,
        "message": outcome.why,
        "metadata": {
            "version": SCHEMA,
            "uid": f"{uid}/{at}",
            "log_provider": report.cluster,
            "product": {"name": PRODUCT, "vendor_name": VENDOR, "version": VERSION},
        },
        "finding_info": {"uid": uid, "title": check.title, "desc": outcome.why, "types": [check.id]},
        "compliance": {"control": check.id, "status_id": status_id, "status": status, "status_detail": outcome.why},
        "remediation": {"desc": check.remedy},
    }
    reference = report.reference(outcome)
    if reference.startswith("CIS"):
        finding["compliance"] |= {
            "standards": [f"{BENCHMARK} {report.benchmark}"],
            "requirements": [reference.rpartition(" ")[2]],
        }
    if outcome.violations:
        finding["resources"] = [_resource(violation) for violation in outcome.violations]
    return finding


def _resource(violation: PostureViolation) -> Json:
    of = violation.of
    return {"type": of.kind, "name": of.name, "uid": str(of)} | ({"namespace": of.namespace} if of.namespace else {})
