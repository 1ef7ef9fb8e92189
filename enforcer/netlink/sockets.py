"""The one door to netlink beside nftables: log records in, the node's lock, and what only netlink tells.

Stays in the network namespace where it is made. `enforcer.kernel.reconcile` and `enforcer.service` call it.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from enforcer.errors import KernelError, LockedError, PrivilegeError, TakenError, UnfitError
from enforcer.netlink.messages import (
    ACK,
    DUMP,
    ERROR,
    NFLOG,
    NFTABLES,
    REQUEST,
    Message,
    attribute,
    attributes,
    message,
    messages,
    netfilter,
)
from zones.net import IPAddress

NETFILTER, ROUTE = 12, 0
RECEIVE = 1 << 20
PATIENCE = 10.0  # seconds for an answer that is only a function call away
_SO_RCVBUFFORCE = 33
_GET_GENERATION, _GENERATION_ID = NFTABLES << 8 | 16, 1
_ADDRESS_CHANGES = 0x10 | 0x100  # of IPv4 and IPv6
_GET_ADDRESS, _NEW_ADDRESS, _LOCAL, _ADDRESS = 22, 20, 2, 1

_LOG_PACKET, _LOG_CONFIG = NFLOG << 8, NFLOG << 8 | 1
_BIND, _COPY_PACKET = 1, 2
_CONFIG_COMMAND, _CONFIG_MODE, _CONFIG_BUFFER, _CONFIG_TIMEOUT, _CONFIG_THRESHOLD, _CONFIG_FLAGS = range(1, 7)
_SEQUENCE_FLAG, _LOG_PREFIX, _LOG_SEQUENCE, _NUMBERS = 1, 10, 12, 1 << 32
_OUR_PREFIX = struct.pack("=H", _LOG_PREFIX) + b"zb:"  # as `enforcer.rules.chains.verdict_chains` writes it
_BATCH_BYTES, _BATCH_RECORDS, _BATCH_HUNDREDTHS = 128 * 1024, 500, 5
_SNAP = 256
_MISSING = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT})
_LOCK_GROUP, _LOCK_BUFFER = 31_274, 4096
INTERRUPTED = 0x10  # NLM_F_DUMP_INTR: what is listed changed meanwhile
_DUMP_ATTEMPTS = 20


class NflogSocket:
    """The only reader of an NFLOG group in this network namespace. Raises KernelError where the group is taken.

    `lost` counts the records that the kernel had no room for, as far as later ones tell by their numbers; `ours` those
    of our own rules that were read.
    """

    def __init__(self, group: int, buffer_bytes: int = 16 * 2**20) -> None:
        self.group = group
        self.lost = self.ours = 0
        self._next = 0
        self._socket = open_socket(NETFILTER)
        try:
            enlarge(self._socket, buffer_bytes)
            self._configure()
        except BaseException:
            self._socket.close()
            raise
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def buffer_bytes(self) -> int:
        """What the kernel granted: less than asked for where the process is no root of the whole machine."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2

    def read(self) -> list[bytes]:
        """What is there now, without waiting: bodies for `nflog.parse`."""
        try:
            data = self._socket.recv(RECEIVE)
        except BlockingIOError:
            return []
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise KernelError(f"reading NFLOG group {self.group}: {error.strerror}") from error
            return self.read()  # what is there is still there
        bodies = [message.body for message in messages(data) if message.kind == _LOG_PACKET]
        self._count(bodies)
        return bodies

    def _count(self, bodies: list[bytes]) -> None:
        """Those of one reading follow each other."""
        number = attributes(bodies[0]).get(_LOG_SEQUENCE) if bodies else None
        if number is None:
            return
        gap = (int.from_bytes(number, "big") - self._next) % _NUMBERS
        self.lost += gap
        self.ours += sum(_OUR_PREFIX in body for body in bodies)
        self._next = (self._next + gap + len(bodies)) % _NUMBERS

    @property
    def idle(self) -> bool:
        """Nothing waits to be read."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return not waiting.poll(0)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _configure(self) -> None:
        """Bound first, then sequence numbers, then how to batch: one message each, so that one refusal is clear."""
        self._ask(attribute(_CONFIG_COMMAND, bytes([_BIND])))
        self._ask(attribute(_CONFIG_FLAGS, struct.pack(">H", _SEQUENCE_FLAG)))
        self._ask(
            attribute(_CONFIG_MODE, struct.pack(">IBB", _SNAP, _COPY_PACKET, 0)),
            attribute(_CONFIG_BUFFER, struct.pack(">I", _BATCH_BYTES)),
            attribute(_CONFIG_THRESHOLD, struct.pack(">I", _BATCH_RECORDS)),
            attribute(_CONFIG_TIMEOUT, struct.pack(">I", _BATCH_HUNDREDTHS)),
        )

    def _ask(self, *options: bytes) -> None:
        self._socket.send(netfilter(_LOG_CONFIG, REQUEST | ACK, 1, 0, self.group, *options))
        code = next(_errors(self._socket))
        if code in {errno.EBUSY, errno.EPERM}:
            generation()  # the same code for a taken group as for missing rights; without them this raises
            raise TakenError(f"NFLOG group {self.group} has another reader (ulogd?); set nflog.group to a free one")
        if code in _MISSING:
            raise UnfitError("this kernel has no NFLOG (nfnetlink_log); zone-enforcer can't work without it")
        if code:
            refuse(code, f"binding NFLOG group {self.group}")


def generation() -> int:
    """The number of the last change to any table. Costs microseconds."""
    with closing(open_socket(NETFILTER)) as channel:
        send(channel, netfilter(_GET_GENERATION, REQUEST, 1, 0, 0), "asking for the generation of the tables")
        answer = next(answers(channel))
    if answer.kind == ERROR:
        refuse(error_code(answer), "asking for the generation of the tables")
    return int.from_bytes(attributes(answer.body).get(_GENERATION_ID, b""), "big")


def local_addresses() -> tuple[IPAddress, ...]:
    """Every address that this machine answers for, but those of the loopback and link-local IPv6 ones.

    Raises KernelError: a list that is cut short would take addresses of the node for those of strangers.
    """
    with closing(open_socket(ROUTE)) as channel:
        for _ in range(_DUMP_ATTEMPTS):
            addresses = _dumped_addresses(channel)
            if addresses is not None:
                break
        else:
            raise KernelError("this machine's addresses can't be listed: they change all the time; trying again")
    return tuple(sorted((at for at in addresses if not at.is_loopback and not _is_link_local_v6(at)), key=str))


def _dumped_addresses(channel: socket.socket) -> set[IPAddress] | None:
    """None where the list was interrupted by a change: it may lack some."""
    doing = "listing this machine's addresses"
    send(channel, message(_GET_ADDRESS, REQUEST | DUMP, 1, bytes(8)), doing)
    addresses: set[IPAddress] = set()
    interrupted = False
    for answer in answers(channel):
        interrupted = interrupted or bool(answer.flags & INTERRUPTED)
        if answer.kind == ERROR or (answer.done and error_code(answer)):
            refuse(error_code(answer), doing)
        if answer.done:
            break
        if answer.kind == _NEW_ADDRESS:
            fields = attributes(answer.body, start=8)
            addresses.add(ip_address(fields.get(_LOCAL) or fields[_ADDRESS]))
    return None if interrupted else addresses


class LocalAddresses:
    """The machine's own addresses, asked for again only after the kernel has announced a change."""

    def __init__(self) -> None:
        self._socket = open_socket(ROUTE, _ADDRESS_CHANGES)
        self._socket.setblocking(False)
        self._known: tuple[IPAddress, ...] = ()
        self._outdated = True

    def __call__(self) -> tuple[IPAddress, ...]:
        """Raises KernelError; the next call asks again then."""
        self._listen()
        if self._outdated:
            self._known = local_addresses()
            self._outdated = False
        return self._known

    def close(self) -> None:
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                self._outdated = bool(self._socket.recv(RECEIVE)) or self._outdated
            except BlockingIOError:
                return
            except OSError as error:
                self._outdated = True
                if error.errno != errno.ENOBUFS:
                    raise KernelError(f"hearing of the machine's addresses: {error.strerror or error}") from error


