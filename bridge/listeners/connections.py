"""A listener that idle connections can't fill: the longest idle one yields to a new one, and none is idle for long.

Anybody who reaches the port may connect, and the kubelet must still be answered. It serves nothing itself.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

MOST_CONNECTIONS = 256
IDLE_SECONDS = 90.0


@asynccontextmanager
async def listening_on(
    app: web.Application,
    address: tuple[str, int],
    tls: ssl.SSLContext | None = None,
    *,
    most: int = MOST_CONNECTIONS,
    idle: float = IDLE_SECONDS,
) -> AsyncIterator[int]:
    """Serve an application until left; yields the port."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    loop = asyncio.get_running_loop()
    room = _Room(runner.server, most, idle)
    server = await loop.create_server(room.connection, *address, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        room.close()
        await runner.cleanup()


class _Room:
    """The connections of one listener, the longest idle one first."""

    def __init__(self, inner: Callable[[], asyncio.Protocol] | None, most: int, idle: float) -> None:
        if inner is None:
            raise ValueError("the runner was not set up")
        self._inner = inner
        self._most = most
        self._idle = idle
        self._held: dict[_WatchedProtocol, asyncio.TimerHandle] = {}

    def connection(self) -> _WatchedProtocol:
        return _WatchedProtocol(self._inner(), self)

    def used(self, connection: _WatchedProtocol) -> None:
        """It is new, or something came on it."""
        self.gone(connection)
        while len(self._held) >= self._most:
            next(iter(self._held)).hang_up()
        self._held[connection] = asyncio.get_running_loop().call_later(self._idle, connection.hang_up)

    def gone(self, connection: _WatchedProtocol) -> None:
        timer = self._held.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        for timer in self._held.values():
            timer.cancel()
        self._held.clear()


class _WatchedProtocol(asyncio.Protocol):
    """Hands everything on to the protocol within, and says that it is used."""

    def __init__(self, inner: asyncio.Protocol, room: _Room) -> None:
        self._inner = inner
        self._room = room
        self._transport: asyncio.Transport | None = None

    def hang_up(self) -> None:
        self._room.gone(self)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
        self._room.used(self)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.gone(self)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._room.used(self)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
