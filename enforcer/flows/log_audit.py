"""What of the kernel's log never arrives: lost for want of room, or held back by a rule's limit; to the record.

`enforcer.service` asks once a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from enforcer.errors import EnforcerError
from enforcer.flows.loss_ledger import LossLedger, Reading

_EVERY = 10.0  # seconds between looks at all rules
_log = structlog.get_logger()


class Counters(Protocol):
    """What `enforcer.flows.log_counters` offers."""

    def reading(self) -> Reading | None: ...

    def held_back(self) -> dict[str, int]: ...

    def close(self) -> None: ...


class LogRecords(Protocol):
    """What a source of log records offers. `ours`: records read; `lost`: known to be, by the gaps in their numbers."""

    ours: int
    lost: int

    @property
    def idle(self) -> bool: ...


@dataclass(slots=True)
class LogAudit:
    counters: Counters
    clock: Callable[[], float] = time.monotonic
    _ledger: LossLedger = field(default_factory=LossLedger)
    _reading: Reading | None = None
    _by_rule: dict[str, int] = field(default_factory=dict)
    _told: tuple[int, int] = (0, 0)
    _former: int | None = None
    _looked_at: float = -_EVERY

    def begin(self) -> None:
        """The log is open. What a table that is there has counted so far was told by a former agent, or never will."""
        reading = self.counters.reading()
        self._ledger.begin(reading)
        if reading is not None and reading.table != self._told[0]:
            self._former = reading.table
            if not reading.unlogged:
                self._told = reading.table, 0

    def lost(self, source: LogRecords) -> int:
        """Records since `begin`."""
        self._reading = self.counters.reading()
        return self._ledger.look(self._reading, source.ours, source.lost, idle=source.idle)

    async def held_back(self) -> list[tuple[str, int]]:
        """Packets that weren't logged since the last time, by the id of their rule. The rules are looked at rarely."""
        reading, now = self._reading, self.clock()
        if reading is None or (reading.table, reading.unlogged) == self._told or now - self._looked_at < _EVERY:
            return []
        self._looked_at = now
        try:
            by_rule = await asyncio.to_thread(self.counters.held_back)
        except EnforcerError as error:
            _log.warning("the rules' counters can't be read", error=str(error))
            return []
        before = self._by_rule if reading.table == self._told[0] else by_rule if reading.table == self._former else {}
        self._told, self._by_rule = (reading.table, reading.unlogged), by_rule
        return list(_more(before, by_rule))

    def close(self) -> None:
        self.counters.close()


def _more(before: dict[str, int], now: dict[str, int]) -> Iterator[tuple[str, int]]:
    """A counter that is less than it was began anew."""
    for rule, count in now.items():
        former = before.get(rule, 0)
        more = count - former if count >= former else count
        if more:
            yield rule, more
