"""Serves /preview: what the candidate of each cluster would change, to whoever has the token. It only reads."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web

from bridge.errors import SecretError
from bridge.listeners.authorization import knows_as_bearer, knows_as_password
from bridge.listeners.connections import listening_on
from bridge.listeners.status_pages import HEADERS
from bridge.listeners.wakeup import ListenAddress
from bridge.pages import page_html
from bridge.pages.parts import Headline, StatusPage, Tone

TOO_LARGE = "it is too large for a page; ask for JSON: Accept: application/json"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PreviewAnswer:
    """One cluster's preview as JSON text and as a page. `tag`: changes with it; `unavailable`: why there is none."""

    text: str = ""
    tag: str = ""
    unavailable: str = ""
    page: str = ""


@asynccontextmanager
async def previews(door: ListenAddress, answer: Callable[[str | None], PreviewAnswer | None]) -> AsyncIterator[int]:
    """Serve until left; yields the port. `answer` is asked for a cluster by name, None where it has no such cluster."""
    app = web.Application(client_max_size=0)
    app.add_routes([web.get("/preview", _handler(door, answer))])
    async with listening_on(app, door.address, door.tls) as port:
        yield port


def _handler(
    door: ListenAddress, answer: Callable[[str | None], PreviewAnswer | None]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def preview(request: web.Request) -> web.Response:
        try:
            token = door.token()
        except SecretError as error:
            _log.error("previews can't be served", error=str(error))
            return web.Response(status=503, text="the token can't be read\n")
        authorization = request.headers.get("Authorization", "")
        if not (knows_as_bearer(authorization, token) or knows_as_password(authorization, token)):
            _log.warning("preview refused", peer=request.remote)
            asks = {"WWW-Authenticate": 'Basic realm="zonebridge", charset="UTF-8"'}
            return web.Response(status=401, text="the token is wrong or missing\n", headers=asks)
        previewed = answer(request.query.get("cluster"))
        if previewed is None:
            return web.Response(status=404, text="there is no such cluster; name one with ?cluster=NAME\n")
        is_page = "text/html" in request.headers.get("Accept", "")
        unavailable = previewed.unavailable or (TOO_LARGE if is_page and not previewed.page else "")
        if unavailable:
            return web.Response(status=503, text=f"{unavailable}\n")
        tag = f'"{previewed.tag}-page"' if is_page else f'"{previewed.tag}"'
        headers = HEADERS | {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept"}
        if tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        text, kind = (previewed.page, "text/html") if is_page else (previewed.text, "application/json")
        return web.Response(text=text, content_type=kind, headers=headers)

    return preview


def nothing_pending(cluster: str, running: str, back: str = "") -> PreviewAnswer:
    """What is served while the candidate is what is committed. `back`: where the page leads to."""
    headline = Headline("Panorama's candidate is what is committed: nothing would change", Tone.GOOD)
    page = page_html(StatusPage(f"Preview for {cluster}", f"Configuration {running}", headline, back=back))
    return PreviewAnswer(json.dumps({"cluster": cluster, "pending": False}), f"{running}-", page=page)
