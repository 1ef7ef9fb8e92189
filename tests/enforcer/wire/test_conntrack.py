"""Conntrack's messages as connections: what the kernel sends, and what nobody should."""

import struct
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from enforcer.netlink import conntrack
from enforcer.netlink.conntrack import (
    ConntrackEntry,
    ConntrackEvent,
    Counted,
    FlowTuple,
    TcpState,
    any_way,
    connection,
    conntrack_messages,
)
from enforcer.netlink.messages import attribute, message, nested, number
from zones.net import ICMP, ICMP6, SCTP, TCP, UDP

NEW, DELETE, CREATED = 0x100, 0x102, 0x400
# A whole message of Linux 6.18: a connection over the loopback, closed by both sides.
REAL = bytes.fromhex("14000180080001007f000001080002007f0000011c000280050001000600000006000200aaba00000600030004d30000")


def way(source, destination, protocol, *rest):
    ends = [ip_address(each) for each in (source, destination)]
    first = 1 if ends[0].version == 4 else 3
    ip = nested(1, [attribute(first + at, each.packed) for at, each in enumerate(ends)])
    return ip + nested(2, [attribute(1, bytes([protocol])), *rest])


def ports(source, destination):
    return attribute(2, struct.pack(">H", source)), attribute(3, struct.pack(">H", destination))


def counters(packets, octets):
    return attribute(1, struct.pack(">Q", packets)) + attribute(2, struct.pack(">Q", octets))


def told_of(*attributes, kind=DELETE, flags=0, port=0):
    body = bytes([2, 0, 0, 0]) + b"".join(attributes)
    data = bytearray(message(kind, flags, 0, body))
    struct.pack_into("=I", data, 12, port)
    return bytes(data)


OUT = way("10.0.0.1", "10.96.0.20", TCP, *ports(40000, 443))
BACK = way("10.0.0.2", "192.0.2.7", TCP, *ports(8443, 61022))
WHOLE = told_of(
    attribute(1, OUT),
    attribute(2, BACK),
    number(12, 77),
    number(3, 0x20E),
    number(8, 0x02000000),
    attribute(18, struct.pack(">H", 5)),
    attribute(4, nested(1, [attribute(1, bytes([TcpState.TIME_WAIT]))])),
    attribute(9, counters(8, 900)),
    attribute(10, counters(7, 2000)),
    attribute(
        20,
        attribute(1, struct.pack(">Q", 1_700_000_000_250_000_000))
        + attribute(2, struct.pack(">Q", 1_700_000_009_500_000_000)),
    ),
)


def only(data):
    (found,) = conntrack_messages(data)
    return found


def test_all_that_the_kernel_says_of_a_connection_that_is_over():
    assert connection(only(WHOLE)) == ConntrackEntry(
        FlowTuple(ip_address("10.0.0.1"), ip_address("10.96.0.20"), TCP, 40000, 443),
        FlowTuple(ip_address("10.0.0.2"), ip_address("192.0.2.7"), TCP, 8443, 61022),
        status=0x20E,
        mark=0x02000000,
        zone=5,
        id=77,
        state=TcpState.TIME_WAIT,
        sent=Counted(8, 900),
        received=Counted(7, 2000),
        start=1_700_000_000.25,
        stop=1_700_000_009.5,
    )


def test_what_the_kernel_sent():
    found = connection(only(told_of(attribute(1, REAL), attribute(2, REAL))))
    assert found.original == FlowTuple(ip_address("127.0.0.1"), ip_address("127.0.0.1"), TCP, 43706, 1235)


def test_both_families_and_all_protocols():
    v6 = way("fd00::1", "fd00::2", SCTP, *ports(1, 2))
    echo = attribute(4, struct.pack(">H", 9)), attribute(5, bytes([8])), attribute(6, bytes([0]))
    echo6 = attribute(7, struct.pack(">H", 9)), attribute(8, bytes([128])), attribute(9, bytes([0]))
    for value, expected in (
        (v6, (SCTP, 1, 2)),
        (way("fd00::1", "fd00::2", UDP, *ports(53, 53)), (UDP, 53, 53)),
        (way("10.0.0.1", "10.0.0.2", ICMP, *echo), (ICMP, None, None, 8, 0, 9)),
        (way("fd00::1", "fd00::2", ICMP6, *echo6), (ICMP6, None, None, 128, 0, 9)),
        (way("10.0.0.1", "10.0.0.2", 47), (47,)),
    ):
        found = connection(only(told_of(attribute(1, value), attribute(2, value)))).original
        assert found[2:] == (*expected, *[None] * (6 - len(expected)))


def test_what_happened_and_who_wanted_it():
    events = {
        told_of(kind=NEW, flags=CREATED): (ConntrackEvent.NEW, False),
        told_of(kind=NEW): (ConntrackEvent.CHANGED, False),
        told_of(kind=DELETE, port=4711): (ConntrackEvent.ENDED, True),
    }
    for data, expected in events.items():
        assert only(data)[:2] == expected
    assert list(conntrack_messages(told_of(kind=0x103) + message(3, 0, 0, b""))) == []


def test_one_connection_has_one_key_and_others_have_others():
    def key(*attributes, **more):
        return only(told_of(*attributes, **more)).key

    own = attribute(1, OUT), number(12, 77)
    assert key(*own, attribute(2, BACK)) == key(*own, number(8, 3), kind=NEW, flags=CREATED)
    others = (
        (attribute(1, BACK), number(12, 77)),
        (attribute(1, OUT), number(12, 78)),
        (*own, attribute(18, b"\0\1")),
    )
    assert len({key(*own), *(key(*each) for each in others)}) == 4


def test_several_messages_in_one_piece_and_one_that_is_cut():
    assert len(list(conntrack_messages(WHOLE + WHOLE))) == 2
    assert len(list(conntrack_messages(WHOLE + WHOLE[:-1]))) == 1


def test_without_both_ways_there_is_no_connection():
    for attributes in ((), (attribute(1, OUT),), (attribute(2, BACK),), (attribute(1, OUT), attribute(2, b""))):
        assert connection(only(told_of(*attributes))) is None


def test_times_that_are_none():
    stamps = attribute(20, attribute(1, bytes(8)) + attribute(2, b"\xff" * 8))
    found = connection(only(told_of(attribute(1, OUT), attribute(2, BACK), stamps)))
    assert (found.start, found.stop) == (None, None)


ADDRESSES = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)), st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6))
)


@given(ADDRESSES, st.integers(0, 255), st.integers(0, 65535), st.integers(0, 65535))
def test_the_quick_way_and_the_long_way_agree(ends, protocol, source_port, port):
    value = way(*ends, protocol, *ports(source_port, port))
    assert conntrack._way(value) == any_way(value)
    assert (conntrack._usual(value) is not None) == (protocol in {TCP, UDP, SCTP})


@given(st.binary(max_size=400))
def test_no_bytes_raise(data):
    for each in conntrack_messages(data):
        connection(each)


@given(st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=60)), max_size=12), st.sampled_from([NEW, DELETE]))
def test_no_attributes_raise(more, kind):
    for each in conntrack_messages(told_of(*(attribute(*pair) for pair in more), kind=kind)):
        connection(each)


@given(st.data())
def test_any_damage_to_a_real_message_is_read_or_refused(data):
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(0, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for each in conntrack_messages(bytes(damaged[: data.draw(st.integers(0, len(damaged)))])):
        connection(each)
