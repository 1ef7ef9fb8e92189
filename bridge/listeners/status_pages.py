"""Pages for people who know a token: the status of all clusters, and of each what is in force, its usage, its preview.

Read-only: GET alone. A page is made anew at most every so many seconds, each one at a time, however many ask.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

import structlog
from aiohttp import web

from bridge.compilation.worker_process import WorkerError
from bridge.errors import SecretError
from bridge.listeners.authorization import knows_as_bearer, knows_as_password
from bridge.listeners.connections import listening_on
from bridge.pages import page_html
from bridge.pages.parts import StatusPage
from zones.runtime.errors import ZonebridgeError

# The page has its own policy; only a header can forbid frames.
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ServedPage:
    """A page, or its text where it was written in another process, made anew where it is older than some seconds."""

    make: Callable[[], Awaitable[StatusPage | str]]
    seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Gate:
    """Where to listen, and what a caller must know. `token` is read anew for each call, as files are rotated."""

    address: tuple[str, int]
    token: Callable[[], str]
    tls: ssl.SSLContext | None = None


def cluster_path(name: str, view: str = "") -> str:
    """`view`: another page of the cluster than its own."""
    return f"/clusters/{quote(name, safe='')}" + (f"/{view}" if view else "")


@asynccontextmanager
async def serving_pages(
    gate: Gate, status: ServedPage, clusters: Mapping[tuple[str, str], ServedPage]
) -> AsyncIterator[int]:
    """Serve `/` and the pages of clusters, by a cluster's name and a view, until left; yields the port."""
    app = web.Application(middlewares=[_guarded(gate.token)])
    first = _CachedPage(status)
    cached = {key: _CachedPage(page) for key, page in clusters.items()}

    async def show_status(_: web.Request) -> web.Response:
        return await _answer(first)

    async def show_cluster(request: web.Request) -> web.Response:
        page = cached.get((request.match_info["name"], request.match_info.get("view", "")))
        if page is None:
            return web.Response(status=404, text="there is no such page of a cluster of that name; / has them all\n")
        return await _answer(page)

    clusters_path = "/clusters/{name}"
    app.add_routes([web.get("/", show_status), web.get(clusters_path, show_cluster)])
    app.add_routes([web.get(f"{clusters_path}/{{view}}", show_cluster)])
    async with listening_on(app, gate.address, gate.tls) as port:
        yield port


class _CachedPage:
    """A page's text, made anew where it is older than some seconds."""

    def __init__(self, page: ServedPage) -> None:
        self._page = page
        self._making = asyncio.Lock()
        self._text = ""
        self._until = 0.0

    async def text(self) -> str:
        """Raises ZonebridgeError, WorkerError."""
        async with self._making:
            if time.monotonic() >= self._until:
                page = await self._page.make()
                self._text = page if isinstance(page, str) else await asyncio.to_thread(page_html, page)
                self._until = time.monotonic() + self._page.seconds
            return self._text


async def _answer(kept: _CachedPage) -> web.Response:
    try:
        return web.Response(text=await kept.text(), content_type="text/html")
    except (ZonebridgeError, WorkerError) as error:
        return web.Response(status=503, text=f"{error}\n")


def _guarded(token: Callable[[], str]) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Nobody gets anything without the token, not even the word that a page is missing."""

    @web.middleware
    async def guarded(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            wanted = token()
        except SecretError as error:
            _log.error("no page can be served", error=str(error))
            return web.Response(status=503, text="the token can't be read\n", headers=HEADERS)
        authorization = request.headers.get("Authorization", "")
        if not (knows_as_bearer(authorization, wanted) or knows_as_password(authorization, wanted)):
            if authorization:
                _log.warning("page refused", peer=request.remote, error="the token is wrong")
            asks = HEADERS | {"WWW-Authenticate": 'Basic realm="zonebridge", charset="UTF-8"'}
            return web.Response(status=401, text="the token is the password, of any user\n", headers=asks)
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            answer = web.Response(status=error.status, text=f"{error.reason}\n")
        answer.headers.update(HEADERS)
        return answer

    return guarded
