"""Serves /preview: what the candidate of each cluster would change, to whoever has the token. It only reads."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web

from bridge.errors import SecretError
from bridge.listeners.authorization import knows_as_bearer
from bridge.listeners.connections import listening_on
from bridge.listeners.wakeup import ListenAddress

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PreviewAnswer:
    """One cluster's preview as JSON text. `tag`: changes with it; `unavailable`: why there is none."""

    text: str = ""
    tag: str = ""
    unavailable: str = ""


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
        if not knows_as_bearer(request.headers.get("Authorization", ""), token):
            _log.warning("preview refused", peer=request.remote)
            return web.Response(status=401, text="the token is wrong or missing\n")
        previewed = answer(request.query.get("cluster"))
        if previewed is None:
            return web.Response(status=404, text="there is no such cluster; name one with ?cluster=NAME\n")
        if previewed.unavailable:
            return web.Response(status=503, text=f"{previewed.unavailable}\n")
        headers = {"ETag": f'"{previewed.tag}"', "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        if f'"{previewed.tag}"' in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return web.Response(text=previewed.text, content_type="application/json", headers=headers)

    return preview


def nothing_pending(cluster: str, running: str) -> PreviewAnswer:
    """What is served while the candidate is what is committed."""
    return PreviewAnswer(json.dumps({"cluster": cluster, "pending": False}), f"{running}-")
