"""Idle connections fill no listener: what is asked is answered, however many others are open."""

import asyncio

from aiohttp import web

from bridge.listeners.connections import listening_on
from bridge.metrics import Metrics
from zones.runtime.health import serving

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def asked(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer.split(b"\r\n")[0]


async def opened(port, many, first=b""):
    connections = []
    for _ in range(many):
        connections.append(await asyncio.open_connection("127.0.0.1", port))
        connections[-1][1].write(first)
    return connections


async def closed(connections):
    for _, writer in connections:
        writer.transport.abort()
    await asyncio.sleep(0)


def test_the_probe_is_answered_beside_hundreds_of_idle_connections():
    async def run():
        async with serving(("127.0.0.1", 0), tuple, Metrics().text) as port:
            idle = await opened(port, 400) + await opened(port, 100, b"GET /healthz HTTP/1.1\r\nHo")
            answers = [await asked(port) for _ in range(5)]
            ended = [reader for reader, _ in idle if reader.at_eof() or reader.exception()]
            await closed(idle)
            return answers, len(ended)

    answers, ended = asyncio.run(run())
    assert set(answers) == {b"HTTP/1.1 200 OK"}
    assert ended >= 500 - 256


def test_the_longest_idle_one_yields_and_one_at_work_does_not():
    finish = asyncio.Event()

    async def slow(_):
        await finish.wait()
        return web.Response(text="done")

    async def run():
        app = web.Application()
        app.add_routes([web.get("/healthz", slow)])
        async with listening_on(app, ("127.0.0.1", 0), most=3, idle=60) as port:
            first = await opened(port, 2)
            waiting = asyncio.create_task(asked(port))
            await asyncio.sleep(0.1)
            more = await opened(port, 2)
            assert [await reader.read() for reader, _ in first] == [b"", b""]
            finish.set()
            answer = await waiting
            await closed(first + more)
            return answer

    assert asyncio.run(run()) == b"HTTP/1.1 200 OK"


def test_what_says_nothing_is_hung_up():
    async def run():
        async with listening_on(web.Application(), ("127.0.0.1", 0), idle=0.05) as port:
            ((reader, writer),) = await opened(port, 1)
            said = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            return said

    assert asyncio.run(run()) == b""
