"""The agent's status file for people. It reads one file and prints; `enforcer.cli` calls it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from enforcer.errors import EnforcerError
from enforcer.status import status
from zones.siem.records import Json

_STALE_SECONDS = 60.0


def read(path: Path) -> tuple[Json, str]:
    """What the agent told last, and why that is no reason to be calm. Raises EnforcerError."""
    try:
        told: Json = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise EnforcerError(f"there is no status in {path.parent}; is zone-enforcer running on this node?") from error
    except (OSError, ValueError) as error:
        raise EnforcerError(f"{path} can't be read: {error}") from error
    return told, status.healthy(told, datetime.now(UTC), _STALE_SECONDS)


def show(told: Json, why: str) -> None:
    console = Console(soft_wrap=True)
    facts = Table(show_header=False, box=None)
    rows = {
        "node": f"{told['node']} of {told['cluster']}",
        "tier": f"{told['tier']}, revision {told['revision']}, {told['standing']}",
        "mode": " ".join([told["mode"], *_of_zones(told)]),
        "in force": told.get("inForce") or "not known",
        "applied": told["appliedAt"],
        "uplinks": ", ".join(told.get("uplinks", ())) or "not known",
        "bridge ports": _of_ports(told.get("bridgePorts")),
        "pods": f"{told['pods']} on {told['nodes']} nodes",
        "zones": ", ".join(f"{zone} {count}" for zone, count in told["zones"].items()),
        "records": ", ".join(f"{name} {count}" for name, count in told["records"].items()),
        "lost": ", ".join(f"{name} {count}" for name, count in told["lost"].items()) or "none",
        "queues": ", ".join(
            f"{name} {queue['length']} of {queue['capacity']}" for name, queue in told["queues"].items()
        ),
        "kernel log": f"{told['log']['waiting']} of {told['log']['buffer']} bytes wait",
        "alerts": f"{told['alerts']['conditions']} conditions, {told['alerts']['suppressed']} denials told with others",
        "pod events": ", ".join(f"{name} {count}" for name, count in told["pod_events"].items()) or "off",
        "passes": f"{told['passes']}, {_took(told['pass_seconds'])}",
        "changes": f"in the kernel {_took(told['change_seconds'])}",
        "API server": f"silent for up to {max(told['silence'].values(), default=0.0):.0f} s",
        "spool": f"{told['spool_bytes']} of {told['spool_capacity']} bytes",
    }
    for name, value in rows.items():
        facts.add_row(name, str(value))
    for destination in told["destinations"]:
        facts.add_row(f"→ {destination['name']}", _destination(destination))
    for problem in told["problems"]:
        facts.add_row("problem", problem)
    console.print(facts)
    console.print(f"wrong: {why}" if why else "all is well")


def _of_ports(told: Json | None) -> str:
    if not told or not (told["known"] or told["unknown"]):
        return "none"
    unknown = f"; whose pod is not known: {', '.join(told['unknown'])}" if told["unknown"] else ""
    return f"{told['known']} held to their pod's addresses{unknown}"


def _of_zones(told: Json) -> list[str]:
    """Where not every zone is enforced."""
    zones = told.get("enforcedZones") or ()
    return [f"(zones {', '.join(zones)}; others are observed)"] if zones and told["mode"] == "enforce" else []


def _destination(told: Json) -> str:
    trouble = f"; {'held' if told['held'] else 'trying again'}: {told['trouble']}" if told["trouble"] else ""
    late = f", the oldest for {told['oldest']:.0f} s" if told["backlog"] else ""
    counts = f"refused {told['refused']}, lost {told['lost']}, tried again {told['retries']}"
    return f"sent {told['sent']}, waiting {told['backlog']}{late}, {counts}{trouble}"


def _took(told: Json) -> str:
    return f"after {told['last'] * 1000:.1f} ms, at most {told['longest'] * 1000:.1f} ms"
