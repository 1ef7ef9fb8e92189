"""Serves /healthz, /readyz and /metrics. It only reads what others keep; `bridge.service` starts it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from bridge.listeners.connections import listening_on

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@asynccontextmanager
async def serving(
    address: tuple[str, int], unready: Callable[[], tuple[str, ...]], metrics: Callable[[], bytes]
) -> AsyncIterator[int]:
    """Serve until left; yields the port. `unready` says why we are not ready."""
    app = web.Application()
    app.add_routes(_routes(unready, metrics))
    async with listening_on(app, address) as port:
        yield port


def _routes(unready: Callable[[], tuple[str, ...]], metrics: Callable[[], bytes]) -> list[web.RouteDef]:
    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        reasons = unready()
        if reasons:
            return web.Response(status=503, text="".join(f"{reason}\n" for reason in reasons))
        return web.Response(text="ok\n")

    async def figures(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": METRICS_TYPE})

    return [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", figures)]
