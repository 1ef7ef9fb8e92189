"""What a Tier's own status says, in one value and one row of a table. Pure."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
COLUMNS = ("CLUSTER", "DEVICE GROUP", "TIER", "REVISION", "NODES", "READY", "LAST SYNC", "PROBLEM")
NOTHING_YET = (
    "no tier has been published yet, and the cluster goes on as it was; the bridge's log, its /readyz and "
    "`kubectl get events -n default` say why"
)


def facts(tier: Json, problem: str) -> Json:
    """Of a Tier as the API server has it, empty where there is none. `problem`: why nothing is known of it."""
    status = tier.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    unmet = [
        one
        for name in ("Compiled", "Stale", "Ready", "NodesInSync", "FeedsFresh")
        if (one := conditions.get(name)) and one["status"] != ("False" if name == "Stale" else "True")
    ]
    return {
        "revision": tier.get("spec", {}).get("revision"),
        "digest": tier.get("spec", {}).get("digest"),
        "ready": bool(tier) and conditions.get("Ready", {}).get("status") == "True",
        "nodes": status.get("nodes", {"total": 0, "inSync": 0}),
        "rules": status.get("rules", {}),
        "last_sync": status.get("lastSyncTime"),
        "problem": problem or "; ".join(one["message"] for one in unmet[:1]),
    }


def row(value: Json) -> tuple[str, ...]:
    """Under COLUMNS."""
    nodes = value["nodes"]
    return (
        value["cluster"],
        value["device_group"],
        value["tier"],
        str(value["revision"] or "-"),
        f"{nodes['inSync']}/{nodes['total']}",
        "yes" if value["ready"] else "no",
        value["last_sync"] or "-",
        value["problem"],
    )
