"""How many different targets each source had within a time; exact up to a threshold, and bounded. Pure.

`now` is the caller's, of a clock that nobody sets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Target = TypeVar("Target", bound=Hashable)


class DistinctTargets(Generic[Key, Target]):
    """At most `capacity` keys: who has been quiet for longest leaves. `evicted` counts those that left too early.

    No key has more targets than a threshold: then it is told, and begins anew.
    """

    def __init__(self, window: float, capacity: int) -> None:
        self.window = window
        self.capacity = capacity
        self.evicted = 0
        # not a dict: to find the first of one from whose front many were taken takes as long as there were
        self._targets: OrderedDict[Key, dict[Target, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._targets)

    def add(self, key: Key, target: Target, now: float, threshold: int) -> tuple[Target, ...]:
        """The targets, where they are as many as `threshold` with this one; else none."""
        targets = self._targets.pop(key, None)
        if targets is None:
            self._make_room(now)
            targets = {}
        self._targets[key] = targets  # the latest one is the last
        targets.pop(target, None)
        targets[target] = now
        for old in list(self._expired(targets, now)):
            del targets[old]
        if len(targets) < threshold:
            return ()
        del self._targets[key]
        return tuple(targets)

    def _expired(self, targets: dict[Target, float], now: float) -> Iterator[Target]:
        """The oldest come first."""
        for target, at in targets.items():
            if now - at < self.window:
                return
            yield target

    def _make_room(self, now: float) -> None:
        """Those that have been quiet for a window are nobody's loss; else the quietest, which is one."""
        for _ in range(2):
            if not self._targets:
                return
            key, targets = next(iter(self._targets.items()))
            quiet = now - next(reversed(targets.values())) >= self.window
            if not quiet and len(self._targets) < self.capacity:
                return
            self.evicted += not quiet
            del self._targets[key]
