"""The two address families, in nftables' words, and spans of addresses as its text. Pure."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from zones.net import ICMP, ICMP6, V4_LAST, V6_LAST, AddressSet, IPAddress, Ranges


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
    bits = family.value.bits
    kind = IPv4Address if family is Family.V4 else IPv6Address
    for first, last in ranges.spans:
        start, size = address_text(kind(first)), last - first + 1
        if size == 1:
            yield start
        elif size & (size - 1) == 0 and first % size == 0:
            yield f"{start}/{bits - size.bit_length() + 1}"
        else:
            yield f"{start}-{address_text(kind(last))}"
