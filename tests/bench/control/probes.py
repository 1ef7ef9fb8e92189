"""Datagrams from one machine of a lab to another all the time, of ever new connections and of one that lives, and which of them arrive."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mocks.lab.machines import Machine


@dataclass(frozen=True, slots=True)
class Sent:
    """A datagram: of the connection that lives, or of one of its own; when it was sent, and whether it arrived."""

    lives: bool
    at: float
    arrived: bool


class Probes:
    """The process that sends, from `__enter__` to `end`. It comes before all else that the machine does, where that is permitted."""

    def __init__(self, client: Machine, server: Machine, port: int) -> None:
        self._client, self._server, self.port = client, server, port
        self.sent: list[Sent] = []

    def __enter__(self) -> Self:
        self._ear = self._server.netns.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ear.bind((self._server.ip, self.port))
        ear = self._ear.fileno()
        program = [sys.executable, "-m", "tests.bench.control.prober", str(ear), self._server.ip, str(self.port)]
        self._process = subprocess.Popen(
            self._client.command(program), stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[ear]
        )
        with suppress(PermissionError):
            os.sched_setscheduler(self._process.pid, os.SCHED_RR, os.sched_param(45))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._ear.close()

    def end(self) -> list[Sent]:
        output, _ = self._process.communicate(b"")
        self.sent = [Sent(*json.loads(line)) for line in output.splitlines()]
        if not self.sent:
            raise RuntimeError("the prober sent nothing")
        return self.sent


@dataclass(frozen=True, slots=True)
class Change:
    """When something was asked for that allows what was denied, or denies what was allowed."""

    at: float
    allows: bool


def lags(sent: Iterable[Sent], changes: Sequence[Change]) -> Iterator[tuple[Change, bool, float]]:
    """For each change, new connections and the one that lives: seconds until the last datagram was sent that was judged as before.

    One that was judged so until the next change is infinity.
    """
    ends = [change.at for change in changes[1:]] + [float("inf")]
    sent = list(sent)
    for change, end in zip(changes, ends, strict=True):
        for lives in (False, True):
            those = [each for each in sent if change.at <= each.at < end and each.lives is lives]
            old = [each.at for each in those if each.arrived is not change.allows]
            never = bool(old) and old[-1] == those[-1].at
            yield change, lives, float("inf") if never else max(old, default=change.at) - change.at
