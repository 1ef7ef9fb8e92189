"""Log messages between the kernel and the reporter: read at once, looked at in slices between other work.

Bounded: when it is full the rest stays in the kernel, which alone drops, and counts. `enforcer.service` empties it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

_READS, _SLICE = 16, 100


class Readable(Protocol):
    def fileno(self) -> int: ...

    def read(self) -> list[bytes]: ...


class LogQueue:
    def __init__(self, source: Readable, capacity: int = 150_000) -> None:
        self._source = source
        self.capacity = capacity
        self._held: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._held)

    def fill(self) -> None:
        """What the kernel has now, as far as there is room; not for long."""
        for _ in range(_READS):
            if len(self._held) >= self.capacity or not (bodies := self._source.read()):
                return
            self._held.extend(bodies)

    def take(self) -> list[bytes]:
        return [self._held.popleft() for _ in range(min(_SLICE, len(self._held)))]

    async def wait(self) -> None:
        """Until the kernel has something."""
        loop, descriptor = asyncio.get_running_loop(), self._source.fileno()
        ready = asyncio.Event()
        loop.add_reader(descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(descriptor)
