"""Sets of numbers, and what is built on them: port sets, IPv4 and IPv6 address sets, protocol names.

All values are immutable and canonical: two equal sets are equal objects, whatever they were made from.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import islice, repeat
from operator import add, itemgetter, le, lt

Span = tuple[int, int]
IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

V4_LAST = 2**32 - 1
V6_LAST = 2**128 - 1
PORT_LAST = 2**16 - 1
_LONG = 1_000  # spans that are looked at together first

TCP, UDP, ICMP, ICMP6, SCTP = 6, 17, 1, 58, 132
PROTOCOL_NUMBERS = {"tcp": TCP, "udp": UDP, "icmp": ICMP, "icmp6": ICMP6, "sctp": SCTP}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOL_NUMBERS.items()}
PROTOCOLS_WITH_PORTS = frozenset({TCP, UDP, SCTP})


ETHERTYPES = 1 << 16
"""Added to the ethertype of a frame that is no IP, it is the frame's protocol: no IP protocol has such a number."""
ARP = ETHERTYPES + 0x0806


def protocol_name(number: int) -> str:
    """The protocol's usual name, or its IANA number as text; of a frame that is no IP its ethertype, as `0x88b5`."""
    if number >= ETHERTYPES:
        return "arp" if number == ARP else f"{number - ETHERTYPES:#06x}"
    return PROTOCOL_NAMES.get(number, str(number))


def protocol_number(name: str) -> int:
    """The IANA number of a protocol given by name or number. Raises ValueError."""
    return PROTOCOL_NUMBERS[name] if name in PROTOCOL_NUMBERS else int(name)


