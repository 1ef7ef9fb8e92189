"""Which nodes don't enforce what is published, though they have had the time: behind, silent, or never heard of. Pure.

By this process's own clock: nodes' clocks may be wrong. `bridge.tier.sync` looks with every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Json = dict[str, Any]
BEHIND_AFTER = 120.0
# An enforcer reports every five minutes where nothing changes.
SILENT_AFTER = 900.0
_TOLD = 20


class Fault(StrEnum):
    """What is wrong with a node."""

    BEHIND = "behind"
    SILENT = "silent"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Late:
    """A node that is out of sync. `revision`: what it enforced when it was last heard."""

    name: str
    fault: Fault
    revision: int = 0

    def __str__(self) -> str:
        said = {
            Fault.BEHIND: f"is at revision {self.revision}",
            Fault.SILENT: f"has not reported for {SILENT_AFTER / 60:.0f} min",
            Fault.MISSING: "has never reported: no enforcer runs there",
        }
        return f"{self.name} {said[self.fault]}"


@dataclass(slots=True)
class _Heard:
    """A node's last report, when it came, and since when it has been behind with what it enforces."""

    reported: str
    at: float
    applied: tuple[object, object]
    since: float | None = None


class Nodes:
    """What is known of one cluster's nodes over time; `clock` is one that nobody sets, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard: dict[str, _Heard] = {}
        self._missing: dict[str, float] = {}

    def look(
        self, states: Mapping[str, Json], published: tuple[int, str], present: Collection[str] | None
    ) -> tuple[Late, ...]:
        """`states`: NodeStates' status by node; `present`: the nodes that there are, where that is known."""
        now = self._clock()
        self._heard = {name: self._listen(name, state, published, now) for name, state in states.items()}
        missing = () if present is None else sorted(set(present) - states.keys())
        self._missing = {name: self._missing.get(name, now) for name in missing}
        if not published[0]:
            return ()
        late = [self._judge(name, state, now) for name, state in sorted(states.items())]
        late += [Late(name, Fault.MISSING) for name, since in self._missing.items() if now - since >= BEHIND_AFTER]
        return tuple(lag for lag in late if lag is not None)

    def _listen(self, name: str, state: Json, published: tuple[int, str], now: float) -> _Heard:
        """A node that gets on from one revision to the next is not behind, however fast they are published."""
        before = self._heard.get(name)
        reported = str(state.get("reportedAt", ""))
        applied = state.get("revision"), state.get("digest")
        at = before.at if before is not None and before.reported == reported else now
        if applied == published:
            return _Heard(reported, at, applied)
        stuck = before is not None and before.applied == applied and before.since is not None
        return _Heard(reported, at, applied, before.since if before is not None and stuck else now)

    def _judge(self, name: str, state: Json, now: float) -> Late | None:
        heard, revision = self._heard[name], int(state.get("revision") or 0)
        if heard.reported and now - heard.at >= SILENT_AFTER:
            return Late(name, Fault.SILENT, revision)
        if heard.since is not None and now - heard.since >= BEHIND_AFTER:
            return Late(name, Fault.BEHIND, revision)
        return None


def existing_nodes(nodes: Iterable[Json], present: Collection[str] | None) -> list[Json]:
    """NodeStates, without those that nodes left behind which are gone."""
    return [node for node in nodes if present is None or node["metadata"]["name"] in present]


def states_of(nodes: Iterable[Json], tier: str) -> dict[str, Json]:
    """What nodes report on this tier, by name."""
    states = {str(node["metadata"]["name"]): node.get("status", {}) for node in nodes}
    return {name: state for name, state in states.items() if state.get("tier", tier) == tier}


def text(late: Collection[Late], revision: int) -> str:
    named = "; ".join(str(node) for node in list(late)[:_TOLD])
    more = f"; and {len(late) - _TOLD} more" if len(late) > _TOLD else ""
    return f"revision {revision} is not in force everywhere: {named}{more}"


def about_json(late: Collection[Late], revision: int) -> dict[str, object]:
    """For programs."""
    nodes = [{"node": node.name, "fault": node.fault.value, "revision": node.revision} for node in list(late)[:_TOLD]]
    return {"revision": revision, "count": len(late), "nodes": nodes}
