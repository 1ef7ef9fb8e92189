"""Sockets whose other end may go away in silence, and those of an HTTP client, so that all can be ended at once.

A polite end of TLS waits for the peer; a connection whose request was cancelled is no longer known to its pool by then,
and what the event loop leaves behind at its end is never closed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import aiohttp

_ROUNDS = 100  # two are needed
_BUFFER = 2**21  # the Kubernetes client's own choice, for watches


# A connection that a balancer or a power cut took away in silence is known to be gone after half a minute: it is asked
# after so many seconds without a word and then every so many, so often; what was sent must be acknowledged by then.
_IDLE, _INTERVAL, _TIMES, _UNACKNOWLEDGED = 15, 5, 3, 30_000


def keep_alive(sock: socket.socket) -> None:
    """Have the kernel find out where the other end is gone.

    Who acknowledges and doesn't read for as long counts as gone, too: the kernel makes no difference.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _INTERVAL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _TIMES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED)


async def watched(event: str, info: Mapping[str, Any]) -> None:
    """For httpx's requests, as their extension `trace`: the connections that they make are looked after, too."""
    if event == "connection.connect_tcp.complete":
        keep_alive(info["return_value"].get_extra_info("socket"))


class Sockets:
    """Those that `session` makes."""

    def __init__(self) -> None:
        self._made: WeakSet[socket.socket] = WeakSet()

    def session(self, limit: int, tls: ssl.SSLContext) -> aiohttp.ClientSession:
        """Like the Kubernetes client's own pool, of at most so many connections."""
        connector = aiohttp.TCPConnector(limit=limit, ssl=tls, socket_factory=self._make)
        # it would look through the environment, in a thread, before each request
        proxied = bool(urllib.request.getproxies())
        return aiohttp.ClientSession(connector=connector, trust_env=proxied, read_bufsize=_BUFFER)

    async def end(self) -> None:
        """Once the session is closed."""
        for sock in self._open():
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for _ in range(_ROUNDS):
            if not self._open():
                return
            await asyncio.sleep(0)

    def _open(self) -> list[socket.socket]:
        return [sock for sock in self._made if sock.fileno() >= 0]

    def _make(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = address
        sock = socket.socket(family, kind, protocol)
        keep_alive(sock)
        self._made.add(sock)
        return sock
