"""The door to conntrack's events: connections that began under a rule that logs their ends, and accepted ones that end.

The kernel leaves all others out. Stays in the network namespace where it is made; `enforcer.flows.end_reader` reads
it.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from enforcer.errors import KernelError, LoadError
from enforcer.kernel.nft import Nftables
from enforcer.kernel.transaction import Transaction
from enforcer.netlink.conntrack import SUBSYSTEM, ConntrackMessage, TcpState, conntrack_messages
from enforcer.netlink.constants import (
    CTA_LABELS,
    CTA_MARK,
    IPCTNL_MSG_CT_DELETE,
    IPCTNL_MSG_CT_GET,
)
from enforcer.netlink.messages import DONE, DUMP, ERROR, REQUEST, messages, netfilter
from enforcer.netlink.sockets import NETFILTER, RECEIVE, enlarge, error_code, open_socket, refuse
from enforcer.rules.connmark import ConnmarkLayout
from enforcer.rules.table import Chain

_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_NEW_GROUP, _DESTROY_GROUP = 1, 3
_SO_ATTACH_FILTER, _SO_MEMINFO = 26, 55
_MEMORY, _DROPS = struct.Struct("=9I"), 8
_GET, _DELETE = SUBSYSTEM | IPCTNL_MSG_CT_GET, SUBSYSTEM | IPCTNL_MSG_CT_DELETE
_TRIAL = "zonebridge-trial"
_KIND_AT, _ATTRIBUTES_AT = 4, 20
_SYSCTLS = Path("/proc/sys/net/netfilter")
_ACCOUNTING = {"acct": 1, "timestamp": 1, "events": 1}
_CLOSED = TcpState.FIN_WAIT, TcpState.CLOSE_WAIT, TcpState.LAST_ACK, TcpState.TIME_WAIT, TcpState.CLOSE
_BUFFER = 64 * 2**20  # for 100,000 ends at once; the kernel takes what it needs of it
_ONE = 16 * 1024  # more than a message is; each comes by itself
_MOST = 200  # messages in one reading: others wait for their turn, too

# Classic BPF: operations, and where the kernel finds an attribute by its kind.
_LOAD_NUMBER, _LOAD_HALF, _LOAD_WORD_AT_X, _NUMBER_TO_X, _A_TO_X = 0x00, 0x28, 0x40, 0x01, 0x07
_LOAD_SPECIAL, _AND, _IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_FIND_ATTRIBUTE = 0xFFFFF000 + 12
_INSTRUCTION = struct.Struct("=HBBI")
_ALL = 0xFFFFFFFF


class ConnectionEvents:
    """`dropped` counts, exactly, the messages that the kernel had no room for."""

    def __init__(self, marks: ConnmarkLayout, buffer_bytes: int = _BUFFER, *, begun: bool = True) -> None:
        """Without `begun` of ends alone: that others begin isn't even written for us."""
        self._socket = open_socket(NETFILTER)
        try:
            enlarge(self._socket, buffer_bytes)
            self._socket.setblocking(False)
            _attach(self._socket, _ours(marks.mask))
            for group in (_NEW_GROUP, _DESTROY_GROUP) if begun else (_DESTROY_GROUP,):
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        except OSError as error:
            self._socket.close()
            raise KernelError(f"hearing of connections that end: {error.strerror}") from error

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def dropped(self) -> int:
        memory = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMORY.size)
        count: int = _MEMORY.unpack(memory)[_DROPS]
        return count

    def read(self) -> Iterator[ConntrackMessage]:
        """Some of what is there now, without waiting."""
        for _ in range(_MOST):
            try:
                data = self._socket.recv(_ONE)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise KernelError(f"reading the ends of connections: {error.strerror}") from error
                continue
            yield from conntrack_messages(data)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Conntrack:
    """The connection tracker of this network namespace."""

    marks: ConnmarkLayout
    buffer_bytes: int = _BUFFER

    def open(self) -> ConnectionEvents:
        return ConnectionEvents(self.marks, self.buffer_bytes)

    def open_ends(self) -> ConnectionEvents:
        return ConnectionEvents(self.marks, self.buffer_bytes, begun=False)

    def alive(self) -> Iterator[ConntrackMessage]:
        return (message for message in alive() if message.label)

    def all_alive(self) -> Iterator[ConntrackMessage]:
        return alive()

    def account(self) -> dict[str, bool]:
        return account() | {"labels": has_labels()}

    def remembered(self) -> dict[int, float]:
        return remembered()


