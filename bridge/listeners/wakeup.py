"""Hears Panorama's HTTP log forwarding say that something was committed: 'look now', authenticated and rate-limited.

What it says beyond that is not read. `bridge.service` starts it where the site asks for it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web

from bridge.errors import SecretError
from bridge.listeners.authorization import knows_as_bearer
from bridge.listeners.connections import listening_on

LEAST_SECONDS = 2.0
MAX_BODY = 64 * 1024
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen and what a caller must know. `token` is read anew for each call, as files are rotated."""

    address: tuple[str, int]
    token: Callable[[], str]
    tls: ssl.SSLContext | None = None


class Calls:
    """At most one look in `least` seconds; what comes sooner is one more look when they are over."""

    def __init__(self, look: Callable[[], None], least: float = LEAST_SECONDS) -> None:
        self._look = look
        self._least = least
        self._free_at = 0.0
        self._pending: asyncio.TimerHandle | None = None

    def add(self) -> None:
        loop = asyncio.get_running_loop()
        if self._pending is not None:
            return
        wait = self._free_at - loop.time()
        if wait <= 0:
            self._now()
        else:
            self._pending = loop.call_later(wait, self._now)

    def cancel(self) -> None:
        if self._pending is not None:
            self._pending.cancel()

    def _now(self) -> None:
        self._pending = None
        self._free_at = asyncio.get_running_loop().time() + self._least
        self._look()


@asynccontextmanager
async def listening(door: ListenAddress, look: Callable[[], None], least: float = LEAST_SECONDS) -> AsyncIterator[int]:
    """Listen until left; yields the port. `look` is called for every call that is let in, but not too often."""
    calls = Calls(look, least)

    async def wake_up(request: web.Request) -> web.Response:
        try:
            token = door.token()
        except SecretError as error:
            _log.error("wake-up not possible", error=str(error))
            return web.Response(status=503, text="the token can't be read\n")
        if not knows_as_bearer(request.headers.get("Authorization", ""), token):
            _log.warning("wake-up refused", peer=request.remote)
            return web.Response(status=401, text="the token is wrong or missing\n")
        calls.add()
        return web.Response(status=202, text="looking\n")

    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes([web.post("/wake-up", wake_up)])
    try:
        async with listening_on(app, door.address, door.tls) as port:
            yield port
    finally:
        calls.cancel()
