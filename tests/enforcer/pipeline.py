"""The agent as a process that may be killed, with everything real but the kernel: its log is made up here, packet by packet.

`python -m tests.enforcer.pipeline SETTINGS TALLY LIFE COUNT RATE`. The tally is a file that outlives the process, however
that ends.
"""

import asyncio
import mmap
import os
import struct
import sys
import threading
import time
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from enforcer import service, wiring
from enforcer.cluster.watch import Cluster
from enforcer.netlink.messages import attribute
from enforcer.settings.models import load
from tests.enforcer.test_service import FakeKernel, FakeLog
from zones.runtime import logs
from zones.runtime.backoff import Backoff

TALLY = struct.Struct("=5Q")
_HEAD = bytes(4) + attribute(10, b"zb:7:o\0")
_PAYLOAD = struct.pack("=HH", 4 + 40, 9)
_IP = struct.pack(">BBHHHBBH", 0x45, 0, 40, 7, 0, 64, 6, 0)
_TO, _REST = IPv4Address("10.1.0.20").packed, struct.pack(">HIIBBHHH", 22, 1, 0, 0x50, 2, 1000, 0, 0)
_AT_ONCE, _PACE = 500, 0.01


def body(life, number):
    """Each packet is a connection of its own, from an address and port that say which packet of which life it is."""
    source = struct.pack(">BBBB", 10, 1, life, number >> 16)
    return _HEAD + _PAYLOAD + _IP + source + _TO + struct.pack(">H", number & 0xFFFF) + _REST


def packet_of(address, port):
    """The life and the number that `body` was given."""
    *_, life, high = IPv4Address(address).packed
    return life, high << 16 | port


class Flood(FakeLog):
    """A log socket into which `count` packets come at a pace."""

    buffer_bytes = 1 << 24

    def __init__(self, life, count, rate):
        super().__init__()
        self._life, self._count, self._rate = life, count, rate
        self._due = os.eventfd(0, os.EFD_NONBLOCK)
        self._owed = self.fed = 0

    def begin(self):
        threading.Thread(target=self._keep_pace, daemon=True).start()

    def _keep_pace(self):
        given, began = 0, time.monotonic()
        while given < self._count:
            time.sleep(_PACE)
            due = min(int((time.monotonic() - began) * self._rate), self._count) - given
            if due:
                os.eventfd_write(self._due, due)
                given += due

    def fileno(self):
        return self._due

    def read(self):
        with suppress(BlockingIOError):
            self._owed += os.eventfd_read(self._due)
        count = min(self._owed, _AT_ONCE)
        first, self.fed, self._owed = self.fed, self.fed + count, self._owed - count
        return [body(self._life, number) for number in range(first, first + count)]


class Tally:
    """What a process has come to: packets given, records put, written, lost for want of memory, lost for want of disk."""

    def __init__(self, path):
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), TALLY.size)

    def note(self, *numbers):
        self._map[:] = TALLY.pack(*numbers)


async def main(settings_file, tally_file, life, count, rate):
    settings = load(Path(settings_file), os.environ)
    logs.configure("warning", settings.log.format)
    outbox, flood, tally = wiring.open_outbox(settings), Flood(life, count, rate), Tally(Path(tally_file))
    take, accepted = outbox.put, 0

    def note():
        tally.note(flood.fed, accepted, outbox.written, outbox.lost_in_memory, outbox.lost_on_disk)

    def put(records):
        nonlocal accepted
        held = list(records)
        accepted += len(held)
        note()
        take(held)

    outbox.put = put
    cluster = await Cluster.connect(settings.kubeconfig)
    service._SURVEY = 0.5
    agent = wiring.service(settings, os.environ, outbox, cluster, FakeKernel())
    agent.parts.log.packets, agent.parts.ends, agent.parts.event_writer = lambda: flood, None, None
    for delivery in agent.parts.deliveries:
        delivery.backoff = Backoff(0.05, 1.0)

    async def watch():
        began = False
        while True:
            note()
            if not began and agent.parts.enforcement.applied and agent.parts.enforcement.terminals:
                flood.begin()
                began = True
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    try:
        await service.until_signal(agent)
    finally:
        watching.cancel()
        note()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3], *map(int, sys.argv[3:])))
