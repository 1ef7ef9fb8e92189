"""Every call of the agent's other senders fails, in every way: CloudWatch's operations, syslog's connections, a file.

The collector's calls are in `tests/enforcer/test_injected_failures.py`. Each failure is named by the destination's
trouble within ten seconds, and afterwards every record is there, and nothing is wrong any more.
"""

import asyncio
import errno
import json
import os
import shutil
import socket
import struct
from contextlib import asynccontextmanager, suppress
from functools import partial

import httpx
import pytest

from mocks.serving import Authority
from mocks.siem import CloudWatch, SyslogServer
from tests.enforcer.shipping.test_delivery import delivering, records, syslog
from tests.enforcer.smallcluster import eventually
from tests.saboteur import KINDS, Saboteur
from tests.zones.siem.transports.test_cloudwatch import GROUP, KEYS
from tests.zones.siem.transports.test_cloudwatch import records as recent
from tests.zones.siem.transports.test_cloudwatch import settings as cloudwatch
from zones.siem.destinations import FileSettings
from zones.siem.transports.awskeys import KeyRing, KeysUnreachableError, NoKeysError


async def named(delivery, *words):
    """The trouble, once it names the call."""
    try:
        return await eventually(
            lambda: delivery.progress.trouble if all(each in delivery.progress.trouble for each in words) else None,
            10,
        )
    except AssertionError:
        raise AssertionError(f"{delivery.progress.trouble!r} doesn't name {words}") from None


async def well_again(outbox, delivery, sent):
    """So many records are sent, and nothing is wrong."""
    await eventually(lambda: delivery.progress.sent >= sent and outbox.backlog("siem") == 0, 20)
    await eventually(lambda: delivery.progress.trouble == "")
    assert delivery.progress.refused == 0


class OfOperations(Saboteur):
    """CloudWatch's calls differ by a header: the mock asks with it instead of a path."""

    def __call__(self, method, operation):
        self.seen[operation] += 1
        if self.target is None or operation != self.target[0]:
            return None
        self.hits += 1
        return self.target[1]()


def unanswered(kind):
    """These give no answer at all, and are named by the address."""
    return kind in {"no answer", "reset", "broken off"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_operation_of_cloudwatch_may_fail(tmp_path, kind):
    with CloudWatch({KEYS["AWS_ACCESS_KEY_ID"]: KEYS["AWS_SECRET_ACCESS_KEY"]}, GROUP) as store:
        saboteur = OfOperations(store.faults)

        async def run():
            async with delivering(tmp_path, cloudwatch(store, timeout_seconds=0.5), KEYS) as (outbox, delivery):
                outbox.put(recent(0, 3))
                await well_again(outbox, delivery, 3)
                assert len(saboteur.seen) >= 2, saboteur.seen
                operations = sorted(saboteur.seen)
                if kind == "half of its JSON":  # nobody reads it: whether the stream is there, the next batch says
                    operations.remove("CreateLogStream")
                for number, operation in enumerate(operations, 1):
                    saboteur.target = operation, KINDS[kind]
                    store.groups[GROUP].clear()
                    outbox.put(recent(3 * number, 3))
                    await named(delivery, store.url if unanswered(kind) else operation)
                    saboteur.target = None
                    await well_again(outbox, delivery, 3 * number + 3)

        asyncio.run(run())
        assert {json.loads(event.message)["sequence"] for event in store.events} >= set(range(6))


PLACES = {
    "role": {"AWS_WEB_IDENTITY_TOKEN_FILE": "token", "AWS_ROLE_ARN": "arn"},
    "container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"},
    "instance": {},
}


@pytest.mark.parametrize("status", [None, 401, 403, 429, 500, 503])
@pytest.mark.parametrize("place", PLACES)
def test_each_call_for_keys_may_fail_and_is_named(tmp_path, place, status):
    """`None`: it can't be reached."""
    (tmp_path / "token").write_text("jwt")
    environment = {
        name: str(tmp_path / "token") if value == "token" else value for name, value in PLACES[place].items()
    }
    asked, failing = [], 0

    def answer(request):
        asked.append(str(request.url))
        if len(asked) <= failing:
            return httpx.Response(200, text="session" if request.method == "PUT" else "node-role")
        if status is None:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(status)

    def connect(*, proxied):
        return httpx.AsyncClient(transport=httpx.MockTransport(answer))

    calls = 3 if place == "instance" else 1
    for failing in range(calls):  # noqa: B007 - `answer` reads it
        asked.clear()
        ring = KeyRing(environment, "eu-central-1", connect)
        with pytest.raises(KeysUnreachableError if status is None else NoKeysError) as caught:
            asyncio.run(ring.keys())
        assert (asked[-1] if status is None else f"HTTP {status}") in str(caught.value)


