"""A relay on the way to a server, which can have every open connection die in silence: as if power or a balancer was gone."""

import asyncio
from contextlib import asynccontextmanager, suppress


class Relay:
    """`port` leads to `to`. After `swallow()` nothing more passes on connections that are open; new ones work."""

    def __init__(self, to):
        self._to = to
        self._generation = 0
        self.port = 0

    def swallow(self):
        self._generation += 1

    @asynccontextmanager
    async def serving(self):
        tasks = set()

        async def serve(reader, writer):
            tasks.add(asyncio.current_task())
            try:
                await self._pass_on(reader, writer)
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass_on(self, reader, writer):
        generation = self._generation
        there, back = await asyncio.open_connection("127.0.0.1", self._to)

        async def pump(source, sink):
            with suppress(OSError):
                while data := await source.read(65536):
                    if generation != self._generation:
                        await asyncio.Event().wait()
                    sink.write(data)
                    await sink.drain()

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, back))
                group.create_task(pump(there, writer))
        finally:
            back.transport.abort()


def through(server, relay):
    """The server's kubeconfig, by way of the relay."""
    host, _, port = server.url.rpartition(":")
    made = server.directory / f"kubeconfig-{relay.port}"
    made.write_text(server.kubeconfig.read_text().replace(f"{host}:{port}", f"{host}:{relay.port}"))
    return made
