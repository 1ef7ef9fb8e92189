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
from enforcer.netlink.constants import (
    NFT_MSG_GETCHAIN,
    NFT_MSG_GETFLOWTABLE,
    NFT_MSG_GETGEN,
    NFT_MSG_GETOBJ,
    NFT_MSG_GETRULE,
    NFT_MSG_GETSET,
    NFT_MSG_GETSETELEM,
    NFT_MSG_GETTABLE,
    NFTA_CHAIN_HOOK,
    NFTA_CHAIN_NAME,
    NFTA_CHAIN_TABLE,
    NFTA_FLOWTABLE_TABLE,
    NFTA_GEN_ID,
    NFTA_OBJ_TABLE,
    NFTA_RULE_CHAIN,
    NFTA_RULE_TABLE,
    NFTA_SET_ELEM_LIST_ELEMENTS,
    NFTA_SET_ELEM_LIST_SET,
    NFTA_SET_ELEM_LIST_TABLE,
    NFTA_SET_NAME,
    NFTA_SET_TABLE,
    NFTA_TABLE_FLAGS,
    NFTA_TABLE_HANDLE,
    NFTA_TABLE_NAME,
)
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

_SO_SNDBUFFORCE = 32
_PATIENCE, _ANSWER_SECONDS = 1.0, 10.0


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
        self._send(netfilter(NFTABLES << 8 | NFT_MSG_GETGEN, REQUEST, 1, 0, 0))
        answer = next(answers(self._socket))
        if answer.kind == ERROR:
            refuse(error_code(answer), "asking for the generation of the tables")
        return int.from_bytes(attributes(answer.body).get(NFTA_GEN_ID, b""), "big")

    def flags(self, table: str) -> int | None:
        """Of a table; None where there is none."""
        body = self._ask(NFT_MSG_GETTABLE, text(NFTA_TABLE_NAME, table))
        return None if body is None else int.from_bytes(attributes(body).get(NFTA_TABLE_FLAGS, b""), "big")

    def is_active(self, table: str, hooked: Iterable[str]) -> bool:
        """Whether there is a table that is awake, and packets come to each of these chains and find rules there."""
        flags = self.flags(table)
        return flags is not None and not flags & DORMANT and all(self._is_hooked(table, chain) for chain in hooked)

    def _is_hooked(self, table: str, chain: str) -> bool:
        body = self._ask(NFT_MSG_GETCHAIN, text(NFTA_CHAIN_TABLE, table), text(NFTA_CHAIN_NAME, chain))
        return body is not None and NFTA_CHAIN_HOOK in attributes(body) and bool(self.rules_digests(table, [chain]))

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
        rules = table_digest.rules_digests(self._dump(NFT_MSG_GETRULE, text(NFTA_RULE_TABLE, table)), table)
        sets = {key[1] for key in objects if key[0] in table_digest.SETS}
        tallies = {name: table_digest.tally(self.elements(table, name)) for name in elements_of if name in sets}
        return TableDigest(objects, rules, tallies)

    def objects(self, table: str) -> dict[Key, int] | None:
        """All of a table but rules and elements; None where there is none."""
        flags, own = self.flags(table), text(NFTA_SET_TABLE, table)
        if flags is None:
            return None
        dumps = {
            "chain": self._dump(NFT_MSG_GETCHAIN),
            "set": self._dump(NFT_MSG_GETSET, own),
            "counter": self._dump(NFT_MSG_GETOBJ, text(NFTA_OBJ_TABLE, table)),
            "flowtable": self._dump(NFT_MSG_GETFLOWTABLE, text(NFTA_FLOWTABLE_TABLE, table)),
        }
        return table_digest.objects(table, flags, dumps)

    def named_objects(self, table: str, chains: Iterable[str], sets: Iterable[str]) -> dict[Key, int]:
        """Of these chains and sets, those that are there: cheaper than all objects where they are few."""
        of_chains, of_sets = text(NFTA_CHAIN_TABLE, table), text(NFTA_SET_TABLE, table)
        asked = {
            "chain": [self._ask(NFT_MSG_GETCHAIN, of_chains, text(NFTA_CHAIN_NAME, chain)) for chain in chains],
            "set": [self._ask(NFT_MSG_GETSET, of_sets, text(NFTA_SET_NAME, name)) for name in sets],
        }
        return table_digest.objects(table, None, {kind: filter(None, bodies) for kind, bodies in asked.items()})

    def rules_digests(self, table: str, chains: Iterable[str]) -> dict[str, int]:
        """Of the rules of these chains, but for those without any."""
        own, digests = text(NFTA_RULE_TABLE, table), dict[str, int]()
        for chain in chains:
            bodies = self._dump(NFT_MSG_GETRULE, own, text(NFTA_RULE_CHAIN, chain))
            digests |= table_digest.rules_digests(bodies, table)
        return digests

    def handles(self, table: str, chain: str) -> list[tuple[int, bytes]]:
        """What the kernel calls each rule of a chain, in order, and the comment that it has."""
        return list(
            table_digest.handles(
                self._dump(NFT_MSG_GETRULE, text(NFTA_RULE_TABLE, table), text(NFTA_RULE_CHAIN, chain)), table
            )
        )

    def element(self, table: str, name: str, key: bytes) -> bytes | None:
        """The record of a set's element; None where it has none of this key."""
        wanted = attribute(NFTA_SET_ELEM_LIST_ELEMENTS, elements.record(elements.key(key)))
        body = self._ask(NFT_MSG_GETSETELEM, *_elements_of(table, name), wanted)
        return None if body is None else next(table_digest.records([body]), None)

    def elements(self, table: str, name: str) -> list[bytes]:
        """The messages that tell a set's elements."""
        return self._dump(NFT_MSG_GETSETELEM, *_elements_of(table, name))

    def counters(self, table: str) -> dict[str, list[Counted]]:
        """The counters of the rules of each chain that has any, in order, by the chain's name."""
        by_chain: dict[str, list[Counted]] = {}
        for chain, rule in table_digest.rules(self._dump(NFT_MSG_GETRULE, text(NFTA_RULE_TABLE, table)), table):
            for counter in table_digest.counted(rule):
                by_chain.setdefault(chain, []).append(counter)
        return by_chain

    def named_counters(self, table: str) -> dict[str, Counted]:
        """Those that are no rule's. Costs microseconds."""
        return dict(table_digest.named_counters(self._dump(NFT_MSG_GETOBJ, text(NFTA_OBJ_TABLE, table))))

    def handle(self, table: str) -> int | None:
        """Another one for each table that ever was; None where there is none."""
        body = self._ask(NFT_MSG_GETTABLE, text(NFTA_TABLE_NAME, table))
        return None if body is None else int.from_bytes(attributes(body).get(NFTA_TABLE_HANDLE, b""), "big")

    def _ask(self, kind: int, *chosen: bytes) -> bytes | None:
        """The body of the one answer; None where there is no such thing. Raises KernelError."""
        self._send(netfilter(NFTABLES << 8 | kind, REQUEST, 1, self._family, 0, *chosen))
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
            bodies, complete = self._dumped(
                netfilter(NFTABLES << 8 | kind, REQUEST | DUMP, 1, self._family, 0, *chosen)
            )
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


def _elements_of(table: str, name: str) -> tuple[bytes, bytes]:
    return text(NFTA_SET_ELEM_LIST_TABLE, table), text(NFTA_SET_ELEM_LIST_SET, name)
