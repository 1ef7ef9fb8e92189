"""The rules that find a packet's pair of zones, as raw nftables expressions: address to zone twice, then the pair.

nft's language can't look up a pair of looked-up values, and the packet mark belongs to others. Pure and static: they
name maps, and never hold content.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from enforcer.family import Family
from enforcer.messages import RawRule, attribute, expression, number, text

# Words of register memory. A map's value is an idle word and four words of zone name. The client's value is written
# after the server's and over its idle word, so that the names lie side by side: words 1-4 and 5-8 are the pair's key.
_CLIENT_VALUE, _SERVER_VALUE, _ADDRESS = 0, 4, 12
_CLIENT_ZONE, _SERVER_ZONE = 1, 5
_FIRST_WORD, _VERDICT = 8, 0
_META_IIFNAME, _META_OIFNAME = 6, 7


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a family has its addresses: the connection tracker's key, and the header's offsets."""

    ct_key: int
    source: int
    destination: int
    length: int


_LAYOUTS = {Family.V4: _Layout(19, 12, 16, 4), Family.V6: _Layout(21, 8, 24, 16)}


def by_connection(family: Family) -> tuple[RawRule, ...]:
    """Client zone and server zone, after Service translation, of the connection that the packet belongs to."""
    key = _LAYOUTS[family].ct_key
    return tuple(_dispatch(family, _ct(key, reply=False), _ct(key, reply=True), family.named("pairs")))


def by_packet(family: Family) -> tuple[RawRule, ...]:
    """The same on the packet's own addresses, for packets without a connection: only what concerns no pod passes."""
    layout = _LAYOUTS[family]
    source, destination = _payload(layout.source, layout.length), _payload(layout.destination, layout.length)
    return tuple(_dispatch(family, source, destination, "bystanders"))


def _dispatch(family: Family, client: bytes, server: bytes, pairs: str) -> Iterator[RawRule]:
    """An address that no pod and no node has is looked up among the networks, so there are four ways to a pair.

    nft lists what last began at a register, and stops dead at a looked-up value there. The two interface names are
    only for its eyes: the zones are written over them.
    """
    for clients in ("addresses", "networks"):
        for servers in ("addresses", "networks"):
            yield RawRule(
                (
                    _meta(_META_IIFNAME, _CLIENT_ZONE),
                    _meta(_META_OIFNAME, _SERVER_ZONE),
                    server,
                    _lookup(family.named(servers), _ADDRESS, _FIRST_WORD + _SERVER_VALUE),
                    client,
                    _lookup(family.named(clients), _ADDRESS, _FIRST_WORD + _CLIENT_VALUE),
                    _lookup(pairs, _CLIENT_ZONE, _VERDICT),
                ),
                f"really: zone of client in {clients} . zone of server in {servers}",
            )


def _meta(key: int, word: int) -> bytes:
    return expression("meta", number(1, _FIRST_WORD + word), number(2, key))


def _ct(key: int, *, reply: bool) -> bytes:
    return expression("ct", number(1, _FIRST_WORD + _ADDRESS), number(2, key), attribute(3, bytes([reply])))


def _payload(offset: int, length: int) -> bytes:
    network_header = 1
    return expression(
        "payload", number(1, _FIRST_WORD + _ADDRESS), number(2, network_header), number(3, offset), number(4, length)
    )


def _lookup(name: str, word: int, into: int) -> bytes:
    return expression("lookup", text(1, name), number(2, _FIRST_WORD + word), number(3, into))
