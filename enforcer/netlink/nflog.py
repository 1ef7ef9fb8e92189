"""One NFLOG message as a packet. Pure; anyone may send packets, so every length is checked and nothing raises.

`enforcer.netlink.sockets` reads the messages, `enforcer.flows.flows` makes records of the packets.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, TypedDict

from enforcer.netlink.constants import (
    NFULA_HWHEADER,
    NFULA_IFINDEX_INDEV,
    NFULA_IFINDEX_PHYSINDEV,
    NFULA_PACKET_HDR,
    NFULA_PAYLOAD,
    NFULA_PREFIX,
    NFULA_TIMESTAMP,
)
from enforcer.netlink.messages import BRIDGE, attributes
from zones.net import ETHERTYPES, ICMP, ICMP6, PROTOCOLS_WITH_PORTS, TCP, IPAddress

_BRIDGE = bytes([BRIDGE])
_ETH_IP, _ETH_IP6, _ETH_ARP = 0x0800, 0x86DD, 0x0806
_ARP_BYTES, _ARP_ENDS, _MACS = 28, ((14, 18), (24, 28)), 12
_NOBODY = IPv4Address(0)
_V4_HEADER, _V6_HEADER = 20, 40
_EXTENSIONS = frozenset({0, 43, 60})  # hop-by-hop, routing, destination options
_FRAGMENT, _AUTHENTICATION = 44, 51
_MOST_EXTENSIONS = 8
_ICMP_ERRORS = {ICMP: frozenset({3, 4, 5, 11, 12}), ICMP6: frozenset({1, 2, 3, 4})}
_FRAGMENT_OFFSET, _FRAGMENT_OFFSET_V6 = 0x1FFF, 0xFFF8
# What nearly every packet is: IPv4 without options, then ports. Version, length, fragment, protocol, ends, ports.
_USUAL = struct.Struct(">BxHxxHxBxx4s4sHH")
_TIME = struct.Struct(">QQ")
_NO_OPTIONS, _TCP_FLAGS = 0x45, _V4_HEADER + 13
_FEW = 1 << 14  # addresses in use at a time


class Packet(NamedTuple):
    """One logged packet. `prefix` is the log rule's (`zb:<id>:<o|r>`). What the packet doesn't have is None.

    `timestamp` (seconds since the epoch) is None on some hooks: stamp it yourself. `indev`: its index.
    `about`: what an ICMP error is about, that packet's header as far as it is quoted. A frame that is no IP has the
    protocol `zones.net.ETHERTYPES` and its ethertype; without addresses of its own it is from and to 0.0.0.0.
    """

    prefix: str
    source: IPAddress
    destination: IPAddress
    protocol: int
    source_port: int | None = None
    destination_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    tcp_flags: int | None = None
    length: int = 0
    timestamp: float | None = None
    indev: int | None = None
    about: Packet | None = None
    frame: Frame | None = None


class Frame(NamedTuple):
    """Of what came by a bridge's port: the port's index, and the hardware addresses to which and from which it came."""

    port: int | None
    to: bytes
    source: bytes


@dataclass(frozen=True, slots=True)
class _Header:
    """An IP header; `at` is where the transport's begins, None in a later fragment or where it isn't there."""

    source: IPAddress
    destination: IPAddress
    protocol: int
    length: int
    at: int | None


class _Transport(TypedDict, total=False):
    source_port: int
    destination_port: int
    tcp_flags: int
    icmp_type: int
    icmp_code: int


def parse(message: bytes) -> Packet | None:
    """One message's body, from the family header on. None for what is no IP packet, nor a frame; never raises."""
    fields = attributes(message)
    if message[:1] == _BRIDGE:
        return _framed(fields)
    return _of_ip(fields)


def _of_ip(fields: dict[int, bytes]) -> Packet | None:
    payload = fields.get(NFULA_PAYLOAD, b"")
    prefix = _text_of(fields.get(NFULA_PREFIX, b""))
    when, indev = _timestamp(fields.get(NFULA_TIMESTAMP, b"")), _number(fields.get(NFULA_IFINDEX_INDEV))
    return _usual(prefix, payload, when, indev) or any_packet(prefix, payload, when, indev)


