"""The Zones of a tier, with how many pods, nodes and namespaces are in each at this moment. Pure.

They inform people; no enforcer reads them. `bridge.population.task` tells the moves and writes what changed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bridge.population.picture import Member, MemberMove
from zones.canonical import digest
from zones.tiers.native import API_VERSION, TIER_LABEL

Json = dict[str, Any]
USUAL_TIER = "panorama"
# A plain name must not look like one with a digest, or a pod could claim another zone's object.
_PLAIN = re.compile(r"(?!.*-[0-9a-f]{8}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DIGITS, _LONGEST = 8, 50


def object_name(tier: str, zone: str) -> str:
    """The zone's own name where Kubernetes takes it; otherwise what is left of it, with a digest of the whole."""
    start = "" if tier == USUAL_TIER else f"{tier}."
    if _PLAIN.fullmatch(zone):
        return start + zone
    plain = re.sub(r"[^a-z0-9]+", "-", zone.lower())[:_LONGEST].strip("-")
    return f"{start}{plain}-{digest(zone)[:_DIGITS]}".replace(".-", ".zone-").lstrip("-")


@dataclass(slots=True)
class _Count:
    pods: int = 0
    isolated: int = 0
    nodes: Counter[str] = field(default_factory=Counter)
    namespaces: Counter[str] = field(default_factory=Counter)

    def add(self, member: Member, by: int) -> None:
        if member.isolated:
            self.isolated += by
            return
        self.pods += by
        for counter, key in ((self.nodes, member.pod.node), (self.namespaces, member.pod.namespace)):
            counter[key] += by
            if not counter[key]:
                del counter[key]

    @property
    def empty(self) -> bool:
        return not self.pods and not self.isolated


class Census:
    """One tier's zones: those that the tier knows, and those that pods claim."""

    def __init__(self, tier: str, default: str) -> None:
        self._tier = tier
        self._default = default
        self._known: frozenset[str] = frozenset()
        self._counts: dict[str, _Count] = {}
        self._names: dict[str, str] = {object_name(tier, default): default}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def know(self, zones: frozenset[str]) -> tuple[str, ...]:
        """The zones that the tier knows; which objects that changes."""
        changed, self._known = self._known ^ zones, zones
        return tuple(self._renamed(zone) for zone in changed)

    def move(self, move: MemberMove) -> tuple[str, ...]:
        """A pod came, went or changed; which objects that changes."""
        changed = []
        for member, by in ((move.before, -1), (move.after, 1)):
            if member is not None:
                count = self._counts.setdefault(member.claimed, _Count())
                count.add(member, by)
                if count.empty:
                    del self._counts[member.claimed]
                changed.append(self._renamed(member.claimed))
        return tuple(dict.fromkeys(changed))

    def render(self, name: str) -> Json | None:
        """The Zone with its status; None where there shall be none."""
        zone = self._names.get(name)
        if zone is None:
            return None
        count = self._counts.get(zone, _Count())
        return {
            "apiVersion": API_VERSION,
            "kind": "Zone",
            "metadata": {"name": name, "labels": {TIER_LABEL: self._tier}},
            "spec": {"zone": zone, "known": zone in self._known or zone == self._default},
            "status": {
                "pods": count.pods,
                "nodes": len(count.nodes),
                "namespaces": len(count.namespaces),
                "isolated": count.isolated,
            },
        }

    def _renamed(self, zone: str) -> str:
        """The zone's object, remembered only while there shall be one."""
        name = object_name(self._tier, zone)
        if zone in self._known or zone in self._counts or zone == self._default:
            self._names[name] = zone
        else:
            self._names.pop(name, None)
        return name
