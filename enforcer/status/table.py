"""The agent's status file for people. It reads one file and prints; `enforcer.cli` calls it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from enforcer.errors import EnforcerError
from enforcer.status import status
from zones.runtime.output import printable
from zones.siem.records import Json

_STALE_SECONDS = 60.0


def read(path: Path) -> tuple[Json, str]:
    """What the agent told last, and why that is no reason to be calm. Raises EnforcerError."""
    try:
        value: Json = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise EnforcerError(f"there is no status in {path.parent}; is zone-enforcer running on this node?") from error
    except (OSError, ValueError) as error:
        raise EnforcerError(f"{path} can't be read: {error}") from error
    return value, status.healthy(value, datetime.now(UTC), _STALE_SECONDS)


def show(state: Json, why: str) -> None:
    # What is said here comes from settings, receivers and the API server: no text of theirs is a style or a control.
    console = Console(soft_wrap=True, markup=False, emoji=False, highlight=False)
    facts = Table(show_header=False, box=None)
    rows = {
        "node": f"{state['node']} of {state['cluster']}",
        "tier": f"{state['tier']}, revision {state['revision']}, {state['standing']}",
        "mode": " ".join([state["mode"], *_of_zones(state)]),
        "in force": state.get("inForce") or "not known",
        "applied": state["appliedAt"],
        "uplinks": ", ".join(state.get("uplinks", ())) or "not known",
        "bridge ports": _of_ports(state.get("bridgePorts")),
        "pods": f"{state['pods']} on {state['nodes']} nodes",
        "zones": ", ".join(f"{zone} {count}" for zone, count in state["zones"].items()),
        "records": ", ".join(f"{name} {count}" for name, count in state["records"].items()),
        "lost": ", ".join(f"{name} {count}" for name, count in state["lost"].items()) or "none",
        "queues": ", ".join(
            f"{name} {queue['length']} of {queue['capacity']}" for name, queue in state["queues"].items()
        ),
        "kernel log": f"{state['log']['waiting']} of {state['log']['buffer']} bytes wait",
        "alerts": "{conditions} conditions, {suppressed} denials told with others".format(**state["alerts"]),
        "pod events": ", ".join(f"{name} {count}" for name, count in state["pod_events"].items()) or "off",
        "passes": f"{state['passes']}, {_took(state['pass_seconds'])}",
        "changes": f"in the kernel {_took(state['change_seconds'])}",
        "API server": f"silent for up to {max(state['silence'].values(), default=0.0):.0f} s",
        "spool": f"{state['spool_bytes']} of {state['spool_capacity']} bytes",
    }
    for name, value in rows.items():
        facts.add_row(name, printable(str(value)))
    for destination in state["destinations"]:
        facts.add_row(printable(f"→ {destination['name']}"), printable(_destination(destination)))
    for problem in state["problems"]:
        facts.add_row("problem", printable(problem))
    console.print(facts)
    console.print(f"wrong: {printable(why)}" if why else "all is well")


def _of_ports(ports: Json | None) -> str:
    if not ports or not (ports["known"] or ports["unknown"]):
        return "none"
    unknown = f"; whose pod is not known: {', '.join(ports['unknown'])}" if ports["unknown"] else ""
    return f"{ports['known']} held to their pod's addresses{unknown}"


def _of_zones(value: Json) -> list[str]:
    """Where not every zone is enforced."""
    zones = value.get("enforcedZones") or ()
    return [f"(zones {', '.join(zones)}; others are observed)"] if zones and value["mode"] == "enforce" else []


def _destination(destination: Json) -> str:
    trouble = (
        f"; {'held' if destination['held'] else 'trying again'}: {destination['trouble']}"
        if destination["trouble"]
        else ""
    )
    late = f", the oldest for {destination['oldest']:.0f} s" if destination["backlog"] else ""
    counts = f"refused {destination['refused']}, lost {destination['lost']}, tried again {destination['retries']}"
    return f"sent {destination['sent']}, waiting {destination['backlog']}{late}, {counts}{trouble}"


def _took(durations: Json) -> str:
    return f"after {durations['last'] * 1000:.1f} ms, at most {durations['longest'] * 1000:.1f} ms"
