"""Which acknowledgement of a collector is of which batch. Pure; `zones.siem.transports.hec` asks and sends.

An indexer numbers what it takes on a channel upwards from 0 and forgets a number once it has said that it is indexed.
Behind a balancer that spreads requests, several indexers number the same channel, and an answer may be of another's
batch:

    batch a -> indexer 1: ackId 0        asked for 0, indexer 2 says true: b is indexed, and a may be lost
    batch b -> indexer 2: ackId 0        a number that doesn't rise tells of the second indexer

So nothing on such a channel is believed, and it is left for a new one. Where that happens again, each batch has a
channel of its own: who hasn't taken the batch doesn't know the channel and never says true.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice

# An indexer that is restarted numbers anew too: that alone is no balancer.
_SOON = 600.0
# So many channels are asked for at once, from the oldest batch on.
_MOST_ASKED = 16


def _channel() -> str:
    return str(uuid.uuid4())


@dataclass(slots=True)
class Acks:
    """`spread`: requests reach several indexers, so that each batch has its own channel."""

    spread: bool = False
    channel: str = field(default_factory=_channel)
    _highest: int = -1
    _left_at: float | None = None
    _receipts: Iterator[int] = field(default_factory=count)
    _waiting: dict[int, tuple[str, int]] = field(default_factory=dict)

    def next_channel(self) -> str:
        """For the next batch."""
        if self.spread:
            self.channel, self._highest = _channel(), -1
        return self.channel

    def took(self, ack_id: int, now: float) -> int | None:
        """A batch was taken: our receipt for it. None where its number is no proof: all that waits is void."""
        if ack_id <= self._highest:
            self.spread |= self._left_at is not None and now - self._left_at < _SOON
            self._left_at = now
            self.channel, self._highest = _channel(), -1
            self._waiting.clear()
            return None
        self._highest = ack_id
        receipt = next(self._receipts)
        self._waiting[receipt] = (self.channel, ack_id)
        return receipt

    def to_ask(self, receipts: Collection[int]) -> list[tuple[str, Mapping[int, int]]]:
        """Channels with their numbers, and the receipt of each. Receipts that nobody asks for are forgotten."""
        self._waiting = {receipt: where for receipt, where in self._waiting.items() if receipt in receipts}
        channels: dict[str, dict[int, int]] = {}
        for receipt, (channel, ack_id) in self._waiting.items():
            channels.setdefault(channel, {})[ack_id] = receipt
        return list(islice(channels.items(), _MOST_ASKED))
