"""Connections that are tried again and again while something happens to the cluster, and conversations that go on.

It tells what was lost of the allowed, and what came through of the denied. Only kernels answer the tries: a slow server
on a busy machine loses nothing.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from mocks.lab import Outcome, Probe, measure
from tests.cluster.matrix import Connection

CONNECT_SECONDS = 0.9  # before the first SYN is sent again: one that is lost is told
DENIED_SECONDS = 0.3
PAUSE = 0.05
SILENCE = 3.0  # in a conversation, which is sent again meanwhile
AT_MOST = 60


class Traffic:
    """Runs between entering and leaving it. `allowed` and `denied` are tried, `conversations` talk all the time."""

    def __init__(
        self,
        allowed: Iterable[Connection] = (),
        denied: Sequence[Connection] = (),
        conversations: Sequence[Connection] = (),
    ) -> None:
        self.lost: list[str] = []
        self.leaked: list[str] = []
        self.rounds = 0
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._try_allowed, args=(list(allowed),), daemon=True),
            threading.Thread(target=self._try_denied, args=(list(denied),), daemon=True),
            *(threading.Thread(target=self._talk, args=(each,), daemon=True) for each in conversations),
        ]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)

    def wait_rounds(self, count: int, until: Callable[..., object]) -> None:
        """Until everything allowed was tried so many times more."""
        goal = self.rounds + count
        until(lambda: self.rounds >= goal, 60)

    def _try_allowed(self, connections: list[Connection]) -> None:
        while not self._over.is_set():
            for each, outcome in _measured(connections, CONNECT_SECONDS):
                if outcome is not Outcome.ALLOWED:
                    self.lost.append(f"{self._now()}: {each} was {outcome}")
            self.rounds += 1
            self._over.wait(PAUSE)

    def _try_denied(self, connections: list[Connection]) -> None:
        while connections and not self._over.is_set():
            for each, outcome in _measured(connections, DENIED_SECONDS):
                if outcome is Outcome.ALLOWED:
                    self.leaked.append(f"{self._now()}: {each}")
            self._over.wait(PAUSE)

    def _talk(self, connection: Connection) -> None:
        family = socket.AF_INET6 if ":" in connection.ip else socket.AF_INET
        made = connection.source.netns.socket(family, socket.SOCK_STREAM)
        made.settimeout(SILENCE)
        # what the other kernel doesn't acknowledge for so long ends the connection
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * SILENCE))
        try:
            with made:
                made.connect((connection.ip, connection.port))
                made.setblocking(False)
                while not self._over.wait(PAUSE):
                    made.send(b".")
                    _drain(made)
        except OSError as error:
            if not self._over.is_set():
                self.lost.append(f"{self._now()}: the conversation {connection}: {error}")

    def _now(self) -> str:
        return f"after {time.monotonic() - self._began:.2f} s"


def some(connections: Sequence[Connection], outcome: Outcome, protocol: str = "tcp") -> list[Connection]:
    """An even choice of those that can only have this outcome.

    Not by a port that one pod serves: it is closed whenever that pod's readiness isn't known, or known to be lost.
    """
    fitting = [
        each
        for each in connections
        if each.expected == {outcome} and each.protocol == protocol and "web-local" not in each.target
    ]
    return fitting[:: max(1, len(fitting) // AT_MOST)]


def _measured(connections: list[Connection], seconds: float) -> list[tuple[Connection, Outcome]]:
    probes = [Probe(each.source, each.ip, each.port, each.protocol) for each in connections]
    return list(zip(connections, measure(probes, seconds), strict=True))


def _drain(made: socket.socket) -> None:
    with suppress(BlockingIOError):
        while made.recv(4096):
            pass
        raise ConnectionError("it was closed")
