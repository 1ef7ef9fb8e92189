"""A collector that never comes to an end costs the bridge's alerts a bounded time, and they wait."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest

from bridge.alerts import TierAlert
from bridge.siem import RecordStamp
from tests.bridge.siem.senders import collector_sender, send
from zones.siem.alerts import AlertKind
from zones.siem.outcome import Retry

OK = b"HTTP/1.1 200 OK\r\n"


async def dripping(writer):
    writer.write(OK + b"Content-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless(writer):
    writer.write(OK + b"Content-Length: 100000000000\r\n\r\n")
    while True:
        writer.write(bytes(65536))
        await writer.drain()


@asynccontextmanager
async def collecting(behaviour):
    sessions = set()

    async def serve(reader, writer):
        sessions.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            await behaviour(writer)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
        await server.wait_closed()


@pytest.mark.parametrize("behaviour", [dripping, endless])
def test_an_answer_that_never_ends_is_given_up(behaviour):
    async def run():
        async with collecting(behaviour) as url:
            sender = collector_sender(url, lambda: "token", timeout=0.5)
            record = RecordStamp("bridge-0", 7).of(
                TierAlert(AlertKind.REVISION_REFUSED, "prod", "panorama", "why"), 1.8e9, 1.8e9
            )
            outcome = await send(sender, record)
            await sender.close()
            return outcome

    assert isinstance(asyncio.run(run()), Retry)
