"""Two configurations side by side: rules and objects that change, and the flows whose verdict does. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from bridge.preview.model import Configuration, Preview, RuleChange
from bridge.preview.objects import object_changes
from zones.compile import Compiled
from zones.difference import Difference, RuleChangeKind, difference
from zones.net import AddressSet
from zones.problems import RuleReport
from zones.rules import Origin


def compared(
    running: Configuration,
    candidate: Configuration,
    at: datetime,
    feeds: Mapping[str, AddressSet] | None = None,
    halt: Callable[[], None] = lambda: None,
) -> Preview:
    """The preview of a candidate at an instant (aware). A refused running configuration has no verdicts to compare.

    `feeds`: the content of FQDNs and lists by name, which is one and the same for both. `halt` is called again and
    again while verdicts are compared, and may raise to end it.
    """
    before, after = running.compiled.policy, candidate.compiled.policy
    flows = None if before is None or after is None else difference(before, after, at, halt)
    old_zones, new_zones = running.rulebase.zones, candidate.rulebase.zones
    return Preview(
        running=running,
        candidate=candidate,
        at=at,
        rules=_rules(running.compiled, candidate.compiled, flows),
        objects=object_changes(running.rulebase, candidate.rulebase, feeds or {}),
        flows=flows,
        known=tuple(sorted(new_zones - old_zones)),
        unknown=tuple(sorted(old_zones - new_zones)),
    )


def _rules(running: Compiled, candidate: Compiled, flows: Difference | None) -> tuple[RuleChange, ...]:
    """By what both reports say of a rule; an edit that its report doesn't show is known by the entries alone."""
    old, new = _reports(running), _reports(candidate)
    edited = {} if flows is None else {_key(rule.origin): rule.change for rule in flows.rules}
    changes = [
        RuleChange(report.origin, RuleChangeKind.REMOVED, report, None) for key, report in old.items() if key not in new
    ]
    for key, report in new.items():
        before = old.get(key)
        if before is None:
            changes.append(RuleChange(report.origin, RuleChangeKind.ADDED, None, report))
        elif key in edited or _differ(before, report):
            change = RuleChangeKind.MOVED if edited.get(key) is RuleChangeKind.MOVED else RuleChangeKind.EDITED
            changes.append(RuleChange(report.origin, change, before, report))
    return tuple(changes)


def _differ(before: RuleReport, after: RuleReport) -> bool:
    return (before.origin, before.action, before.status, before.reasons) != (
        after.origin,
        after.action,
        after.status,
        after.reasons,
    )


def _reports(compiled: Compiled) -> dict[object, RuleReport]:
    return {_key(report.origin): report for report in compiled.reports}


def _key(origin: Origin) -> object:
    return origin.uuid or (origin.rulebase, origin.device_group, origin.name)
