"""What `zonebridge compile -o html` shows: the policy between zones, and what became of every rule. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from bridge.compilation.report import ENFORCED, refusal_lines, status_text, verdict_line
from bridge.compilation.report_table import footnotes, why
from bridge.compilation.shadows import shadowed_allows
from bridge.pages.parts import Cell, Column, Headline, PageFigure, PageTable, Row, StatusPage, Tone
from bridge.pages.policy_matrix import PolicyMatrix, entry_of, remarks_of
from bridge.pages.wording import ends_text, entry_traffic_text, infrastructure_texts, pairing_text
from zones.compile import Compiled
from zones.policy import Entry, Policy
from zones.problems import RuleReport, RuleStatus
from zones.rules import Origin

TO_LOOK_AT = "to look at"
RULE_COLUMNS = (
    Column("No.", 4, number=True),
    Column("Rule", 16),
    Column("Zones", 14),
    Column("Source → destination", 20),
    Column("Traffic", 12),
    Column("Action", 7),
    Column("Status", 9),
    Column("Why", 18),
)
_TONES = {
    RuleStatus.ENFORCED: Tone.GOOD,
    RuleStatus.ENFORCED_AT_L4: Tone.GOOD,
    RuleStatus.ENFORCED_IN_PART: Tone.CAUTION,
    RuleStatus.NOT_APPLICABLE: Tone.PLAIN,
    RuleStatus.NOT_ENFORCED: Tone.BAD,
}


def compile_page(compiled: Compiled, device_group: str, *, only_attention: bool = False) -> StatusPage:
    """The page of a device group. `only_attention`: of the rules, those to look at."""
    title = f"Rules of {device_group}"
    shown = [report for report in compiled.reports if report.needs_attention or not only_attention]
    anchors = {report.origin: f"rule-{place}" for place, report in enumerate(shown)}
    headline = _headline(compiled, device_group)
    rules = rule_table(compiled, shown, anchors)
    if compiled.policy is None:
        return StatusPage(
            title, "What Panorama's rules become in the cluster", headline, figures(compiled), tables=(rules,)
        )
    matrix = PolicyMatrix(compiled.policy)
    return StatusPage(
        title,
        "What Panorama's rules become in the cluster",
        headline,
        figures(compiled),
        matrix.matrix("Zones", remarks_of(compiled.reports), anchors),
        matrix.neighbourhoods(),
        (matrix.in_words(), rules, infrastructure_table(compiled.policy)),
    )


def _headline(compiled: Compiled, device_group: str) -> Headline:
    verdict = verdict_line(compiled, device_group)
    if compiled.policy is None:
        return Headline(verdict, Tone.BAD, refusal_lines(compiled))
    attention = any(report.needs_attention for report in compiled.reports)
    return Headline(verdict, Tone.CAUTION if attention else Tone.GOOD)


def figures(compiled: Compiled) -> tuple[PageFigure, ...]:
    """How many rules ended in each status."""
    counted = Counter(report.status for report in compiled.reports)
    attention = sum(report.needs_attention for report in compiled.reports)
    would = "would be " if compiled.policy is None else ""
    return (
        PageFigure("rules", len(compiled.reports)),
        *(
            PageFigure(f"{would if status in ENFORCED else ''}{status.value}", counted[status], _TONES[status])
            for status in RuleStatus
            if counted[status]
        ),
        PageFigure(TO_LOOK_AT, attention, Tone.CAUTION if attention else Tone.PLAIN),
    )


def rule_table(compiled: Compiled, shown: Iterable[RuleReport], anchors: dict[Origin, str]) -> PageTable:
    """Rules in the order of evaluation, each with what of it is enforced."""
    entries = entry_of(compiled.policy)
    shadowed = shadowed_allows(compiled)
    refused = compiled.policy is None
    rows = []
    for report in shown:
        status = status_text(report, refused=refused)
        belongs_to = [status, *([TO_LOOK_AT] if report.needs_attention else [])]
        cells = (
            *_named(report),
            *asked(entries.get(report.origin)),
            Cell(report.action),
            Cell(status, tone=Tone.BAD if report.refuses else _TONES[report.status]),
            Cell(why(report, shadowed)),
        )
        rows.append(Row(cells, anchors[report.origin], belongs_to))
    offered = dict.fromkeys(choice for row in rows for choice in row.choices)
    choices = sorted(offered, key=lambda choice: choice != TO_LOOK_AT)
    notes = tuple(line for line in footnotes(compiled.reports) if line)
    return PageTable("rules", "Rules", RULE_COLUMNS, rows, choices, "No rule has to be looked at.", notes)


def _named(report: RuleReport) -> Iterator[Cell]:
    origin = report.origin
    yield Cell(str(report.number or ""))
    yield Cell(origin.name, f"{origin.rulebase} of {origin.device_group}")


def asked(entry: Entry | None) -> Iterator[Cell]:
    """What an enforced rule asks of a connection; nothing where there is no entry."""
    if entry is None:
        yield from (Cell(""), Cell(""), Cell(""))
        return
    yield Cell(pairing_text(entry))
    yield Cell(ends_text(entry))
    yield Cell(entry_traffic_text(entry))


def infrastructure_table(policy: Policy) -> PageTable:
    """What is allowed before any rule of Panorama is asked."""
    rows = [Row((Cell(rule.name), *map(Cell, infrastructure_texts(rule)))) for rule in policy.infrastructure]
    columns = (Column("Rule", 22), Column("Source", 26), Column("Destination", 26), Column("Traffic", 26))
    empty = "No infrastructure rule counts here."
    return PageTable(
        "infrastructure", "Infrastructure, allowed before all rules", columns, rows, empty=empty, folded=True
    )
