"""The one door to nftables, by netlink: one transaction, what a table looks like, and who changes it.

Runs no program. Judges nothing, keeps nothing. In the network namespace of its thread; `enforcer.reconcile` calls it.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from enforcer import portrait
from enforcer.errors import KernelError
from enforcer.messages import DUMP, ERROR, INET, NFTABLES, REQUEST, attributes, messages, netfilter, text
from enforcer.netlink import NETFILTER, RECEIVE, answers, enlarge, error_code, open_socket, refuse
from enforcer.portrait import Portrait
from enforcer.transaction import Transaction

_GET_TABLE, _GET_CHAIN, _GET_RULE, _GET_SET, _GET_ELEMENTS, _GET_OBJECT, _GET_FLOWTABLE = (
    NFTABLES << 8 | kind for kind in (1, 4, 7, 10, 13, 19, 23)
)
_GET_GENERATION = NFTABLES << 8 | 16
_NEW_GENERATION, _GENERATION_ID, _TABLE_NAME, _PROCESS, _PROCESS_NAME = NFTABLES << 8 | 15, 1, 1, 2, 3
_SOL_NETLINK, _ADD_MEMBERSHIP, _DROP_MEMBERSHIP, _NFTABLES_GROUP, _ANNOUNCED_BYTES = 270, 1, 2, 7, 4 * 2**20
_SO_SNDBUFFORCE = 32
_HEADER = struct.Struct("=IHHII")
_INTERRUPTED = 0x10
_PATIENCE, _ANSWER_SECONDS = 1.0, 10.0
_FLAGS = 2


class Nftables:
    """A socket to nftables, for one thread. `port` is what the kernel's announcements call us.

    It is kept: closing one costs milliseconds where there are many rules.
    """

    def __init__(self) -> None:
        self._socket = open_socket(NETFILTER)
        self.port: int = self._socket.getsockname()[0]

    def close(self) -> None:
        self._socket.close()

    def commit(self, transaction: Transaction) -> None:
        """Have it taken, whole or not at all. Raises LoadError with the words of what failed.

        The kernel works it off while it is sent, so its complaints are there afterwards; success says nothing.
        """
        data = transaction.data()
        self._drain()
        _make_room(self._socket, len(data))
        try:
            self._socket.send(data)
        except OSError as error:
            refuse(error.errno or 0, f"sending {len(data)} bytes of rules to the kernel")
        for sequence, code in self._complaints():
            refuse(code, transaction.named(sequence))

    def generation(self) -> int:
        """The number of the last change to any table. Costs microseconds."""
        self._send(netfilter(_GET_GENERATION, REQUEST, 1, 0, 0))
        answer = next(answers(self._socket))
        if answer.kind == ERROR:
            refuse(error_code(answer), "asking for the generation of the tables")
        return int.from_bytes(attributes(answer.body).get(_GENERATION_ID, b""), "big")

    def flags(self, table: str) -> int | None:
        """Of a table of the family inet; None where there is none."""
        self._send(netfilter(_GET_TABLE, REQUEST, 1, INET, 0, text(1, table)))
        answer = next(answers(self._socket))
        if answer.kind == ERROR:
            if error_code(answer) == errno.ENOENT:
                return None
            refuse(error_code(answer), f"looking for the table {table}")
        return int.from_bytes(attributes(answer.body).get(_FLAGS, b""), "big")

    def delete(self, table: str) -> None:
        """Remove a table; fine where there is none."""
        transaction = Transaction(table)
        transaction.add_table()
        transaction.delete_table()
        self.commit(transaction)

    def look(self, table: str, *, elements_of: tuple[str, ...] = ()) -> Portrait | None:
        """The table as it is; None where there is none. Each set of elements is a question of its own."""
        flags = self.flags(table)
        if flags is None:
            return None
        own = text(1, table)
        dumps = {
            "chain": self._dump(_GET_CHAIN),
            "set": self._dump(_GET_SET, own),
            "counter": self._dump(_GET_OBJECT, own),
            "flowtable": self._dump(_GET_FLOWTABLE, own),
        }
        found = portrait.objects(table, flags, dumps)
        rules = portrait.rules_digests(self._dump(_GET_RULE, own), table)
        there = {key[1] for key in found if key[0] in {"set", "map"}}
        held = {each: portrait.tally(self.elements(table, each)) for each in elements_of if each in there}
        return Portrait(found, rules, held)

    def rules_digest(self, table: str, chain: str) -> int:
        """Of the rules of one chain."""
        return portrait.rules_digests(self._dump(_GET_RULE, text(1, table), text(2, chain)), table).get(chain, 0)

    def elements(self, table: str, name: str) -> list[bytes]:
        """The messages that tell a set's elements."""
        return self._dump(_GET_ELEMENTS, text(1, table), text(2, name))

    def counters(self, table: str) -> dict[str, tuple[int, int]]:
        """Packets and bytes of the counters of each chain that has any, by the chain's name."""
        found: dict[str, tuple[int, int]] = {}
        for chain, rule in portrait.rules(self._dump(_GET_RULE, text(1, table)), table):
            for packets, volume in portrait.counted(rule):
                before = found.get(chain, (0, 0))
                found[chain] = before[0] + packets, before[1] + volume
        return found

    def _dump(self, kind: int, *chosen: bytes) -> list[bytes]:
        """The bodies of the answers, all from one state of the tables. Raises KernelError."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            bodies, whole = self._dumped(netfilter(kind, REQUEST | DUMP, 1, INET, 0, *chosen))
            if whole:
                return bodies
            if time.monotonic() > deadline:
                raise KernelError("our rules can't be listed: somebody changes tables all the time; trying again")

    def _dumped(self, request: bytes) -> tuple[list[bytes], bool]:
        """And whether nothing was changed meanwhile."""
        self._send(request)
        bodies: list[bytes] = []
        whole = True
        for each in answers(self._socket):
            whole = whole and not each.flags & _INTERRUPTED
            if each.kind == ERROR:
                if error_code(each) != errno.ENOENT:
                    refuse(error_code(each), "listing our rules")
                break
            if each.done:
                break
            bodies.append(each.body)
        return bodies, whole

    def _send(self, request: bytes) -> None:
        self._drain()
        self._socket.settimeout(_ANSWER_SECONDS)
        self._socket.send(request)

    def _drain(self) -> None:
        for _ in self._complaints():
            pass

    def _complaints(self) -> Iterator[tuple[int, int]]:
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                for each in messages(self._socket.recv(RECEIVE)):
                    if each.kind == ERROR and (code := error_code(each)):
                        yield each.sequence, code


@dataclass(frozen=True, slots=True)
class Author:
    """Who changed our table, and at which generation. `port` tells our own changes."""

    generation: int
    port: int
    name: str


class TableChanges:
    """Tells who changes a table, as the kernel announces it after each transaction; our own changes too.

    `fileno` becomes readable on a change to any table. `overrun`: something was missed since `caught_up`.
    """

    def __init__(self, table: str) -> None:
        self._name = table.encode() + b"\0"
        self._socket = open_socket(NETFILTER)
        self._touched = False
        self.overrun = False
        self.seen = 0
        enlarge(self._socket, _ANNOUNCED_BYTES)
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES_GROUP)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> list[Author]:
        """Who has changed the table since the last time, without waiting."""
        authors: list[Author] = []
        while True:
            try:
                data = self._socket.recv(RECEIVE)
            except BlockingIOError:
                return authors
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise KernelError(f"reading the changes of nftables: {error.strerror}") from error
                self.overrun = True
                continue
            authors += self._authors(data)

    def deaf(self) -> None:
        """Hear nothing until `caught_up`: a large change of our own would overrun us."""
        self._socket.setsockopt(_SOL_NETLINK, _DROP_MEMBERSHIP, _NFTABLES_GROUP)

    def caught_up(self, generation: int) -> None:
        """All up to this generation is known otherwise."""
        self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES_GROUP)
        self.read()
        self.overrun, self._touched = False, False
        self.seen = max(self.seen, generation)

    def close(self) -> None:
        self._socket.close()

    def _authors(self, data: bytes) -> Iterator[Author]:
        """Every message of a transaction names its table; the generation that ends it names the process."""
        ours = self._name in data
        at, end = 0, len(data)
        while at + _HEADER.size <= end:
            length, kind, _, _, port = _HEADER.unpack_from(data, at)
            if not _HEADER.size <= length <= end - at:
                return
            if kind == _NEW_GENERATION:
                author = _author(attributes(data[at + _HEADER.size : at + length]), port)
                self.seen = author.generation
                if self._touched:
                    yield author
                self._touched = False
            elif ours and not self._touched:
                held = attributes(data[at + _HEADER.size : at + length])
                self._touched = held.get(_TABLE_NAME) == self._name
            at += (length + 3) & ~3


def _author(held: Mapping[int, bytes], port: int) -> Author:
    program = held.get(_PROCESS_NAME, b"?").rstrip(b"\0").decode("ascii", "replace")
    process = int.from_bytes(held.get(_PROCESS, b""), "big")
    return Author(int.from_bytes(held.get(_GENERATION_ID, b""), "big"), port, f"{program} (process {process})")


def _make_room(made: socket.socket, size: int) -> None:
    """For one long message."""
    try:
        made.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size + 65_536)
    except PermissionError:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size + 65_536)
