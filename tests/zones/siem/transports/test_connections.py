"""A request that is cut off leaves no connection behind, at whatever moment it comes."""

import asyncio
from contextlib import suppress

from zones.siem.transports.tls import Https


def test_a_request_that_is_cut_off_as_tls_begins_is_hung_up():
    async def run():
        greeted, left = asyncio.Event(), asyncio.Event()

        async def never_answer(reader, writer):
            await reader.read(1)
            greeted.set()
            with suppress(ConnectionError):
                while await reader.read(1000):
                    pass
            left.set()
            writer.close()

        server = await asyncio.start_server(never_answer, "127.0.0.1", 0)
        https = Https(None, None, None, timeout=60)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        request = asyncio.create_task(https.post(url, b"", {}))
        async with asyncio.timeout(30):
            await greeted.wait()
            request.cancel()
            with suppress(asyncio.CancelledError):
                await request
            await left.wait()
        await https.close()
        server.close()
        await server.wait_closed()

    asyncio.run(run())
