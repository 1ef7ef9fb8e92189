"""What `zonebridge usage -o html` shows: what each rule is used for, and what was seen between zones. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bridge.evidence.usage import RuleUsage, Usage
from bridge.evidence.usage_text import coverage_lines, rule_notes, size_text, time_text
from bridge.pages.parts import Cell, Column, Headline, PageFigure, PageTable, Row, StatusPage, Tone
from bridge.pages.policy_matrix import RuleRemark
from bridge.pages.seen_matrix import SeenMatrix
from zones.policy import Policy, Verdict
from zones.rules import Origin

SUBTITLE = "What nodes counted in the cluster, whether a rule logs or not"
HIT, UNHIT, SHADOWED, BROADER, GONE = "hit", "not hit", "shadowed", "broader than seen", "no longer in force"
COLUMNS = (
    *(Column("Rule", 20), Column("Action", 7), Column("Hits", 8, number=True), Column("Bytes", 8, number=True)),
    *(Column("First", 10), Column("Last", 10), Column("Edited", 10), Column("To look at", 27)),
)
_NODE_COLUMNS = (
    *(Column("Node", 20), Column("Since", 14), Column("Up to", 14), Column("Ended unheard", 13, number=True)),
    *(Column("Rule unknown", 13, number=True), Column("Denied untold", 13, number=True)),
    Column("By network or zone", 13, number=True),
)


def usage_page(used: Usage, rules: Sequence[RuleUsage], policy: Policy, lasting: str = "") -> StatusPage:
    """Of some rules; the matrix is of all. `lasting`: where they are those that weren't hit for so long, as asked."""
    anchors = {rule.origin: f"rule-{place}" for place, rule in enumerate(rules)}
    matrix = SeenMatrix(policy, used.seen.flows)
    remarks = {rule.origin: RuleRemark("", rule.verdict.value, _hits(rule)) for rule in used.rules}
    return StatusPage(
        "Usage of the rules" if not lasting else f"Rules not hit for {lasting}",
        SUBTITLE,
        _headline(used, rules, lasting),
        tuple(_figures(used)),
        matrix.matrix("Zones as they were used", remarks, anchors, pieces=matrix.seen()),
        matrix.neighbourhoods(),
        (_rules(used, rules, anchors, lasting), matrix.in_words(), _nodes(used)),
    )


def _headline(used: Usage, rules: Sequence[RuleUsage], lasting: str) -> Headline:
    lines = tuple(coverage_lines(used))
    in_force = [rule for rule in used.rules if rule.in_force]
    if used.since is None:
        return Headline("Nothing is known of what rules are used for", Tone.CAUTION, lines)
    if lasting:
        removable = sum(rule.removable for rule in in_force)
        return Headline(f"{len(rules)} of {removable} rules were not hit for {lasting}", Tone.PLAIN, lines)
    return Headline(f"{sum(map(_is_used, in_force))} of {len(in_force)} rules were hit", Tone.PLAIN, lines)


def _figures(used: Usage) -> Iterator[PageFigure]:
    in_force = [rule for rule in used.rules if rule.in_force]
    shadowed, broader = (sum(bool(getattr(rule, name)) for rule in in_force) for name in ("shadowed_by", "broader"))
    yield PageFigure("rules", len(in_force))
    yield PageFigure(UNHIT, sum(not _is_used(rule) for rule in in_force))
    yield PageFigure(SHADOWED, shadowed, Tone.CAUTION if shadowed else Tone.PLAIN)
    yield PageFigure(BROADER, broader)
    allowed = [flow.connections for flow in used.seen.flows if flow.key.verdict is Verdict.ALLOW]
    yield PageFigure("connections accepted", f"{sum(allowed):,}")
    yield PageFigure("denied", f"{sum(flow.connections for flow in used.seen.flows) - sum(allowed):,}")


def _is_used(rule: RuleUsage) -> bool:
    """Hit, or held by a connection that began before it was counted."""
    return rule.last is not None


def _hits(rule: RuleUsage) -> str:
    return "1 hit in all" if rule.hits == 1 else f"{rule.hits:,} hits in all"


def _rules(used: Usage, rules: Sequence[RuleUsage], anchors: dict[Origin, str], lasting: str) -> PageTable:
    rows = []
    for rule in rules:
        origin = rule.origin
        place = " of ".join(filter(None, (origin.rulebase, origin.device_group)))
        tone = Tone.GOOD if rule.verdict is Verdict.ALLOW else Tone.BAD
        times = ("-" if at is None else time_text(at) for at in (rule.first, rule.last, rule.edited))
        cells = (
            *(Cell(origin.name, place), Cell(rule.verdict.value, tone=tone)),
            *(Cell(f"{rule.hits:,}"), Cell(size_text(rule.octets)), *map(Cell, times)),
            Cell("; ".join(rule_notes(rule, used.at))),
        )
        rows.append(Row(cells, anchors[origin], tuple(_choices(rule))))
    offered = [choice for choice in (HIT, UNHIT, SHADOWED, BROADER, GONE) if any(choice in row.choices for row in rows)]
    empty = f"No rule is known not to have been hit for {lasting}." if lasting else "There is no rule."
    return PageTable("rules", "Rules", COLUMNS, rows, offered, empty)


def _choices(rule: RuleUsage) -> Iterator[str]:
    yield HIT if _is_used(rule) else UNHIT
    if rule.shadowed_by:
        yield SHADOWED
    if rule.broader:
        yield BROADER
    if not rule.in_force:
        yield GONE


def _nodes(used: Usage) -> PageTable:
    rows = [
        Row(
            (
                *(Cell(name), Cell(time_text(node.since)), Cell(time_text(node.end)), Cell(f"{node.missed:,}")),
                *(Cell(f"{node.unattributed:,}"), Cell(f"{node.held_back:,}"), Cell(f"{node.folded:,}")),
            )
        )
        for name, node in sorted(used.seen.nodes.items())
    ]
    notes = ("The counts are of connections that are in no row, or less exact; of all the time that is kept.",)
    return PageTable("nodes", "Nodes, and what may be missing", _NODE_COLUMNS, rows, (), "None.", notes, folded=True)
