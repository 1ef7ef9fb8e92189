"""What `status` tells: each cluster's tier as its own status has it. A cluster that can't be asked says why.

Only `bridge.cli` asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bridge.errors import ClusterError
from bridge.kube.client import ApiServer
from bridge.settings.models import ClusterSettings
from bridge.tier.cluster import Cluster
from bridge.wiring.clusters import cluster_access

Json = dict[str, Any]
NOTHING_YET = (
    "no tier has been published yet, and the cluster goes on as it was; the bridge's log, its /readyz and "
    "`kubectl get events -n default` say why"
)
COLUMNS = ("CLUSTER", "DEVICE GROUP", "TIER", "REVISION", "NODES", "READY", "LAST SYNC", "PROBLEM")


async def overview(clusters: Sequence[ClusterSettings]) -> list[Json]:
    """One value for each cluster. Keys are only ever added."""
    return list(await asyncio.gather(*map(_one, clusters)))


async def _one(settings: ClusterSettings) -> Json:
    cluster = Cluster(ApiServer(cluster_access(settings)))
    about = {"cluster": settings.name, "device_group": settings.device_group, "tier": settings.tier}
    try:
        tier = await cluster.tier(settings.tier)
    except ClusterError as error:
        return about | _facts({}, str(error))
    finally:
        await cluster.close()
    return about | _facts(tier or {}, "" if tier else NOTHING_YET)


def _facts(tier: Json, problem: str) -> Json:
    status = tier.get("status", {})
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    unmet = [
        each
        for name in ("Compiled", "Stale", "Ready", "NodesInSync", "FeedsFresh")
        if (each := conditions.get(name)) and each["status"] != ("False" if name == "Stale" else "True")
    ]
    return {
        "revision": tier.get("spec", {}).get("revision"),
        "digest": tier.get("spec", {}).get("digest"),
        "ready": bool(tier) and conditions.get("Ready", {}).get("status") == "True",
        "nodes": status.get("nodes", {"total": 0, "inSync": 0}),
        "rules": status.get("rules", {}),
        "last_sync": status.get("lastSyncTime"),
        "problem": problem or "; ".join(each["message"] for each in unmet[:1]),
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
