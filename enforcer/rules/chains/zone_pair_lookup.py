"""The rules that find a packet's pair of zones, as raw nftables expressions: address to zone twice, then the pair.

nft's language can't look up a pair of looked-up values, and the packet mark belongs to others. Pure and static: they
name maps, and never hold content.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from enforcer.netlink import expressions
from enforcer.netlink.constants import (
    NFTA_CMP_DATA,
    NFTA_CMP_OP,
    NFTA_CMP_SREG,
    NFTA_CT_DIRECTION,
    NFTA_CT_DREG,
    NFTA_CT_KEY,
    NFTA_DATA_VALUE,
    NFTA_IMMEDIATE_DATA,
    NFTA_IMMEDIATE_DREG,
    NFTA_LOOKUP_DREG,
    NFTA_LOOKUP_SET,
    NFTA_LOOKUP_SREG,
    NFTA_PAYLOAD_BASE,
    NFTA_PAYLOAD_DREG,
    NFTA_PAYLOAD_LEN,
    NFTA_PAYLOAD_OFFSET,
)
from enforcer.netlink.messages import RawRule, attribute, expression, nested, number, text
from enforcer.rules.family import Family
from enforcer.rules.members.set_membership import ADDRESSES, NETWORKS

# Words of register memory. A map's value is a word that tells special addresses, and four words of zone name. The
# client's value is written after the server's and over its first word, so that the names lie side by side: words 1-4
# and 5-8 are the pair's key.
_CLIENT_VALUE, _SERVER_VALUE, _ADDRESS = 0, 4, 12
_CLIENT_ZONE, _SERVER_ZONE = 1, 5
_FIRST_WORD, _VERDICT = 8, 0
_ORDINARY, _NAMELESS = bytes(4), bytes(16)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a family has its addresses: the connection tracker's key, and the header's offsets."""

    ct_key: int
    source: int
    destination: int
    length: int


_LAYOUTS = {Family.V4: _Layout(19, 12, 16, 4), Family.V6: _Layout(21, 8, 24, 16)}


def between_pods(family: Family) -> RawRule:
    """The pair of two addresses of which nothing special is known; whatever else there is goes on."""
    key, addresses = _LAYOUTS[family].ct_key, family.named(ADDRESSES)
    server = *_zone(_ct(key, reply=True), addresses, _SERVER_VALUE), _equal(_SERVER_VALUE, _ORDINARY)
    client = *_zone(_ct(key, reply=False), addresses, _CLIENT_VALUE), _equal(_CLIENT_VALUE, _ORDINARY)
    meaning = f"zone of client . zone of server in {addresses}, where neither is special"
    return _of_pair(server, client, family.named("pairs"), meaning)


def by_connection(family: Family) -> tuple[RawRule, ...]:
    """Client zone and server zone, after Service translation, of the connection that the packet belongs to."""
    key = _LAYOUTS[family].ct_key
    return tuple(_dispatch(family, _ct(key, reply=False), _ct(key, reply=True), family.named("pairs")))


def by_packet(family: Family) -> tuple[RawRule, ...]:
    """The same on the packet's own addresses, for packets without a connection: only what concerns no pod passes."""
    layout = _LAYOUTS[family]
    source, destination = _payload(layout.source, layout.length), _payload(layout.destination, layout.length)
    return tuple(_dispatch(family, source, destination, "bystanders"))


def to_zone(family: Family, server: str) -> tuple[RawRule, ...]:
    """The pair of the client's zone and one that is known by its id, wherever the connection leads."""
    client, named = _ct(_LAYOUTS[family].ct_key, reply=False), _constant(_SERVER_ZONE, server.encode().ljust(16, b"\0"))
    return tuple(
        RawRule(
            (
                _constant(_CLIENT_ZONE, _NAMELESS),
                *_zone(client, family.named(clients), _CLIENT_VALUE),
                named,
                _lookup(family.named("pairs"), _CLIENT_ZONE, _VERDICT),
            ),
            f"really: zone of client in {clients} . {server}",
        )
        for clients in (ADDRESSES, NETWORKS)
    )


def _dispatch(family: Family, client: bytes, server: bytes, pairs: str) -> Iterator[RawRule]:
    """An address that no pod and no node has is looked up among the networks, so there are four ways to a pair."""
    for clients in (ADDRESSES, NETWORKS):
        for servers in (ADDRESSES, NETWORKS):
            yield _of_pair(
                _zone(server, family.named(servers), _SERVER_VALUE),
                _zone(client, family.named(clients), _CLIENT_VALUE),
                pairs,
                f"zone of client in {clients} . zone of server in {servers}",
            )


def _of_pair(server: tuple[bytes, ...], client: tuple[bytes, ...], pairs: str, meaning: str) -> RawRule:
    """In lists, nft tells what last began at a register, and stops dead at a looked-up value there.

    The two constants are only for its eyes: the zones are written over them.
    """
    for_lists = _constant(_CLIENT_ZONE, _NAMELESS), _constant(_SERVER_ZONE, _NAMELESS)
    return RawRule((*for_lists, *server, *client, _lookup(pairs, _CLIENT_ZONE, _VERDICT)), f"really: {meaning}")


def _zone(address: bytes, zones: str, into: int) -> tuple[bytes, ...]:
    return address, _lookup(zones, _ADDRESS, _FIRST_WORD + into)


def _constant(word: int, value: bytes) -> bytes:
    return expression(
        "immediate",
        number(NFTA_IMMEDIATE_DREG, _FIRST_WORD + word),
        nested(NFTA_IMMEDIATE_DATA, [attribute(NFTA_DATA_VALUE, value)]),
    )


def _equal(word: int, value: bytes) -> bytes:
    return expression(
        "cmp",
        number(NFTA_CMP_SREG, _FIRST_WORD + word),
        number(NFTA_CMP_OP, expressions.EQUAL),
        nested(NFTA_CMP_DATA, [attribute(NFTA_DATA_VALUE, value)]),
    )


def _ct(key: int, *, reply: bool) -> bytes:
    return expression(
        "ct",
        number(NFTA_CT_DREG, _FIRST_WORD + _ADDRESS),
        number(NFTA_CT_KEY, key),
        attribute(NFTA_CT_DIRECTION, bytes([reply])),
    )


def _payload(offset: int, length: int) -> bytes:
    network_header = 1
    return expression(
        "payload",
        number(NFTA_PAYLOAD_DREG, _FIRST_WORD + _ADDRESS),
        number(NFTA_PAYLOAD_BASE, network_header),
        number(NFTA_PAYLOAD_OFFSET, offset),
        number(NFTA_PAYLOAD_LEN, length),
    )


def _lookup(name: str, word: int, into: int) -> bytes:
    return expression(
        "lookup",
        text(NFTA_LOOKUP_SET, name),
        number(NFTA_LOOKUP_SREG, _FIRST_WORD + word),
        number(NFTA_LOOKUP_DREG, into),
    )
