"""How long a change took from stage to stage: what `tests.bench.enforcer.traced` noted, read while it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import quantiles
from typing import Any

from tests.bench.figures import Figure

STEPS = (
    "server",  # from the API server's store through its watch
    "folded",
    "waited",  # for the event loop, and for the least pause between two passes
    "handed",  # to the kernel's thread
    "kernel",  # of which that thread ran for `kernel_cpu`, and waited for a processor for `kernel_queued`
)
_Moment = tuple[str, float, Any]


class Trace:
    """The file of one agent."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open()
        self._rest = ""
        self.moments: list[_Moment] = []

    def close(self) -> None:
        self._file.close()

    def read(self) -> None:
        """What was written since."""
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        self.moments += [tuple(json.loads(line)) for line in lines]

    def steps(self, name: str, since: float) -> dict[str, float] | None:
        """Seconds by step for the first news of a pod that concern the kernel; None as long as it isn't there."""
        folded = self._next("folded", since, [name, True])
        if folded is None:
            return None
        received = [each for each in self.moments if each[0] == "received" and each[2] == name and each[1] <= folded[1]]
        taken = self._next("taken", folded[1])
        began = taken and self._next("began", taken[1])
        committed = began and self._next("committed", began[1])
        if not (taken and began and committed):
            return None
        times = [since, received[-1][1], folded[1], taken[1], began[1], committed[1]]
        ran, queued = (after - before for before, after in zip(began[2], committed[2], strict=True))
        steps = dict(zip(STEPS, (after - before for before, after in pairwise(times)), strict=True))
        return steps | {"kernel_cpu": ran, "kernel_queued": queued}

    def of(self, stage: str, since: float) -> Iterator[object]:
        return (what for name, moment, what in self.moments if name == stage and moment >= since)

    def _next(self, stage: str, since: float, what: object = None) -> _Moment | None:
        return next(
            (each for each in self.moments if each[0] == stage and each[1] >= since and what in (None, each[2])), None
        )


def scheduled() -> tuple[float, float]:
    """Seconds that this thread has run, and has waited for a processor."""
    ran, waited, _ = Path("/proc/thread-self/schedstat").read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


def percentiles(name: str, seconds: Sequence[float]) -> Iterator[Figure]:
    cuts = quantiles(seconds, n=100)
    yield Figure(f"{name}.p50", round(cuts[49] * 1000, 2), "ms")
    yield Figure(f"{name}.p99", round(cuts[98] * 1000, 2), "ms")
