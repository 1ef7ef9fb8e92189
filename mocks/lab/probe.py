"""Asks which connections come about: many at once, from inside any namespaces, without a process for each.

It judges nothing and leaves no connection open. Tests and the demo call it.
"""

from __future__ import annotations

import errno
import ipaddress
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from mocks.lab.netns import ROOT, Netns

AT_ONCE = 400  # well below the usual limit of 1,024 descriptors

Transport = Literal["tcp", "udp"]


class Endpoint(Protocol):
    """Whatever can talk: a pod, a node, a host."""

    @property
    def netns(self) -> Netns: ...


class Outcome(StrEnum):
    ALLOWED = "allowed"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


REASONS = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ECONNRESET: Outcome.REFUSED,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
}


@dataclass(frozen=True, slots=True)
class Probe:
    """One connection to try, by a user of the source. UDP needs an echo at the other end to be known as allowed."""

    source: Endpoint
    ip: str
    port: int
    transport: Transport = "tcp"
    uid: int = ROOT


def connect(source: Endpoint, ip: str, port: int, timeout: float = 1.0, transport: Transport = "tcp") -> Outcome:
    return measure([Probe(source, ip, port, transport)], timeout)[0]


def measure(probes: Sequence[Probe], timeout: float = 1.0) -> list[Outcome]:
    """Try all at once; the outcomes are in the order of the probes."""
    outcomes: list[Outcome] = []
    for start in range(0, len(probes), AT_ONCE):
        outcomes.extend(_measure_batch(probes[start : start + AT_ONCE], timeout))
    return outcomes


def _measure_batch(probes: Sequence[Probe], timeout: float) -> list[Outcome]:
    outcomes = [Outcome.TIMEOUT] * len(probes)
    sockets: list[socket.socket] = []
    with selectors.DefaultSelector() as selector:
        try:
            for place, probe in enumerate(probes):
                made = open_socket(probe.source.netns, probe.ip, probe.transport, probe.uid)
                sockets.append(made)
                failure = _begin(made, probe)
                if failure is not None:
                    outcomes[place] = failure
                else:
                    event = selectors.EVENT_WRITE if probe.transport == "tcp" else selectors.EVENT_READ
                    selector.register(made, event, (place, probe.transport))
            _collect(selector, outcomes, time.monotonic() + timeout)
        finally:
            for made in sockets:
                made.close()
    return outcomes


def open_socket(netns: Netns, ip: str, transport: Transport, uid: int = ROOT) -> socket.socket:
    family = socket.AF_INET if ipaddress.ip_address(ip).version == 4 else socket.AF_INET6  # noqa: PLR2004 - address families
    return netns.socket(family, socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM, uid)


def _begin(made: socket.socket, probe: Probe) -> Outcome | None:
    code = made.connect_ex((probe.ip, probe.port))
    if code == 0 and probe.transport == "udp":
        try:
            made.send(b"probe")
        except OSError as error:
            return reason(error.errno)
    return None if code in (0, errno.EINPROGRESS) else reason(code)


def _collect(selector: selectors.BaseSelector, outcomes: list[Outcome], deadline: float) -> None:
    """Until the deadline, by time.monotonic. What had answered by then counts, however late a busy machine looks."""
    left = 1.0
    while selector.get_map() and left > 0:
        left = max(0.0, deadline - time.monotonic())
        for key, _ in selector.select(left):
            place, transport = key.data
            made = key.fileobj
            if isinstance(made, socket.socket):
                outcomes[place] = reason(_answer(made, transport))
                selector.unregister(made)


def _answer(made: socket.socket, transport: Transport) -> int:
    if transport == "tcp":
        return made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    try:
        made.recv(1500)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def reason(code: int | None) -> Outcome:
    return Outcome.ALLOWED if code == 0 else REASONS.get(code or errno.EIO, Outcome.UNREACHABLE)
