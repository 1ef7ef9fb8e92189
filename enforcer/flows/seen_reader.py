"""Hears which connections end, asks now and then which live, and tells each window what was seen. Nobody waits for it.

Not knowing is told: as a problem, or as a count in the window's record. `enforcer.service` runs it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from enforcer.errors import EnforcerError
from enforcer.flows.end_reader import ConntrackSource
from enforcer.flows.flows import FlowNames
from enforcer.flows.seen_table import SeenTable
from enforcer.netlink.conntrack import ConntrackMessage
from zones.policy import Policy
from zones.seen import COUNTING, SEEN
from zones.siem.records import Json, Record, Stamp

_log = structlog.get_logger()


class CountedConnections(Protocol):
    """What `enforcer.kernel.conntrack_events` offers."""

    def open_ends(self) -> ConntrackSource: ...

    def all_alive(self) -> Iterable[ConntrackMessage]: ...

    def account(self) -> Mapping[str, bool]: ...


@dataclass(slots=True)
class SeenReader:
    """`policy` is asked for the one in force, `held_back` for how many denied packets no record tells of so far.

    `problem`: what keeps connections from being counted.
    """

    kernel: CountedConnections
    table: SeenTable
    stamp: Stamp
    policy: Callable[[], Policy | None]
    put: Callable[[Iterable[Record]], None]
    held_back: Callable[[], int] = lambda: 0
    window: float = 300.0
    tick: float = 1.0
    problem: str = ""
    _dropped: int = 0
    _held_back: int = 0

    async def run(self, names: Callable[[], FlowNames]) -> None:
        """Until cancelled. `names` is asked for what holds now."""
        self.table.start(time.time())
        self._dropped, self._held_back = 0, self.held_back()
        source = await self._opened()
        try:
            if source is not None:
                asyncio.get_running_loop().add_reader(source.fileno(), self._read, source, names)
                await self._look(names)
            while True:
                await self._one_window(source, names)
        finally:
            if source is not None:
                asyncio.get_running_loop().remove_reader(source.fileno())
                self._read(source, names)
                source.close()

    async def _opened(self) -> ConntrackSource | None:
        """None where the kernel can't tell: denied connections are counted all the same."""
        try:
            can = await asyncio.to_thread(self.kernel.account)
            if can["events"]:
                self.problem = "" if can["acct"] else "connections are counted without bytes: nf_conntrack_acct is off"
                return self.kernel.open_ends()
            self.problem = "accepted connections are not counted; set net.netfilter.nf_conntrack_events to 1"
        except (EnforcerError, OSError) as error:
            self.problem = f"accepted connections are not counted: {error}"
        _log.error("what was seen", error=self.problem)
        return None

    async def _one_window(self, source: ConntrackSource | None, names: Callable[[], FlowNames]) -> None:
        loop = asyncio.get_running_loop()
        over = loop.time() + self.window
        while (left := over - loop.time()) > 0:
            self.table.learn(self.policy())
            await asyncio.sleep(min(self.tick, left))
        if source is not None:
            await self._look(names)
            self.table.missed += source.dropped - self._dropped
            self._dropped = source.dropped
        self.tell()

    def tell(self) -> None:
        """What the window had; what the agent stops in the middle of is told as a short one."""
        if not self.table.since:
            return
        held_back = self.held_back()
        self.table.held_back += held_back - self._held_back
        self._held_back = held_back
        now = time.time()
        flows, counting = self.table.take(now)
        records: list[Record] = [self._record(SEEN, flow.json(), flow.last.timestamp()) for flow in flows]
        self.put([*records, self._record(COUNTING, counting.json(), now)])

    def _record(self, kind: str, content: Json, at: float) -> Json:
        return self.stamp.record(kind, at) | content

    async def _look(self, names: Callable[[], FlowNames]) -> None:
        """Who lives. Where the kernel can't be asked, those are counted when they end."""
        self.table.learn(self.policy())
        self.table.look()
        try:
            living = await asyncio.to_thread(lambda: list(self.kernel.all_alive()))
        except (EnforcerError, OSError) as error:
            _log.error("the connections that live can't be listed", error=str(error))
            self.table.look_away()
            return
        self.table.alive(living, names(), time.time())

    def _read(self, source: ConntrackSource, names: Callable[[], FlowNames]) -> None:
        """An error is the next reading's: the loop goes on calling."""
        now = time.time()
        try:
            self.table.learn(self.policy())
            for message in source.read():
                self.table.ended(message, names(), now)
        except EnforcerError as error:
            _log.error("ends of connections not read", error=str(error))
