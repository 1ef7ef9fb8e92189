"""The collector's wire: HTTP or HTTPS from a thread of its own. It decides nothing about events; collector.py does.

Tests and `python -m mocks siem` start it. It may be stopped and started again: state and port stay.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from aiohttp import web

from mocks.serving import Authority, Faults, Server, abort
from mocks.siem.certificates import ClientCertificate, create_authority, server_context
from mocks.siem.collector import Collector, Settings
from mocks.siem.replies import Reply, Request
from mocks.siem.tokens import Token


class HecServer(Collector):
    """A collector that serves between `start` and `stop`; also a context manager.

    `faults` act below HEC: a slow or broken connection, a proxy's status page. For Splunk's own answers there are
    `answer`, `reset_after_commit`, `stall_after_commit` and `lose`. The keywords are those of Collector.
    """

    def __init__(
        self,
        *tokens: Token | str,
        port: int = 0,
        address: str = "127.0.0.1",
        tls: bool = True,
        tls_dir: Path | None = None,
        authority: Authority | None = None,
        client_certificate: ClientCertificate = "none",
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(*tokens, **settings)
        self.faults = Faults()
        self.port = port
        self.address = address
        self.tls = tls
        self.client_certificate: ClientCertificate = client_certificate
        self.authority = authority or create_authority(self, tls_dir)
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.address}:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self.authority.ca_file

    def start(self) -> Self:
        names = dict.fromkeys(["localhost", "127.0.0.1", "::1", self.address])
        context = server_context(self.authority, self.client_certificate, *names) if self.tls else None
        server = Server(make_app(self, self.faults), self.address, self.port, context)
        try:
            server.start()
        except OSError:
            server.stop()
            raise
        self._server, self.port = server, server.port
        self.host = f"{self.address}:{self.port}"
        return self

    def stop(self) -> None:
        """Refuse connections; what was received stays, and `start` takes the same port again."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def make_app(collector: Collector, faults: Faults) -> web.Application:
    """The size cap and the encodings are the collector's business, so aiohttp must leave bodies alone."""

    async def answer(request: web.Request) -> web.StreamResponse:
        reply = collector.handle(await read_request(request))
        await asyncio.sleep(reply.seconds)
        if reply.reset:
            abort(request)
        return render(reply)

    app = web.Application(middlewares=[faults.middleware], client_max_size=0, handler_args={"auto_decompress": False})
    app.router.add_route("*", "/{path:.*}", answer)
    return app


async def read_request(request: web.Request) -> Request:
    return Request(request.method, request.path, request.headers, request.query, await request.read())


def render(reply: Reply) -> web.Response:
    if isinstance(reply.body, str):
        return web.Response(status=reply.status, text=reply.body, content_type="text/html", headers=reply.headers)
    text = json.dumps(reply.body, separators=(",", ":"))
    return web.json_response(text=text, status=reply.status, headers=reply.headers)
