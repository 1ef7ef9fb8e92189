"""Throughput of TCP connections through a node, with and without rules by turns."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench.enforcer.figures import Figure
from tests.bench.enforcer.wire import SERVER, Wire

ROUNDS = 20
SECONDS = 0.4
PORT = 1000
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Run:
    """What one run moved, by the clock and by the processor time of all its threads, the node's work among it."""

    size: int
    seconds: float
    processor: float

    @property
    def rate(self) -> float:
        return self.size / self.seconds

    @property
    def yield_(self) -> float:
        return self.size / self.processor


def throughput(bare: Wire, enforced: Wire) -> Iterator[Figure]:
    """Who begins changes from round to round. By processor time it is the same figure, whatever else the machine does."""
    for streams in (1, 4):
        pairs = []
        for number in range(ROUNDS):
            order = (bare, enforced) if number % 2 else (enforced, bare)
            runs = {wire.name: _run(wire, streams) for wire in order}
            pairs.append((runs[bare.name], runs[enforced.name]))
        alone = statistics.median(each.rate for each, _ in pairs)
        yield Figure(f"throughput, bare conntrack, streams: {streams}", round(alone * 8 / 1e9, 2), "Gbit/s")
        by_clock = statistics.median(ours.rate / theirs.rate for theirs, ours in pairs)
        yield Figure(f"throughput, streams: {streams}", round(by_clock, 3), "ratio to bare conntrack")
        by_work = statistics.median(ours.yield_ / theirs.yield_ for theirs, ours in pairs)
        yield Figure(f"throughput by processor time, streams: {streams}", round(by_work, 3), "ratio to bare conntrack")


def _run(wire: Wire, streams: int) -> _Run:
    with ExitStack() as leave:
        ends = [_connected(wire, leave) for _ in range(streams)]
        received = [0] * streams
        worked, started = time.process_time(), time.monotonic()
        workers = [threading.Thread(target=_send, args=(client, started + SECONDS)) for client, _ in ends]
        workers += [
            threading.Thread(target=_receive, args=(server, received, number))
            for number, (_, server) in enumerate(ends)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return _Run(sum(received), time.monotonic() - started, time.process_time() - worked)


def _connected(wire: Wire, leave: ExitStack) -> tuple[socket.socket, socket.socket]:
    with wire.server.inside():
        listener = socket.create_server((str(SERVER), PORT))
    with listener:
        with wire.client.inside():
            client = leave.enter_context(socket.create_connection((str(SERVER), PORT), timeout=30))
        server, _ = listener.accept()
    server.settimeout(30)
    return client, leave.enter_context(server)


def _send(to: socket.socket, until: float) -> None:
    chunk = bytes(_CHUNK)
    while time.monotonic() < until:
        to.sendall(chunk)
    to.shutdown(socket.SHUT_WR)


def _receive(by: socket.socket, received: list[int], number: int) -> None:
    room = bytearray(_CHUNK)
    while size := by.recv_into(room):
        received[number] += size
