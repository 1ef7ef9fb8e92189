"""Throughput of TCP connections through a node: so many bytes, with one table awake and then another, again and again.

One thread writes and reads, so the node's work is done in it too: its processor time is that of the throughput, whatever
else the machine does, and on a machine that does nothing else it is the time by the clock.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from tests.bench.enforcer.turns import compared, costs
from tests.bench.enforcer.wire import OURS, SERVER, Wire
from tests.bench.figures import Figure

ROUNDS = 1500
SIZE = 4 * 2**20  # bytes of a turn: short, as what else the machine does changes by the millisecond
PORT = 1000
_WARM_UP = 4
_CHUNK = 256 * 1024
_STALLED = 1000  # milliseconds without a byte


@dataclass
class Stream:
    """One connection, and how much of a turn was written and read."""

    client: socket.socket
    server: socket.socket
    written: int = 0
    read: int = 0
    _data: memoryview = field(default_factory=lambda: memoryview(bytes(_CHUNK)))
    _room: bytearray = field(default_factory=lambda: bytearray(_CHUNK))

    def move(self, size: int) -> int:
        """As much of so many bytes as goes without waiting."""
        before = self.written + self.read
        with suppress(BlockingIOError):
            while self.written < size:
                self.written += self.client.send(self._data[: size - self.written])
        with suppress(BlockingIOError):
            while self.read < size:
                self.read += self.server.recv_into(self._room, min(_CHUNK, size - self.read))
        return self.written + self.read - before


def throughput(wire: Wire, tables: Mapping[str, str], bare: str) -> Iterator[Figure]:
    """With each of the tables awake, against the bare one: the same connections."""
    for many in (1, 4):
        with ExitStack() as leave:
            wire.only(OURS)
            streams = [_connected(wire, leave) for _ in range(many)]
            turns = {table: partial(_turn, wire, table, streams) for table in (bare, *tables.values())}
            costs(turns, _WARM_UP)
            found = costs(turns, ROUNDS)
        rate = SIZE * 8 / median(found[bare]) / 1e9
        yield Figure(f"throughput, bare conntrack, streams: {many}", round(rate, 2), "Gbit in a processor second")
        for name, table in tables.items():
            yield from compared(f"throughput, {name}, streams: {many}", found[bare], found[table])


def _turn(wire: Wire, table: str, streams: Sequence[Stream]) -> float:
    """Seconds of the processor that so many bytes take."""
    wire.only(table)
    size = SIZE // len(streams)
    arrivals = select.poll()
    for each in streams:
        each.written = each.read = 0
        arrivals.register(each.server, select.POLLIN)
    started = time.thread_time()
    while any(each.read < size for each in streams):
        if not sum(each.move(size) for each in streams):
            arrivals.poll(_STALLED)
    return time.thread_time() - started


def _connected(wire: Wire, leave: ExitStack) -> Stream:
    with wire.server.inside():
        listener = socket.create_server((str(SERVER), PORT))
    with listener:
        with wire.client.inside():
            client = leave.enter_context(socket.create_connection((str(SERVER), PORT), timeout=30))
        server = leave.enter_context(listener.accept()[0])
    for each in (client, server):
        each.setblocking(False)
    return Stream(client, server)
