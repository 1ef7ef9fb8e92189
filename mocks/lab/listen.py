"""Servers on the lab's background thread, in any namespace: echo, servers that talk first, relays.

They hold every socket they accept and close it themselves. The lab makes and closes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable

from mocks.lab.background import Background
from mocks.lab.netns import LabError, Netns

Handle = Callable[[socket.socket], Awaitable[None]]
CHUNK = 65536
BACKLOG = 512
ANY = "::"
PKTINFO = 20  # an IPv6 address and the number of a link
RESET = struct.pack("ii", 1, 0)  # linger for no time: closing resets


def bind(netns: Netns, port: int, kind: socket.SocketKind, ip: str = ANY) -> socket.socket:
    """Bind on all addresses of both families, or on one."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    made = netns.socket(family, kind)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ip == ANY:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        made.bind((ip, port))
        if kind == socket.SOCK_STREAM:
            made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise LabError(f"cannot listen on port {port} in {netns.name}: {error}; choose another port") from error
    return made


class Listener:
    """Serves on one socket, from the start until closed; closing resets its connections.

    With a `handle` it accepts and gives it each connection; without, it sends every datagram back.
    """

    def __init__(self, background: Background, made: socket.socket, handle: Handle | None) -> None:
        self._background = background
        self._socket = made
        self._handle = handle
        self._connections: dict[socket.socket, asyncio.Task[None]] = {}
        self.port = int(made.getsockname()[1])
        self.closed = False
        background.call(self._serve())

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._background.call(self._shut())

    async def _serve(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket, self._return if self._handle is None else self._accept)

    async def _shut(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        serving = list(self._connections.items())
        for _, task in serving:
            task.cancel()
        await asyncio.gather(*(task for _, task in serving), return_exceptions=True)
        for connection, _ in serving:
            _close_with_reset(connection)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection, _ = self._socket.accept()
            connection.setblocking(False)
            self._connections[connection] = asyncio.get_running_loop().create_task(self._attend(connection))

    async def _attend(self, connection: socket.socket) -> None:
        assert self._handle is not None  # noqa: S101 - only set ones accept
        try:
            await self._handle(connection)
            connection.close()
        except OSError:
            _close_with_reset(connection)
        finally:
            self._connections.pop(connection, None)

    def _return(self) -> None:
        """Answer from the address that was asked, whatever the way back would choose."""
        with contextlib.suppress(OSError):
            data, asked, _, sender = self._socket.recvmsg(CHUNK, socket.CMSG_SPACE(PKTINFO))
            self._socket.sendmsg([data], [(level, kind, _anywhere(info)) for level, kind, info in asked], 0, sender)


def _anywhere(info: bytes) -> bytes:
    """The address that was asked, on whichever link."""
    return info[: PKTINFO - 4] + bytes(4)


def _close_with_reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()


async def echo(connection: socket.socket) -> None:
    await _pump(connection, connection)


def talker(every: float) -> Handle:
    """Make a server that speaks first and goes on, whatever it hears."""

    async def talk(connection: socket.socket) -> None:
        hearing = asyncio.ensure_future(_drain(connection))
        try:
            while not hearing.done():
                await asyncio.get_running_loop().sock_sendall(connection, b"tick\n")
                await asyncio.wait([hearing], timeout=every)
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)

    return talk


def relay(host: str, port: int) -> Handle:
    """Make a server that passes everything on to a port as this process's own namespace sees it."""

    async def pass_on(connection: socket.socket) -> None:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as there:
            there.setblocking(False)
            await asyncio.get_running_loop().sock_connect(there, (host, port))
            await _both_ways(connection, there)

    return pass_on


async def _both_ways(here: socket.socket, there: socket.socket) -> None:
    ways = [asyncio.ensure_future(_pump(here, there)), asyncio.ensure_future(_pump(there, here))]
    try:
        await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _pump(source: socket.socket, sink: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, CHUNK):
        await loop.sock_sendall(sink, data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


async def _drain(connection: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(connection, CHUNK):
        pass
