"""What a syslog receiver that dies costs: nothing that its connection had not outlived, though syslog acknowledges nothing."""

import asyncio
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.enforcer.shipping.test_delivery import delivering, eventually, records
from zones.siem.destinations import SyslogSettings

# Writes down the sequence number of each message that it has read, and reads a little at a time.
RECEIVER = r"""
import re, socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
connection, _ = listener.accept()
held = b""
while data := connection.recv(16384):
    held += data
    *whole, held = re.split(rb'(?<="end":1})', held)
    for message in whole:
        print(re.search(rb'"sequence":(\d+)', message)[1].decode(), flush=True)
    time.sleep(0.02)
"""


class Receiver:
    def __init__(self, port, output):
        self._file = output
        command = [sys.executable, "-c", RECEIVER, str(port)]
        with output.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out)

    @property
    def got(self):
        *whole, _ = self._file.read_text().split("\n")
        return [int(line) for line in whole if line != "listening"]

    def listening(self):
        return "listening" in self._file.read_text()

    def end(self):
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


@pytest.fixture
def receiver(tmp_path):
    """Starts one after the other on one port."""
    started = []
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def start():
        started.append(Receiver(port, tmp_path / f"receiver-{len(started)}"))
        return started[-1]

    yield start, SyslogSettings(name="siem", type="syslog", address=f"127.0.0.1:{port}", tls=False)
    for each in started:
        each.end()


def test_what_a_dead_receiver_had_not_read_is_sent_to_its_successor(tmp_path, receiver):
    """Its kernel had acknowledged all of it: that alone would be no receipt."""
    start, settings = receiver

    async def run():
        first = start()
        await eventually(first.listening)
        first.process.send_signal(signal.SIGSTOP)
        async with delivering(tmp_path, settings, outlived=60.0) as (outbox, delivery):
            outbox.put(records(0, 200, end=1))
            await eventually(lambda: outbox.written == 200 and delivery.sender._sent)
            first.end()
            second = start()
            await eventually(lambda: set(second.got) == set(range(200)))
            assert outbox.backlog("siem") == 200
        assert first.got == []

    asyncio.run(run())


def test_receivers_killed_in_the_middle_of_the_stream_cost_nothing(tmp_path, receiver):
    start, settings = receiver

    async def run():
        lives = [start()]
        async with delivering(tmp_path, settings, outlived=10.0) as (outbox, _):
            for round_ in range(3):
                await eventually(lives[-1].listening)
                outbox.put(records(round_ * 1000, 1000, end=1))
                await eventually(lambda: len(lives[-1].got) > 300)
                lives[-1].end()
                lives.append(start())
            await eventually(lambda: {number for life in lives for number in life.got} == set(range(3000)))

    asyncio.run(run())


def test_a_connection_that_stands_long_enough_is_the_receipt(tmp_path, receiver):
    start, settings = receiver

    async def run():
        only = start()
        await eventually(only.listening)
        async with delivering(tmp_path, settings, outlived=0.5) as (outbox, delivery):
            outbox.put(records(0, 200, end=1))
            await eventually(lambda: outbox.written == 200 and outbox.backlog("siem") == 0)
            assert delivery.progress.sent == 200
        assert only.got == list(range(200))

    asyncio.run(run())


def test_a_receiver_that_does_not_read_is_named_as_one(tmp_path):
    """Once its window is shut. What its kernel had room for counts as received, which is what it is."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    settings = SyslogSettings(name="siem", type="syslog", address=address, tls=False, timeout_seconds=2)

    async def run():
        async with delivering(tmp_path, settings) as (outbox, delivery):
            outbox.put(records(0, 3000, reason="x" * 900))
            await eventually(lambda: "doesn't read" in delivery.progress.trouble)
            assert address in delivery.progress.trouble

    with listener:
        asyncio.run(run())
