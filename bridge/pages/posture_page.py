"""What `zonebridge posture -o html` shows: each check with its result, and each object that is in the way. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.pages.parts import Cell, Column, Headline, PageFigure, PageTable, Row, StatusPage, Tone
from bridge.posture.check import CheckOutcome, CheckResult
from bridge.posture.kube_bench import SOURCE
from bridge.posture.report import BENCHMARK, PostureReport, counts_text

SUBTITLE = "The cluster's configuration against checks of the API server's objects. Unknown is never as good as pass"
COLUMNS = (
    *(Column("Check", 24), Column("Reference", 12), Column("Severity", 8)),
    *(Column("Result", 10), Column("Why", 24), Column("What to do", 22)),
)
_VIOLATION_COLUMNS = (
    *(Column("Check", 16), Column("Object", 22), Column("What", 34)),
    *(Column("Last changed", 14), Column("Accepted by", 14)),
)
_IMPORTED_COLUMNS = (Column("Reference", 20), Column("Result", 15), Column("Why", 45), Column("From", 20))
_TONES = {
    CheckResult.PASS: Tone.GOOD,
    CheckResult.FAIL: Tone.BAD,
    CheckResult.UNKNOWN: Tone.CAUTION,
    CheckResult.NOT_APPLICABLE: Tone.PLAIN,
}
# What there is to do comes first.
_ORDER = (CheckResult.FAIL, CheckResult.UNKNOWN, CheckResult.PASS, CheckResult.NOT_APPLICABLE)
_ACCEPTED, _OPEN = "accepted", "open"


def posture_page(report: PostureReport) -> StatusPage:
    counts = report.counts()
    figures = tuple(
        PageFigure(_word(result), count, _TONES[result] if count else Tone.PLAIN) for result, count in counts.items()
    )
    tables = [_checks(report), _violations(report)]
    if report.imported:
        tables.append(_imported(report))
    return StatusPage(
        f"Posture of {report.cluster}",
        f"{SUBTITLE}. {report.at:%F %R} UTC, numbers of {BENCHMARK} {report.benchmark}",
        _headline(report),
        figures,
        tables=tuple(tables),
    )


def _word(result: CheckResult) -> str:
    return result.value.replace("-", " ")


def _headline(report: PostureReport) -> Headline:
    counts = report.counts()
    lines = [counts_text(counts)]
    if report.hidden:
        lines.append(f"could not be read: {'; '.join(report.hidden)}")
    lines += [
        f"exception expired on {exception.until:%F}: {exception.check}, {exception.object} ({exception.owner})"
        for exception in report.exceptions.expired
    ]
    if counts[CheckResult.FAIL]:
        return Headline(f"{counts[CheckResult.FAIL]} of {len(report.outcomes)} checks fail", Tone.BAD, lines)
    if counts[CheckResult.UNKNOWN]:
        return Headline(f"{counts[CheckResult.UNKNOWN]} of {len(report.outcomes)} are unknown", Tone.CAUTION, lines)
    return Headline("No check fails, and none is unknown", Tone.GOOD, lines)


def _checks(report: PostureReport) -> PageTable:
    rows = [
        Row(
            (
                *(
                    Cell(outcome.check.title, outcome.check.id),
                    Cell(report.reference(outcome)),
                    Cell(outcome.check.severity.value),
                ),
                *(
                    Cell(_word(outcome.result), tone=_TONES[outcome.result]),
                    Cell(outcome.why),
                    Cell(outcome.check.remedy),
                ),
            ),
            f"check-{outcome.check.id}",
            (_word(outcome.result),),
        )
        for outcome in sorted(report.outcomes, key=lambda outcome: _ORDER.index(outcome.result))
    ]
    return PageTable("checks", "Checks", COLUMNS, rows, [_word(result) for result in CheckResult])


def _violations(report: PostureReport) -> PageTable:
    rows = [row for outcome in report.outcomes for row in _violation_rows(outcome)]
    empty = "No object is in the way of a check."
    return PageTable("objects", "Objects", _VIOLATION_COLUMNS, rows, (_OPEN, _ACCEPTED), empty)


def _violation_rows(outcome: CheckOutcome) -> Iterator[Row]:
    listed = [(violation, "", "", _OPEN) for violation in outcome.violations]
    listed += [
        (accepted.violation, accepted.owner, f"{accepted.reason}, until {accepted.until}", _ACCEPTED)
        for accepted in outcome.excepted
    ]
    for violation, owner, reason, choice in listed:
        changed = violation.changed
        cells = (
            *(Cell(outcome.check.id), Cell(str(violation.of)), Cell(violation.what)),
            Cell(changed.at, f"by {changed.manager}") if changed else Cell("-"),
            Cell(owner, reason),
        )
        yield Row(cells, choices=(choice,))


def _imported(report: PostureReport) -> PageTable:
    rows = [
        Row(
            (
                *(Cell(result.reference), Cell(_word(result.result), tone=_TONES[result.result]), Cell(result.why)),
                Cell(result.file, f"{result.at:%F %R} UTC"),
            ),
            choices=(_word(result.result),),
        )
        for result in report.imported
    ]
    notes = (f"Taken in as {SOURCE} told it at that time; zonebridge has not looked at any of it.",)
    choices = [_word(result) for result in CheckResult]
    return PageTable("imported", f"From {SOURCE}", _IMPORTED_COLUMNS, rows, choices, notes=notes)
