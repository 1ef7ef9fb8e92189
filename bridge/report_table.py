"""The report for people: a verdict, then rows, then footnotes; as a table, by reason, as CSV or as a page. Pure."""

from __future__ import annotations

import csv
import html
import io
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from bridge.report import place, verdict_line
from bridge.shadows import shadowed_allows
from zones.compile import Compiled
from zones.problems import RuleReport, Status
from zones.rules import Origin

COLUMNS = ("NO.", "RULE", "RULEBASE", "DEVICE GROUP", "ACTION", "STATUS", "WHY")
CSV_COLUMNS = ("number", "rule", "uuid", "rulebase", "device_group", "action", "status", "reasons", "notes")
LEAST_WIDTH = 40
GAP = "  "
MOST_SHADOWED = 5


def report_lines(
    compiled: Compiled,
    device_group: str,
    *,
    only_attention: bool = False,
    by_reason: bool = False,
    width: int | None = None,
) -> Iterator[str]:
    """The whole report; `width` of a terminal, None cuts and wraps nothing."""
    yield verdict_line(compiled, device_group)
    yield ""
    reports = [report for report in compiled.reports if report.needs_attention or not only_attention]
    if by_reason:
        yield from _grouped(reports, refused=compiled.policy is None)
    else:
        yield from _table([COLUMNS, *_rows(compiled, reports)], width)
    yield from _footnotes(reports)


def report_csv(compiled: Compiled, *, only_attention: bool = False) -> str:
    """A line for each rule, reasons and notes joined by `; `."""
    shadowed = shadowed_allows(compiled)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for report in compiled.reports:
        if report.needs_attention or not only_attention:
            origin = report.origin
            status = status_text(report, refused=compiled.policy is None)
            reasons = (*report.reasons, *_shadows(report, shadowed))
            notes = (*report.notes, *report.without_effect)
            place_cells = (report.number or "", origin.name, origin.uuid or "", origin.rulebase, origin.device_group)
            cells = (*place_cells, report.action, status, "; ".join(reasons), "; ".join(notes))
            writer.writerow([_harmless(str(cell)) for cell in cells])
    return text.getvalue()


def _harmless(cell: str) -> str:
    """A cell that a spreadsheet would take for a formula is text."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def report_html(compiled: Compiled, device_group: str, *, only_attention: bool = False) -> str:
    """One page that needs nothing else."""
    reports = [report for report in compiled.reports if report.needs_attention or not only_attention]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in COLUMNS)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>\n"
        for row in _rows(compiled, reports)
    )
    notes = "".join(f"<p>{html.escape(line)}</p>\n" for line in _footnotes(reports) if line)
    title = html.escape(f"Rules of {device_group}")
    verdict = html.escape(verdict_line(compiled, device_group))
    return (
        f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{title}</title>\n<h1>{title}</h1>\n"
        f"<p>{verdict}</p>\n<table>\n<tr>{head}</tr>\n{body}</table>\n{notes}</html>\n"
    )


def status_text(report: RuleReport, *, refused: bool) -> str:
    """In a refused revision nothing is enforced, whatever could be."""
    if report.refuses:
        return "refuses the revision"
    could_be = report.status in {Status.ENFORCED, Status.ENFORCED_AT_L4, Status.ENFORCED_IN_PART}
    return f"would be {report.status.value}" if refused and could_be else report.status.value


def _rows(compiled: Compiled, reports: Iterable[RuleReport]) -> Iterator[tuple[str, ...]]:
    shadowed = shadowed_allows(compiled)
    for report in reports:
        origin = report.origin
        why = "; ".join((*report.reasons, *_shadows(report, shadowed), *report.notes))
        status = status_text(report, refused=compiled.policy is None)
        yield str(report.number or ""), origin.name, origin.rulebase, origin.device_group, report.action, status, why


def _shadows(report: RuleReport, shadowed: dict[Origin, tuple[Origin, ...]]) -> Iterator[str]:
    names = [f"'{origin.name}'" for origin in shadowed.get(report.origin, ())]
    if names:
        more = f" and {len(names) - MOST_SHADOWED} more" if len(names) > MOST_SHADOWED else ""
        yield f"nothing is left of the allows after it: {', '.join(names[:MOST_SHADOWED])}{more}"


def _grouped(reports: Sequence[RuleReport], *, refused: bool) -> Iterator[str]:
    """`41 rules: ...`, the reason of most rules first, each with its rules."""
    groups: dict[str, list[RuleReport]] = {}
    for report in reports:
        for reason in dict.fromkeys(report.reasons):
            groups.setdefault(reason, []).append(report)
    for reason, some in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        yield f"{len(some)} {'rule' if len(some) == 1 else 'rules'}: {reason}"
        yield from (f"    {place(report)}: {status_text(report, refused=refused)}" for report in some)


def _footnotes(reports: Sequence[RuleReport]) -> Iterator[str]:
    """What of many rules has no effect here, said once."""
    parts: dict[str, int] = {}
    for report in reports:
        for part in report.without_effect:
            parts[part] = parts.get(part, 0) + 1
    if parts:
        yield ""
        counted = ", ".join(f"{part} ({count} rules)" for part, count in sorted(parts.items()))
        yield f"No effect on the verdict: {counted}."


def _table(table: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """Columns as wide as they need; the last one is wrapped where the terminal ends, below the row in a narrow one."""
    widths = [max(len(row[at]) for row in table) for at in range(len(table[0]) - 1)]
    indent = sum(widths) + len(GAP) * len(widths)
    beside = width is None or width - indent >= LEAST_WIDTH
    if not beside:
        indent = 2 * len(GAP)
    for row in table:
        cells = GAP.join(cell.ljust(size) for cell, size in zip(row, widths, strict=False))
        last = [row[-1]] if width is None else textwrap.wrap(row[-1], max(width - indent, LEAST_WIDTH))
        first, *rest = last or [""] if beside else ["", *last]
        yield f"{cells}{GAP}{first}".rstrip()
        yield from (" " * indent + line for line in rest)