def _framed(fields: dict[int, bytes]) -> Packet | None:
    """What a bridge's port brought. Whose a frame without addresses is, its port and hardware addresses tell."""
    macs = fields.get(NFULA_HWHEADER, b"")
    frame = Frame(_number(fields.get(NFULA_IFINDEX_PHYSINDEV)), macs[: _MACS // 2], macs[_MACS // 2 : _MACS])
    kind = int.from_bytes(fields.get(NFULA_PACKET_HDR, b"")[:2], "big")
    packet = _of_ip(fields) if kind in {_ETH_IP, _ETH_IP6} else None
    if packet is None:
        payload, prefix = fields.get(NFULA_PAYLOAD, b""), _text_of(fields.get(NFULA_PREFIX, b""))
        ends = _arp_ends(payload) if kind == _ETH_ARP else (_NOBODY, _NOBODY)
        when, indev = _timestamp(fields.get(NFULA_TIMESTAMP, b"")), _number(fields.get(NFULA_IFINDEX_INDEV))
        packet = Packet(prefix, *ends, ETHERTYPES + kind, length=len(payload), timestamp=when, indev=indev)
    return packet._replace(frame=frame)


def _arp_ends(payload: bytes) -> tuple[IPv4Address, IPv4Address]:
    if len(payload) < _ARP_BYTES:
        return _NOBODY, _NOBODY
    sender, target = (IPv4Address(payload[start:end]) for start, end in _ARP_ENDS)
    return sender, target


def _text_of(prefix: bytes) -> str:
    return prefix.split(b"\0", 1)[0].decode("ascii", "replace")


def _usual(prefix: str, payload: bytes, when: float | None, indev: int | None) -> Packet | None:
    """In a fifth of the time that `any_packet` takes, and equal to it; None for what is unusual."""
    if len(payload) < _USUAL.size:
        return None
    version, length, fragment, protocol, source, destination, port, to_port = _USUAL.unpack_from(payload)
    if version != _NO_OPTIONS or fragment & _FRAGMENT_OFFSET or protocol not in PROTOCOLS_WITH_PORTS:
        return None
    flags = payload[_TCP_FLAGS] if protocol == TCP and len(payload) > _TCP_FLAGS else None
    ends = _v4_address(source), _v4_address(destination)
    return Packet(prefix, *ends, protocol, port, to_port, None, None, flags, length, when, indev)


def any_packet(prefix: str, payload: bytes, when: float | None, indev: int | None) -> Packet | None:
    header = _header(payload)
    if header is None:
        return None
    transport = _transport(header, payload)
    packet = Packet(prefix, header.source, header.destination, header.protocol, **transport, length=header.length)
    return packet._replace(timestamp=when, indev=indev, about=_about(header, payload))


@lru_cache(_FEW)
def _v4_address(packed: bytes) -> IPv4Address:
    return IPv4Address(packed)


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value[:8], "big")


def _timestamp(value: bytes) -> float | None:
    if len(value) != _TIME.size:
        return None
    seconds, micros = _TIME.unpack(value)
    return seconds + micros / 1e6 if seconds < 1 << 40 else None


def _header(data: bytes) -> _Header | None:
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= _V4_HEADER:  # noqa: PLR2004 - the version
        return _v4(data)
    if version == 6 and len(data) >= _V6_HEADER:  # noqa: PLR2004 - the version
        return _v6(data)
    return None


def _v4(data: bytes) -> _Header | None:
    at = (data[0] & 0xF) * 4
    if at < _V4_HEADER:
        return None
    later_fragment = int.from_bytes(data[6:8], "big") & _FRAGMENT_OFFSET
    source, destination = _v4_address(data[12:16]), _v4_address(data[16:20])
    length = int.from_bytes(data[2:4], "big")
    return _Header(source, destination, data[9], length, None if later_fragment else at)


def _v6(data: bytes) -> _Header:
    source, destination = IPv6Address(data[8:24]), IPv6Address(data[24:40])
    length = int.from_bytes(data[4:6], "big") + _V6_HEADER
    protocol, at = _past_extensions(data, data[6])
    return _Header(source, destination, protocol, length, at)


def _past_extensions(data: bytes, protocol: int) -> tuple[int, int | None]:
    at = _V6_HEADER
    for _ in range(_MOST_EXTENSIONS):
        if at + 8 > len(data):
            break
        if protocol in _EXTENSIONS:
            protocol, at = data[at], at + (data[at + 1] + 1) * 8
        elif protocol == _AUTHENTICATION:
            protocol, at = data[at], at + (data[at + 1] + 2) * 4
        elif protocol == _FRAGMENT:
            if int.from_bytes(data[at + 2 : at + 4], "big") & _FRAGMENT_OFFSET_V6:
                return data[at], None
            protocol, at = data[at], at + 8
        else:
            break
    return protocol, at


def _transport(header: _Header, data: bytes) -> _Transport:
    if header.at is None:
        return {}
    head = data[header.at : header.at + 14]
    transport: _Transport = {}
    if header.protocol in PROTOCOLS_WITH_PORTS and len(head) >= 4:  # noqa: PLR2004 - two ports
        transport["source_port"] = int.from_bytes(head[:2], "big")
        transport["destination_port"] = int.from_bytes(head[2:4], "big")
    if header.protocol == TCP and len(head) == 14:  # noqa: PLR2004 - up to the flags
        transport["tcp_flags"] = head[13]
    if header.protocol in _ICMP_ERRORS and len(head) >= 2:  # noqa: PLR2004 - type and code
        transport["icmp_type"], transport["icmp_code"] = head[0], head[1]
    return transport


def _about(header: _Header, data: bytes) -> Packet | None:
    if header.at is None or header.protocol not in _ICMP_ERRORS:
        return None
    if len(data) <= header.at or data[header.at] not in _ICMP_ERRORS[header.protocol]:
        return None
    quoted = data[header.at + 8 :]
    inner = _header(quoted)
    if inner is None:
        return None
    transport = _transport(inner, quoted)
    return Packet("", inner.source, inner.destination, inner.protocol, **transport, length=inner.length)
