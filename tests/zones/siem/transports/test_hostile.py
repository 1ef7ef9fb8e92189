"""A collector that is slow, broken or hostile costs a bounded time and memory; its events wait, and arrive once it is well."""

import asyncio
import gzip
import json
from contextlib import asynccontextmanager, suppress

import pytest

from tests.enforcer.shipping.test_delivery import ENVIRONMENT, delivering, eventually, records
from zones.siem.destinations import HecSettings

OK = b"HTTP/1.1 200 OK\r\n"
WELL = b'{"text":"Success","code":0}'
DRIP, BLOCK = 0.02, bytes(65536)


def whole(body, head=OK, *headers):
    lines = b"".join(b"%b\r\n" % line for line in headers)
    return head + lines + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


async def never(_):
    await asyncio.Event().wait()


async def dripped(write, data):
    for at in range(len(data)):
        await write(data[at : at + 1])
        await asyncio.sleep(DRIP)


async def dripping_headers(write):
    await dripped(write, OK + b"X: " + b"a" * 10_000)


async def dripping_body(write):
    await write(OK + b"Content-Length: 10000\r\n\r\n")
    await dripped(write, bytes(10_000))


async def endless_headers(write):
    await write(OK)
    while True:
        await write(b"X-Header: " + b"a" * 1000 + b"\r\n")


async def giant_body(write):
    await write(OK + b"Content-Length: 100000000000\r\n\r\n")
    while True:
        await write(BLOCK)


async def endless_chunks(write):
    await write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        await write(b"10000\r\n" + BLOCK + b"\r\n")


def says(*answer):
    async def say(write):
        await write(whole(*answer))

    return say


async def no_http(write):
    await write(b"SSH-2.0-OpenSSH_9.2\r\n")


def refuses(status, body=b"<html>"):
    return says(body, b"HTTP/1.1 %d Whatever\r\n" % status)


TROUBLES = {
    "never": never,
    "dripping headers": dripping_headers,
    "dripping body": dripping_body,
    "endless headers": endless_headers,
    "giant body": giant_body,
    "endless chunks": endless_chunks,
    "gzip bomb": says(gzip.compress(bytes(50 << 20)), OK, b"Content-Encoding: gzip"),
    "deep JSON": says(b"[" * 100_000),
    "deep JSON as an error": refuses(400, b'{"code":' * 50_000),
    "no JSON": says(b"<html>welcome to our portal</html>"),
    "a code that is none": says(b'{"text":"Success","code":[0]}'),
    "a 400 of a proxy": refuses(400),
    "a 400 with a code that is none": refuses(400, b'{"code":{},"invalid-event-number":{}}'),
    "a long text": refuses(403, json.dumps({"code": 4, "text": "line\n" * 40_000}).encode()),
    "redirect": says(b"", b"HTTP/1.1 307 Temporary Redirect\r\n", b"Location: /elsewhere"),
    "no HTTP": no_http,
}


class Collector:
    """Answers as it is told; `sent` is how many octets it got rid of in one connection, at most."""

    def __init__(self):
        self.behaviour, self.sent, self.paths, self.got, self.most = None, 0, [], [], 1000

    async def serve(self, reader, writer):
        sent = 0

        async def write(data):
            nonlocal sent
            writer.write(data)
            await writer.drain()
            sent += len(data)
            self.sent = max(self.sent, sent)

        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                body = await self._request(reader)
                if self.behaviour is not None:
                    await self.behaviour(write)
                else:
                    await self._take(write, gzip.decompress(body).replace(b"}{", b"}\n{").splitlines())
        writer.close()

    async def _take(self, write, lines):
        """More than `most` at once take it too long."""
        if len(lines) > self.most:
            await never(write)
        self.got += [json.loads(line) for line in lines]
        await write(whole(WELL))

    async def _request(self, reader):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        self.paths.append(head.split()[1])
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        return await reader.readexactly(length)


