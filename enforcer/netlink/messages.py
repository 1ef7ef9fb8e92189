"""Netlink messages and attributes as bytes, both ways, and the nftables messages we need. Pure.

Never trusts a length it reads. `enforcer.netlink.sockets` sends and receives them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from enforcer.netlink.constants import (
    NFTA_EXPR_DATA,
    NFTA_EXPR_NAME,
    NFTA_LIST_ELEM,
    NFTA_RULE_EXPRESSIONS,
    NFTA_RULE_USERDATA,
)

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # length, type
_GENERIC = struct.Struct(">BBH")  # family, version, resource
_HEADERS = struct.Struct("=IHHIIBBH")  # both, where there is no resource
_NESTED = 0x8000
_TYPE_BITS = 0x3FFF
_PADDING = b"", bytes(3), bytes(2), bytes(1)

REQUEST, ACK, REPLACE, DUMP, CREATE, APPEND = 0x1, 0x4, 0x100, 0x300, 0x400, 0x800
ERROR, DONE = 2, 3
INET, BRIDGE = 1, 7
NFTABLES, NFLOG = 10, 4


class Message(NamedTuple):
    """One netlink message as received; `body` is what follows the header."""

    kind: int
    flags: int
    sequence: int
    body: bytes

    @property
    def done(self) -> bool:
        """The end of a dump."""
        return self.kind == DONE


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return ATTRIBUTE.pack(4 + len(value), kind) + value + _PADDING[len(value) & 3]


def nested(kind: int, attributes: Iterable[bytes]) -> bytes:
    return attribute(kind | _NESTED, b"".join(attributes))


def number(kind: int, value: int) -> bytes:
    """A 32-bit attribute in network order."""
    return ATTRIBUTE.pack(8, kind) + value.to_bytes(4, "big")


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def netfilter(kind: int, flags: int, sequence: int, family: int, resource: int, *attributes: bytes) -> bytes:
    """A message to nfnetlink: the family header, then attributes."""
    return message(kind, flags, sequence, _GENERIC.pack(family, 0, resource) + b"".join(attributes))


def header(kind: int, flags: int, sequence: int, family: int, length: int) -> bytes:
    """What stands before `length` bytes of attributes in a message to nfnetlink."""
    return _HEADERS.pack(_HEADERS.size + length, kind, flags, sequence, 0, family, 0, 0)


def messages(data: bytes) -> Iterator[Message]:
    """The messages of a datagram; a damaged rest ends it."""
    at, end = 0, len(data)
    while at + _HEADER.size <= end:
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= length <= end - at:
            return
        yield Message(kind, flags, sequence, data[at + _HEADER.size : at + length])
        at += (length + 3) & ~3


def attributes(data: bytes, start: int = 4) -> dict[int, bytes]:
    """The attributes from `start` on, by kind, the last of a kind winning; a damaged rest ends it."""
    values: dict[int, bytes] = {}
    at, end = start, len(data)
    while at + 4 <= end:
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if not 4 <= length <= end - at:  # noqa: PLR2004 - the attribute's own header
            break
        values[kind & _TYPE_BITS] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return values


def expression(name: str, *data: bytes) -> bytes:
    """One expression of an nftables rule."""
    return nested(NFTA_LIST_ELEM, [text(NFTA_EXPR_NAME, name), nested(NFTA_EXPR_DATA, data)])


@dataclass(frozen=True, slots=True)
class RawRule:
    """A rule that nft's own language can't say: its expressions, and the comment that lists show."""

    expressions: tuple[bytes, ...]
    comment: str

    def content(self) -> tuple[bytes, ...]:
        """What follows the table's and the chain's name."""
        expressions = nested(NFTA_RULE_EXPRESSIONS, self.expressions)
        if not self.comment:
            return (expressions,)
        comment = self.comment.encode()[:127] + b"\0"
        return expressions, attribute(NFTA_RULE_USERDATA, bytes([0, len(comment)]) + comment)