def has_labels() -> bool:
    """Whether connections can have labels. Raises KernelError."""
    return _takes("ct label set 0")


def _takes(rule: str) -> bool:
    """Whether the kernel takes a rule. It is gone again at once."""
    trial = Transaction(_TRIAL)
    trial.add_table()
    trial.add_chain(_TRIAL, Chain())
    trial.add_rules(_TRIAL, Chain((rule,)))
    trial.delete_table()
    try:
        with closing(Nftables()) as channel:
            channel.commit(trial)
    except LoadError:
        return False
    return True


def alive() -> Iterator[ConntrackMessage]:
    """The connections that there are now. It takes a while where there are many."""
    with closing(open_socket(NETFILTER)) as channel:
        channel.send(netfilter(_GET, REQUEST | DUMP, 1, 0, 0))
        while True:
            data = channel.recv(RECEIVE)
            for message in messages(data):
                if message.kind == ERROR:
                    refuse(error_code(message), "listing the connections")
                if message.kind == DONE:
                    return
            yield from conntrack_messages(data)


def account(sysctls: Path = _SYSCTLS) -> dict[str, bool]:
    """Have the kernel count packets and bytes of connections, and note their times. What it does now, by its name.

    Where its settings may not be written, a rule that asks for counters has it count all the same.
    """
    done: dict[str, bool] = {}
    for name, value in _ACCOUNTING.items():
        path = sysctls / f"nf_conntrack_{name}"
        with suppress(OSError, ValueError):
            if int(path.read_text()) != value:
                path.write_text(str(value))
        done[name] = _is_on(path)
    return done if done["acct"] else done | {"acct": _takes("ct original packets 0")}


def remembered(sysctls: Path = _SYSCTLS) -> dict[int, float]:
    """For how many seconds the kernel remembers a TCP connection that closed, by its state."""
    times: dict[int, float] = {}
    for state in _CLOSED:
        with suppress(OSError, ValueError):
            times[state] = float((sysctls / f"nf_conntrack_tcp_timeout_{state.name.lower()}").read_text())
    return times


def _is_on(path: Path) -> bool:
    try:
        return int(path.read_text()) != 0
    except (OSError, ValueError):
        return False


def _ours(mask: int) -> bytes:
    """New connections with a label; ended ones with bits of ours in their mark, or all where none are ours."""
    ended = [
        (_LOAD_NUMBER, 0, 0, _ATTRIBUTES_AT),
        (_NUMBER_TO_X, 0, 0, CTA_MARK),
        (_LOAD_SPECIAL, 0, 0, _FIND_ATTRIBUTE),
        (_IF_EQUAL, 5, 0, 0),
        (_A_TO_X, 0, 0, 0),
        (_LOAD_WORD_AT_X, 0, 0, 4),
        (_AND, 0, 0, mask),
        (_IF_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _ALL),
        (_RETURN, 0, 0, 0),
    ]
    if not mask:
        ended = [(_RETURN, 0, 0, _ALL)]
    begun = [
        (_LOAD_NUMBER, 0, 0, _ATTRIBUTES_AT),
        (_NUMBER_TO_X, 0, 0, CTA_LABELS),
        (_LOAD_SPECIAL, 0, 0, _FIND_ATTRIBUTE),
        (_IF_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _ALL),
        (_RETURN, 0, 0, 0),
    ]
    kind = int.from_bytes(_DELETE.to_bytes(2, sys.byteorder), "big")  # which is how the filter reads it
    program = [(_LOAD_HALF, 0, 0, _KIND_AT), (_IF_EQUAL, 0, len(ended), kind), *ended, *begun]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)


def _attach(channel: socket.socket, program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    pointer = struct.pack("HP", len(program) // _INSTRUCTION.size, ctypes.addressof(buffer))
    channel.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
