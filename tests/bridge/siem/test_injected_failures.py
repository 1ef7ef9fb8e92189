"""Every call of the bridge's own senders to the SIEM fails, in every way: each is named by a warning, and nothing is lost."""

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager, suppress

import pytest
import structlog

from mocks.serving import Authority
from mocks.siem import Siem
from tests.bridge.siem.senders import syslog_sender
from tests.bridge.siem.test_shipping import TOKEN, Desk, alert, hec
from tests.saboteur import KINDS

# The collector's own refusals that only an administrator can end, beside what any server may do.
REFUSALS = {"token disabled": 1, "token unknown": 4, "no index": 7, "busy": 9}


@pytest.fixture
def siem():
    with Siem(TOKEN) as running:
        yield running


def is_named(logs, *words):
    """In one warning that names the destination."""
    return any(
        each["log_level"] == "warning"
        and each.get("destination") == "siem"
        and all(word in str(each) for word in words)
        for each in logs
    )


async def named_and_then_sent(desk, logs, words, mend):
    """One alert that fails, is named and arrives when the trouble is over; then one more."""
    async with desk.shipping():
        await desk.sink.send(alert("first"))
        try:
            async with asyncio.timeout(10):
                await desk.until(lambda: is_named(logs, *words))
        except TimeoutError:
            raise AssertionError(f"no warning has {words}: {logs}") from None
        await mend()
        await desk.sink.send(alert("second"))
        await desk.until(lambda: len(desk.fates) == 2)


@pytest.mark.parametrize("kind", [*KINDS, *REFUSALS])
def test_every_way_in_which_the_collector_fails_is_named(siem, kind):
    spoilt = [True]
    siem.hec.faults.choose = lambda method, path: KINDS[kind]() if spoilt[0] and kind in KINDS else None
    if kind in REFUSALS:
        siem.hec.answer(REFUSALS[kind], times=3)
    words = [siem.hec.url, kind] if kind.isdigit() else [siem.hec.url]

    async def mend():
        spoilt[0] = False

    with structlog.testing.capture_logs() as logs:
        asyncio.run(named_and_then_sent(Desk(hec(siem, timeout=0.4)), logs, words, mend))
    sent = [event.event["message"] for event in siem.hec.events]
    assert list(dict.fromkeys(sent)) == ["first", "second"], "in order; an answer that broke off may cost a repetition"


async def silent(reader, writer):
    """Takes the connection and gives no sign."""
    await asyncio.Event().wait()


async def reset(reader, writer):
    """Whatever was read."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reads_and_resets(reader, writer):
    await reader.read(16)
    await reset(reader, writer)


async def garbage(reader, writer):
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    await reader.read()


WAYS = {
    "nobody": None,
    "silent": silent,
    "reset": reset,
    "reset later": reads_and_resets,
    "garbage": garbage,
    "another authority": silent,
}


@asynccontextmanager
async def in_its_place(port, way, directory):
    """What answers on the receiver's port."""
    if WAYS[way] is None:
        yield
        return
    sessions = set()

    async def session(reader, writer):
        sessions.add(asyncio.current_task())
        try:
            with suppress(asyncio.CancelledError):
                await WAYS[way](reader, writer)
        finally:
            writer.transport.abort()

    tls = Authority.create(directory).server_context("127.0.0.1") if way == "another authority" else None
    server = await asyncio.start_server(session, "127.0.0.1", port, ssl=tls)
    try:
        yield
    finally:
        server.close()
        for each in sessions:
            each.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)


@pytest.mark.parametrize(
    ("way", "secure"),
    # Over TCP nothing but a reset is a sign: whoever is silent, or answers in another language, has taken the octets.
    [(way, True) for way in WAYS] + [(way, False) for way in ("nobody", "reset", "reset later")],
)
def test_every_way_in_which_a_syslog_receiver_fails_is_named(siem, tmp_path, way, secure):
    server = siem.syslog_tls if secure else siem.syslog
    files = {"ca_file": siem.ca_file} if secure else {}
    timeout = 0.5 if way == "silent" else 5.0
    desk = Desk(syslog_sender(("127.0.0.1", server.port), timeout=timeout, outlived=0.2, **files))

    async def run(logs):
        await asyncio.to_thread(server.stop)
        stage = in_its_place(server.port, way, tmp_path)
        await stage.__aenter__()

        async def mend():
            await stage.__aexit__(None, None, None)
            await asyncio.to_thread(server.start)

        await named_and_then_sent(desk, logs, [f"127.0.0.1:{server.port}"], mend)

    with structlog.testing.capture_logs() as logs:
        asyncio.run(run(logs))
    assert [json.loads(message.msg)["message"] for message in server.messages] == ["first", "second"]
