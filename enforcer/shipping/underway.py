"""Batches that a receiver has taken and not confirmed yet, in their order. Pure; `enforcer.shipping.delivery` keeps it.

What is confirmed counts only up to the first that isn't: a destination has one position in the spool.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from enforcer.shipping.spool import Stored


@dataclass(slots=True)
class Batch:
    """`last` is its last record, `count` how many it has, `since` when it was taken."""

    receipt: int
    last: Stored
    count: int
    since: float
    confirmed: bool = False


class UnderWay:
    def __init__(self, most: int) -> None:
        self._most = most
        self._batches: deque[Batch] = deque()

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def full(self) -> bool:
        return len(self._batches) >= self._most

    @property
    def last(self) -> Stored | None:
        """The last record that was taken: the next batch begins after it."""
        return self._batches[-1].last if self._batches else None

    @property
    def receipts(self) -> list[int]:
        """Those to ask for."""
        return [batch.receipt for batch in self._batches if not batch.confirmed]

    def begin(self, batch: Batch) -> None:
        self._batches.append(batch)

    def settle(self, receipts: Collection[int]) -> list[Batch]:
        """These are confirmed: the batches that have arrived with everything before them."""
        for batch in self._batches:
            batch.confirmed |= batch.receipt in receipts
        arrived = []
        while self._batches and self._batches[0].confirmed:
            arrived.append(self._batches.popleft())
        return arrived

    def overdue(self, now: float, patience: float) -> bool:
        return bool(self._batches) and now - self._batches[0].since > patience

    def clear(self) -> None:
        """All are to be sent again."""
        self._batches.clear()
