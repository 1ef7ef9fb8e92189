"""Two revisions side by side, as a preview of the second one; and in short, for the record. Pure.

A record has the policy and not Panorama's rules: a rule that is in the policy counts as enforced, at L4 or in part too.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from bridge.preview import Configuration, Preview, compared
from bridge.preview.gate import counted
from bridge.preview.wording import destination_text, source_text, traffic_text, when_text
from zones.compile import Compiled
from zones.difference import RuleChangeKind
from zones.policy import Entry, Policy
from zones.problems import RuleReport, RuleStatus
from zones.rules import Action, Origin, Rule, Rulebase, RuleType

Json = dict[str, Any]
MOST_LINES, LONGEST_LINE = 20, 512
ANY_OTHER_ZONE = "any other zone"


class ComparisonTimeError(Exception):
    """Comparing took longer than it may."""


def as_preview(old: Policy, new: Policy, at: datetime, halt: Callable[[], None] = lambda: None) -> Preview:
    """What the new policy would change, at an instant (aware)."""
    return compared(_configuration(old), _configuration(new), at, halt=halt)


def changes_json(old: Policy, new: Policy, at: datetime, seconds: float) -> Json:
    """In short, what the new policy changed; where that takes more than so many seconds, that it isn't known."""
    until = time.monotonic() + seconds

    def halt() -> None:
        if time.monotonic() > until:
            raise ComparisonTimeError

    try:
        preview = as_preview(old, new, at, halt)
    except ComparisonTimeError:
        return not_computed(f"it takes more than {seconds:g} s; zonebridge diff takes the time that it needs")
    closed, opened = counted(preview)
    rules = Counter(change.change for change in preview.rules)
    return {f"rules{kind.value.capitalize()}": rules[kind] for kind in RuleChangeKind} | {
        "pairsOpened": opened,
        "pairsClosed": closed,
        "lines": [line[:LONGEST_LINE] for line, _ in zip(_lines(preview), range(MOST_LINES), strict=False)],
    }


def not_computed(why: str) -> Json:
    return {"notComputed": why}


def _lines(preview: Preview) -> Iterator[str]:
    """`web to data, any to any, tcp/5432: deny (interzone-default) becomes allow (web to data)`."""
    if preview.flows is None:
        return
    for change in preview.flows.zones:
        to_zone = change.to_zone or ("itself" if change.intrazone else ANY_OTHER_ZONE)
        for piece in change.pieces:
            box, old, new = piece.box, piece.old, piece.new
            yield (
                f"{change.from_zone or ANY_OTHER_ZONE} to {to_zone}, {source_text(box)} to {destination_text(box)}, "
                f"{traffic_text(box)}{when_text(box, preview.flows.moments)}: "
                f"{old.verdict.value} ({old.origin.name}) becomes {new.verdict.value} ({new.origin.name})"
            )


def _configuration(policy: Policy) -> Configuration:
    reports = tuple(map(_report, policy.entries))
    return Configuration(_no_rules(policy.known_zones), Compiled(policy, reports))


def _report(entry: Entry) -> RuleReport:
    return RuleReport(entry.origin, entry.verdict.value, RuleStatus.ENFORCED)


def _no_rules(zones: frozenset[str]) -> Rulebase:
    """A rulebase that nothing is read from but which zones are known."""
    intrazone = Rule(Origin("intrazone-default", None, "default", ""), Action.ALLOW, RuleType.INTRAZONE)
    return Rulebase("", (), intrazone, Rule(Origin("interzone-default", None, "default", ""), Action.DENY), zones)
