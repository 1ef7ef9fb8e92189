"""What rules are used for, as a table, JSON or CSV. Pure; `bridge.commands.usage` prints it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from bridge.evidence.usage import RuleUsage, Usage
from zones.canonical import origin_json
from zones.rules import Origin
from zones.runtime.output import csv_text, printable, table_lines

Json = dict[str, Any]
COLUMNS = ("RULE", "RULEBASE", "DEVICE GROUP", "ACTION", "HITS", "BYTES", "FIRST", "LAST", "EDITED", "NOTES")
CSV_COLUMNS = (
    "rule", "uuid", "rulebase", "device_group", "action", "in_force", "hits", "bytes", "first", "last", "edited",
    "unused_since", "shadowed_by", "broader",
)  # fmt: skip
_MOST_NAMED = 3


def usage_lines(used: Usage, rules: Iterable[RuleUsage]) -> Iterator[str]:
    """How far what was seen goes, then a row for each of some rules."""
    yield from map(printable, coverage_lines(used))
    yield ""
    yield from table_lines(COLUMNS, [_row(rule, used.at) for rule in rules])


def coverage_lines(used: Usage) -> Iterator[str]:
    """Since when, on how many nodes, and what may be missing."""
    nodes = used.seen.nodes.values()
    since, until = used.seen.since, used.seen.until
    if since is None or until is None:
        yield "No node has counted anything yet: give the enforcers a destination with records: seen."
        return
    many = len(used.seen.nodes)
    times = f"on all of them since {time_text(since)}, by all of them up to {time_text(until)} (UTC)"
    yield f"Counted on {many} nodes: {times}."
    missing = (
        (sum(node.missed for node in nodes), "connections ended faster than nodes heard"),
        (sum(node.unattributed for node in nodes), "connections whose rule isn't known"),
        (sum(node.held_back for node in nodes), "denied packets that no record tells of"),
        (sum(node.folded for node in nodes), "connections counted by networks or zones alone"),
    )
    texts = [f"{count} {what}" for count, what in missing if count]
    yield f"Not in the hits below, or less exact: {'; '.join(texts)}." if texts else "Nothing is known to be missing."


def usage_json(used: Usage, rules: Iterable[RuleUsage]) -> Json:
    """Stable: fields are only ever added. Times are RFC 3339, absent ones null."""
    return {
        "at": _stamp(used.at),
        "since": _stamp(used.seen.since),
        "until": _stamp(used.seen.until),
        "nodes": {name: counting.json() for name, counting in sorted(used.seen.nodes.items())},
        "rules": [_rule_json(rule) for rule in rules],
    }


def usage_csv(rules: Iterable[RuleUsage]) -> str:
    return csv_text(CSV_COLUMNS, [_csv_row(rule) for rule in rules])


def _csv_row(rule: RuleUsage) -> tuple[str, ...]:
    origin = rule.origin
    times = (_stamp(at) or "" for at in (rule.first, rule.last, rule.edited, rule.unused_since))
    names = (origin.name, origin.uuid or "", origin.rulebase, origin.device_group, rule.verdict.value)
    counts = ("yes" if rule.in_force else "no", str(rule.hits), str(rule.octets))
    return (*names, *counts, *times, "; ".join(taker.name for taker in rule.shadowed_by), "; ".join(_breadth(rule)))


def _rule_json(rule: RuleUsage) -> Json:
    return {
        "rule": origin_json(rule.origin),
        "verdict": rule.verdict.value,
        "inForce": rule.in_force,
        "hits": rule.hits,
        "bytes": rule.octets,
        "first": _stamp(rule.first),
        "last": _stamp(rule.last),
        "editedAt": _stamp(rule.edited),
        "unusedSince": _stamp(rule.unused_since),
        "shadowedBy": [origin_json(taker) for taker in rule.shadowed_by],
        "broader": [{"what": one.what, "allowed": one.allowed, "seen": list(one.seen)} for one in rule.broader],
    }


def _row(rule: RuleUsage, at: datetime) -> tuple[str, ...]:
    origin = rule.origin
    times = tuple("-" if moment is None else time_text(moment) for moment in (rule.first, rule.last, rule.edited))
    names = (origin.name, origin.rulebase, origin.device_group or "-", rule.verdict.value)
    return (*names, str(rule.hits), size_text(rule.octets), *times, "; ".join(rule_notes(rule, at)))


def rule_notes(rule: RuleUsage, at: datetime) -> Iterator[str]:
    if not rule.in_force:
        yield "no longer in force"
    if rule.unused_since is not None:
        yield f"not hit for {age_text(at - rule.unused_since)}" + ("" if rule.hits else ", as far as is known")
    if rule.shadowed_by:
        yield f"shadowed by {_names(rule.shadowed_by)}"
    yield from _breadth(rule)


def _breadth(rule: RuleUsage) -> Iterator[str]:
    for one in rule.broader:
        yield f"{one.what}: {one.allowed}, seen {', '.join(one.seen) or 'none'}"


def _names(origins: tuple[Origin, ...]) -> str:
    more = f" and {len(origins) - _MOST_NAMED} more" if len(origins) > _MOST_NAMED else ""
    return ", ".join(f"'{origin.name}'" for origin in origins[:_MOST_NAMED]) + more


def age_text(length: timedelta) -> str:
    hours = max(int(length.total_seconds() // 3600), 0)
    return f"{hours // 24} d" if hours >= 24 else f"{hours} h"  # noqa: PLR2004 - a day


def size_text(octets: int) -> str:
    value, unit = float(octets), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:  # noqa: PLR2004
            break
        value, unit = value / 1024, larger
    return f"{octets} B" if unit == "B" else f"{value:.1f} {unit}"


def time_text(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M")


def _stamp(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds").replace("+00:00", "Z")
