"""Many packets of one connection as one flow record, written as the spool holds it. Pure.

Bounded in flows and in memory. `enforcer.reports.reporter` fills it and takes what is due.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from enforcer.flows.flows import NamedPacket, circumstances
from zones.siem.records import Stamp, text, timestamp

_MOST_KINDS = 4096


@dataclass(slots=True)
class _OpenFlow:
    """A flow that is still being counted. `last` is epoch seconds, `begun` a time of the table's steady clock."""

    first: NamedPacket
    last: float
    begun: float
    packets: int
    octets: int


class FlowTable:
    """Flows of the last window. Bounded: where it is full, the oldest leaves early.

    Windows go by `clock`, which nobody sets; the machine's own time only stands in records.
    """

    def __init__(self, window: float, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._window = window
        self._clock = clock
        self.capacity = capacity
        self._flows: OrderedDict[tuple[object, ...], _OpenFlow] = OrderedDict()
        self._kinds: dict[tuple[object, ...], str] = {}

    def __len__(self) -> int:
        return len(self._flows)

    def __contains__(self, named: NamedPacket) -> bool:
        """Whether a packet is of a flow that is being counted."""
        return named.key in self._flows

    def add(self, named: NamedPacket, stamp: Stamp) -> bytes | None:
        """Count a packet. A record is given where another flow had to leave for it."""
        seen, key = named.seen, named.key
        counted = self._flows.get(key)
        if counted is not None:
            counted.last, counted.packets, counted.octets = seen.at, counted.packets + 1, counted.octets + seen.length
            return None
        early = self._flows.popitem(last=False)[1] if len(self._flows) >= self.capacity else None
        self._flows[key] = _OpenFlow(named, seen.at, self._clock(), 1, seen.length)
        return None if early is None else self._record(early, stamp)

    def take(self, stamp: Stamp) -> Iterator[bytes]:
        """The records of flows whose window is over."""
        now = self._clock()
        while self._flows:
            oldest = next(iter(self._flows.values()))
            if now - oldest.begun < self._window:
                return
            yield self._record(self._flows.popitem(last=False)[1], stamp)

    def take_all(self, stamp: Stamp) -> Iterator[bytes]:
        while self._flows:
            yield self._record(self._flows.popitem(last=False)[1], stamp)

    def _record(self, counted: _OpenFlow, stamp: Stamp) -> bytes:
        """`stamp.record`, `flows.described` and the counters, put together from parts that are written already."""
        named = counted.first
        began = timestamp(named.seen.at)
        end = timestamp(counted.last) if counted.last > named.seen.at else began  # the time may have been set back
        return (
            f'{stamp.begun("flow", began)},"source":{named.source.text(named.source_port)}'
            f',"destination":{named.destination.text(named.port)},{self._circumstances(named)}'
            f',"end":"{end}","moment":"{named.seen.moment.value}"'
            f',"packets":{counted.packets},"bytes":{counted.octets}}}'
        ).encode()

    def _circumstances(self, named: NamedPacket) -> str:
        """Rules that log are few at a time."""
        seen = named.seen
        key = (seen.rule, seen.protocol, seen.icmp_type, seen.reply, named.tier, named.revision)
        written = self._kinds.get(key)
        if written is None:
            if len(self._kinds) >= _MOST_KINDS:
                self._kinds.clear()
            written = self._kinds[key] = text(circumstances(named))[1:-1]
        return written
