"""The two address families, in nftables' words, and spans of addresses as its text. Pure."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address
from itertools import filterfalse

from zones.net import ICMP, ICMP6, V4_LAST, V6_LAST, AddressSet, IPAddress, Ranges, Span

_KEPT = 1_000  # spans of a list whose texts are kept
_MOST_KEPT = 4  # so many times those of the last one


@dataclass(frozen=True, slots=True)
class Words:
    """What nftables calls a family in different places."""

    number: int
    header: str
    protocol: str
    address_type: str
    bits: int
    icmp: int

    @property
    def bytes(self) -> int:
        return self.bits // 8


class Family(Enum):
    """An address family."""

    __hash__ = object.__hash__  # an enumeration's own is slow

    V4 = Words(4, "ip", "ipv4", "ipv4_addr", 32, ICMP)
    V6 = Words(6, "ip6", "ipv6", "ipv6_addr", 128, ICMP6)

    @property
    def everything(self) -> Ranges:
        return Ranges(((0, V4_LAST if self is Family.V4 else V6_LAST),))

    def spans(self, space: AddressSet) -> Ranges:
        """The part of an address set that is of this family."""
        return space.v4 if self is Family.V4 else space.v6

    def named(self, name: str) -> str:
        """The name of this family's own chain or set: `pairs4`."""
        return f"{name}{self.value.number}"


def family_of(address: IPAddress) -> Family:
    return Family.V4 if isinstance(address, IPv4Address) else Family.V6


def address_text(address: IPAddress) -> str:
    """As nft lists it, which is not always as Python does: `::ffff:192.0.2.1`."""
    kind = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    return socket.inet_ntop(kind, address.packed)


def span_texts(family: Family, ranges: Ranges) -> Iterator[str]:
    """Each span as nft lists it: an address, a prefix where it is one, else first-last."""
    bits, length = family.value.bits, family.value.bytes
    kind = socket.AF_INET if family is Family.V4 else socket.AF_INET6
    for first, last in ranges.spans:
        start, size = socket.inet_ntop(kind, first.to_bytes(length, "big")), last - first + 1
        if size == 1:
            yield start
        elif size & (size - 1) == 0 and first % size == 0:
            yield f"{start}/{bits - size.bit_length() + 1}"
        else:
            yield f"{start}-{socket.inet_ntop(kind, last.to_bytes(length, 'big'))}"


class SpanTexts:
    """The texts of long lists, which are kept: of such a list hardly anything changes at once."""

    def __init__(self) -> None:
        self._texts: dict[Family, dict[Span, str]] = {family: {} for family in Family}

    def elements(self, family: Family, ranges: Ranges) -> dict[str, str]:
        """As the elements of a set."""
        if len(ranges.spans) < _KEPT:
            return dict.fromkeys(span_texts(family, ranges), "")
        texts = self._texts[family]
        fresh = Ranges(tuple(filterfalse(texts.__contains__, ranges.spans)))
        texts.update(zip(fresh.spans, span_texts(family, fresh), strict=True))
        spans = dict.fromkeys(map(texts.__getitem__, ranges.spans), "")
        if len(texts) > _MOST_KEPT * len(spans):
            self._texts[family] = dict(zip(ranges.spans, spans, strict=True))
        return spans
