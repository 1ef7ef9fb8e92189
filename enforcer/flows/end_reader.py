"""Hears of the ends of connections while a rule in force wants them logged. Nobody waits for it.

Not knowing an end is told: as a problem, or as a count. `enforcer.service` runs it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from enforcer.errors import EnforcerError
from enforcer.flows.connections import Beginning, Connections, beginning
from enforcer.flows.flows import FlowNames
from enforcer.netlink.conntrack import ConntrackMessage
from enforcer.rules.chains.verdict_chains import VerdictChain
from zones.siem.records import Record, Stamp

_PAUSE = 60  # ticks
_log = structlog.get_logger()


class ConntrackSource(Protocol):
    """What `enforcer.kernel.conntrack_events` opens."""

    @property
    def dropped(self) -> int: ...

    def fileno(self) -> int: ...

    def read(self) -> Iterator[ConntrackMessage]: ...

    def close(self) -> None: ...


class EndingConnections(Protocol):
    """What `enforcer.kernel.conntrack_events` offers."""

    def open(self) -> ConntrackSource: ...

    def alive(self) -> Iterable[ConntrackMessage]: ...

    def account(self) -> Mapping[str, bool]: ...

    def remembered(self) -> Mapping[int, float]: ...


@dataclass(slots=True)
class EndReader:
    """`terminals` is asked for the rules in force; `put` takes records, and of how many ends the rule isn't known.

    `problem`: what keeps ends untold.
    """

    kernel: EndingConnections
    connections: Connections
    stamp: Stamp
    terminals: Callable[[], Mapping[str, VerdictChain]]
    put: Callable[[Sequence[Record], int], None]
    tick: float = 1.0
    problem: str = ""
    _dropped: int = 0
    _learnt: Mapping[str, VerdictChain] | None = None
    _wanted: bool = False

    @property
    def lost(self) -> int:
        """Messages that the kernel had no room for, each of which may have been an end, and ends we had no room for."""
        return self._dropped + self.connections.lost

    async def run(self, names: Callable[[], FlowNames]) -> None:
        """Until cancelled. `names` is asked for what holds now."""
        while True:
            if self._is_wanted():
                await self._listen(names)
            else:
                self.problem = ""
            await asyncio.sleep(self.tick)

    def _is_wanted(self) -> bool:
        terminals = self.terminals()
        if terminals is not self._learnt:
            self._learnt = terminals
            self._wanted = any(terminal.log.end for terminal in terminals.values())
            self.connections.learn(terminals)
        return self._wanted

    async def _listen(self, names: Callable[[], FlowNames]) -> None:
        source = await self._opened()
        if source is None:
            await self._pause()
            return
        loop = asyncio.get_running_loop()
        failed: asyncio.Future[None] = loop.create_future()
        loop.add_reader(source.fileno(), self._read, source, names, failed)
        try:
            await self._attend(source, names, failed)
        finally:
            loop.remove_reader(source.fileno())
            self._read(source, names, failed)
            source.close()
            self.connections.forget()

    async def _pause(self) -> None:
        """Before the kernel is asked again: to ask is a change of its tables."""
        for _ in range(_PAUSE):
            if not self._is_wanted():
                return
            await asyncio.sleep(self.tick)

    async def _opened(self) -> ConntrackSource | None:
        before = self.problem
        try:
            can = await asyncio.to_thread(self.kernel.account)
            self.problem = _missing(can)
            self.connections.timed, self.connections.remembered = can["timestamp"], self.kernel.remembered()
            return self.kernel.open() if can["labels"] else None
        except (EnforcerError, OSError) as error:
            self.problem = f"nothing is told of connections that end: {error}"
            return None
        finally:
            if self.problem not in {before, ""}:
                _log.error("ends of connections", error=self.problem)

    async def _attend(
        self, source: ConntrackSource, names: Callable[[], FlowNames], failed: asyncio.Future[None]
    ) -> None:
        """While ends are wanted. Who lived before we listened, or while something was dropped, is asked for."""
        dropped = -1
        while self._is_wanted() and not failed.done():
            if source.dropped != dropped:
                self._dropped += source.dropped - max(dropped, 0)
                dropped = source.dropped
                await self._count_anew(names)
            await asyncio.wait([failed], timeout=self.tick)
        if failed.done():
            failed.result()

    async def _count_anew(self, names: Callable[[], FlowNames]) -> None:
        before = self.connections.count_anew()
        try:
            living = await asyncio.to_thread(self._living)
        except (EnforcerError, OSError) as error:
            _log.error("the connections that live can't be listed", error=str(error))
            before, living = frozenset(), []
        self.connections.counted(before, living, names(), time.time())

    def _living(self) -> list[Beginning]:
        return [known for message in self.kernel.alive() if (known := beginning(message)) is not None]

    def _read(self, source: ConntrackSource, names: Callable[[], FlowNames], failed: asyncio.Future[None]) -> None:
        try:
            before = self.connections.unattributed
            records = list(self.connections.take(source.read(), names(), self.stamp, time.time()))
            self.put(records, self.connections.unattributed - before)
        except Exception as error:  # noqa: BLE001 - handed to the task
            if not failed.done():
                failed.set_exception(error)


def _missing(can: Mapping[str, bool]) -> str:
    """What the kernel doesn't do that an end needs. Times are told by it or by us."""
    if not can["labels"]:
        return "the kernel has no labels for connections, so nothing is told of those that end"
    if not can["events"]:
        return "the kernel tells of no connections that end; set net.netfilter.nf_conntrack_events to 1"
    if not can["acct"]:
        return "ends of connections are told without packets and bytes; set net.netfilter.nf_conntrack_acct to 1"
    return ""