@asynccontextmanager
async def collecting():
    collector, sessions = Collector(), set()

    async def serve(reader, writer):
        task = asyncio.current_task()
        sessions.add(task)
        try:
            with suppress(asyncio.CancelledError):
                await collector.serve(reader, writer)
        finally:
            sessions.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    collector.port = server.sockets[0].getsockname()[1]
    try:
        yield collector
    finally:
        server.close()
        for task in list(sessions):
            task.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
        await asyncio.sleep(0)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_is_bounded_and_waited_out(tmp_path, trouble):
    async def run():
        async with collecting() as collector:
            collector.behaviour = TROUBLES[trouble]
            url = f"http://127.0.0.1:{collector.port}"
            given = {"name": "siem", "url": url, "token_env": "TOKEN", "timeout_seconds": 0.3}
            settings = HecSettings(type="hec", **given)
            async with delivering(tmp_path, settings, ENVIRONMENT) as (outbox, delivery):
                outbox.put(records(0, 5))
                await eventually(lambda: delivery.progress.failures >= 2)
                assert delivery.progress.trouble
                assert len(delivery.progress.trouble) < 1000
                assert outbox.backlog("siem") == 5
                assert delivery.progress.refused == 0
                collector.behaviour = None
                await eventually(lambda: outbox.backlog("siem") == 0)
            assert collector.sent < 32 << 20
            assert {event["event"]["sequence"] for event in collector.got} == set(range(5))
            assert set(collector.paths) == {b"/services/collector/event"}

    asyncio.run(run())


def test_who_is_too_slow_for_large_batches_gets_smaller_ones(tmp_path):
    async def run():
        async with collecting() as collector:
            collector.most = 150
            url = f"http://127.0.0.1:{collector.port}"
            settings = HecSettings(name="siem", type="hec", url=url, token_env="TOKEN", timeout_seconds=0.5)
            async with delivering(tmp_path, settings, ENVIRONMENT) as (outbox, _):
                outbox.put(records(0, 2000))
                await eventually(lambda: outbox.written == 2000 and outbox.backlog("siem") == 0)
            assert [event["event"]["sequence"] for event in collector.got] == list(range(2000))

    asyncio.run(run())


@pytest.mark.parametrize("number", [b'"x"', b"true", b"[]", b"null", b"1e99"])
def test_a_receipt_that_is_none_is_not_asked_for(tmp_path, number):
    async def run():
        async with collecting() as collector:
            collector.behaviour = says(b'{"text":"Success","code":0,"ackId":%b}' % number)
            url = f"http://127.0.0.1:{collector.port}"
            settings = HecSettings(name="siem", type="hec", url=url, token_env="TOKEN", acknowledge=True)
            async with delivering(tmp_path, settings, ENVIRONMENT) as (outbox, _):
                outbox.put(records(0, 5))
                await eventually(lambda: outbox.written == 5 and outbox.backlog("siem") == 0)

    asyncio.run(run())


@pytest.mark.parametrize(("wish", "most"), [("inf", 600), ("1e300", 600), ("nan", 1), ("-5", 1), ("soon", 1), ("7", 7)])
def test_no_wish_to_wait_is_longer_than_ten_minutes(tmp_path, wish, most):
    waits = []

    async def run():
        async with collecting() as collector:
            head = b"HTTP/1.1 503 Busy\r\nRetry-After: %b\r\n" % wish.encode()
            collector.behaviour = says(b'{"text":"Server is busy","code":9}', head)
            url = f"http://127.0.0.1:{collector.port}"
            settings = HecSettings(name="siem", type="hec", url=url, token_env="TOKEN")

            async def pause(seconds):
                waits.append(seconds)
                collector.behaviour = None

            async with delivering(tmp_path, settings, ENVIRONMENT, pause=pause) as (outbox, _):
                outbox.put(records(0, 5))
                await eventually(lambda: outbox.written == 5 and outbox.backlog("siem") == 0)

    asyncio.run(run())
    assert max(waits) <= most