class NodeLock:
    """Held by one enforcer in a network namespace; the kernel takes it back when the process ends, however.

    It is an NFLOG group that no rule logs to: only who may change the rules can hold it, or keep it from us.
    """

    def __init__(self) -> None:
        try:
            self._held = NflogSocket(_LOCK_GROUP, _LOCK_BUFFER)
        except TakenError as error:
            raise LockedError(
                "another zone-enforcer is at work on this node; stop it first, two would undo each other's work"
            ) from error

    def release(self) -> None:
        self._held.close()


def _is_link_local_v6(address: IPAddress) -> bool:
    return address.version == 6 and address.is_link_local  # noqa: PLR2004 - the version


def open_socket(protocol: int, groups: int = 0) -> socket.socket:
    try:
        channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise UnfitError(f"opening a netlink socket: {error.strerror}; does the kernel have nfnetlink?") from error
    channel.bind((0, groups))
    channel.settimeout(PATIENCE)
    return channel


def enlarge(channel: socket.socket, size: int) -> None:
    try:
        channel.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def send(channel: socket.socket, data: bytes, doing: str) -> None:
    """Raises KernelError."""
    try:
        channel.send(data)
    except OSError as error:
        raise KernelError(f"{doing}: {error.strerror or error}") from error


def answers(channel: socket.socket) -> Iterator[Message]:
    while True:
        try:
            data = channel.recv(RECEIVE)
        except TimeoutError as error:
            raise KernelError(f"the kernel did not answer over netlink within {PATIENCE:.0f} s") from error
        except OSError as error:
            raise KernelError(f"reading the kernel's answer over netlink: {error.strerror}") from error
        yield from messages(data)


def _errors(channel: socket.socket) -> Iterator[int]:
    """The error codes of acknowledgements; 0 is none."""
    for answer in answers(channel):
        if answer.kind == ERROR:
            yield error_code(answer)


def error_code(answer: Message) -> int:
    return -int.from_bytes(answer.body[:4], sys.byteorder, signed=True)


def refuse(code: int, doing: str, kind: type[KernelError] = KernelError) -> None:
    if code in {errno.EPERM, errno.EACCES}:
        raise PrivilegeError(f"{doing}: not permitted; run as root or with the capability NET_ADMIN")
    raise kind(f"{doing}: {os.strerror(code)}")
