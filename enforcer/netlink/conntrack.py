"""Conntrack's messages as connections. Pure; every length is checked and nothing raises.

Read by `enforcer.kernel.conntrack_events`; `enforcer.flows.connections` makes the records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import Enum, IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from enforcer.netlink.constants import (
    CTA_COUNTERS_BYTES,
    CTA_COUNTERS_ORIG,
    CTA_COUNTERS_PACKETS,
    CTA_COUNTERS_REPLY,
    CTA_ID,
    CTA_IP_V4_DST,
    CTA_IP_V4_SRC,
    CTA_IP_V6_DST,
    CTA_IP_V6_SRC,
    CTA_LABELS,
    CTA_MARK,
    CTA_PROTO_DST_PORT,
    CTA_PROTO_ICMP_CODE,
    CTA_PROTO_ICMP_ID,
    CTA_PROTO_ICMP_TYPE,
    CTA_PROTO_ICMPV6_CODE,
    CTA_PROTO_ICMPV6_ID,
    CTA_PROTO_ICMPV6_TYPE,
    CTA_PROTO_NUM,
    CTA_PROTO_SRC_PORT,
    CTA_PROTOINFO,
    CTA_PROTOINFO_SCTP,
    CTA_PROTOINFO_TCP,
    CTA_PROTOINFO_TCP_STATE,
    CTA_STATUS,
    CTA_TIMEOUT,
    CTA_TIMESTAMP,
    CTA_TIMESTAMP_START,
    CTA_TIMESTAMP_STOP,
    CTA_TUPLE_IP,
    CTA_TUPLE_ORIG,
    CTA_TUPLE_PROTO,
    CTA_TUPLE_REPLY,
    CTA_ZONE,
    IPCTNL_MSG_CT_DELETE,
    IPCTNL_MSG_CT_NEW,
)
from enforcer.netlink.messages import attributes
from zones.net import PROTOCOLS_WITH_PORTS, IPAddress

SUBSYSTEM = 1 << 8
_NEW, _DELETE = SUBSYSTEM | IPCTNL_MSG_CT_NEW, SUBSYSTEM | IPCTNL_MSG_CT_DELETE
_CREATED = 0x400  # on messages of new connections; others of their kind tell of a change, or are part of a list
_HEADER = struct.Struct("=IHHII")
_FEW = 1 << 14  # addresses in use at a time

_ICMP = CTA_PROTO_ICMP_ID, CTA_PROTO_ICMP_TYPE, CTA_PROTO_ICMP_CODE
_ICMPV6 = CTA_PROTO_ICMPV6_ID, CTA_PROTO_ICMPV6_TYPE, CTA_PROTO_ICMPV6_CODE
_NEVER = 1 << 62  # nanoseconds of the epoch that no clock shows

# What nearly every tuple is: two addresses, then a protocol with ports. Between the values stand attributes' headers.
_USUAL_V4, _USUAL_V6 = struct.Struct(">8s4s4s4s8sB7sH2x4sH2x"), struct.Struct(">8s16s4s16s8sB7sH2x4sH2x")


def _heads(length: int) -> tuple[bytes, ...]:
    def head(size: int, kind: int, *, nested: bool = False) -> bytes:
        return struct.pack("=HH", 4 + size, kind | 0x8000 * nested)

    ends = 2 * (4 + length)
    return (
        head(ends, CTA_TUPLE_IP, nested=True) + head(length, CTA_IP_V4_SRC if length == 4 else CTA_IP_V6_SRC),  # noqa: PLR2004 - IPv4
        head(length, CTA_IP_V4_DST if length == 4 else CTA_IP_V6_DST),  # noqa: PLR2004 - IPv4
        head(24, CTA_TUPLE_PROTO, nested=True) + head(1, CTA_PROTO_NUM),
        bytes(3) + head(2, CTA_PROTO_SRC_PORT),
        head(2, CTA_PROTO_DST_PORT),
    )


_HEADS_V4, _HEADS_V6 = _heads(4), _heads(16)


class TcpState(IntEnum):
    """What `ConntrackEntry.state` is of a TCP connection."""

    SYN_SENT, SYN_RECEIVED, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE = range(1, 9)


class ConntrackEvent(Enum):
    NEW = "new"
    CHANGED = "changed"
    ENDED = "ended"


class ConntrackMessage(NamedTuple):
    """One message, as far as it must be read to know whether the rest matters.

    `key`: the same in all messages about one connection. `by_program`: somebody asked for it.
    """

    event: ConntrackEvent
    by_program: bool
    key: int
    fields: Mapping[int, bytes]

    @property
    def label(self) -> bytes:
        return self.fields.get(CTA_LABELS, b"")


class FlowTuple(NamedTuple):
    """A connection's ends as one direction's packets show them."""

    source: IPAddress
    destination: IPAddress
    protocol: int
    source_port: int | None = None
    port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    icmp_id: int | None = None


class Counted(NamedTuple):
    packets: int
    octets: int


class ConntrackEntry(NamedTuple):
    """`reply` is the way back, before it is translated. What the kernel doesn't say is None; 0 is its usual mark."""

    original: FlowTuple
    reply: FlowTuple
    status: int = 0
    mark: int = 0
    zone: int = 0
    id: int = 0
    timeout: int | None = None
    state: int | None = None
    sent: Counted | None = None
    received: Counted | None = None
    start: float | None = None
    stop: float | None = None


