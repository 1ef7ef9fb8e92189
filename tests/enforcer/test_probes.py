"""Health and metrics answer whoever asks properly, whatever others do with their connections."""

import asyncio
import resource

import pytest

from zones.runtime import health
from zones.runtime.health import Answer

PATHS = {"/healthz": lambda: Answer(ok=True, body=b"ok\n"), "/readyz": lambda: Answer(ok=False, body=b"not yet\n")}
MANY = 1500


async def asked(port, path="/healthz"):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.split(b"\r\n")[0]


def serving(scenario):
    async def run():
        server = await health.serve("127.0.0.1", 0, PATHS)
        async with server:
            await scenario(server.sockets[0].getsockname()[1])

    asyncio.run(run())


def test_paths_and_their_answers():
    async def scenario(port):
        assert await asked(port) == b"HTTP/1.1 200 OK"
        assert await asked(port, "/readyz") == b"HTTP/1.1 503 Service Unavailable"
        assert await asked(port, "/nowhere") == b"HTTP/1.1 404 Not Found"

    serving(scenario)


@pytest.fixture
def few_descriptors():
    """Fewer than there are callers for each end, and these are the test's own too."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 2 * MANY + 500), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_descriptors")
def test_idle_connections_keep_nobody_out():
    async def scenario(port):
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MANY)]
        assert await asked(port) == b"HTTP/1.1 200 OK"
        gone = 0
        for reader, writer in idle:
            gone += reader.at_eof() or reader.exception() is not None
            writer.close()
        assert gone > MANY - 200

    serving(scenario)


def test_who_says_nothing_is_hung_up(monkeypatch):
    monkeypatch.setattr(health, "_SECONDS", 0.05)

    async def scenario(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()

    serving(scenario)
