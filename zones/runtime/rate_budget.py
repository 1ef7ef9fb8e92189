"""So many at once, and so many a second: what keeps a flood of one thing from becoming a flood of another. Pure."""

from __future__ import annotations


class RateBudget:
    """`rate` a second are added, up to `burst`. Time is the caller's, of a clock that nobody sets."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at: float | None = None

    def take(self, now: float, keep: float = 0.0) -> bool:
        """Whether there is one to spend; `keep`: the share of the burst that is left for what matters more."""
        self._refill(now)
        if self._left - 1 < keep * self._burst:
            return False
        self._left -= 1
        return True

    def _refill(self, now: float) -> None:
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._left = min(self._burst, self._left + passed * self._rate)
        self._at = now
