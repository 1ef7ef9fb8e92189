"""Netlink messages and attributes as bytes, both ways, and the nftables messages we need. Pure.

Never trusts a length it reads. `enforcer.netlink` sends and receives them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")
_GENERIC = struct.Struct(">BBH")  # family, version, resource
_NESTED = 0x8000
_TYPE_BITS = 0x3FFF

REQUEST, ACK, DUMP, CREATE, APPEND = 0x1, 0x4, 0x300, 0x400, 0x800
ERROR, DONE = 2, 3
INET = 1
NFTABLES, NFLOG = 10, 4
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEW_RULE, _DELETE_RULE = NFTABLES << 8 | 6, NFTABLES << 8 | 8
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS, _RULE_USERDATA = 1, 2, 4, 7
_LIST_ELEMENT, _EXPRESSION_NAME, _EXPRESSION_DATA = 1, 1, 2


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message as received; `body` is what follows the header."""

    kind: int
    flags: int
    sequence: int
    body: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, attributes: Iterable[bytes]) -> bytes:
    return attribute(kind | _NESTED, b"".join(attributes))


def number(kind: int, value: int) -> bytes:
    """A 32-bit attribute in network order."""
    return attribute(kind, value.to_bytes(4, "big"))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def netfilter(kind: int, flags: int, sequence: int, family: int, resource: int, *attributes: bytes) -> bytes:
    """A message to nfnetlink: the family header, then attributes."""
    return message(kind, flags, sequence, _GENERIC.pack(family, 0, resource) + b"".join(attributes))


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
    found: dict[int, bytes] = {}
    at, end = start, len(data)
    while at + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not 4 <= length <= end - at:  # noqa: PLR2004 - the attribute's own header
            break
        found[kind & _TYPE_BITS] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def expression(name: str, *data: bytes) -> bytes:
    """One expression of an nftables rule."""
    return nested(_LIST_ELEMENT, [text(_EXPRESSION_NAME, name), nested(_EXPRESSION_DATA, data)])


@dataclass(frozen=True, slots=True)
class RawRule:
    """A rule that nft's own language can't say: its expressions, and the comment that lists show."""

    expressions: tuple[bytes, ...]
    comment: str

    def attributes(self, table: str, chain: str) -> tuple[bytes, ...]:
        comment = self.comment.encode()[:127] + b"\0"
        return (
            text(_RULE_TABLE, table),
            text(_RULE_CHAIN, chain),
            nested(_RULE_EXPRESSIONS, self.expressions),
            attribute(_RULE_USERDATA, bytes([0, len(comment)]) + comment),
        )


def replace_rules(table: str, chains: Iterable[tuple[str, Iterable[RawRule]]]) -> tuple[bytes, int]:
    """One transaction that empties chains of an inet table and fills them; and the number of answers to expect."""
    wanted: list[tuple[int, int, tuple[bytes, ...]]] = []
    for chain, rules in chains:
        wanted.append((_DELETE_RULE, REQUEST | ACK, (text(_RULE_TABLE, table), text(_RULE_CHAIN, chain))))
        wanted.extend((_NEW_RULE, REQUEST | ACK | CREATE | APPEND, rule.attributes(table, chain)) for rule in rules)
    parts = [netfilter(_BATCH_BEGIN, REQUEST, 0, 0, NFTABLES)]
    parts += [netfilter(kind, flags, at, INET, 0, *held) for at, (kind, flags, held) in enumerate(wanted, 1)]
    parts.append(netfilter(_BATCH_END, REQUEST, len(wanted) + 1, 0, NFTABLES))
    return b"".join(parts), len(wanted)
