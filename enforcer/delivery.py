"""One destination's delivery: spool -> sender -> acknowledge, with patience. It never drops a record of its own will.

A record that the receiver refuses is set aside in a file and counted. `enforcer.service` starts one `deliver` for each.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from enforcer.destinations import Records
from enforcer.outbox import Outbox
from enforcer.patience import Patience
from enforcer.ship import Sender
from enforcer.siem.outcome import Delivered, Hold, Refused, Retry, Split
from enforcer.spool import Stored

Json = Mapping[str, Any]
_WANTED = {Records.ALL: {"flow", "alert"}, Records.ALERTS: {"alert"}, Records.FLOWS: {"flow"}}
_ASIDE_BYTES = 4 * 2**20
_log = structlog.get_logger()


@dataclass(slots=True)
class Progress:
    """What a destination's delivery has come to. `trouble` is empty while all is well."""

    name: str
    sent: int = 0
    refused: int = 0
    failures: int = 0
    trouble: str = ""
    held: bool = False


@dataclass(slots=True)
class Delivery:
    """Reads, sends, acknowledges; `progress` tells how it goes."""

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

    def __post_init__(self) -> None:
        self.progress = Progress(self.name)
        self._limit = self.batch

    async def deliver(self) -> None:
        """Until cancelled."""
        while True:
            await self._deliver_some(list(await self.outbox.read(self.name, self._limit, self.batch_bytes)))

    async def _deliver_some(self, stored: list[Stored]) -> None:
        wanted = [(each, record) for each in stored if (record := self._decoded(each)) is not None]
        if not wanted:
            await self.outbox.acknowledge(self.name, stored[-1])
            return
        tried, outcome = await self.sender.send([record for _, record in wanted])
        last_tried = stored[-1] if tried == len(wanted) else wanted[tried - 1][0]
        match outcome:
            case Delivered():
                await self._keep_aside([each for each, _ in wanted], outcome.refused)
                await self._delivered(last_tried, tried - len(outcome.refused))
                if outcome.slow_down:
                    await self.pause(self.patience.first)
            case Refused():
                await self._refused([each for each, _ in wanted], outcome)
            case Split():
                self._limit = max(1, tried // 2)
                self._trouble(outcome.why)
            case Retry() | Hold():
                await self._wait(outcome)

    def _decoded(self, stored: Stored) -> Json | None:
        record: Json = json.loads(stored.payload)
        return record if record["kind"] in _WANTED[self.records] else None

    async def _delivered(self, last: Stored, count: int) -> None:
        self.progress.sent += count
        self._limit = min(self.batch, self._limit * 2)
        if self.progress.trouble:
            _log.info("destination works again", destination=self.name)
        self.progress.failures, self.progress.trouble, self.progress.held = 0, "", False
        await self.outbox.acknowledge(self.name, last)

    async def _refused(self, tried: Sequence[Stored], outcome: Refused) -> None:
        """What stands before it has arrived; the record itself goes aside; the next batch begins after it."""
        await self._keep_aside(tried, {outcome.index: outcome.why})
        self.progress.sent += outcome.index
        await self.outbox.acknowledge(self.name, tried[outcome.index])

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
        after = outcome.after if isinstance(outcome, Retry) else None
        await self.pause(self.patience.wait(self.progress.failures, after))
        self.progress.failures += 1

    def _trouble(self, why: str, *, held: bool = False) -> None:
        if why != self.progress.trouble:
            _log.warning("destination in trouble", destination=self.name, why=why, held=held)
        self.progress.trouble, self.progress.held = why, held


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
