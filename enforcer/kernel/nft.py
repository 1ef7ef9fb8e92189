"""The one door to nftables, by netlink: one transaction, and what a table looks like.

Runs no program. Judges nothing, keeps nothing. In the network namespace of its thread; `enforcer.kernel.reconcile`
calls it.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Protocol

from enforcer.errors import KernelError, LoadError
from enforcer.kernel import elements, table_digest
from enforcer.kernel.table_digest import Key, TableDigest
from enforcer.kernel.transaction import DORMANT, Transaction
from enforcer.netlink.messages import (
    DUMP,
    ERROR,
    INET,
    NFTABLES,
    REQUEST,
    attribute,
    attributes,
    messages,
    netfilter,
    text,
)
from enforcer.netlink.sockets import INTERRUPTED, NETFILTER, RECEIVE, answers, error_code, open_socket, refuse, send

_GET_TABLE, _GET_CHAIN, _GET_RULE, _GET_SET, _GET_ELEMENTS, _GET_OBJECT, _GET_FLOWTABLE = (
    NFTABLES << 8 | kind for kind in (1, 4, 7, 10, 13, 19, 23)
)
_GET_GENERATION = NFTABLES << 8 | 16
_GENERATION_ID = 1
_SO_SNDBUFFORCE = 32
_PATIENCE, _ANSWER_SECONDS = 1.0, 10.0
_FLAGS, _HOOK, _TABLE_HANDLE = 2, 4, 4


Counted = tuple[int, int]
"""Packets and bytes."""


class Commands(Protocol):
    """A whole transaction as the kernel takes it, and the words for each of its commands."""

    def data(self) -> bytes | memoryview: ...

    def named(self, sequence: int) -> str: ...


class Nftables:
    """A socket to nftables, for one thread and tables of one family. `port` is what the kernel's announcements call us.

    It is kept: closing one costs milliseconds where there are many rules.
    """

    def __init__(self, family: int = INET) -> None:
        self._family = family
        self._socket = open_socket(NETFILTER)
        self.port: int = self._socket.getsockname()[0]

    def close(self) -> None:
        self._socket.close()

    def commit(self, transaction: Commands) -> None:
        """Have it taken, whole or not at all. Raises LoadError with the words of what failed.

        Any other KernelError leaves open whether it was taken.
        The kernel works it off while it is sent, so its complaints are there afterwards; success says nothing.
        """
        data = transaction.data()
        self._drain()
        try:
            _make_room(self._socket, len(data))
            self._socket.send(data)
        except OSError as error:
            refuse(error.errno or 0, f"sending {len(data)} bytes of rules to the kernel", LoadError)
        for sequence, code in self._complaints():
            refuse(code, transaction.named(sequence), LoadError)

    def generation(self) -> int:
        """The number of the last change to any table. Costs microseconds."""
        self._send(netfilter(_GET_GENERATION, REQUEST, 1, 0, 0))
        answer = next(answers(self._socket))
        if answer.kind == ERROR:
            refuse(error_code(answer), "asking for the generation of the tables")
        return int.from_bytes(attributes(answer.body).get(_GENERATION_ID, b""), "big")

    def flags(self, table: str) -> int | None:
        """Of a table; None where there is none."""
        body = self._ask(_GET_TABLE, text(1, table))
        return None if body is None else int.from_bytes(attributes(body).get(_FLAGS, b""), "big")

    def is_active(self, table: str, hooked: Iterable[str]) -> bool:
        """Whether there is a table that is awake, and packets come to each of these chains and find rules there."""
        flags = self.flags(table)
        return flags is not None and not flags & DORMANT and all(self._is_hooked(table, chain) for chain in hooked)

    def _is_hooked(self, table: str, chain: str) -> bool:
        body = self._ask(_GET_CHAIN, text(1, table), text(3, chain))
        return body is not None and _HOOK in attributes(body) and bool(self.rules_digests(table, [chain]))

    def delete(self, table: str) -> None:
        """Remove a table; fine where there is none.

        Packets are kept from it first. Deleted while they come, rules would go on looking into sets that are empty
        already, for as long as the kernel takes over the rest: milliseconds in which every new connection is refused.
        """
        asleep = Transaction(table, self._family)
        asleep.put_to_sleep()
        self.commit(asleep)
        gone = Transaction(table, self._family)
        gone.add_table()
        gone.delete_table()
        self.commit(gone)

    def look(self, table: str, *, elements_of: tuple[str, ...] = ()) -> TableDigest | None:
        """The table as it is; None where there is none. Each set of elements is a question of its own."""
        objects = self.objects(table)
        if objects is None:
            return None
        rules = table_digest.rules_digests(self._dump(_GET_RULE, text(1, table)), table)
        sets = {key[1] for key in objects if key[0] in table_digest.SETS}
        tallies = {name: table_digest.tally(self.elements(table, name)) for name in elements_of if name in sets}
        return TableDigest(objects, rules, tallies)

    def objects(self, table: str) -> dict[Key, int] | None:
        """All of a table but rules and elements; None where there is none."""
        flags, own = self.flags(table), text(1, table)
        if flags is None:
            return None
        dumps = {
            "chain": self._dump(_GET_CHAIN),
            "set": self._dump(_GET_SET, own),
            "counter": self._dump(_GET_OBJECT, own),
            "flowtable": self._dump(_GET_FLOWTABLE, own),
        }
        return table_digest.objects(table, flags, dumps)

    def named_objects(self, table: str, chains: Iterable[str], sets: Iterable[str]) -> dict[Key, int]:
        """Of these chains and sets, those that are there: cheaper than all objects where they are few."""
        own = text(1, table)
        asked = {
            "chain": [self._ask(_GET_CHAIN, own, text(3, chain)) for chain in chains],
            "set": [self._ask(_GET_SET, own, text(2, name)) for name in sets],
        }
        return table_digest.objects(table, None, {kind: filter(None, bodies) for kind, bodies in asked.items()})

    def rules_digests(self, table: str, chains: Iterable[str]) -> dict[str, int]:
        """Of the rules of these chains, but for those without any."""
        own, digests = text(1, table), dict[str, int]()
        for chain in chains:
            digests |= table_digest.rules_digests(self._dump(_GET_RULE, own, text(2, chain)), table)
        return digests

    def element(self, table: str, name: str, key: bytes) -> bytes | None:
        """The record of a set's element; None where it has none of this key."""
        wanted = attribute(3, elements.record(elements.key(key)))
        body = self._ask(_GET_ELEMENTS, text(1, table), text(2, name), wanted)
        return None if body is None else next(table_digest.records([body]), None)

    def elements(self, table: str, name: str) -> list[bytes]:
        """The messages that tell a set's elements."""
        return self._dump(_GET_ELEMENTS, text(1, table), text(2, name))

    def counters(self, table: str) -> dict[str, list[Counted]]:
        """The counters of the rules of each chain that has any, in order, by the chain's name."""
        by_chain: dict[str, list[Counted]] = {}
        for chain, rule in table_digest.rules(self._dump(_GET_RULE, text(1, table)), table):
            for counter in table_digest.counted(rule):
                by_chain.setdefault(chain, []).append(counter)
        return by_chain

    def named_counters(self, table: str) -> dict[str, Counted]:
        """Those that are no rule's. Costs microseconds."""
        return dict(table_digest.named_counters(self._dump(_GET_OBJECT, text(1, table))))

    def handle(self, table: str) -> int | None:
        """Another one for each table that ever was; None where there is none."""
        body = self._ask(_GET_TABLE, text(1, table))
        return None if body is None else int.from_bytes(attributes(body).get(_TABLE_HANDLE, b""), "big")

    def _ask(self, kind: int, *chosen: bytes) -> bytes | None:
        """The body of the one answer; None where there is no such thing. Raises KernelError."""
        self._send(netfilter(kind, REQUEST, 1, self._family, 0, *chosen))
        answer = next(answers(self._socket))
        if answer.kind != ERROR:
            return answer.body
        if error_code(answer) != errno.ENOENT:
            refuse(error_code(answer), "looking at our rules")
        return None

    def _dump(self, kind: int, *chosen: bytes) -> list[bytes]:
        """The bodies of the answers, all from one state of the tables. Raises KernelError."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            bodies, complete = self._dumped(netfilter(kind, REQUEST | DUMP, 1, self._family, 0, *chosen))
            if complete:
                return bodies
            if time.monotonic() > deadline:
                raise KernelError("our rules can't be listed: somebody changes tables all the time; trying again")

    def _dumped(self, request: bytes) -> tuple[list[bytes], bool]:
        """And whether nothing was changed meanwhile."""
        self._send(request)
        bodies: list[bytes] = []
        complete = True
        for answer in answers(self._socket):
            complete = complete and not answer.flags & INTERRUPTED
            if answer.kind == ERROR:
                if error_code(answer) != errno.ENOENT:
                    refuse(error_code(answer), "listing our rules")
                break
            if answer.done:
                if error_code(answer):
                    refuse(error_code(answer), "listing our rules")
                break
            bodies.append(answer.body)
        return bodies, complete

    def _send(self, request: bytes) -> None:
        self._drain()
        self._socket.settimeout(_ANSWER_SECONDS)
        send(self._socket, request, "asking the kernel for our rules")

    def _drain(self) -> None:
        for _ in self._complaints():
            pass

    def _complaints(self) -> Iterator[tuple[int, int]]:
        self._socket.setblocking(False)
        while True:
            try:
                data = self._socket.recv(RECEIVE)
            except BlockingIOError:
                return
            except OSError as error:
                raise KernelError(f"reading the kernel's answer to a change: {error.strerror}") from error
            for message in messages(data):
                if message.kind == ERROR and (code := error_code(message)):
                    yield message.sequence, code


def _make_room(channel: socket.socket, size: int) -> None:
    """For one long message."""
    try:
        channel.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size + 65_536)
    except PermissionError:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size + 65_536)
