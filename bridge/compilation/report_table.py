"""The report for people: a verdict, then rows, then footnotes; as a table, by reason or as CSV. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from bridge.compilation.report import NO_SHADOW, place, status_text, verdict_line
from bridge.compilation.shadows import Shadow, shadowed_allows
from zones.compile import Compiled
from zones.problems import RuleReport
from zones.rules import Origin
from zones.runtime.output import csv_text, printable

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
    yield from _wrapped([verdict_line(compiled, device_group), ""], width)
    reports = [report for report in compiled.reports if report.needs_attention or not only_attention]
    if by_reason:
        yield from _wrapped(_grouped(compiled, reports), width)
    else:
        yield from _table(list(_rows(compiled, reports)), width)
    yield from _wrapped(footnotes(reports), width)


def _wrapped(lines: Iterable[str], width: int | None) -> Iterator[str]:
    for line in map(printable, lines):
        if width is None or len(line) <= width:
            yield line
        else:
            indent = " " * (len(line) - len(line.lstrip()) + 2 * len(GAP))
            yield from textwrap.wrap(line, max(width, LEAST_WIDTH), subsequent_indent=indent)


def report_csv(compiled: Compiled, *, only_attention: bool = False) -> str:
    """A line for each rule, reasons and notes joined by `; `."""
    shadowed = shadowed_allows(compiled)
    rows = []
    for report in compiled.reports:
        if report.needs_attention or not only_attention:
            origin = report.origin
            status = status_text(report, refused=compiled.policy is None)
            reasons = (*report.reasons, *_shadows(report, shadowed))
            notes = (*report.notes, *report.without_effect)
            place_cells = (report.number or "", origin.name, origin.uuid or "", origin.rulebase, origin.device_group)
            cells = (*place_cells, report.action, status, "; ".join(reasons), "; ".join(notes))
            rows.append(cells)
    return csv_text(CSV_COLUMNS, rows)


def _rows(compiled: Compiled, reports: Iterable[RuleReport]) -> Iterator[tuple[str, ...]]:
    shadowed = shadowed_allows(compiled)
    for report in reports:
        origin = report.origin
        status = status_text(report, refused=compiled.policy is None)
        row = origin.name, origin.rulebase, origin.device_group, report.action, status, why(report, shadowed)
        yield str(report.number or ""), *row


def why(report: RuleReport, shadowed: dict[Origin, Shadow]) -> str:
    """What is to be looked at, and what is good to know."""
    return "; ".join((*report.reasons, *_shadows(report, shadowed), *report.notes))


def _shadows(report: RuleReport, shadowed: dict[Origin, Shadow]) -> Iterator[str]:
    shadow = shadowed.get(report.origin, NO_SHADOW)
    if shadow.covered:
        yield f"nothing is left of the allows after it: {_names(shadow.covered)}"
    if shadow.part:
        yield f"less is left of the allows after it: {_names(shadow.part)}"


def _names(origins: Sequence[Origin]) -> str:
    more = f" and {len(origins) - MOST_SHADOWED} more" if len(origins) > MOST_SHADOWED else ""
    return ", ".join(f"'{origin.name}'" for origin in origins[:MOST_SHADOWED]) + more


def _grouped(compiled: Compiled, reports: Sequence[RuleReport]) -> Iterator[str]:
    """`41 rules: ...`, the reason of most rules first, each with its rules and the allows that they take from."""
    groups: dict[str, list[RuleReport]] = {}
    for report in reports:
        for reason in dict.fromkeys(report.reasons):
            groups.setdefault(reason, []).append(report)
    shadowed = shadowed_allows(compiled)
    for reason, some in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        yield f"{len(some)} {'rule' if len(some) == 1 else 'rules'}: {reason}"
        for report in some:
            status = status_text(report, refused=compiled.policy is None)
            yield f"    {place(report)}: {'; '.join((status, *_shadows(report, shadowed)))}"


def footnotes(reports: Sequence[RuleReport]) -> Iterator[str]:
    """What of many rules has no effect here, said once."""
    parts: dict[str, int] = {}
    for report in reports:
        for part in report.without_effect:
            parts[part] = parts.get(part, 0) + 1
    if parts:
        yield ""
        counted = ", ".join(f"{part} ({count} rules)" for part, count in sorted(parts.items()))
        yield f"No effect on the verdict: {counted}."


def _table(rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """Columns as wide as they need, the last one wrapped; where that leaves it no room, a paragraph for each rule."""
    table = [COLUMNS, *(tuple(map(printable, row)) for row in rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(COLUMNS) - 1)]
    indent = sum(widths) + len(GAP) * len(widths)
    if width is not None and width - indent < LEAST_WIDTH:
        yield from _paragraphs(table[1:], max(width, LEAST_WIDTH))
        return
    for row in table:
        cells = GAP.join(cell.ljust(size) for cell, size in zip(row, widths, strict=False))
        first, *rest = [row[-1]] if width is None else textwrap.wrap(row[-1], width - indent) or [""]
        yield f"{cells}{GAP}{first}".rstrip()
        yield from (" " * indent + line for line in rest)


def _paragraphs(rows: Iterable[Sequence[str]], width: int) -> Iterator[str]:
    for number, rule, rulebase, device_group, action, status, why in rows:
        yield from _wrapped([f"{number or '-'}{GAP}{rule} ({rulebase} of {device_group})"], width)
        yield from _wrapped([f"{GAP * 2}{action}: {status}", *([GAP * 2 + why] if why else [])], width)
