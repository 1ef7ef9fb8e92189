"""Runs an aiohttp application in a thread of its own, over TLS where asked, and plays faults on demand.

It knows no protocol; every mock stands on it. A fault is queued and hits the next requests it matches.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import trustme
from aiohttp import web

FaultKind = Literal["slow", "reset", "truncate", "status"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Fault:
    """What happens to the next `times` requests whose path contains `path`.

    slow: wait `seconds`, then answer. reset: drop the connection. truncate: send half of the body under the full
    length, then drop. status: answer `status` with `body` and `headers` instead.
    """

    kind: FaultKind
    path: str = ""
    times: int = 1
    seconds: float = 0.0
    status: int = 500
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Faults:
    """The faults that are queued, oldest first. `choose` is asked before them, with each request's method and path."""

    queue: list[Fault] = field(default_factory=list)
    choose: Callable[[str, str], Fault | None] = lambda _method, _path: None

    def add(self, fault: Fault) -> None:
        self.queue.append(fault)

    def take(self, path: str) -> Fault | None:
        for fault in self.queue:
            if fault.path in path:
                fault.times -= 1
                if fault.times <= 0:
                    self.queue.remove(fault)
                return fault
        return None

    def next(self, request: web.Request) -> Fault | None:
        return self.of(request.method, request.path_qs)

    def of(self, method: str, path: str) -> Fault | None:
        """For servers whose calls aren't told apart by path and query."""
        return self.choose(method, path) or self.take(path)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = self.next(request)
        if fault is None:
            return await handler(request)
        return await play(fault, request, handler)


async def play(fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
    if fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
        return await handler(request)
    if fault.kind == "status":
        return web.Response(status=fault.status, text=fault.body, headers=fault.headers)
    if fault.kind == "truncate":
        await send_half(request, await handler(request))
    abort(request)
    return web.Response()


async def send_half(request: web.Request, whole: web.StreamResponse) -> None:
    body = whole.body if isinstance(whole, web.Response) and isinstance(whole.body, bytes) else b""
    half = web.StreamResponse(status=whole.status, headers={"Content-Type": whole.content_type})
    half.content_length = max(len(body), 1)
    await half.prepare(request)
    await half.write(body[: len(body) // 2])


def abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority made for one run. `ca_file` is what a client must trust."""

    ca: trustme.CA
    ca_file: Path

    @classmethod
    def create(cls, directory: Path) -> Authority:
        ca = trustme.CA()
        directory.mkdir(parents=True, exist_ok=True)
        ca_file = directory / "ca.pem"
        ca.cert_pem.write_to_path(str(ca_file))
        return cls(ca, ca_file)

    def server_context(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*(names or ("localhost", "127.0.0.1", "::1"))).configure_cert(context)
        return context


class Server:
    """An application that serves from a thread between `start` and `stop`; also a context manager.

    Port 0 takes a free one; `url` is known after `start`.
    """

    def __init__(
        self, app: web.Application, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._app = app
        self.host = host
        self.port = port
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name=f"mock-{type(app).__name__}", daemon=True)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    def start(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self) -> None:
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.create_server((self.host, self.port), family=family, backlog=128)
        await web.SockSite(self._runner, self._socket, ssl_context=self._tls).start()
        self.port = self._socket.getsockname()[1]

    async def _close(self) -> None:
        """What the end of the loop leaves open is a warning, and in somebody else's test."""
        if self._socket is not None:
            # a connection that is just accepted when the site closes would be lost half made
            self._loop.remove_reader(self._socket)
            await asyncio.sleep(0)
        if self._runner is not None:
            await self._runner.cleanup()
        await _end_connections(self._loop)


async def _end_connections(loop: asyncio.AbstractEventLoop) -> None:
    """End also those that are still shaking hands, or say goodbye to a client that doesn't listen.

    asyncio has no public list of them.
    """
    others = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for transport in list(vars(loop).get("_transports", {}).values()):
        transport.abort()
    await asyncio.sleep(0)
