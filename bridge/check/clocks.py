"""Nodes' clocks against that of where the command runs, by the Leases that kubelets renew. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from bridge.check.snapshot import ClusterSnapshot, Json
from zones.runtime.findings import Finding, Group, some

GROUP = Group("Clocks")
AHEAD, BEHIND = 5.0, 60.0
SYNC = "synchronise the clocks (NTP): records bear the node's time, and schedules in rules follow it"


def check(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    leases = snapshot.of("nodeleases")
    if leases.problem:
        yield GROUP.unknown(f"the nodes' Leases can't be listed: {leases.problem}", "ask with more rights")
        return
    ages = {
        item["metadata"]["name"]: snapshot.now - datetime.fromisoformat(item["spec"]["renewTime"]).timestamp()
        for item in leases.items
        if item["spec"].get("renewTime")
    }
    ready = set(_ready(snapshot))
    ahead = [name for name, age in ages.items() if age < -AHEAD]
    behind = [name for name, age in ages.items() if age > BEHIND and name in ready]
    if ahead:
        yield GROUP.warning(f"{some(ahead)}: ahead of here by more than {AHEAD:g} s", SYNC)
    if behind:
        yield GROUP.warning(f"{some(behind)}: behind here by more than {BEHIND:g} s, or its kubelet is stuck", SYNC)
    if not ahead and not behind and ages:
        yield GROUP.ok(f"the clocks of {len(ages)} nodes go with the one here")


def _ready(snapshot: ClusterSnapshot) -> Iterator[str]:
    for node in snapshot.of("nodes").items:
        conditions: list[Json] = node.get("status", {}).get("conditions", [])
        if any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions):
            yield node["metadata"]["name"]
