"""How long something takes, as a distribution over bounds that are fixed: what a Prometheus histogram wants. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from zones.siem.records import Json

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Durations:
    """In seconds. `last` and `longest` are for people."""

    def __init__(self, bounds: Sequence[float] = BOUNDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self.last = self.longest = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds
        self.last, self.longest = seconds, max(self.longest, seconds)

    def json(self) -> Json:
        """`buckets`: how many took no longer than each bound."""
        names = [*map(str, self._bounds), "+Inf"]
        return {
            "last": round(self.last, 6),
            "longest": round(self.longest, 6),
            "sum": round(self._sum, 6),
            "buckets": dict(zip(names, accumulate(self._counts), strict=True)),
        }
