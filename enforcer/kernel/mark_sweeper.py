"""Takes old numbers from the marks of connections before those numbers are used again, by conntrack's netlink.

Whose number was taken is judged again at its next packet: at worst that is work for nothing.
`enforcer.kernel.mark_epochs` calls it.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import suppress

from enforcer.netlink.constants import (
    CTA_MARK,
    CTA_MARK_MASK,
    CTA_TUPLE_ORIG,
    CTA_ZONE,
    IPCTNL_MSG_CT_GET,
    IPCTNL_MSG_CT_NEW,
)
from enforcer.netlink.messages import DUMP, ERROR, REQUEST, Message, attribute, attributes, messages, netfilter, number
from enforcer.netlink.sockets import NETFILTER, PATIENCE, RECEIVE, answers, error_code, open_socket, refuse
from enforcer.rules.connmark import PHASES, REVOKED, STALE, UNJUDGED, ConnmarkLayout

_CONNTRACK = 1 << 8
_NEW, _GET = _CONNTRACK | IPCTNL_MSG_CT_NEW, _CONNTRACK | IPCTNL_MSG_CT_GET
_AT_ONCE = 400  # answers of so many fit any receive buffer
_GONE = frozenset({errno.ENOENT})


class MarkSweeper:
    """Keeps its socket: to close one holds up everybody's changes of nftables for a grace period of the kernel."""

    def __init__(self) -> None:
        self._held: socket.socket | None = None

    def __call__(self, marks: ConnmarkLayout, phase: int) -> int:
        """No connection has a number of this phase afterwards, but those that get one meanwhile. How many had."""
        taken = 0
        try:
            chosen = marks.bits(marks.first(phase)), marks.phase_bits
            while connections := list(_holding(self._channel, *chosen)):
                _set_all(self._channel, marks, connections, STALE)
                taken += len(connections)
        except BaseException:
            self.close()  # answers may be under way
            raise
        return taken

    def clear(self, marks: ConnmarkLayout) -> None:
        """Take our bits from every connection, for good: once no table gives any."""
        if not marks.mask:
            return
        numbered = [(marks.bits(marks.first(phase)), marks.phase_bits) for phase in PHASES]
        for chosen in (*numbered, *((marks.bits(value), marks.mask) for value in (STALE, REVOKED))):
            _set_all(self._channel, marks, list(_holding(self._channel, *chosen)), UNJUDGED)

    def close(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    @property
    def _channel(self) -> socket.socket:
        if self._held is None:
            self._held = open_socket(NETFILTER)
        return self._held


def _holding(channel: socket.socket, value: int, mask: int) -> Iterator[Message]:
    """The connections whose mark has this value in these bits; the kernel chooses them."""
    chosen = number(CTA_MARK, value), number(CTA_MARK_MASK, mask)
    channel.settimeout(PATIENCE)
    channel.send(netfilter(_GET, REQUEST | DUMP, 1, 0, 0, *chosen))
    for answer in answers(channel):
        if answer.kind == ERROR:
            refuse(error_code(answer), "listing the connections with old marks")
        if answer.done:
            return
        yield answer


def _set_all(channel: socket.socket, marks: ConnmarkLayout, connections: list[Message], value: int) -> None:
    for at in range(0, len(connections), _AT_ONCE):
        _set(channel, marks, connections[at : at + _AT_ONCE], value)


def _set(channel: socket.socket, marks: ConnmarkLayout, connections: list[Message], value: int) -> None:
    channel.send(b"".join(_with_number(marks, value, at, connection) for at, connection in enumerate(connections, 1)))
    channel.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            for message in messages(channel.recv(RECEIVE)):
                if message.kind == ERROR and (code := error_code(message)) and code not in _GONE:
                    refuse(code, "taking an old mark from a connection")


def _with_number(marks: ConnmarkLayout, value: int, sequence: int, connection: Message) -> bytes:
    """The kernel finds it by its original direction and its zone."""
    fields = attributes(connection.body)
    zone = [attribute(CTA_ZONE, fields[CTA_ZONE])] if CTA_ZONE in fields else []
    which = attribute(CTA_TUPLE_ORIG | 0x8000, fields[CTA_TUPLE_ORIG])
    wanted = number(CTA_MARK, marks.bits(value)), number(CTA_MARK_MASK, marks.mask)
    return netfilter(_NEW, REQUEST, sequence, connection.body[0], 0, which, *zone, *wanted)