@dataclass(frozen=True, slots=True)
class Ranges:
    """A set of integers as sorted, disjoint, non-adjacent spans, both ends included."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Ranges:
        """The union of any spans, in any order. Raises ValueError where a span ends before it starts."""
        ordered = sorted(spans)
        if len(ordered) >= _LONG and _is_normal(ordered):
            return cls(tuple(ordered))
        merged: list[Span] = []
        for first, last in ordered:
            if last < first:
                raise ValueError(f"range {first}-{last} ends before it starts")
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return cls(tuple(merged))

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self.spans, number, key=itemgetter(0))
        return at > 0 and number <= self.spans[at - 1][1]

    def __or__(self, other: Ranges) -> Ranges:
        return Ranges.of(self.spans + other.spans)

    def __and__(self, other: Ranges) -> Ranges:
        return Ranges(tuple(_common(self.spans, other.spans)))

    def __sub__(self, other: Ranges) -> Ranges:
        if not self.spans:
            return self
        return self & other.complement(max(self.spans[-1][1], 0))

    def overlaps(self, other: Ranges) -> bool:
        """Whether both have a number in common, without making the set of those."""
        few, many = self.spans, other.spans
        if len(few) > len(many):
            few, many = many, few
        if len(many) == 1 == len(few):
            return few[0][0] <= many[0][1] and many[0][0] <= few[0][1]
        for first, last in few:
            at = bisect_right(many, last, key=itemgetter(0))
            if at > 0 and many[at - 1][1] >= first:
                return True
        return False

    def within(self, other: Ranges) -> bool:
        """Whether another set has all of these numbers."""
        for first, last in self.spans:
            at = bisect_right(other.spans, first, key=itemgetter(0))
            if at == 0 or other.spans[at - 1][1] < last:
                return False
        return True

    def complement(self, universe_last: int) -> Ranges:
        """All numbers of 0..universe_last that are not in this set."""
        return Ranges(tuple(_gaps(self.spans, universe_last)))

    def __str__(self) -> str:
        return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in self.spans)


def _is_normal(ordered: Sequence[Span]) -> bool:
    """Whether they are disjoint and not adjacent as they are; without a step of the interpreter for each."""
    firsts, lasts = list(map(itemgetter(0), ordered)), list(map(itemgetter(1), ordered))
    return all(map(le, firsts, lasts)) and all(map(lt, map(add, lasts, repeat(1)), islice(firsts, 1, None)))


def _common(left: tuple[Span, ...], right: tuple[Span, ...]) -> Iterator[Span]:
    i = j = 0
    while i < len(left) and j < len(right):
        first, last = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if first <= last:
            yield first, last
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1


def _gaps(spans: tuple[Span, ...], universe_last: int) -> Iterator[Span]:
    start = 0
    for first, last in spans:
        if start < first:
            yield start, min(first - 1, universe_last)
        start = last + 1
        if start > universe_last:
            return
    yield start, universe_last


ALL_PORTS = Ranges(((0, PORT_LAST),))


_PORT = re.compile(r"[0-9]{1,5}")


def parse_ports(text: str) -> Ranges:
    """`80,443,8000-8999` as a set of ports. Raises ValueError that names the part that is wrong."""
    return Ranges.of(_port_span(part.strip()) for part in text.split(","))


def _port_span(text: str) -> Span:
    first, dash, last = text.partition("-")
    if not (_PORT.fullmatch(first) and _PORT.fullmatch(last if dash else first)):
        raise ValueError(f"'{text}' is no port or port range")
    span = int(first), int(last if dash else first)
    if not 0 <= span[0] <= span[1] <= PORT_LAST:
        raise ValueError(f"port range '{text}' is not within 0-{PORT_LAST}")
    return span


@dataclass(frozen=True)
class AddressSet:
    """A set of IPv4 and IPv6 addresses."""

    v4: Ranges = Ranges()
    v6: Ranges = Ranges()

    @classmethod
    def of(cls, networks: Iterable[IPNetwork]) -> AddressSet:
        v4: list[Span] = []
        v6: list[Span] = []
        for network in networks:
            span = int(network.network_address), int(network.broadcast_address)
            (v4 if network.version == 4 else v6).append(span)  # noqa: PLR2004
        return cls(Ranges.of(v4), Ranges.of(v6))

    @classmethod
    def parse(cls, prefixes: Iterable[str]) -> AddressSet:
        """From prefixes or addresses as text; set host bits are masked off. Raises ValueError."""
        v4: list[Span] = []
        others: list[IPNetwork] = []
        for prefix in prefixes:
            span = _v4_span(prefix)
            if span is None:
                others.append(ip_network(prefix, strict=False))
            else:
                v4.append(span)
        rest = cls.of(others) if others else NO_ADDRESS
        return cls(Ranges.of([*v4, *rest.v4.spans]), rest.v6)

    @classmethod
    def of_prefix(cls, prefix: str) -> AddressSet:
        """From one prefix or address as text; set host bits are masked off. Raises ValueError."""
        span = _v4_span(prefix)
        return cls.of([ip_network(prefix, strict=False)]) if span is None else cls(Ranges((span,)))

    @classmethod
    def between(cls, first: IPAddress, last: IPAddress) -> AddressSet:
        """All addresses from first to last. Raises ValueError on mixed families or a reversed range."""
        if first.version != last.version:
            raise ValueError(f"range {first}-{last} mixes IPv4 and IPv6")
        spans = Ranges.of([(int(first), int(last))])
        return cls(v4=spans) if first.version == 4 else cls(v6=spans)  # noqa: PLR2004

    def __bool__(self) -> bool:
        return bool(self.v4 or self.v6)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.v4, self.v6))

    def __contains__(self, address: IPAddress) -> bool:
        return int(address) in (self.v4 if address.version == 4 else self.v6)  # noqa: PLR2004

    def __or__(self, other: AddressSet) -> AddressSet:
        return AddressSet(self.v4 | other.v4, self.v6 | other.v6)

    def __and__(self, other: AddressSet) -> AddressSet:
        return AddressSet(self.v4 & other.v4, self.v6 & other.v6)

    def __sub__(self, other: AddressSet) -> AddressSet:
        return AddressSet(self.v4 - other.v4, self.v6 - other.v6)

    def overlaps(self, other: AddressSet) -> bool:
        """Whether both have an address in common."""
        return self.v4.overlaps(other.v4) or self.v6.overlaps(other.v6)

    def within(self, other: AddressSet) -> bool:
        """Whether another set has all of these addresses."""
        return self.v4.within(other.v4) and self.v6.within(other.v6)

    def complement(self) -> AddressSet:
        """Every address of both families that is not in this set."""
        return AddressSet(self.v4.complement(V4_LAST), self.v6.complement(V6_LAST))

    def with_embedded_ipv4(self) -> AddressSet:
        """With every IPv4 address whose number is in the IPv6 set, as PAN-OS matches them.

        ::/0 holds all of IPv4, ::a01:0/112 holds 10.1.0.0/16.
        """
        if not self.v6:
            return self
        embedded = self.v6 & Ranges(((0, V4_LAST),))
        return AddressSet(self.v4 | embedded, self.v6) if embedded else self

    @cached_property
    def prefixes(self) -> tuple[str, ...]:
        """The fewest prefixes that cover exactly this set, IPv4 first, each family in ascending order."""
        v4 = [_v4_text(base, length) for base, length in _cover(self.v4, 32)]
        v6 = [f"{IPv6Address(base)}/{length}" for base, length in _cover(self.v6, 128)]
        return (*v4, *v6)

    def __str__(self) -> str:
        return "any" if self == ANY_ADDRESS else ",".join(self.prefixes) or "nothing"


ANY_ADDRESS = AddressSet(Ranges(((0, V4_LAST),)), Ranges(((0, V6_LAST),)))
NO_ADDRESS = AddressSet()


def union(sets: Iterable[AddressSet]) -> AddressSet:
    """The union of many address sets, in one pass."""
    some = [space for space in sets if space]
    if len(some) == 1:
        return some[0]
    v4: list[Span] = []
    v6: list[Span] = []
    for space in some:
        v4.extend(space.v4.spans)
        v6.extend(space.v6.spans)
    return AddressSet(Ranges.of(v4), Ranges.of(v6))


def _cover(ranges: Ranges, bits: int) -> Iterator[tuple[int, int]]:
    """(first address, prefix length) of the fewest prefixes that cover the ranges."""
    for first, last in ranges.spans:
        count = last - first + 1
        if not count & (count - 1) and not first & (count - 1):
            yield first, bits - count.bit_length() + 1
            continue
        base = first
        while base <= last:
            aligned = (base & -base).bit_length() - 1 if base else bits
            size = min(aligned, (last - base + 1).bit_length() - 1)
            yield base, bits - size
            base += 1 << size


def _v4_text(number: int, length: int) -> str:
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}/{length}"


# Numbers as canonical text has them: whatever is written otherwise is left to `ipaddress`.
_OCTETS = {str(number): number for number in range(256)}
_V4_HOSTS = {str(length): (1 << 32 - length) - 1 for length in range(33)} | {"": 0}


def _v4_span(prefix: str) -> Span | None:
    """The addresses of an IPv4 prefix in its usual form; None for every other text."""
    address, slash, length = prefix.partition("/")
    try:
        a, b, c, d = address.split(".")
        hosts = _V4_HOSTS[length]
        first = (_OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d]) & ~hosts
    except (ValueError, KeyError):
        return None
    return None if slash and not length else (first, first | hosts)


WILDCARD_SPANS = 65_536


def wildcard(address: IPv4Address, mask: IPv4Address) -> AddressSet:
    """Addresses that equal `address` in every bit that is 0 in `mask` (PAN-OS ip-wildcard).

    Raises ValueError where the mask would make more than 65,536 separate ranges.
    """
    care = ~int(mask) & V4_LAST
    base = int(address) & care
    run = (~int(mask) & (int(mask) + 1)).bit_length() - 1  # trailing ones: one span, not many
    free = [bit for bit in range(run, 32) if int(mask) >> bit & 1]
    if 1 << len(free) > WILDCARD_SPANS:
        raise ValueError(f"wildcard {address}/{mask} makes {1 << len(free)} ranges; at most {WILDCARD_SPANS}")
    starts = reduce(lambda bases, bit: [b | choice for b in bases for choice in (0, 1 << bit)], free, [base])
    return AddressSet(v4=Ranges.of((start, start + (1 << run) - 1) for start in starts))


def parse_address(text: str) -> IPAddress:
    """An IPv4 or IPv6 address. Raises ValueError."""
    return ip_address(text)
