"""What became of every rule, as JSON values and sentences. Pure; the stable form is told in docs/compile-report.md.

`bridge.cli` prints it, `bridge.sync` puts its counts into the tier's status.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from bridge.shadows import shadowed_allows
from zones.compile import Compiled
from zones.problems import RuleReport, Status
from zones.rules import Origin

Json = dict[str, Any]


def report_json(compiled: Compiled, device_group: str) -> Json:
    """The whole report. Keys are only ever added."""
    shadowed = shadowed_allows(compiled)
    return {
        "device_group": device_group,
        "refused": compiled.policy is None,
        "verdict": verdict_line(compiled, device_group),
        "summary": summary_json(compiled.reports),
        "rules": [rule_json(report, shadowed.get(report.origin, ())) for report in compiled.reports],
    }


def summary_json(reports: Sequence[RuleReport]) -> Json:
    """How many rules ended in each status, all statuses named, and how many of them refuse the revision."""
    counted = Counter(report.status for report in reports)
    return {
        "total": len(reports),
        **{status.name.lower(): counted[status] for status in Status},
        "refusing": sum(report.refuses for report in reports),
    }


def rule_json(report: RuleReport, shadows: Iterable[Origin] = ()) -> Json:
    return {
        **origin_json(report.origin),
        "number": report.number or None,
        "action": report.action,
        "status": report.status.value,
        "reasons": list(report.reasons),
        "notes": [*report.notes, *(f"{part} have no effect on the verdict" for part in report.without_effect)],
        "shadows": [origin_json(origin) for origin in shadows],
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
    counts = ", ".join(f"{counted[status]} {status.value}" for status in Status if counted[status])
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
    without_effect = {Status.NOT_ENFORCED, Status.NOT_APPLICABLE}
    left_out = (report for report in compiled.reports if report.status in without_effect)
    return tuple(f"{place(report)} is {report.status.value}: {'; '.join(report.reasons)}" for report in left_out)


def refusal_lines(compiled: Compiled) -> tuple[str, ...]:
    """Why the revision is refused, a line for each rule, with the way out."""
    return tuple(
        f"{place(report)} can't be expressed as written: {'; '.join(report.reasons)}; {_way_out(report)}"
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
