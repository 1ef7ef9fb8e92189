"""What became of every rule, as JSON values and sentences. Pure; the stable form is told in docs/compile-report.md.

`bridge.cli` prints it, `bridge.tier.sync` puts its counts into the tier's status.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from bridge.compilation.shadows import Shadow, shadowed_allows
from zones.compile import Compiled
from zones.problems import RuleReport, RuleStatus
from zones.rules import Origin
from zones.runtime.output import printable

Json = dict[str, Any]
ENFORCED = (RuleStatus.ENFORCED, RuleStatus.ENFORCED_AT_L4, RuleStatus.ENFORCED_IN_PART)
NO_SHADOW = Shadow()


def report_json(compiled: Compiled, device_group: str) -> Json:
    """The whole report. Keys are only ever added."""
    shadowed = shadowed_allows(compiled)
    refused = compiled.policy is None
    return {
        "device_group": device_group,
        "refused": refused,
        "verdict": verdict_line(compiled, device_group),
        "summary": _summary(compiled),
        "rules": [
            rule_json(report, shadowed.get(report.origin, NO_SHADOW), refused=refused) for report in compiled.reports
        ],
    }


def _summary(compiled: Compiled) -> Json:
    """In a refused revision nothing is enforced: what could be is counted as that."""
    summary = summary_json(compiled.reports)
    could_be = {status.name.lower(): 0 for status in ENFORCED}
    if compiled.policy is not None:
        return {**summary, "would_be_enforced": 0}
    return {**summary, **could_be, "would_be_enforced": sum(summary[name] for name in could_be)}


def summary_json(reports: Sequence[RuleReport]) -> Json:
    """How many rules ended in each status, all statuses named, and how many of them refuse the revision."""
    counted = Counter(report.status for report in reports)
    return {
        "total": len(reports),
        **{status.name.lower(): counted[status] for status in RuleStatus},
        "refusing": sum(report.refuses for report in reports),
    }


def status_text(report: RuleReport, *, refused: bool) -> str:
    """In a refused revision nothing is enforced, whatever could be."""
    if report.refuses:
        return "refuses the revision"
    return f"would be {report.status.value}" if refused and report.status in ENFORCED else report.status.value


def rule_json(report: RuleReport, shadow: Shadow = NO_SHADOW, *, refused: bool) -> Json:
    return {
        **origin_json(report.origin),
        "number": report.number or None,
        "action": report.action,
        "status": status_text(report, refused=refused),
        "reasons": list(report.reasons),
        "notes": [*report.notes, *(f"{part} have no effect on the verdict" for part in report.without_effect)],
        "shadows": [origin_json(origin) for origin in shadow.covered],
        "shadows_in_part": [origin_json(origin) for origin in shadow.part],
        "refuses": report.refuses,
        "attention": report.needs_attention,
    }


def origin_json(origin: Origin) -> Json:
    return {
        "name": origin.name,
        "uuid": origin.uuid,
        "rulebase": origin.rulebase,
        "device_group": origin.device_group,
    }


def verdict_line(compiled: Compiled, device_group: str) -> str:
    """What becomes of the revision, in one sentence, and how many rules there are of each kind."""
    counted = Counter(report.status for report in compiled.reports)
    counts = ", ".join(f"{counted[status]} {status.value}" for status in RuleStatus if counted[status])
    total = len(compiled.reports)
    if compiled.policy is None:
        return (
            f"REFUSED: {len(compiled.refusals)} of the {total} rules of '{device_group}' can't be expressed; nothing "
            "of this configuration is enforced, and the last good one stays"
        )
    attention = sum(report.needs_attention for report in compiled.reports)
    return f"{total} rules of '{device_group}': {counts}; {attention or 'none'} to look at"


def left_out_lines(compiled: Compiled) -> tuple[str, ...]:
    """Which rules have no effect, and why: what explains an empty revision."""
    without_effect = {RuleStatus.NOT_ENFORCED, RuleStatus.NOT_APPLICABLE}
    left_out = (report for report in compiled.reports if report.status in without_effect)
    return tuple(
        printable(f"{place(report)} is {report.status.value}: {'; '.join(report.reasons)}") for report in left_out
    )


def refusal_lines(compiled: Compiled) -> tuple[str, ...]:
    """Why the revision is refused, a line for each rule, with the way out."""
    return tuple(
        printable(f"{place(report)} can't be expressed as written: {'; '.join(report.reasons)}; {_way_out(report)}")
        for report in compiled.refusals
    )


def place(report: RuleReport) -> str:
    origin = report.origin
    return f"rule '{origin.name}' ({origin.rulebase} of {origin.device_group})"


def _way_out(report: RuleReport) -> str:
    """Default rules carry no tag that is read; widening helps only a rule that can be read."""
    if report.origin.rulebase == "default":
        return "change it in Panorama"
    if report.malformed:
        return "change it in Panorama, or tag it k8s-ignore (not for clusters)"
    return "change it in Panorama, or tag it k8s-widen (block more) or k8s-ignore (not for clusters)"
