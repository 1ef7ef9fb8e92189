"""A posture report for a terminal, and as CSV. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.posture.check import CheckOutcome
from bridge.posture.kube_bench import SOURCE
from bridge.posture.report import BENCHMARK, TROUBLE, PostureReport, counts_text
from zones.runtime.output import csv_text, printable, table_lines

COLUMNS = ("CHECK", "REFERENCE", "SEVERITY", "RESULT", "WHY")
CSV_COLUMNS = (
    *("check", "reference", "title", "severity", "result", "why", "object", "what", "changed_by", "changed_at"),
    *("exception_owner", "exception_reason", "exception_until", "remedy", "source"),
)


def report_lines(report: PostureReport) -> Iterator[str]:
    """The checks as a table, then what to do about those that failed, and what could not be read."""
    rows = [
        (outcome.check.id, report.reference(outcome), outcome.check.severity.value, outcome.result.value, outcome.why)
        for outcome in report.outcomes
    ]
    rows += [(SOURCE, result.reference, "-", result.result.value, _imported(result.why)) for result in report.imported]
    yield from table_lines(COLUMNS, rows)
    for outcome in report.outcomes:
        if outcome.result in TROUBLE and outcome.violations:
            yield from ("", *_violation_lines(outcome))
    if report.hidden:
        yield from (
            "",
            "could not be read, so what needs it is unknown:",
            *(f"  {printable(problem)}" for problem in report.hidden),
        )
    for exception in report.exceptions.expired:
        named = printable(f"{exception.check}, {exception.object}, {exception.owner}")
        yield f"exception expired on {exception.until:%F}: {named}"
    for exception in report.exceptions.unused:
        yield f"exception of nothing that is wrong: {printable(f'{exception.check}, {exception.object}')}"
    yield ""
    yield f"{report.cluster}, {report.at:%F %T} UTC: {counts_text(report.counts())}"
    yield f"numbers are of the {BENCHMARK} {report.benchmark}"


def _imported(why: str) -> str:
    return why or "-"


def _violation_lines(outcome: CheckOutcome) -> Iterator[str]:
    yield f"{outcome.check.id}: {outcome.check.title}"
    for violation in outcome.violations:
        changed = violation.changed
        by = f" (changed by {changed.manager} at {changed.at})" if changed else ""
        yield f"  {printable(violation.what + by)}"
    yield f"  → {outcome.check.remedy}"


def report_csv(report: PostureReport) -> str:
    """A line for each violation; one for each check that has none."""
    return csv_text(CSV_COLUMNS, _rows(report))


def _rows(report: PostureReport) -> Iterator[tuple[object, ...]]:
    for outcome in report.outcomes:
        check = outcome.check
        start = (check.id, report.reference(outcome), check.title, check.severity, outcome.result, outcome.why)
        listed = [(violation, ("", "", "")) for violation in outcome.violations]
        listed += [
            (accepted.violation, (accepted.owner, accepted.reason, accepted.until)) for accepted in outcome.excepted
        ]
        for violation, exception in listed:
            changed = (violation.changed.manager, violation.changed.at) if violation.changed else ("", "")
            yield (*start, violation.of, violation.what, *changed, *exception, check.remedy, "zonebridge")
        if not listed:
            yield (*start, "", "", "", "", "", "", "", check.remedy, "zonebridge")
    for result in report.imported:
        at = result.at.isoformat(timespec="seconds")
        first = (SOURCE, result.reference, "", "", result.result, result.why)
        yield (*first, "", "", "", "", "", "", "", "", f"{SOURCE} {result.file} {at}")
