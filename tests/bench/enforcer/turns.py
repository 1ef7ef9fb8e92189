"""Things that take turns, so that what else the machine does falls on all alike; and how sure a ratio of them is."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.bench.figures import Figure

RATIO = "ratio to bare conntrack"


def costs(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each run cost, round by round; who begins is chance."""
    chance, order = random.Random(), list(runs)
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        chance.shuffle(order)
        for name in order:
            found[name].append(runs[name]())
    return found


def compared(name: str, bare: Sequence[float], others: Sequence[float]) -> Iterator[Figure]:
    """The median of the rounds' ratios, and the interval in which it is with 95 % certainty."""
    ratios = sorted(one / other for one, other in zip(bare, others, strict=True))
    reach = 0.98 * math.sqrt(len(ratios))
    low, high = math.floor(len(ratios) / 2 - reach), math.ceil(len(ratios) / 2 + reach)
    yield Figure(name, round(statistics.median(ratios), 3), RATIO)
    yield Figure(f"{name}, from", round(ratios[max(low, 0)], 3), RATIO)
    yield Figure(f"{name}, to", round(ratios[min(high, len(ratios) - 1)], 3), RATIO)
