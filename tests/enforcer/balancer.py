"""A balancer before collectors, as a SIEM's front: it spreads requests, or keeps to one by a cookie."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import ClientSession, web

COOKIE = "balanced"
_OF_THE_HOP = {"host", "content-length", "cookie", "transfer-encoding", "connection"}


@dataclass
class Balancer:
    """`sticky`: whoever shows its cookie comes to the same collector again. `seen`: requests by collector and path."""

    collectors: list
    sticky: bool = False
    port: int = 0
    seen: Counter = field(default_factory=Counter)
    _turn: int = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _choose(self, request):
        if self.sticky and request.cookies.get(COOKIE, "").isdigit():
            return int(request.cookies[COOKIE])
        self._turn += 1
        return self._turn % len(self.collectors)

    @asynccontextmanager
    async def serving(self):
        async with ClientSession(auto_decompress=False) as session:

            async def passed_on(request):
                number = self._choose(request)
                self.seen[number, request.path.rsplit("/", 1)[-1]] += 1
                headers = {key: value for key, value in request.headers.items() if key.lower() not in _OF_THE_HOP}
                url = self.collectors[number].url + request.path
                async with session.post(url, data=await request.read(), headers=headers) as answer:
                    content = await answer.read()
                    response = web.Response(status=answer.status, body=content, content_type="application/json")
                if self.sticky:
                    response.set_cookie(COOKIE, str(number))
                return response

            app = web.Application(client_max_size=1 << 26, handler_args={"auto_decompress": False})
            app.router.add_route("*", "/{path:.*}", passed_on)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = site._server.sockets[0].getsockname()[1]
            try:
                yield self
            finally:
                await runner.cleanup()
                await asyncio.sleep(0)
