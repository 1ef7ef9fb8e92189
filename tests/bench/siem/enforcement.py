"""What logging costs enforcement: new connections in the sender's processor time, 20,000 a second of them denied.

One node logs every denied connection and its agent delivers them; the other has the same rules and a limit of one log a
second. They take turns. The mixture is what a core can just enforce: five connections allowed for each one denied.
"""

from __future__ import annotations

import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from enforcer.netlink.messages import ACK, REQUEST, netfilter
from tests.bench.enforcer.wire import BATCH, Burst
from tests.bench.figures import Figure
from tests.bench.siem import flood
from tests.bench.siem.stage import PORT, Stage, take_place

RATE, ALLOWED = 20_000, 5
ROUNDS, SECONDS = 9, 2.0
_PAIRS = 25
_FORGET = 1 << 8 | 2


def figures() -> Iterator[Figure]:
    with ExitStack() as stack:
        logged, silent = (
            stack.enter_context(Stage(Path(stack.enter_context(tempfile.TemporaryDirectory())), name, nflog=limits))
            for name, limits in (("log", {"rate": 1_000_000, "burst": 1_000_000}), ("nolog", {"rate": 1, "burst": 1}))
        )
        take_place(logged.other_core)
        load = _Load(logged)
        for stage in (logged, silent):
            load.mixed(stage)
        before = logged.denied()
        mixed = [load.mixed(stage) for _ in range(ROUNDS) for stage in (logged, silent)]
        rate = (logged.denied() - before) / (ROUNDS * SECONDS)
        alone = [load.denied_only(stage) for _ in range(ROUNDS) for stage in (logged, silent)]
        yield Figure("siem.enforcement.denied_and_logged", round(rate), "connections/s in its turns")
        yield Figure("siem.enforcement.new_connections", _ratio(mixed), "rate with logging to without")
        yield Figure("siem.enforcement.new_connections_logged", _nanoseconds(mixed[::2]), "ns each")
        yield Figure("siem.enforcement.new_connections_unlogged", _nanoseconds(mixed[1::2]), "ns each")
        yield Figure("siem.enforcement.denied_only", _ratio(alone), "rate with logging to without")


def _ratio(costs: list[float]) -> float:
    return round(statistics.median(two / one for one, two in zip(costs[::2], costs[1::2], strict=True)), 3)


def _nanoseconds(costs: list[float]) -> float:
    return round(1e9 * statistics.median(costs))


class _Load:
    def __init__(self, stage: Stage) -> None:
        self.denied = flood.connections(100 * BATCH, stage.pairs(_PAIRS), PORT)
        self.allowed = flood.connections(100 * BATCH, stage.pairs(_PAIRS, apart=0), PORT)

    def mixed(self, stage: Stage) -> float:
        """Seconds of this thread for each connection, the node's work among them."""
        spent, sent, began = 0.0, 0, time.monotonic()
        at = 0
        while (passed := time.monotonic() - began) < SECONDS:
            if sent > passed * RATE * (ALLOWED + 1):
                time.sleep(0.001)
                continue
            spent += self._send(stage, self.denied, at % 100)
            for number in range(ALLOWED):
                if (at * ALLOWED + number) % 100 == 0:
                    forget(stage)
                spent += self._send(stage, self.allowed, (at * ALLOWED + number) % 100)
            at += 1
            sent += BATCH * (ALLOWED + 1)
        return spent / sent

    def denied_only(self, stage: Stage) -> float:
        return sum(self._send(stage, self.denied, at) for at in range(100)) / (100 * BATCH)

    def _send(self, stage: Stage, burst: Burst, at: int) -> float:
        began = time.thread_time()
        flood.send(stage.line, burst, at * BATCH, BATCH)
        return time.thread_time() - began


def forget(stage: Stage) -> None:
    """No connection is known to the node any more."""
    with stage.node.netns.inside(), closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)) as channel:
        channel.send(netfilter(_FORGET, REQUEST | ACK, 1, 0, 0))
        channel.recv(4096)
