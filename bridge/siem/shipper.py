"""One destination's queue and its patience: what is offered is sent in order, again and again, and never held for.

The queue is bounded; what must be dropped is counted and told. `bridge.siem.sink` offers, `bridge.service` runs it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_result

from zones.runtime.backoff import Backoff
from zones.siem.outcome import Accepted, Delivered, Outcome, Refused, Retry
from zones.siem.records import Json, encoded
from zones.siem.sender import Sender

_log = structlog.get_logger()
CAPACITY = 1_000


class DeliveryResult(StrEnum):
    """What became of a record, for the figures."""

    SENT = "sent"
    REFUSED = "refused"
    DROPPED = "dropped"


class Shipper:
    """`receiver` is its address, for the log; `count` gets each record's fate.

    `first` and `longest` are the seconds between tries.
    """

    def __init__(
        self,
        name: str,
        sender: Sender,
        count: Callable[[str, DeliveryResult], None] = lambda _name, _fate: None,
        *,
        receiver: str = "",
        capacity: int = CAPACITY,
        first: float = 0.5,
        longest: float = 60.0,
    ) -> None:
        self.name = name
        self._sender = sender
        self._receiver = receiver
        self._count = count
        self._capacity = capacity
        self._backoff = Backoff(first, longest)
        self._queue: deque[Json] = deque()
        self._some, self._stopping = asyncio.Event(), asyncio.Event()
        self._lost: Counter[str] = Counter()
        self._troubles: set[str] = set()

    def __len__(self) -> int:
        return len(self._queue)

    def oldest(self) -> float:
        """The age of what has waited longest, in seconds."""
        if not self._queue:
            return 0.0
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(self._queue[0]["time"])).total_seconds())

    def offer(self, record: Json) -> None:
        """Never waits. Where there is no room the oldest goes: of what lasts, the newest word counts."""
        if len(self._queue) >= self._capacity:
            self._lost[self._queue.popleft()["cluster"]] += 1
            self._count(self.name, DeliveryResult.DROPPED)
        self._queue.append(record)
        self._some.set()

    def take_lost(self) -> Mapping[str, int]:
        """How many of each cluster were dropped since the last time, once there is room again to tell it."""
        if len(self._queue) >= self._capacity:
            return {}
        lost, self._lost = self._lost, Counter()
        return lost

    async def run(self) -> None:
        """Until stopped; a try that is under way comes to its end."""
        while not self._stopping.is_set():
            await self._some.wait()
            while self._queue and not self._stopping.is_set():
                await self._ship(self._patiently)
            self._some.clear()

    def stop(self) -> None:
        self._stopping.set()
        self._some.set()

    async def finish(self, seconds: float) -> None:
        """The process ends: one try for each that is left, as long as they arrive and for so long."""
        until = asyncio.get_running_loop().time() + seconds
        while self._queue and asyncio.get_running_loop().time() < until and await self._ship(self._send):
            pass
        if self._queue:
            _log.warning("alerts not sent", destination=self.name, count=len(self._queue))
        await self._sender.close()

    async def _ship(self, send: Callable[[Json], Awaitable[Outcome]]) -> bool:
        """The oldest record, which stays in the queue until its fate is known."""
        record = self._queue[0]
        outcome = await send(record)
        if not isinstance(outcome, Delivered | Refused):
            return False
        if self._queue and self._queue[0] is record:
            self._queue.popleft()
        self._count(self.name, DeliveryResult.SENT if isinstance(outcome, Delivered) else DeliveryResult.REFUSED)
        if isinstance(outcome, Refused):
            _log.error("alert refused by the SIEM", destination=self.name, error=outcome.why, id=record["id"])
        elif self._troubles:
            self._troubles.clear()
            _log.info("destination works again", destination=self.name)
        return True

    async def _send(self, record: Json) -> Outcome:
        _, outcome = await self._sender.send([encoded(record)])
        if isinstance(outcome, Delivered) and outcome.refused:
            return Refused(*next(iter(outcome.refused.items())))
        return outcome

    async def _patiently(self, record: Json) -> Outcome:
        retrying = AsyncRetrying(
            retry=retry_if_result(lambda outcome: not isinstance(outcome, Delivered | Refused)),
            wait=self._wait,
            stop=lambda _: self._stopping.is_set(),
            retry_error_callback=lambda state: None if state.outcome is None else state.outcome.result(),
            before_sleep=self._told,
            sleep=self._sleep,
        )
        outcome: Outcome = await retrying(self._send, record)
        return outcome

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _wait(self, state: RetryCallState) -> float:
        outcome = state.outcome.result() if state.outcome is not None else None
        return max(self._backoff(state), outcome.after or 0.0 if isinstance(outcome, Retry) else 0.0)

    def _told(self, state: RetryCallState) -> None:
        """In the log, once for each kind of trouble: the SIEM itself can't hear of it."""
        outcome = state.outcome.result() if state.outcome is not None else None
        why = "" if outcome is None or isinstance(outcome, Delivered | Accepted) else outcome.why
        if why and why not in self._troubles:
            self._troubles.add(why)
            _log.warning("destination in trouble", destination=self.name, receiver=self._receiver, error=why)
