"""The whole report out of what was read. Pure."""

from __future__ import annotations

from bridge.intervals.fold import gaps
from bridge.reports import sections
from bridge.reports.controls import Framework, controls_section
from bridge.reports.model import Field, Report, ReportEvidence, ReportPeriod, ReportScope, ReportSection, moment_text


def report_of(
    evidence: ReportEvidence, period: ReportPeriod, scope: ReportScope, frameworks: tuple[Framework, ...]
) -> Report:
    """All sections, in the order in which an assessor asks for them."""
    parts = (
        sections.watched(evidence, period),
        sections.inventory(evidence, period, scope),
        sections.rules(evidence, period, scope),
        sections.in_force(evidence, period),
        sections.changes(evidence, period),
        sections.reviews(evidence, period, scope),
        sections.enforcement(evidence, period),
        sections.measurements(evidence, period, scope),
        sections.drift(evidence, period),
        sections.traffic(evidence, scope),
        sections.settings(evidence, period),
        controls_section(frameworks),
        ReportSection(
            "limits", "What this doesn't show", (Field("what", "Not shown", 100),), [(x,) for x in sections.LIMITS]
        ),
    )
    by_key = {section.key: section for section in parts}
    unjustified = sum(row[8] == sections.NO_REASON and row[4] == "allow" for row in by_key["rules"].rows)
    figures = {
        "workloads in scope": len({row[0] for row in by_key["inventory"].rows}),
        "rules that concern it": len(by_key["rules"].rows),
        "rules not enforced or in part": sections.rules_not_enforced(evidence),
        "allow rules without justification": unjustified,
        "nodes": len(by_key["enforcement"].rows),
        "nodes that enforce at the end": sum(row[4] == "enforce" for row in by_key["enforcement"].rows),
        "alerts": len(by_key["drift"].rows),
        "gaps": len(by_key["gaps"].rows),
    }
    revision = evidence.revisions[-1]["spec"]["revision"] if evidence.revisions else None
    return Report(scope, period, parts, figures, tuple(_doubts(evidence, period, figures)), revision, evidence.policy)


def _doubts(evidence: ReportEvidence, period: ReportPeriod, figures: dict[str, int]) -> list[str]:
    """What keeps the report from being whole, the weightiest first."""
    findings = []
    if gaps(evidence.looks, period.begin, period.end):
        if period.instant:
            findings.append("Nobody looked at that instant: what is shown of it is not known")
        else:
            findings.append("Nobody looked for some of the time; nothing is said of it")
    if evidence.last_look + 1 < period.end:
        findings.append(f"The last look was at {moment_text(evidence.last_look)}, before the end of the period")
    if evidence.policy is None:
        findings.append(f"The rules are not shown: {evidence.missing or 'no revision is kept'}")
    behind = figures["nodes"] - figures["nodes that enforce at the end"]
    if behind:
        findings.append(f"{behind} of {figures['nodes']} nodes did not enforce at the end")
    return findings
