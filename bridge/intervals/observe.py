"""What the bridge sees of a cluster, as the values of subjects. Pure; values are canonical JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from bridge.evidence.usage import rule_key
from bridge.intervals.fold import IntervalKind
from bridge.nodes.enforcement import SILENT_AFTER
from bridge.population.picture import Member
from zones import canonical
from zones.rules import Rule, Rulebase

Json = dict[str, Any]


def pod_value(member: Member) -> str:
    pod = member.pod
    return canonical.text(
        {
            "namespace": pod.namespace,
            "name": pod.name,
            "workload": pod.workload,
            "zone": member.zone,
            "node": pod.node,
            "addresses": sorted(map(str, pod.addresses)),
        }
    )


class Workloads:
    """Which zones the pods of each workload are in, kept up to date pod by pod."""

    def __init__(self, members: Iterable[Member] = ()) -> None:
        self._pods: dict[str, dict[str, int]] = defaultdict(dict)
        for member in members:
            self.add(member, 1)

    def add(self, member: Member, count: int) -> str:
        """One pod more (1) or less (-1); the workload that it belongs to."""
        name = f"{member.pod.namespace}/{member.pod.workload}"
        zones = self._pods[name]
        zones[member.zone] = zones.get(member.zone, 0) + count
        if zones[member.zone] <= 0:
            del zones[member.zone]
        if not zones:
            del self._pods[name]
        return name

    def value(self, name: str) -> str | None:
        """None where no pod of it is left."""
        zones = self._pods.get(name)
        return canonical.text({"zones": sorted(zones)}) if zones else None

    def values(self) -> dict[tuple[IntervalKind, str], str]:
        return {(IntervalKind.WORKLOAD, name): value for name in self._pods if (value := self.value(name)) is not None}


class Rules:
    """Why each rule is there, in its administrators' words: its description and its tags. Once for each rulebase."""

    def __init__(self) -> None:
        self._of: Rulebase | None = None
        self._values: dict[tuple[IntervalKind, str], str] = {}

    def values(self, rulebase: Rulebase | None) -> dict[tuple[IntervalKind, str], str]:
        """None: nothing newer is known."""
        if rulebase is not None and rulebase is not self._of:
            rules = (*rulebase.rules, rulebase.intrazone, rulebase.interzone)
            self._of, self._values = (
                rulebase,
                {(IntervalKind.RULE, rule_key(rule.origin)): _rule_value(rule) for rule in rules},
            )
        return self._values


def _rule_value(rule: Rule) -> str:
    about = canonical.origin_json(rule.origin)
    if rule.description:
        about["description"] = rule.description
    if rule.tags:
        about["tags"] = sorted(rule.tags)
    return canonical.text(about)


class NodeReports:
    """What nodes report, and when each report came. `clock`: seconds of which only the difference counts."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[str, float]] = {}

    def values(
        self, states: Mapping[str, Json], present: Collection[str] | None, now: float
    ) -> dict[tuple[IntervalKind, str], str]:
        """Of each node that there is. One that has not reported for long, or never has, says nothing: `none`."""
        values: dict[tuple[IntervalKind, str], str] = {}
        for name in sorted(states.keys() if present is None else present):
            state = states.get(name)
            if state is None:
                values[IntervalKind.NODE, name] = canonical.text({"mode": "none", "why": "never reported"})
                continue
            reported = str(state.get("reportedAt", ""))
            before = self._heard.get(name)
            if before is None or before[0] != reported:
                before = self._heard[name] = reported, now
            if now - before[1] >= SILENT_AFTER:
                values[IntervalKind.NODE, name] = canonical.text({"mode": "none", "why": "silent"})
            else:
                values[IntervalKind.NODE, name] = _node_value(state)
        self._heard = {name: heard for name, heard in self._heard.items() if name in states}
        return values


def _node_value(state: Json) -> str:
    about: Json = {"mode": str(state.get("mode", "none")), "revision": int(state.get("revision") or 0)}
    if not about["revision"]:
        about["mode"] = "none"
    if "enforcedZones" in state:
        about["zones"] = sorted(state["enforcedZones"])
    if state.get("problems"):
        about["problems"] = len(state["problems"])
    return canonical.text(about)
