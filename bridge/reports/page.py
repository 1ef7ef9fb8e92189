"""A report as a page, in the order in which an assessor reads it; it prints as it stands. Pure."""

from __future__ import annotations

from bridge.pages.parts import Cell, Column, Headline, PageFigure, PageTable, Row, StatusPage, Tone
from bridge.pages.policy_matrix import PolicyMatrix
from bridge.reports.model import Report, ReportSection, moment_text
from bridge.reports.sections import NO_REASON

_BAD_WHEN_ANY = frozenset({"gaps", "allow rules without justification", "rules not enforced or in part", "alerts"})


def report_page(report: Report) -> StatusPage:
    """The figures, the matrix of the policy at the end of the period, and all sections."""
    period, scope = report.period, report.scope
    when = moment_text(period.begin)
    when = f"at {when}" if period.instant else f"from {when} to {moment_text(period.end)}"
    zones = f"zones {', '.join(sorted(scope.zones))}" if scope.zones else "all zones"
    text = "Evidence is whole for this period" if not report.doubts else "Evidence is not whole: read these first"
    tone = Tone.CAUTION if report.doubts else Tone.GOOD
    matrix = None if report.policy is None else PolicyMatrix(report.policy)
    return StatusPage(
        f"Segmentation of {scope.cluster}",
        f"{zones.capitalize()}, {when}"
        + ("" if report.revision is None else f"; revision {report.revision} in force at the end"),
        Headline(text, tone, report.doubts),
        tuple(PageFigure(name, value, _tone(name, value)) for name, value in report.figures.items()),
        None if matrix is None else matrix.matrix("Zones at the end of the period", {}, {}),
        tables=tuple(map(_table, report.sections)),
    )


def _tone(name: str, value: int) -> Tone:
    return Tone.CAUTION if name in _BAD_WHEN_ANY and value else Tone.PLAIN


def _table(section: ReportSection) -> PageTable:
    columns = [Column(column.title, column.share, number=column.number) for column in section.fields]
    rows = [Row([_cell(text) for text in row]) for row in section.rows]
    return PageTable(section.key, section.title, columns, rows, empty=section.empty, notes=section.notes)


def _cell(text: str) -> Cell:
    return Cell(text, tone=Tone.CAUTION if text == NO_REASON else None)
