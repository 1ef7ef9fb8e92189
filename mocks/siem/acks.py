"""Indexer acknowledgement: ids per token and channel, true after a delay, forgotten once told. It reads no clock.

Only the collector uses it, and gives it the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

Channel = tuple[str, str]


@dataclass(slots=True)
class Acks:
    """`delay` is read when asked: infinity holds every answer back, zero lets them go."""

    delay: float = 0.0
    issued: dict[Channel, int] = field(default_factory=dict)
    pending: dict[tuple[Channel, int], float] = field(default_factory=dict)

    def issue(self, channel: Channel, now: float, *, lost: bool = False) -> int:
        """The next id of a channel. A lost one never comes true."""
        number = self.issued.get(channel, 0)
        self.issued[channel] = number + 1
        self.pending[channel, number] = math.inf if lost else now
        return number

    def answer(self, channel: Channel, numbers: list[int], now: float) -> dict[str, bool]:
        return {str(number): self.settle(channel, number, now) for number in numbers}

    def settle(self, channel: Channel, number: int, now: float) -> bool:
        committed = self.pending.get((channel, number))
        if committed is None or committed + self.delay > now:
            return False
        del self.pending[channel, number]
        return True
