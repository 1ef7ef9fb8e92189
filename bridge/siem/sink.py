"""Alerts to the SIEM: each becomes one record and is offered to every destination; what lasts is told again each hour.

It never waits for a receiver. `bridge.alerts` sends to it, `bridge.service` runs it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from bridge.alerts import HAPPENINGS, REMINDED_DAILY, Checkpoint, EvidenceCheckpoint, TierAlert
from bridge.siem.record import RecordStamp
from bridge.siem.shipper import Shipper
from zones.siem.alerts import AlertKind
from zones.siem.records import Json

_log = structlog.get_logger()
REMIND_SECONDS, DAY_SECONDS = 3600.0, 86_400.0
LOOK_SECONDS = 5.0
FINISH_SECONDS = 5.0
_Key = tuple[str, str, AlertKind, str]


@dataclass(slots=True)
class _Raised:
    """`since` is epoch seconds, `reminded` a time of the steady clock."""

    alert: TierAlert
    since: float
    reminded: float


class SiemSink:
    """A sink for the alerts of all clusters. What was raised is raised again by the next process: at least once."""

    def __init__(
        self,
        shippers: Sequence[Shipper],
        records: RecordStamp,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        look: float = LOOK_SECONDS,
    ) -> None:
        self._shippers = tuple(shippers)
        self._records = records
        self._clock = clock  # what records say
        self._steady = steady  # what is due goes by it: nobody sets it
        self._look = look
        self._stopping = asyncio.Event()
        self._raised: dict[_Key, _Raised] = {}
        self._begun = clock()

    @property
    def shippers(self) -> Sequence[Shipper]:
        return self._shippers

    async def send(self, alert: TierAlert) -> None:
        key, now = (alert.cluster, alert.tier, alert.kind, alert.subject), self._clock()
        known = self._raised.pop(key, None)
        since = min(known.since, now) if known is not None else now  # the time may have been set back
        if not alert.over and alert.kind not in HAPPENINGS:
            self._raised[key] = _Raised(alert, since, self._steady())
        self._offer(self._records.of(alert, now, since))

    async def checkpoint(self, cluster: str, tier: str, checkpoint: Checkpoint | EvidenceCheckpoint) -> None:
        self._offer(self._records.checkpoint(cluster, tier, checkpoint, self._clock()))

    async def run(self) -> None:
        """Until stopped: ship, remind, tell of losses."""
        async with asyncio.TaskGroup() as group:
            for shipper in self._shippers:
                group.create_task(shipper.run(), name=f"siem {shipper.name}")
            while not self._stopping.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._look):
                        await self._stopping.wait()
                self.look()

    def stop(self) -> None:
        """No more tries; what is under way comes to its end."""
        self._stopping.set()
        for shipper in self._shippers:
            shipper.stop()

    def look(self) -> None:
        """What is due: lasting trouble once more, and what was lost."""
        now, steady = self._clock(), self._steady()
        for raised in self._raised.values():
            if steady - raised.reminded >= (DAY_SECONDS if raised.alert.kind in REMINDED_DAILY else REMIND_SECONDS):
                raised.reminded = steady
                self._offer(self._records.of(raised.alert, now, min(raised.since, now)))
        for shipper in self._shippers:
            for cluster, lost in shipper.take_lost().items():
                _log.error("alerts dropped", destination=shipper.name, cluster=cluster, count=lost)
                shipper.offer(self._records.loss(cluster, shipper.name, lost, now, self._begun))

    async def finish(self) -> None:
        """The process ends; what can still be sent in a few seconds is."""
        self.look()
        await asyncio.gather(*(shipper.finish(FINISH_SECONDS) for shipper in self._shippers))

    def _offer(self, record: Json) -> None:
        for shipper in self._shippers:
            shipper.offer(record)
