"""What this node is doing, as one JSON value: the status file, the NodeState and the metrics all tell this. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime

from enforcer.enforcement import Enforcement
from enforcer.reports.reporter import Counts
from enforcer.shipping.delivery import DeliveryProgress
from zones.addresses.index import AddressOwners
from zones.siem.records import Json
from zones.zone import Zoning

# What the NodeState's definition allows, and some room.
_MOST, _LONGEST = 20, 1000


def of_enforcement(enforcement: Enforcement) -> Json:
    applied, revision = enforcement.applied, enforcement.last_good
    problems = [*(applied.problems if applied else ()), enforcement.without_tier, enforcement.strange_zones]
    problems += enforcement.view.problems()
    return {
        "tier": enforcement.tier,
        "standing": enforcement.judgement.standing.value,
        "why": enforcement.judgement.why,
        "revision": applied.revision if applied else None,
        "digest": revision.digest if revision and applied and applied.revision == revision.number else None,
        "appliedAt": enforcement.applied_at.isoformat() if enforcement.applied_at else None,
        "complete": enforcement.view.complete,
        "passes": enforcement.passes,
        "uplinks": list(enforcement.uplinks),
        "bridgePorts": {"known": enforcement.stations.known, "unknown": list(enforcement.stations.unknown)},
        "inForce": enforcement.stance.value if enforcement.stance else None,
        "problems": [problem for problem in problems if problem],
    }


def of_population(holders: AddressOwners, nodes: int, zoning: Zoning | None) -> Json:
    """How many pods each zone has in the cluster; without a tier no zones are known."""
    zones: Counter[str] = Counter()
    pods = 0
    for pod, count in holders.pod_classes():
        pods += count
        if zoning is not None:
            zones[zoning.of_pod(pod.labels, pod.allowed, quarantined=pod.quarantined)] += count
    return {"pods": pods, "nodes": nodes, "zones": dict(sorted(zones.items()))}


def of_records(counts: Counts, lost: Mapping[str, int]) -> Json:
    return {"records": asdict(counts), "lost": dict(lost)}


def of_destinations(
    deliveries: Iterable[DeliveryProgress],
    backlogs: Mapping[str, int],
    lost: Mapping[str, int],
    ages: Mapping[str, float],
    asides: Mapping[str, int],
) -> list[Json]:
    """`ages`: of the oldest record that each has not got, in seconds; `asides`: bytes of what each refused."""
    return [
        {
            "name": progress.name,
            "sent": progress.sent,
            "sentMeans": progress.arrival.value,
            "refused": progress.refused,
            "lost": lost.get(progress.name, 0),
            "retries": progress.retries,
            "backlog": backlogs.get(progress.name, 0),
            "oldest": ages.get(progress.name, 0.0),
            "lastSuccess": progress.succeeded,
            "aside": asides.get(progress.name, 0),
            "trouble": progress.trouble,
            "held": progress.on_hold,
        }
        for progress in deliveries
    ]


def node_state(status: Json, kubelet: Json | None = None) -> Json:
    """The NodeState's status: what the bridge and `kubectl get` need of it. `kubelet`: None where it isn't asked.

    It is merged into the one that is there: what no longer holds has to be taken out by name, with null.
    """
    return {
        "tier": status["tier"],
        "revision": status["revision"] or 0,
        "digest": status["digest"] or "",
        "appliedAt": status["appliedAt"],
        "mode": status["mode"],
        "enforcedZones": status["enforcedZones"] or None,
        "kubelet": None if kubelet is None else {"problem": None, "settings": None} | kubelet,
        "problems": [problem[:_LONGEST] for problem in [*filter(None, [status["why"]]), *status["problems"]][:_MOST]],
    }


def healthy(status: Json, now: datetime, longest: float) -> str:
    """Why a status file is no reason to be calm; empty where all is well."""
    age = (now - datetime.fromisoformat(status["time"])).total_seconds()
    if age > longest:
        return f"the status is {age:.0f} s old; is zone-enforcer running?"
    if age < -longest:
        return f"the status is of a time that lies {-age:.0f} s ahead; was the clock set back?"
    if status["standing"] in {"refused", "tampered"}:
        return str(status["why"])
    return "; ".join(status["problems"])
