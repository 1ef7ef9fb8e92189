"""One destination's delivery: spool -> sender -> acknowledge, with patience. It never drops a record of its own will.

Where a receiver confirms later, more is sent meanwhile; what it doesn't confirm in time is sent again. A record that it
refuses is set aside in a file and counted. `enforcer.service` starts one `deliver` for each.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import structlog

from enforcer.errors import SpoolError
from enforcer.patience import Patience
from enforcer.reports.records import kind_of
from enforcer.senders.destinations import Records
from enforcer.shipping.outbox import Outbox
from enforcer.shipping.ship import Confirming, Sender
from enforcer.shipping.spool import Stored
from enforcer.shipping.underway import Batch, UnderWay
from enforcer.siem.outcome import Accepted, Delivered, Gone, Hold, Outcome, Refused, Retry, Split

_WANTED = {Records.ALERTS: "alert", Records.FLOWS: "flow"}
_SMALL = 50
_ASIDE_BYTES = 4 * 2**20
_log = structlog.get_logger()


@dataclass(slots=True)
class Progress:
    """What a destination's delivery has come to. `trouble` is empty while all is well.

    `succeeded`: when records arrived last, in seconds of the epoch.
    """

    name: str
    sent: int = 0
    refused: int = 0
    failures: int = 0
    trouble: str = ""
    held: bool = False
    retries: int = 0
    succeeded: float | None = None


@dataclass(slots=True)
class Delivery:
    """Reads, sends, acknowledges; `progress` tells how it goes.

    `_limit`: how many records the next batch may have; `_most`: what the receiver was quick enough for.
    """

    name: str
    outbox: Outbox
    sender: Sender
    aside: Path
    records: Records = Records.ALL
    batch: int = 1000
    batch_bytes: int = 1 << 20
    patience: Patience = field(default_factory=Patience)
    pause: Callable[[float], Any] = asyncio.sleep
    progress: Progress = field(init=False)
    _limit: int = field(init=False)
    _most: int = field(init=False)
    _under_way: UnderWay = field(init=False)
    _asked: float = field(default=0.0, init=False)
    ask_seconds: ClassVar[float] = 0.25

    def __post_init__(self) -> None:
        self.progress = Progress(self.name)
        self._limit = self._most = self.batch
        self._under_way = UnderWay(self.sender.in_flight if isinstance(self.sender, Confirming) else 1)

    @property
    def aside_bytes(self) -> int:
        """What lies in the file of refused records."""
        try:
            return self.aside.stat().st_size
        except OSError:
            return 0

    async def deliver(self) -> None:
        """Until cancelled."""
        self._under_way.clear()
        while True:
            try:
                stored = await self._next()
            except SpoolError as error:
                await self._wait(Retry(str(error)))
                continue
            if stored:
                await self._deliver_some(stored)
            if self._under_way:
                await self._confirm()

    async def _next(self) -> Sequence[Stored]:
        """What is to be sent next. None while enough is under way, or where nothing has come for a while."""
        if self._under_way.full:
            await asyncio.sleep(self.ask_seconds)
            return []
        with suppress(TimeoutError):
            async with asyncio.timeout(self.ask_seconds if self._under_way else None):
                return await self.outbox.read(self.name, self._limit, self.batch_bytes, self._under_way.last)
        return []

    async def _deliver_some(self, stored: Sequence[Stored]) -> None:
        wanted = stored if self.records is Records.ALL else [each for each in stored if self._wants(each)]
        if not wanted:
            if await self._all_confirmed():
                await self.outbox.acknowledge(self.name, stored[-1])
            return
        tried, outcome = await self.sender.send([each.payload for each in wanted])
        last_tried = stored[-1] if tried == len(wanted) else wanted[tried - 1]
        match outcome:
            case Accepted():
                if not self._under_way:
                    self._asked = _now()
                self._under_way.begin(Batch(outcome.receipt, last_tried, tried, _now()))
                await self._slow_down(outcome)
            case Delivered():
                await self._keep_aside(wanted, outcome.refused)
                await self._delivered(last_tried, tried - len(outcome.refused))
                await self._slow_down(outcome)
            case Refused():
                if await self._all_confirmed():
                    await self._refused(wanted, outcome)
            case Split():
                self._limit = max(1, tried // 2)
                self._trouble(outcome.why)
            case Retry() | Hold():
                await self._failed(wanted[:tried], outcome)

    def _wants(self, stored: Stored) -> bool:
        return kind_of(stored.payload) == _WANTED[self.records]

    async def _slow_down(self, outcome: Accepted | Delivered) -> None:
        if outcome.slow_down:
            await self.pause(self.patience.first)

    async def _all_confirmed(self) -> bool:
        """Wait for what is under way: whether it has arrived, so that what follows may be acknowledged too."""
        while self._under_way:
            await asyncio.sleep(self.ask_seconds)
            if not await self._confirm():
                return False
        return True

    async def _confirm(self) -> bool:
        """Ask for what is under way, now and then. False: it wasn't confirmed in time, and is sent again."""
        sender = self.sender
        if not isinstance(sender, Confirming) or _now() - self._asked < self.ask_seconds:
            return True
        self._asked = _now()
        receipts, trouble = await sender.confirmed(self._under_way.receipts)
        arrived = self._under_way.settle(receipts)
        if arrived:
            await self._delivered(arrived[-1].last, sum(batch.count for batch in arrived))
        if not self._under_way.overdue(_now(), sender.patience) and not isinstance(trouble, Gone):
            return True
        self._under_way.clear()
        await self._wait(_reason(trouble))
        return False

    async def _delivered(self, last: Stored, count: int) -> None:
        self.progress.sent += count
        self.progress.succeeded = time.time()
        self._most = min(self.batch, self._most + max(1, self._most // 16))
        self._limit = min(self._most, self._limit * 2)
        if self.progress.trouble:
            _log.info("destination works again", destination=self.name)
        self.progress.failures, self.progress.trouble, self.progress.held = 0, "", False
        await self.outbox.acknowledge(self.name, last)

    async def _refused(self, tried: Sequence[Stored], outcome: Refused) -> None:
        """What stands before it has arrived; the record itself goes aside; the next batch begins after it."""
        await self._keep_aside(tried, {outcome.index: outcome.why})
        self.progress.sent += outcome.index
        await self.outbox.acknowledge(self.name, tried[outcome.index])

    async def _failed(self, tried: Sequence[Stored], outcome: Retry | Hold) -> None:
        """What a refusal says to be there all the same must not be sent again and again."""
        if isinstance(outcome, Retry) and outcome.slow:
            self._limit = self._most = max(min(self.batch, _SMALL), len(tried) // 2)
        count = outcome.arrived if isinstance(outcome, Hold) else 0
        if count and await self._all_confirmed():
            self.progress.sent += count
            await self.outbox.acknowledge(self.name, tried[count - 1])
        await self._wait(outcome)

    async def _keep_aside(self, tried: Sequence[Stored], refused: Mapping[int, str]) -> None:
        for index, why in refused.items():
            await asyncio.to_thread(set_aside, self.aside, tried[index].payload, why)
            self.progress.refused += 1
        if refused:
            why = next(iter(refused.values()))
            _log.error("records refused and set aside", destination=self.name, why=why, file=str(self.aside))

    async def _wait(self, outcome: Retry | Hold) -> None:
        held = isinstance(outcome, Hold)
        self._trouble(outcome.why, held=held)
        self.progress.retries += 1
        after = outcome.after if isinstance(outcome, Retry) else None
        await self.pause(self.patience.wait(self.progress.failures, after))
        self.progress.failures += 1

    def _trouble(self, why: str, *, held: bool = False) -> None:
        if why != self.progress.trouble:
            _log.warning("destination in trouble", destination=self.name, why=why, held=held)
        self.progress.trouble, self.progress.held = why, held


def _reason(trouble: Outcome | Gone | None) -> Retry | Hold:
    """Why what was under way is sent again."""
    match trouble:
        case Hold():
            return trouble
        case Gone():
            return Retry(trouble.why)
    return Retry("the indexers did not acknowledge in time")


def _now() -> float:
    return asyncio.get_running_loop().time()


def set_aside(path: Path, payload: bytes, why: str) -> None:
    """Append a refused record with the reason; a file that has grown too big is begun anew, one old one is kept."""
    line = json.dumps({"why": why, "record": json.loads(payload)}, ensure_ascii=False).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size + len(line) > _ASIDE_BYTES:
            path.replace(path.with_suffix(".old"))
        with path.open("ab") as file:
            file.write(line)
    except OSError as error:
        _log.error("refused record not kept", file=str(path), why=error.strerror)
