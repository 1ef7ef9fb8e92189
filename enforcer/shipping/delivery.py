"""One destination's delivery: spool -> sender -> acknowledge, with a back-off. It never drops a record of its own will.

Where a receiver confirms later, more is sent meanwhile; what it doesn't confirm in time is sent again. Whatever becomes
of a batch, the position in the spool moves in one place, and never past a batch that isn't known to have arrived. A
record that is refused is set aside in a file and counted. `enforcer.service` starts one `deliver` for each.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import structlog

from enforcer.errors import SpoolError
from enforcer.shipping.outbox import Outbox
from enforcer.shipping.spool import Stored
from enforcer.shipping.underway import Batch, UnderWay
from zones.runtime.backoff import Backoff
from zones.siem.destinations import Records
from zones.siem.outcome import Accepted, Arrival, Delivered, Gone, Hold, Outcome, Refused, Retry, Split
from zones.siem.records import kind_of
from zones.siem.sender import Confirming, Sender

_SMALL = 50
_TOO_OFTEN = 3
_ASIDE_BYTES = 4 * 2**20
_log = structlog.get_logger()


@dataclass(slots=True)
class DeliveryProgress:
    """What a destination's delivery has come to. `trouble` is empty while all is well; it holds `since` then.

    `arrival`: what `sent` means. `succeeded`: when records arrived last, in seconds of the epoch. `since` is by
    time.monotonic.
    """

    name: str
    arrival: Arrival = Arrival.ACCEPTED
    sent: int = 0
    refused: int = 0
    failures: int = 0
    trouble: str = ""
    on_hold: bool = False
    retries: int = 0
    succeeded: float | None = None
    since: float | None = None


@dataclass(slots=True)
class Delivery:
    """Reads, sends, acknowledges; `progress` tells how it goes.

    `_limit`: how many records the next batch may have; `_most`: what the receiver was quick enough for. `_repeats`: how
    often in a row all that was under way was to be sent again.
    """

    name: str
    outbox: Outbox
    sender: Sender
    aside: Path
    records: Records = Records.ALL
    batch: int = 1000
    batch_bytes: int = 1 << 20
    backoff: Backoff = field(default_factory=Backoff)
    pause: Callable[[float], Any] = asyncio.sleep
    progress: DeliveryProgress = field(init=False)
    _limit: int = field(init=False)
    _most: int = field(init=False)
    _under_way: UnderWay = field(init=False)
    _asked: float = field(default=0.0, init=False)
    _repeats: int = field(default=0, init=False)
    ask_seconds: ClassVar[float] = 0.25

    def __post_init__(self) -> None:
        self.progress = DeliveryProgress(self.name, self.sender.arrival)
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
        self.progress.sent += self._under_way.begin_anew()
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
        wanted = [record for record in stored if self._wants(record)]
        first = stored[0].number
        if not wanted:
            await self._arrived(first, stored[-1], 0)
            return
        tried, outcome = await self.sender.send([record.payload for record in wanted])
        last_tried = stored[-1] if tried == len(wanted) else wanted[tried - 1]
        match outcome:
            case Accepted():
                if not self._under_way:
                    self._asked = _now()
                self._under_way.begin(Batch(outcome.receipt, first, last_tried, tried, _now()))
                await self._slow_down(outcome)
            case Delivered():
                await self._keep_aside(wanted, outcome.refused)
                self._works()  # first: whoever sees that nothing waits any more sees no trouble either
                await self._arrived(first, last_tried, tried - len(outcome.refused))
                await self._slow_down(outcome)
            case Refused():
                await self._keep_aside(wanted, {outcome.index: outcome.why})
                await self._arrived(first, wanted[outcome.index], outcome.index)
            case Split():
                self._limit = max(1, tried // 2)
                self._trouble(outcome.why)
            case Gone():
                await self._again(outcome)
            case Retry() | Hold():
                await self._failed(first, wanted[:tried], outcome)

    def _wants(self, stored: Stored) -> bool:
        if self._under_way.knows(stored.number):
            return False
        return self.records.wants(kind_of(stored.payload))

    async def _slow_down(self, outcome: Accepted | Delivered) -> None:
        if outcome.slow_down:
            await self.pause(self.backoff.first)

    async def _confirm(self) -> None:
        """Ask for what is under way, now and then. What isn't confirmed in time is sent again."""
        sender = self.sender
        if not isinstance(sender, Confirming) or _now() - self._asked < self.ask_seconds:
            return
        self._asked = _now()
        receipts, trouble = await sender.confirmed(self._under_way.receipts)
        if await self._settle(receipts):
            self._works()
        if self._under_way.overdue(_now(), sender.patience) or isinstance(trouble, Gone):
            await self._again(trouble)

    async def _again(self, trouble: Outcome | None) -> None:
        """Everything that isn't known to have arrived is sent again, after a while."""
        arrived = self._under_way.begin_anew()
        self.progress.sent += arrived
        self._repeats = 1 if arrived else self._repeats + 1
        await self._wait(_reason(trouble, self._repeats))

    async def _arrived(self, first: int, last: Stored, count: int) -> None:
        """So many records from the first to this one are known to be there; the others need not be sent."""
        self._under_way.begin(Batch(None, first, last, count, _now()))
        await self._settle()

    async def _settle(self, receipts: Collection[int] = ()) -> bool:
        """Go on in the spool past what has arrived with everything before it; whether that was anything."""
        arrived = self._under_way.settle(receipts)
        count = sum(batch.count for batch in arrived)
        if count:
            self.progress.sent += count
            self.progress.succeeded = time.time()
            self._repeats = 0
        if arrived:
            await self.outbox.acknowledge(self.name, arrived[-1].last)
        return bool(arrived)

    def _works(self) -> None:
        self._most = min(self.batch, self._most + max(1, self._most // 16))
        self._limit = min(self._most, self._limit * 2)
        if self.progress.trouble:
            _log.info("destination works again", destination=self.name)
        self.progress.failures, self.progress.trouble, self.progress.on_hold = 0, "", False
        self.progress.since = None

    async def _failed(self, first: int, tried: Sequence[Stored], outcome: Retry | Hold) -> None:
        """What a refusal says to be there all the same must not be sent again and again."""
        if isinstance(outcome, Retry) and outcome.slow:
            self._limit = self._most = max(min(self.batch, _SMALL), len(tried) // 2)
        count = outcome.arrived if isinstance(outcome, Hold) else 0
        if count:
            await self._arrived(first, tried[count - 1], count)
        await self._wait(outcome)

    async def _keep_aside(self, tried: Sequence[Stored], refused: Mapping[int, str]) -> None:
        for index, why in refused.items():
            await asyncio.to_thread(set_aside, self.aside, tried[index].payload, why)
            self.progress.refused += 1
        if refused:
            why = next(iter(refused.values()))
            _log.error("records refused and set aside", destination=self.name, error=why, file=str(self.aside))

    async def _wait(self, outcome: Retry | Hold) -> None:
        on_hold = isinstance(outcome, Hold)
        self._trouble(outcome.why, on_hold=on_hold)
        self.progress.retries += 1
        after = outcome.after if isinstance(outcome, Retry) else None
        await self.pause(self.backoff.seconds(self.progress.failures, after))
        self.progress.failures += 1

    def _trouble(self, why: str, *, on_hold: bool = False) -> None:
        if why != self.progress.trouble:
            _log.warning("destination in trouble", destination=self.name, error=why, held=on_hold)
        self.progress.trouble, self.progress.on_hold = why, on_hold
        self.progress.since = self.progress.since or time.monotonic()


def _reason(trouble: Outcome | None, repeats: int) -> Retry | Hold:
    """Why what was under way is sent again. Where that is so again and again, somebody must hear of it."""
    if isinstance(trouble, Hold):
        return trouble
    why = trouble.why if isinstance(trouble, Gone) else "the indexers did not acknowledge in time"
    if repeats < _TOO_OFTEN:
        return Retry(why)
    return Hold(f"{why}: the same records were sent {repeats} times, and none of them is known to have arrived")


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
        _log.error("refused record not kept", file=str(path), error=error.strerror)
