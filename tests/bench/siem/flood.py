"""First packets of connections, as many a second as told, each of another connection. Frames are made before they go."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence

from mocks.lab.netns import libc
from tests.bench.enforcer.wire import BATCH, MAC, Burst
from zones.net import IPAddress

_FIRST_PORT, _PORTS = 1024, 60_000
_STEP = 0.005  # seconds


def connections(many: int, pairs: Sequence[tuple[IPAddress, IPAddress]], port: int) -> Burst:
    """TCP's first packets; the pairs take turns, so that neighbours have little in common."""
    return Burst(list(frames(many, pairs, port)))


def frames(many: int, pairs: Sequence[tuple[IPAddress, IPAddress]], port: int) -> Iterator[bytes]:
    if many > len(pairs) * _PORTS:
        raise ValueError(f"{len(pairs)} pairs of addresses have only {len(pairs) * _PORTS} connections to a port")
    heads = [_head(*pair) for pair in pairs]
    middle = struct.pack("!HIIBBH", port, 1, 0, 0x50, 2, 65_535)
    sums = [_sum(one.packed + two.packed + struct.pack("!HH", socket.IPPROTO_TCP, 20) + middle) for one, two in pairs]
    for number in range(many):
        turn, which = divmod(number, len(heads))
        own = _FIRST_PORT + turn
        yield heads[which] + struct.pack("!H", own) + middle + struct.pack("!HH", _checksum(sums[which] + own), 0)


def _head(source: IPAddress, target: IPAddress) -> bytes:
    header = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, socket.IPPROTO_TCP, 0)
    checksum = _checksum(_sum(header + source.packed + target.packed))
    ethernet = bytes.fromhex(MAC.replace(":", "")) * 2 + b"\x08\x00"
    return ethernet + header[:10] + checksum.to_bytes(2, "big") + source.packed + target.packed


def _sum(data: bytes) -> int:
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


def _checksum(total: int) -> int:
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def send(line: socket.socket, burst: Burst, first: int, many: int) -> None:
    for at in range(first, first + many, BATCH):
        wanted = min(BATCH, first + many - at)
        if libc.sendmmsg(line.fileno(), burst.at(at), wanted, 0) != wanted:
            raise OSError(ctypes.get_errno(), f"not all packets could be sent: {os.strerror(ctypes.get_errno())}")


def at_a_rate(line: socket.socket, burst: Burst, rate: int) -> float:
    """All of it; how long it took."""
    began, sent = time.monotonic(), 0
    while sent < burst.many:
        due = min(int((time.monotonic() - began) * rate) + 1, burst.many)
        send(line, burst, sent, due - sent)
        sent = due
        time.sleep(_STEP)
    return time.monotonic() - began
