"""NFLOG messages as packets: what the kernel sends, and what anybody might."""

import struct
from ipaddress import ip_address

from hypothesis import example, given
from hypothesis import strategies as st

from enforcer.netlink.messages import attribute
from enforcer.netlink.nflog import Packet, any_packet, parse
from zones.net import ARP, ETHERTYPES, ICMP, ICMP6, TCP, UDP, protocol_name

HEADER = bytes(4)
V4, V6 = ("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")


def v4(protocol, transport, fragment=0, options=b""):
    size = 20 + len(options)
    head = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0, size + len(transport), 7, fragment, 64, protocol, 0)
    return head + b"".join(ip_address(each).packed for each in V4) + options + transport


def v6(protocol, transport):
    head = struct.pack(">IHBB", 6 << 28, len(transport), protocol, 64)
    return head + b"".join(ip_address(each).packed for each in V6) + transport


def logged(payload, prefix=b"zb:0123456789ab:o\0", *more):
    return HEADER + attribute(10, prefix) + b"".join(more) + attribute(9, payload)


SYN = struct.pack(">HHIIBBHHH", 40000, 443, 1, 0, 0x50, 0x02, 1000, 0, 0)


def test_a_tcp_packet():
    message = logged(
        v4(TCP, SYN),
        b"zb:0123456789ab:o\0",
        attribute(3, struct.pack(">QQ", 1_700_000_000, 250_000)),
        attribute(4, struct.pack(">I", 3)),
        attribute(5, struct.pack(">I", 4)),
    )
    assert parse(message) == Packet(
        "zb:0123456789ab:o", ip_address(V4[0]), ip_address(V4[1]), TCP, 40000, 443,
        tcp_flags=2, length=40, timestamp=1_700_000_000.25, indev=3,
    )  # fmt: skip


def test_udp_over_both_families_past_options_and_extension_headers():
    udp = struct.pack(">HHHH", 5353, 53, 8, 0)
    hop_by_hop = bytes([43, 0]) + bytes(6)
    routing = bytes([UDP, 1]) + bytes(14)
    for payload in (v4(UDP, udp, options=bytes(8)), v6(UDP, udp), v6(0, hop_by_hop + routing + udp)):
        packet = parse(logged(payload))
        assert (packet.protocol, packet.source_port, packet.destination_port) == (UDP, 5353, 53)


def test_icmp_of_both_families():
    for payload, kind in ((v4(ICMP, bytes([8, 0, 0, 0])), 8), (v6(ICMP6, bytes([128, 0, 0, 0])), 128)):
        assert (parse(logged(payload)).icmp_type, parse(logged(payload)).icmp_code) == (kind, 0)


def test_an_icmp_error_tells_what_it_is_about():
    packet = parse(logged(v4(ICMP, bytes([3, 13, 0, 0]) + bytes(4) + v4(TCP, SYN[:8]))))
    assert packet.icmp_code == 13
    assert (packet.about.protocol, packet.about.source_port, packet.about.destination_port) == (TCP, 40000, 443)
    assert packet.about.tcp_flags is None


def test_a_later_fragment_has_no_ports():
    first, later = parse(logged(v4(TCP, SYN, fragment=0x2000))), parse(logged(v4(TCP, SYN, fragment=0x00B9)))
    assert first.destination_port == 443
    assert later.destination_port is None
    fragment = bytes([TCP, 0]) + struct.pack(">HI", 0x00B8, 1)
    assert parse(logged(v6(44, fragment + SYN))).destination_port is None


def test_what_is_no_ip_packet_is_nothing():
    assert parse(b"") is None
    assert parse(HEADER) is None
    assert parse(logged(b"\x00" * 40)) is None
    assert parse(logged(v4(TCP, SYN)[:12])) is None


@given(st.binary(max_size=300))
def test_no_bytes_raise(data):
    parse(data)


@given(st.binary(max_size=120), st.binary(max_size=40), st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=20))))
@example(b"\x60" + bytes(39), b"", [])
def test_no_payload_raises(rest, prefix, more):
    for version in (0x45, 0x4F, 0x60):
        extras = [attribute(kind, value) for kind, value in more]
        parse(logged(bytes([version]) + rest, prefix, *extras))


@given(st.data())
def test_any_cut_of_a_real_message_is_read_or_refused(data):
    message = bytearray(logged(v6(0, bytes([44, 0]) + bytes(6) + bytes([TCP, 0]) + bytes(6) + SYN)))
    for _ in range(data.draw(st.integers(0, 5))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    parse(bytes(message[: data.draw(st.integers(0, len(message)))]))


@given(
    st.sampled_from([TCP, UDP, 132, ICMP, 47]),
    st.binary(max_size=40),
    st.integers(0, 0xFFFF),
    st.sampled_from([b"", bytes(4), bytes(40)]),
    st.integers(0, 80),
)
def test_the_short_way_for_usual_packets_says_what_the_long_one_says(protocol, transport, fragment, options, cut):
    payload = v4(protocol, transport, fragment, options)[:cut]
    assert parse(logged(payload)) == any_packet("zb:0123456789ab:o", payload, None, None)


# From a bridge's ports

FRAME = bytes([7, 0, 0, 0])
MACS = bytes.fromhex("020000000002020000000001")


def of_bridge(kind, payload, *more):
    head = attribute(1, struct.pack(">HBB", kind, 0, 0))
    return (
        FRAME
        + b"".join((head, attribute(10, b"zb:0123456789ab:o\0"), attribute(6, struct.pack(">I", 9)), *more))
        + (attribute(16, MACS + struct.pack(">H", kind)) + attribute(9, payload))
    )


def test_an_ip_packet_that_a_bridge_brought_is_the_same_packet_with_its_frame():
    packet = parse(of_bridge(0x0800, v4(TCP, SYN)))
    assert packet._replace(frame=None) == parse(logged(v4(TCP, SYN)))
    assert (packet.frame.port, packet.frame.to + packet.frame.source) == (9, MACS)


def test_arp_has_its_sender_and_its_target_as_ends():
    said = bytes.fromhex("0001080006040002") + MACS[6:] + ip_address(V4[0]).packed + MACS[:6] + ip_address(V4[1]).packed
    packet = parse(of_bridge(0x0806, said))
    assert (str(packet.source), str(packet.destination), packet.protocol) == (*V4, ARP)
    assert str(parse(of_bridge(0x0806, said[:20])).source) == "0.0.0.0"


def test_another_frame_is_no_ip_packet_whatever_it_looks_like():
    packet = parse(of_bridge(0x88B5, v4(TCP, SYN)))
    assert (str(packet.source), packet.protocol, packet.destination_port) == ("0.0.0.0", ETHERTYPES + 0x88B5, None)
    assert [protocol_name(each) for each in (packet.protocol, ARP, ETHERTYPES + 46, TCP)] == [
        "0x88b5", "arp", "0x002e", "tcp",
    ]  # fmt: skip


@given(st.binary(max_size=200), st.integers(0, 0xFFFF))
def test_whatever_a_port_brings_is_read_without_complaint(payload, kind):
    assert parse(of_bridge(kind, payload)) is not None
    assert parse(FRAME + payload) is not None
