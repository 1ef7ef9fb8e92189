"""What the Tier's status says of a pass: conditions, rule counts, nodes in sync. Pure.

`bridge.tier.sync` writes it, and only where it says something new.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bridge.compilation.report import origin_json, summary_json
from zones.problems import RuleReport, RuleStatus

Json = dict[str, Any]
# A time that moves wakes every watcher of the Tier, so it moves rarely.
HEARTBEAT = timedelta(seconds=60)
MAX_PROBLEMS = 100
MAX_MESSAGE = 4096
_TOLD = {RuleStatus.NOT_ENFORCED, RuleStatus.ENFORCED_IN_PART}


@dataclass(frozen=True, slots=True)
class TierCondition:
    """One statement about the tier, as Kubernetes words it. `holds` None: nobody can tell."""

    kind: str
    holds: bool | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class StatusInput:
    """What a pass has seen. `version` and `reports` are of the last configuration that was read; None: not yet."""

    revision: int
    digest: str
    version: str
    reports: Sequence[RuleReport] | None
    zones: int
    nodes: Sequence[Json]
    last_sync: datetime | None
    conditions: Sequence[TierCondition]


def status_json(sight: StatusInput, tier: str, before: Mapping[str, Any], now: datetime) -> Json:
    """The whole status. `before` is the live one: a condition that stays keeps the time since when it holds."""
    status: Json = {
        "revision": sight.revision,
        "digest": sight.digest,
        "sourceVersion": sight.version,
        "zones": sight.zones,
        "nodes": nodes_json(sight.nodes, tier, sight.revision, sight.digest),
        **_rules(sight.reports, before),
        "conditions": [_condition(condition, before, now) for condition in sight.conditions],
    }
    return status | ({} if sight.last_sync is None else {"lastSyncTime": timestamp(sight.last_sync)})


def says_something_new(status: Mapping[str, Any], before: Mapping[str, Any], now: datetime) -> bool:
    """Whether it is worth a write: it differs in more than its time, or that is a heartbeat old."""
    ours = {condition["type"] for condition in status["conditions"]}
    theirs = [condition for condition in before.get("conditions", ()) if condition["type"] not in ours]
    if _timeless({**status, "conditions": [*status["conditions"], *theirs]}) != _timeless(before):
        return True
    if "lastSyncTime" not in status or status["lastSyncTime"] == before.get("lastSyncTime"):
        return False
    written = parse_timestamp(before.get("lastSyncTime"))
    return written is None or abs(now - written) >= HEARTBEAT


def nodes_json(nodes: Iterable[Json], tier: str, revision: int, digest: str) -> Json:
    """How many nodes there are, and how many of them enforce this revision."""
    states = [node.get("status", {}) for node in nodes]
    ours = [state for state in states if state.get("tier", tier) == tier]
    synced = [state for state in ours if (state.get("revision"), state.get("digest")) == (revision, digest)]
    return {"total": len(ours), "inSync": len(synced)}


def timestamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _timeless(status: Mapping[str, Any]) -> Json:
    """Without its time, whatever the order of its conditions."""
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    return {name: value for name, value in status.items() if name != "lastSyncTime"} | {"conditions": conditions}


def _rules(reports: Sequence[RuleReport] | None, before: Mapping[str, Any]) -> Json:
    """Counts and what is not fully enforced; without a reading, what an earlier bridge wrote."""
    if reports is None:
        return {name: before[name] for name in ("rules", "problems") if name in before}
    reported = [report for report in reports if report.status in _TOLD]
    return {
        "rules": rule_counts(reports),
        "problems": [_problem(report) for report in reported[:MAX_PROBLEMS]],
    }


def _condition(condition: TierCondition, before: Mapping[str, Any], now: datetime) -> Json:
    value = "Unknown" if condition.holds is None else str(condition.holds)
    same = [
        former
        for former in before.get("conditions", ())
        if (former["type"], former["status"]) == (condition.kind, value)
    ]
    return {
        "type": condition.kind,
        "status": value,
        "reason": condition.reason,
        "message": condition.message[:MAX_MESSAGE],
        "lastTransitionTime": same[0]["lastTransitionTime"] if same else timestamp(now),
    }


def _problem(report: RuleReport) -> Json:
    return {
        **{name: value for name, value in camel(origin_json(report.origin)).items() if value},
        "action": report.action,
        "status": report.status.value,
        "reasons": [reason[:MAX_MESSAGE] for reason in report.reasons[:16]],
    }


def rule_counts(reports: Sequence[RuleReport]) -> Json:
    """How many rules there are of each kind, by the Tier's names for them."""
    return camel(summary_json(reports))


def camel(value: Json) -> Json:
    return {_camel_name(name): item for name, item in value.items()}


def _camel_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
