"""How long to wait before trying again. Pure but for chance; every door and delivery waits by it."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Doubling from `first` to `longest`, half of it left to chance, so that a thousand nodes don't come at once."""

    first: float = 0.5
    longest: float = 60.0

    def wait(self, failures: int, at_least: float | None = None) -> float:
        """The seconds to wait after so many failures; never less than the other side wished for."""
        ceiling = min(self.longest, self.first * 2.0 ** min(failures, 30))
        return max(ceiling * (0.5 + random.random() / 2), at_least or 0.0)  # noqa: S311 - jitter only
