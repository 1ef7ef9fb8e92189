"""Between the event loop and the spool: a bounded queue in memory, and one thread that does all the disk work.

`put` never waits and never fails; what doesn't fit is counted. The reporter fills it, `enforcer.shipping.delivery`
empties it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from enforcer.errors import SpoolError
from enforcer.shipping.spool import Spool, Stored
from zones.siem.records import Record, encoded

_Result = TypeVar("_Result")
_BATCH = 1000
_log = structlog.get_logger()


class Outbox:
    """The asynchronous face of the spool."""

    def __init__(self, spool: Spool, capacity: int = 50_000, sync_seconds: float = 0.5) -> None:
        self._spool = spool
        self.capacity = capacity
        self._sync_seconds = sync_seconds
        self._waiting: deque[Record] = deque()
        self._arrived = asyncio.Event()
        self._stored = {name: asyncio.Event() for name in spool.positions}
        self._synced_at = 0.0
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self.lost_in_memory = 0
        self.lost_on_disk = 0
        self.written = 0

    @property
    def destinations(self) -> tuple[str, ...]:
        return tuple(self._spool.positions)

    @property
    def waiting(self) -> int:
        """Records that are in memory alone."""
        return len(self._waiting)

    async def oldest(self, destination: str) -> bytes | None:
        """The first record that the destination has not acknowledged, where it can be read."""
        try:
            first = await self._on_disk(lambda: self._spool.read(destination, 1, 1))
        except SpoolError:
            return None
        return first[0].payload if first else None

    def put(self, records: Iterable[Record]) -> None:
        """Take records in their order; those that don't fit are counted as lost."""
        if not self._spool.positions:
            return
        offered = [*records]
        room = max(self.capacity - len(self._waiting), 0)
        self._waiting.extend(offered[:room])
        self.lost_in_memory += max(len(offered) - room, 0)
        self._arrived.set()

    async def write(self) -> None:
        """Write what arrives, until cancelled."""
        while True:
            if not self._waiting:
                self._arrived.clear()
                await self._idle()
            else:
                await self._write_some()

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(self._sync_seconds):
                await self._arrived.wait()
        except TimeoutError:
            await self._sync()
            await self._arrived.wait()

    async def _write_some(self) -> None:
        await self._on_disk(self._append)
        for event in self._stored.values():
            event.set()
        if asyncio.get_running_loop().time() - self._synced_at > self._sync_seconds:
            await self._sync()

    def _append(self) -> None:
        """Taken from the queue in the disk's thread: a task that is cancelled meanwhile leaves nothing in between."""
        batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        try:
            self._spool.append([encoded(record) for record in batch])
        except SpoolError as error:
            self.lost_on_disk += len(batch)
            _log.error("records lost", error=str(error), records=len(batch))
        else:
            self.written += len(batch)

    async def _sync(self) -> None:
        self._synced_at = asyncio.get_running_loop().time()
        try:
            await self._on_disk(self._spool.sync)
        except SpoolError as error:
            _log.error("spool not synced", error=str(error))

    async def read(
        self, destination: str, max_records: int, max_bytes: int = 1 << 20, after: Stored | None = None
    ) -> Sequence[Stored]:
        """The destination's next records, those `after` one that is under way; waits until there are any."""
        while True:
            self._stored[destination].clear()
            records = await self._on_disk(lambda: self._spool.read(destination, max_records, max_bytes, after))
            if records:
                return records
            await self._stored[destination].wait()

    async def acknowledge(self, destination: str, last: Stored) -> None:
        await self._on_disk(lambda: self._spool.acknowledge(destination, last))

    async def take_lost(self) -> dict[str, int]:
        """What the spool dropped for each destination since the last call."""
        return await self._on_disk(self._settled)

    def _settled(self) -> dict[str, int]:
        self._spool.heal()
        return self._spool.take_lost()

    @property
    def trouble(self) -> str:
        """Why the disk takes nothing, while records are kept in memory."""
        return self._spool.trouble

    def backlog(self, destination: str) -> int:
        return self._spool.backlog(destination)

    @property
    def size(self) -> int:
        return self._spool.size

    @property
    def crowded(self) -> bool:
        """Whether records come faster than the disk takes them: who can, should wait."""
        return len(self._waiting) > self.capacity // 2

    @property
    def refusing(self) -> bool:
        """Whether what is put now would be lost: a report of losses had better wait."""
        return self._spool.refusing

    async def close(self) -> None:
        """Write what still waits, then close the spool."""
        while self._waiting:
            await self._write_some()
        await self._on_disk(self._spool.heal)
        await self._sync()
        await self._on_disk(self._spool.close)
        self._disk.shutdown()

    async def _on_disk(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work)
