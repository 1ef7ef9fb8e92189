"""What became of every rule, as JSON values and as table rows. Pure; the stable form is told in docs/compile-report.md.

`bridge.cli` prints it, `bridge.sync` puts its counts into the tier's status.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from zones.compile import Compiled
from zones.problems import RuleReport, Status
from zones.rules import Origin

Json = dict[str, Any]
COLUMNS = ("RULE", "RULEBASE", "DEVICE GROUP", "ACTION", "STATUS", "WHY")


def report_json(compiled: Compiled, device_group: str) -> Json:
    """The whole report. Keys are only ever added."""
    return {
        "device_group": device_group,
        "refused": compiled.policy is None,
        "summary": summary_json(compiled.reports),
        "rules": [rule_json(report) for report in compiled.reports],
    }


def summary_json(reports: Sequence[RuleReport]) -> Json:
    """How many rules ended in each status, all statuses named, and how many of them refuse the revision."""
    counted = Counter(report.status for report in reports)
    return {
        "total": len(reports),
        **{status.name.lower(): counted[status] for status in Status},
        "refusing": sum(report.refuses for report in reports),
    }


def rule_json(report: RuleReport) -> Json:
    return {
        **origin_json(report.origin),
        "action": report.action,
        "status": report.status.value,
        "reasons": list(report.reasons),
        "refuses": report.refuses,
    }


def origin_json(origin: Origin) -> Json:
    return {
        "name": origin.name,
        "uuid": origin.uuid,
        "rulebase": origin.rulebase,
        "device_group": origin.device_group,
    }


def rows(reports: Iterable[RuleReport]) -> list[tuple[str, ...]]:
    """One row per rule, under COLUMNS."""
    return [_row(report) for report in reports]


def _row(report: RuleReport) -> tuple[str, ...]:
    status = f"{report.status.value}, refuses the revision" if report.refuses else report.status.value
    origin = report.origin
    return (origin.name, origin.rulebase, origin.device_group, report.action, status, "; ".join(report.reasons))


def refusal_lines(compiled: Compiled) -> tuple[str, ...]:
    """Why the revision is refused, a line for each rule, with the way out."""
    return tuple(
        f"rule '{report.origin.name}' ({report.origin.rulebase} of {report.origin.device_group}) can't be expressed as "
        f"written: {'; '.join(report.reasons)}; {_way_out(report)}"
        for report in compiled.refusals
    )


def _way_out(report: RuleReport) -> str:
    """Default rules carry no tag that is read; widening helps only a rule that can be read."""
    if report.origin.rulebase == "default":
        return "change it in Panorama"
    if report.malformed:
        return "change it in Panorama, or tag it k8s-ignore (not for clusters)"
    return "change it in Panorama, or tag it k8s-widen (block more) or k8s-ignore (not for clusters)"
