"""What a policy allows between two zones, exactly, and by which rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zones.difference.boxes import Box, disjoint, without
from zones.difference.moments import ScheduleMoment
from zones.difference.sides import Side, bits
from zones.policy import Policy, Verdict
from zones.rules import Origin


@dataclass(frozen=True, slots=True)
class Allowed:
    """Flows that a rule allows, as it is the first that matches them: disjoint boxes."""

    origin: Origin
    boxes: tuple[Box, ...]


class AllowedFlows:
    """Answers for one policy. What infrastructure rules allow isn't asked: rules of a manager alone are judged."""

    def __init__(self, policy: Policy, told_apart: Sequence[ScheduleMoment]) -> None:
        """Boxes of two policies can be compared where both were given the moments that both tell apart."""
        self._side = Side(policy, set(policy.infrastructure), told_apart)

    def between(self, from_zone: str, to_zone: str) -> Iterator[Allowed]:
        """In the order of the rules; empty where nothing at all is allowed."""
        side = self._side
        concerned = side.concerning(from_zone, to_zone)
        for place in bits(concerned & side.saying(Verdict.ALLOW)):
            earlier = side.near(side.buckets(place)) & concerned & ((1 << place) - 1)
            passed = (box for before in bits(earlier) for box in side.boxes(before))
            left = without(disjoint(side.boxes(place)), passed)
            if left:
                yield Allowed(side.judgement(place).origin, tuple(left))
