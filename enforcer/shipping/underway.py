"""Batches that are not known to have arrived with everything before them, in their order. Pure.

`enforcer.shipping.delivery` keeps it. What is confirmed counts only up to the first that isn't: a destination has one
position in the spool.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from enforcer.shipping.spool import Stored


@dataclass(slots=True)
class Batch:
    """`first` is its first record's number, `last` its last record; `count`: how many arrive with it; `since`: when.

    `receipt`: what to ask the receiver for; None where it has said at once that the batch is there.
    """

    receipt: int | None
    first: int
    last: Stored
    count: int
    since: float
    confirmed: bool = False

    def __post_init__(self) -> None:
        self.confirmed |= self.receipt is None


class UnderWay:
    """At most so many batches. What was confirmed out of turn is known when all is begun anew, and isn't sent again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._batches: deque[Batch] = deque()
        self._known: list[tuple[int, int]] = []

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
        return [batch.receipt for batch in self._batches if batch.receipt is not None and not batch.confirmed]

    def begin(self, batch: Batch) -> None:
        """What needs no asking for takes no room of its own."""
        before = self._batches[-1] if self._batches else None
        if before is not None and before.confirmed and batch.confirmed:
            before.last, before.count = batch.last, before.count + batch.count
        else:
            self._batches.append(batch)

    def settle(self, receipts: Collection[int] = ()) -> list[Batch]:
        """These are confirmed: the batches that have arrived with everything before them."""
        for batch in self._batches:
            batch.confirmed |= batch.receipt in receipts
        arrived = []
        while self._batches and self._batches[0].confirmed:
            arrived.append(self._batches.popleft())
        if arrived and self._known:
            self._known = [known for known in self._known if known[1] > arrived[-1].last.number]
        return arrived

    def knows(self, number: int) -> bool:
        """Whether this record has arrived, though one before it hasn't."""
        return any(first <= number <= last for first, last in self._known)

    def overdue(self, now: float, patience: float) -> bool:
        return bool(self._batches) and now - self._batches[0].since > patience

    def begin_anew(self) -> int:
        """What isn't confirmed is to be sent again. How many records were confirmed out of turn, and are known."""
        confirmed = [batch for batch in self._batches if batch.confirmed]
        self._known += [(batch.first, batch.last.number) for batch in confirmed]
        self._batches.clear()
        return sum(batch.count for batch in confirmed)
