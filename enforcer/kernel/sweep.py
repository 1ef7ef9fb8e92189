"""Takes old numbers from the marks of connections before those numbers are used again, by conntrack's netlink.

Whose number was taken is judged again at its next packet: at worst that is work for nothing.
`enforcer.kernel.numbering` calls it.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import suppress

from enforcer.rules.generations import STALE, Marks
from enforcer.wire.messages import DUMP, ERROR, REQUEST, Message, attribute, attributes, messages, netfilter, number
from enforcer.wire.netlink import NETFILTER, PATIENCE, RECEIVE, answers, error_code, open_socket, refuse

_CONNTRACK = 1 << 8
_NEW, _GET = _CONNTRACK, _CONNTRACK | 1
_ORIGINAL, _MARK, _ZONE, _MARK_MASK = 1, 8, 18, 21
_AT_ONCE = 400  # answers of so many fit any receive buffer
_GONE = frozenset({errno.ENOENT})


class Sweeper:
    """Keeps its socket: to close one holds up everybody's changes of nftables for a grace period of the kernel."""

    def __init__(self) -> None:
        self._held: socket.socket | None = None

    def __call__(self, marks: Marks, phase: int) -> int:
        """No connection has a number of this phase afterwards, but those that get one meanwhile. How many had."""
        taken = 0
        try:
            while found := list(_holding(self._channel, marks, phase)):
                for at in range(0, len(found), _AT_ONCE):
                    _take(self._channel, marks, found[at : at + _AT_ONCE])
                taken += len(found)
        except BaseException:
            self.close()  # answers may be under way
            raise
        return taken

    def close(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    @property
    def _channel(self) -> socket.socket:
        if self._held is None:
            self._held = open_socket(NETFILTER)
        return self._held


def _holding(channel: socket.socket, marks: Marks, phase: int) -> Iterator[Message]:
    """The connections with a number of the phase; the kernel chooses them."""
    chosen = number(_MARK, marks.bits(marks.first(phase))), number(_MARK_MASK, marks.phase_bits)
    channel.settimeout(PATIENCE)
    channel.send(netfilter(_GET, REQUEST | DUMP, 1, 0, 0, *chosen))
    for each in answers(channel):
        if each.kind == ERROR:
            refuse(error_code(each), "listing the connections with old marks")
        if each.done:
            return
        yield each


def _take(channel: socket.socket, marks: Marks, connections: list[Message]) -> None:
    channel.send(b"".join(_without_number(marks, at, each) for at, each in enumerate(connections, 1)))
    channel.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            for each in messages(channel.recv(RECEIVE)):
                if each.kind == ERROR and (code := error_code(each)) and code not in _GONE:
                    refuse(code, "taking an old mark from a connection")


def _without_number(marks: Marks, sequence: int, connection: Message) -> bytes:
    """The kernel finds it by its original direction and its zone."""
    held = attributes(connection.body)
    zone = [attribute(_ZONE, held[_ZONE])] if _ZONE in held else []
    which = attribute(_ORIGINAL | 0x8000, held[_ORIGINAL])
    wanted = number(_MARK, marks.bits(STALE)), number(_MARK_MASK, marks.mask)
    return netfilter(_NEW, REQUEST, sequence, connection.body[0], 0, which, *zone, *wanted)
