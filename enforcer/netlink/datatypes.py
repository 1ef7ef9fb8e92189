"""nftables' types: their numbers and sizes, and a value's text as bytes. Pure.

Fields of a concatenation stand side by side, each padded to whole words.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from sys import byteorder
from types import MappingProxyType

_FIELDS = re.compile(r' \. (?=(?:[^"]*"[^"]*")*[^"]*$)')
_CONCATENATED_BITS = 6  # of each field's number in the number of a concatenation
_IFNAME = 16
_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}
VERDICT = "verdict"

Bytes = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Datatype:
    """`encode` takes one value; `prefix_bits` are there where a value may be a prefix."""

    number: int
    length: int
    encode: Bytes
    host_order: bool = False
    prefix_bits: int = 0


def _number(length: int, order: str) -> Bytes:
    return lambda text: int(text, 0).to_bytes(length, "little" if order == "little" else "big")


def _address(kind: int) -> Bytes:
    return lambda text: socket.inet_pton(kind, text)


def _name(text: str) -> bytes:
    return text.strip('"').encode().ljust(_IFNAME, b"\0")


def _words(words: Mapping[str, int], length: int, order: str = "big") -> Bytes:
    plain = _number(length, order)
    return lambda text: plain(str(words.get(text, text)))


TYPES: Mapping[str, Datatype] = MappingProxyType(
    {
        "nf_proto": Datatype(2, 1, _words({"ipv4": 2, "ipv6": 10}, 1)),
        "ipv4_addr": Datatype(7, 4, _address(socket.AF_INET), prefix_bits=32),
        "ipv6_addr": Datatype(8, 16, _address(socket.AF_INET6), prefix_bits=128),
        "ether_addr": Datatype(9, 6, lambda text: bytes.fromhex(text.replace(":", ""))),
        "ether_type": Datatype(10, 2, _words({"ip": 0x0800, "arp": 0x0806, "ip6": 0x86DD}, 2)),
        # Of an ARP message: the kinds of addresses and how long they are. Nothing that a set could hold.
        "arp_head": Datatype(0, 6, _words({"ethernet-to-ip": 0x0001_0800_0604}, 6)),
        "inet_proto": Datatype(12, 1, _words(_PROTOCOLS, 1)),
        "inet_service": Datatype(13, 2, _number(2, "big")),
        "icmp_type": Datatype(14, 1, _words({"destination-unreachable": 3, "redirect": 5}, 1)),
        "icmpv6_type": Datatype(29, 1, _words({"destination-unreachable": 1}, 1)),
        "tcp_flag": Datatype(15, 1, _words({"fin": 1, "syn": 2, "rst": 4, "ack": 16}, 1)),
        "mark": Datatype(19, 4, _number(4, byteorder), host_order=True),
        "ct_state": Datatype(
            26,
            4,
            _words({"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}, 4, byteorder),
            host_order=True,
        ),
        "ct_dir": Datatype(27, 1, _words({"original": 0, "reply": 1}, 1)),
        "ct_status": Datatype(28, 4, _words({"expected": 1, "confirmed": 8}, 4, byteorder), host_order=True),
        "iface_index": Datatype(20, 4, _words({'"lo"': 1}, 4, byteorder), host_order=True),
        "ifname": Datatype(41, _IFNAME, _name, host_order=True),
        "integer8": Datatype(4, 1, _number(1, "big")),
        "integer64": Datatype(4, 8, _number(8, byteorder), host_order=True),
    }
)


def padded(value: bytes) -> bytes:
    """To whole words."""
    return value + bytes(-len(value) % 4)


def split_fields(text: str) -> list[str]:
    """The fields of a concatenation; what stands between quotes is never divided."""
    return _FIELDS.split(text) if " . " in text else [text]


@dataclass(frozen=True, slots=True)
class Layout:
    """A type of one field or several."""

    fields: tuple[Datatype, ...]

    @property
    def number(self) -> int:
        number = 0
        for field in self.fields:
            number = number << _CONCATENATED_BITS | field.number
        return number

    @property
    def length(self) -> int:
        if len(self.fields) == 1:
            return self.fields[0].length
        return sum(len(padded(bytes(field.length))) for field in self.fields)

    @property
    def host_order(self) -> bool:
        return len(self.fields) == 1 and self.fields[0].host_order

    def encode(self, text: str) -> bytes:
        if len(self.fields) == 1:
            return self.fields[0].encode(text)
        parts = zip(self.fields, split_fields(text), strict=True)
        return b"".join(padded(field.encode(part)) for field, part in parts)

    def span(self, text: str) -> tuple[bytes, bytes]:
        """The first and the last value of what may be a prefix or a range in any field."""
        ends = [_ends(field, part) for field, part in zip(self.fields, split_fields(text), strict=True)]
        if len(ends) == 1:
            return ends[0]
        return b"".join(padded(first) for first, _ in ends), b"".join(padded(last) for _, last in ends)


def _ends(kind: Datatype, text: str) -> tuple[bytes, bytes]:
    if kind.prefix_bits and "/" in text:
        start, _, length = text.partition("/")
        first = kind.encode(start)
        hosts = (1 << kind.prefix_bits - int(length)) - 1
        return first, (int.from_bytes(first, "big") | hosts).to_bytes(len(first), "big")
    start, _, end = text.partition("-")
    return kind.encode(start), kind.encode(end or start)


@cache
def layout(names: str) -> Layout:
    """Of `ipv4_addr`, or of `mark . ifname`."""
    return Layout(tuple(TYPES[name] for name in names.split(" . ")))
