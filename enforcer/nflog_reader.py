"""Reads the kernel's log and hands it to the reporter. Enforcement goes on without it; why it can't be had is told.

`enforcer.service` runs it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from enforcer.enforcement import Enforcement
from enforcer.errors import EnforcerError
from enforcer.flows.flows import FlowNames
from enforcer.flows.log_audit import LogAudit
from enforcer.flows.log_queue import LogQueue
from enforcer.netlink import nflog
from enforcer.reports.reporter import Reporter
from enforcer.shipping.outbox import Outbox
from zones.net import ETHERTYPES

_BREATH = 0.02
# So long a start waits for names, while the kernel keeps what is logged; then it is told without.
_NAMES_SECONDS = 10.0
_log = structlog.get_logger()


class PacketSource(Protocol):
    """What `enforcer.netlink.sockets` offers."""

    ours: int
    lost: int

    @property
    def idle(self) -> bool: ...

    @property
    def buffer_bytes(self) -> int: ...

    def fileno(self) -> int: ...

    def read(self) -> list[bytes]: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class LogReader:
    """`source` and `intake` are there while the log is read; `problem` says why it isn't."""

    packets: Callable[[], PacketSource]
    audit: LogAudit
    reporter: Reporter
    outbox: Outbox
    enforcement: Enforcement
    source: PacketSource | None = None
    intake: LogQueue | None = None
    problem: str = ""

    async def run(self, names: Callable[[], FlowNames]) -> None:
        """Until cancelled; returns where the log can't be had. `names` is asked for what holds now."""
        try:
            self.source = source = self.packets()
        except (EnforcerError, OSError) as error:
            if not self.problem:
                _log.error("the kernel's log can't be read", error=str(error))
            self.problem = f"the kernel's log can't be read, so nothing is reported of flows: {error}"
            return
        self.problem = ""
        self.audit.begin()
        self.intake = intake = LogQueue(source)
        try:
            await self._read(intake, names)
        except asyncio.CancelledError:
            intake.fill()
            while self._packets(intake, names):
                pass
            raise
        finally:
            self.source = self.intake = None
            source.close()

    async def _read(self, intake: LogQueue, names: Callable[[], FlowNames]) -> None:
        until = time.monotonic() + _NAMES_SECONDS
        while True:
            intake.fill()
            nameless = not names().known and time.monotonic() < until
            if self.outbox.crowded or nameless:  # what is too much is best left in the kernel: it costs nothing there
                await asyncio.sleep(_BREATH)
            elif not self._packets(intake, names):
                await intake.wait()
            await asyncio.sleep(0)

    def _packets(self, intake: LogQueue, names: Callable[[], FlowNames]) -> bool:
        """Report some packets; False where there are none."""
        bodies = intake.take()
        packets = [packet for body in bodies if (packet := nflog.parse(body)) is not None]
        if any(packet.protocol >= ETHERTYPES for packet in packets):
            packets = list(map(self.enforcement.stations.named, packets))
        self.reporter.packets(packets, self.enforcement.terminals, names(), time.time())
        return bool(bodies)
