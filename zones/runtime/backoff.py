"""How long to wait before another attempt. Pure but for chance."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tenacity import RetryCallState
from tenacity.wait import wait_base


@dataclass(frozen=True, slots=True)
class Backoff(wait_base):
    """Doubling from `first` to `longest` seconds, half of it random, so that a thousand nodes don't come at once.

    Loops that go on for ever ask for `seconds`; tenacity's retriers take it as their `wait`.
    """

    first: float = 0.5
    longest: float = 60.0

    def __call__(self, retry_state: RetryCallState) -> float:
        return self.seconds(retry_state.attempt_number - 1)

    def ceiling(self, failures: int) -> float:
        """The most seconds to wait after so many failures before this one."""
        return min(self.longest, self.first * 2.0 ** min(failures, 30))

    def seconds(self, failures: int, at_least: float | None = None, spread: float | None = None) -> float:
        """Never less than the other side asked for. `spread`: 0 to 1 instead of chance."""
        spread = random.random() if spread is None else spread  # noqa: S311 - jitter only
        return max(self.ceiling(failures) * (0.5 + spread / 2), at_least or 0.0)