def conntrack_messages(data: bytes) -> Iterator[ConntrackMessage]:
    """The messages of a datagram that tell of connections; a damaged rest ends it."""
    at, end = 0, len(data)
    while at + _HEADER.size <= end:
        length, kind, flags, _, port = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= length <= end - at:
            return
        if kind in {_NEW, _DELETE}:
            event = (
                ConntrackEvent.ENDED
                if kind == _DELETE
                else ConntrackEvent.NEW
                if flags & _CREATED
                else ConntrackEvent.CHANGED
            )
            fields = attributes(data[at + _HEADER.size : at + length])
            key = hash((fields.get(CTA_TUPLE_ORIG), fields.get(CTA_ID), fields.get(CTA_ZONE)))
            yield ConntrackMessage(event, port != 0, key, fields)
        at += (length + 3) & ~3


def connection(message: ConntrackMessage) -> ConntrackEntry | None:
    """All that a message says; None where it doesn't say who talks to whom."""
    fields = message.fields
    original, reply = _way(fields.get(CTA_TUPLE_ORIG, b"")), _way(fields.get(CTA_TUPLE_REPLY, b""))
    if original is None or reply is None:
        return None
    start, stop = _times(fields.get(CTA_TIMESTAMP, b""))
    return ConntrackEntry(
        original,
        reply,
        _number(fields.get(CTA_STATUS)) or 0,
        _number(fields.get(CTA_MARK)) or 0,
        _number(fields.get(CTA_ZONE)) or 0,
        _number(fields.get(CTA_ID)) or 0,
        _number(fields.get(CTA_TIMEOUT)),
        _state(fields.get(CTA_PROTOINFO)),
        _counted(fields.get(CTA_COUNTERS_ORIG)),
        _counted(fields.get(CTA_COUNTERS_REPLY)),
        start,
        stop,
    )


def _way(value: bytes) -> FlowTuple | None:
    return _usual(value) or any_way(value)


def _usual(value: bytes) -> FlowTuple | None:
    """In a fifth of the time that `any_way` takes, and equal to it; None for what is unusual."""
    if len(value) == _USUAL_V4.size:
        a, source, b, destination, c, protocol, d, from_port, e, port = _USUAL_V4.unpack(value)
        if (a, b, c, d, e) == _HEADS_V4 and protocol in PROTOCOLS_WITH_PORTS:
            return FlowTuple(_v4(source), _v4(destination), protocol, from_port, port)
    elif len(value) == _USUAL_V6.size:
        a, source, b, destination, c, protocol, d, from_port, e, port = _USUAL_V6.unpack(value)
        if (a, b, c, d, e) == _HEADS_V6 and protocol in PROTOCOLS_WITH_PORTS:
            return FlowTuple(_v6(source), _v6(destination), protocol, from_port, port)
    return None


def any_way(value: bytes) -> FlowTuple | None:
    tuple_ = attributes(value, 0)
    ends, rest = attributes(tuple_.get(CTA_TUPLE_IP, b""), 0), attributes(tuple_.get(CTA_TUPLE_PROTO, b""), 0)
    source, destination = _end(ends, CTA_IP_V4_SRC, CTA_IP_V6_SRC), _end(ends, CTA_IP_V4_DST, CTA_IP_V6_DST)
    protocol = _number(rest.get(CTA_PROTO_NUM))
    if source is None or destination is None or protocol is None:
        return None
    ports: tuple[int | None, int | None] = (None, None)
    if protocol in PROTOCOLS_WITH_PORTS:
        ports = _number(rest.get(CTA_PROTO_SRC_PORT)), _number(rest.get(CTA_PROTO_DST_PORT))
    v6 = source.version == 6  # noqa: PLR2004 - the version
    identity, kind, code = _ICMPV6 if v6 else _ICMP
    icmp = _number(rest.get(kind)), _number(rest.get(code)), _number(rest.get(identity))
    return FlowTuple(source, destination, protocol, *ports, *icmp)


def _end(fields: Mapping[int, bytes], v4: int, v6: int) -> IPAddress | None:
    value = fields.get(v4, b"")
    if len(value) == 4:  # noqa: PLR2004 - IPv4
        return _v4(value)
    value = fields.get(v6, b"")
    return _v6(value) if len(value) == 16 else None  # noqa: PLR2004 - IPv6


@lru_cache(_FEW)
def _v4(packed: bytes) -> IPv4Address:
    return IPv4Address(packed)


@lru_cache(_FEW)
def _v6(packed: bytes) -> IPv6Address:
    return IPv6Address(packed)


def _number(value: bytes | None) -> int | None:
    return int.from_bytes(value[:8], "big") if value else None


def _state(value: bytes | None) -> int | None:
    """TCP's or SCTP's."""
    if value is None:
        return None
    protocols = attributes(value, 0)
    tcp, sctp = protocols.get(CTA_PROTOINFO_TCP), protocols.get(CTA_PROTOINFO_SCTP)
    # Both have their state first: CTA_PROTOINFO_TCP_STATE = CTA_PROTOINFO_SCTP_STATE.
    return _number(attributes(tcp or sctp or b"", 0).get(CTA_PROTOINFO_TCP_STATE))


def _counted(value: bytes | None) -> Counted | None:
    if value is None:
        return None
    counters = attributes(value, 0)
    return Counted(_number(counters.get(CTA_COUNTERS_PACKETS)) or 0, _number(counters.get(CTA_COUNTERS_BYTES)) or 0)


def _times(value: bytes) -> tuple[float | None, float | None]:
    stamps = attributes(value, 0) if value else {}
    return _seconds(stamps.get(CTA_TIMESTAMP_START)), _seconds(stamps.get(CTA_TIMESTAMP_STOP))


def _seconds(value: bytes | None) -> float | None:
    nanoseconds = _number(value)
    return nanoseconds // 1000 / 1e6 if nanoseconds and nanoseconds < _NEVER else None
