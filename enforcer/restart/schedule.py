"""When what is in force is saved for a restart: not while one revision follows the other, and not at each pod's change.

`enforcer.restart.saved` writes it; `enforcer.kernel.reconcile` calls after each pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from enforcer.restart.saved import Keeper, Saved
from enforcer.rules.ruleset import Ruleset

SAVE_EVERY = 300.0  # seconds between saves that only pods have changed for
RESTS = 1.0  # so long nothing has changed, when a revision that may be followed by others is saved
_AT_LAST = 10.0  # so long a revision may wait to be saved while others follow
_LARGE = 1_000  # chains that are others: memory was needed for them, and can be given back

Gather = Callable[[], Saved | None]
"""To gather everybody takes a while; nothing where there is nothing to save."""


class Keeping:
    """The first revision is saved at once; others at a pass that has nothing else to do, a moment after the last."""

    def __init__(self, state_dir: Path) -> None:
        self._keeper = Keeper(state_dir)
        self._at = self._changed_at = -1e9
        self._is_due = False
        self._kept: tuple[int | None, Ruleset | None] = None, None
        self._left: tuple[int | None, Ruleset | None, Gather] | None = None

    @property
    def problem(self) -> str:
        """Why the last one could not be saved."""
        return self._keeper.problem

    def passed(self, revision: int | None, in_force: Ruleset | None, gather: Gather, *, rests: bool) -> None:
        """After a pass. `rests`: it had nothing to do; where only pods came and went, saving waits for such a one."""
        self._is_due = self._is_due or not rests
        now = time.monotonic()
        self._changed_at = self._changed_at if rests else now
        is_fresh = self._kept[0] != revision or self._kept[1] is not in_force
        self._left = (revision, in_force, gather) if is_fresh else None
        if is_fresh:
            is_at_rest = rests and now >= self._changed_at + RESTS
            patience = 0.0 if is_at_rest or self._kept == (None, None) else _AT_LAST
        else:
            patience = SAVE_EVERY if rests else 2 * SAVE_EVERY
        waits = is_fresh or self._is_due or bool(self._keeper.problem)
        if waits and now >= self._at + patience:
            self._save(revision, in_force, gather)

    def _save(self, revision: int | None, in_force: Ruleset | None, gather: Gather) -> None:
        what = gather()
        if what is None:
            return
        before = self._kept[1]
        large = before is None or (in_force is not None and _is_another(before, in_force))
        self._keeper.keep(what, thorough=large)
        self._is_due, self._left, self._at, self._kept = False, None, time.monotonic(), (revision, in_force)

    def settle(self) -> None:
        """Wait until what is in force is saved."""
        if self._left is not None:
            self._save(*self._left)
        self._keeper.settle()

    def forget(self) -> None:
        """What was in force isn't any more, and nothing is being written."""
        self._left, self._kept = None, (None, None)
        self._keeper.settle()

    def close(self) -> None:
        """What is in force is saved by then."""
        self.settle()
        self._keeper.close()


def _is_another(one: Ruleset, other: Ruleset) -> bool:
    return len(one.table.chains.keys() ^ other.table.chains.keys()) > _LARGE