def test_keys_that_cannot_be_asked_for_are_no_trouble_of_the_log_store(tmp_path):
    with CloudWatch({}, GROUP) as store:

        async def run():
            async with delivering(tmp_path, cloudwatch(store), {}) as (outbox, delivery):
                delivery.sender._keys.instance = "http://127.0.0.1:1/latest"
                outbox.put(recent(0, 1))
                assert store.url not in await named(delivery, "no AWS keys", "http://127.0.0.1:1/latest/api/token")

        asyncio.run(run())


async def silent(reader, writer):
    """Takes the connection and reads nothing of it."""
    await asyncio.Event().wait()


async def reset(reader, writer):
    """Whatever was read."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def closes(reader, writer):
    writer.close()


async def garbage(reader, writer):
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


async def reads_and_resets(reader, writer):
    await reader.read(16)
    await reset(reader, writer)


def stranger(directory):
    """The certificate of somebody else's authority."""
    directory.mkdir()
    return Authority.create(directory).server_context("127.0.0.1")


@asynccontextmanager
async def receiver_of(port, way, tls):
    """In place of the receiver, on its port."""
    sessions = set()

    async def session(reader, writer):
        sessions.add(asyncio.current_task())
        try:
            with suppress(asyncio.CancelledError):
                await way(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(session, "127.0.0.1", port, ssl=tls)
    try:
        yield
    finally:
        server.close()
        for each in sessions:
            each.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)


WAYS = {
    "nobody": None,
    "silent": silent,
    "reset": reset,
    "closed": closes,
    "garbage": garbage,
    "reset later": reads_and_resets,
    "another authority": stranger,
}
OF_TLS = {"garbage", "another authority"}


@pytest.mark.parametrize(
    ("way", "secure"), [(way, secure) for way in WAYS for secure in (False, True) if secure or way not in OF_TLS]
)
def test_every_step_of_a_syslog_connection_may_fail(tmp_path, way, secure):
    """Over TCP nobody answers; one that is silent is seen by its shut window, with more octets than its kernel takes."""
    count = 3 if secure or way != "silent" else 30_000
    with SyslogServer(tls=secure) as server:
        wanted = syslog(server, timeout_seconds=0.5 if way == "silent" else 5)

        async def run():
            async with delivering(tmp_path, wanted) as (outbox, delivery):
                outbox.put(records(0, 3))
                await well_again(outbox, delivery, 3)
                await asyncio.to_thread(server.stop)
                delivery.sender.outlived = 60.0  # so that nothing counts that only a kernel has read
                async with failing(server, way, tmp_path):
                    outbox.put(records(3, count))
                    await named(delivery, wanted.address)
                delivery.sender.outlived = 0.1
                await asyncio.to_thread(server.start)
                await well_again(outbox, delivery, count + 3)

        asyncio.run(run())
        got = {json.loads(message.msg)["sequence"] for message in server.messages}
        assert got == set(range(3 + count))


@asynccontextmanager
async def failing(server, way, directory):
    if way == "nobody":
        yield
        return
    tls = stranger(directory / "stranger") if way == "another authority" else None
    async with receiver_of(server.port, silent if tls else WAYS[way], tls):
        yield


def no_folder(path):
    shutil.rmtree(path.parent)
    return path.parent.mkdir


def a_folder(path):
    path.unlink()
    path.mkdir()
    return path.rmdir


def full(path):
    """As a disk that has no room: the kernel's own device for that."""
    kept = path.rename(path.with_suffix(".kept"))
    path.symlink_to("/dev/full")
    return partial(kept.rename, path)


@pytest.mark.parametrize("spoil", [no_folder, a_folder, full])
def test_a_file_that_cannot_be_written_is_named(tmp_path, spoil):
    path = tmp_path / "log" / "records.jsonl"
    path.parent.mkdir()
    wanted = FileSettings(name="siem", type="file", path=str(path))

    async def run():
        async with delivering(tmp_path, wanted) as (outbox, delivery):
            outbox.put(records(0, 2))
            await well_again(outbox, delivery, 2)
            mend = spoil(path)
            outbox.put(records(2, 2))
            await named(delivery, str(path), {full: os.strerror(errno.ENOSPC)}.get(spoil, ""))
            mend()
            await well_again(outbox, delivery, 4)

    asyncio.run(run())
    written = [json.loads(line)["sequence"] for line in path.read_text().splitlines()]
    assert written == ([0, 1, 2, 3] if spoil is full else [2, 3])
