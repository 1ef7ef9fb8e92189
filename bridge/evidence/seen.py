"""What nodes saw, put together: rows that are alike are one, and since when and how completely each node counts. Pure.

A database (`bridge.evidence.store`) and a file of records (`bridge.evidence.seen_file`) both give it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from zones.seen import Counting, SeenFlow, SeenKey


@dataclass(frozen=True, slots=True)
class Evidence:
    """`nodes`: what each node says of its counting, by name; those that never counted are not in it."""

    flows: tuple[SeenFlow, ...] = ()
    nodes: Mapping[str, Counting] = field(default_factory=dict)

    @property
    def since(self) -> datetime | None:
        """From when on all of these nodes have been counting; None where none does."""
        return max((node.since for node in self.nodes.values()), default=None)

    @property
    def until(self) -> datetime | None:
        """Up to when the node that was heard of least lately has told."""
        return min((node.end for node in self.nodes.values()), default=None)


def together(flows: Iterable[SeenFlow]) -> tuple[SeenFlow, ...]:
    """One row for each key, in the order in which they first come; `living` is summed: give the latest of each node."""
    sums: dict[SeenKey, SeenFlow] = {}
    for flow in flows:
        known = sums.get(flow.key)
        sums[flow.key] = flow if known is None else _sum(known, flow)
    return tuple(sums.values())


def _sum(one: SeenFlow, other: SeenFlow) -> SeenFlow:
    return SeenFlow(
        one.key,
        one.connections + other.connections,
        one.octets + other.octets,
        one.living + other.living,
        min(one.first, other.first),
        max(one.last, other.last),
    )


RESTART = timedelta(minutes=10)
"""A node whose agent was away for no longer counts on from when it did before: connections of that time are missing."""


def continued(before: Counting | None, later: Counting) -> Counting:
    """Two windows of a node as one; where there is no gap between them, it counts since the first."""
    if before is None:
        return later
    return replace(
        later,
        since=before.since if later.since - before.end <= RESTART else later.since,
        begin=min(before.begin, later.begin),
        end=max(before.end, later.end),
        missed=before.missed + later.missed,
        folded=before.folded + later.folded,
        unattributed=before.unattributed + later.unattributed,
        held_back=before.held_back + later.held_back,
    )
