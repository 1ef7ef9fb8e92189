"""Two compiled configurations side by side: rules whose translation changes, and the flows whose verdict does. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from zones.compile import Compiled
from zones.difference import Change, Difference, difference
from zones.problems import RuleReport
from zones.rules import Origin


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A rule that isn't what or where it was, with what became of it before and after (None: it isn't there)."""

    origin: Origin
    change: Change
    old: RuleReport | None
    new: RuleReport | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a candidate configuration changes. `flows` is None where one of both is refused: then nothing changes."""

    running: Compiled
    candidate: Compiled
    rules: tuple[RuleChange, ...]
    flows: Difference | None

    @property
    def refused(self) -> bool:
        return self.candidate.policy is None


def compared(running: Compiled, candidate: Compiled, at: datetime) -> Preview:
    """The preview of a candidate at an instant (aware). A refused running configuration has no verdicts to compare."""
    before, after = running.policy, candidate.policy
    flows = None if before is None or after is None else difference(before, after, at)
    return Preview(running, candidate, _rules(running, candidate, flows), flows)


def _rules(running: Compiled, candidate: Compiled, flows: Difference | None) -> tuple[RuleChange, ...]:
    """By what both reports say of a rule; an edit that its report doesn't show is known by the entries alone."""
    old, new = _reports(running), _reports(candidate)
    edited = {} if flows is None else {_key(each.origin): each.change for each in flows.rules}
    changes = [RuleChange(report.origin, Change.REMOVED, report, None) for key, report in old.items() if key not in new]
    for key, report in new.items():
        before = old.get(key)
        if before is None:
            changes.append(RuleChange(report.origin, Change.ADDED, None, report))
        elif key in edited or _differ(before, report):
            change = Change.MOVED if edited.get(key) is Change.MOVED else Change.EDITED
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
