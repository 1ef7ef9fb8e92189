"""Packets and frames made by hand, as an attacker's own stack makes them, and who hears them."""

import json
import select
import socket
import struct
import time

ETH_IP, ETH_IP6, ETH_ARP, ETH_VLAN, ETH_QINQ = 0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
BROADCAST = "ff:ff:ff:ff:ff:ff"


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _pseudo(source, destination, protocol, length):
    ends = packed(source) + packed(destination)
    return ends + (
        struct.pack(">I3xB", length, protocol) if ":" in source else struct.pack(">BBH", 0, protocol, length)
    )


def udp(source, destination, source_port, port, data, *, good=True):
    body = struct.pack(">HHHH", source_port, port, 8 + len(data), 0) + data
    total = checksum(_pseudo(source, destination, 17, len(body)) + body) or 0xFFFF
    return body[:6] + struct.pack(">H", total if good else total ^ 0x55AA) + body[8:]


def tcp(source, destination, source_port, port, flags, *, data=b""):
    body = struct.pack(">HHIIBBHHH", source_port, port, 1000, 1, 5 << 4, flags, 65535, 0, 0) + data
    return body[:16] + struct.pack(">H", checksum(_pseudo(source, destination, 6, len(body)) + body)) + body[18:]


def icmp(kind, code, rest=0, data=b""):
    body = struct.pack(">BBHI", kind, code, 0, rest) + data
    return body[:2] + struct.pack(">H", checksum(body)) + body[4:]


def icmp6(source, destination, kind, code, *, data=b""):
    body = struct.pack(">BBHI", kind, code, 0, 0) + data
    return body[:2] + struct.pack(">H", checksum(_pseudo(source, destination, 58, len(body)) + body)) + body[4:]


def ip(source, destination, protocol, payload, *, hops=64, fragment=0):
    """Of the family that the source is of."""
    if ":" in source:
        head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, hops)
        return head + packed(source) + packed(destination) + payload
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, fragment, hops, protocol, 0)
    head += packed(source) + packed(destination)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ip4_with_options(source, destination, protocol, options, payload):
    """`options`: a multiple of four octets."""
    words = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH", 0x40 | words, 0, words * 4 + len(payload), 1, 0, 64, protocol, 0)
    head += packed(source) + packed(destination) + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def _crc32c(data):
    total = 0xFFFFFFFF
    for octet in data:
        total ^= octet
        for _ in range(8):
            total = total >> 1 ^ (0x82F63B78 if total & 1 else 0)
    return total ^ 0xFFFFFFFF


def sctp(source_port, port, data):
    """A first packet, INIT, with a parameter of unknown kind that holds the data."""
    parameter = struct.pack(">HH", 0xC000, 4 + len(data)) + data
    chunk = struct.pack(">BBHIIHHI", 1, 0, 20 + len(parameter), 1, 65535, 1, 1, 1) + parameter
    head = struct.pack(">HHI", source_port, port, 0)
    return head + struct.pack("<I", _crc32c(head + bytes(4) + chunk)) + chunk


def datagram(source, destination, data, *, source_port=5000, port=7777, good=True):
    return ip(source, destination, 17, udp(source, destination, source_port, port, data, good=good))


def arp(operation, sender_mac, sender, target_mac, target):
    head = struct.pack(">HHBBH", 1, ETH_IP, 6, 4, operation)
    return head + octets(sender_mac) + packed(sender) + octets(target_mac) + packed(target)


def octets(mac):
    return bytes.fromhex(mac.replace(":", ""))


def frame(to, source, kind, payload, tags=()):
    """`tags`: the kind and the content of each VLAN tag before the frame's own kind."""
    marked = b"".join(struct.pack(">HH", *tag) for tag in tags)
    return octets(to) + octets(source) + marked + struct.pack(">H", kind) + payload


def ip_kind(packet):
    return ETH_IP6 if packet[0] >> 4 == 6 else ETH_IP


def line(machine, link="eth0"):
    """All frames of a link, to send and to hear."""
    with machine.netns.inside():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        made.bind((link, 0))
    made.setblocking(False)
    return made


def hears(lines, mark, seconds=0.3):
    """Which of these, by name, hear a frame that has a mark in it."""
    heard, deadline = set(), time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select(lines.values(), [], [], left)
        for name, each in lines.items():
            if each in ready and mark in each.recv(65535):
                heard.add(name)
    return heard


def mac(machine, link="eth0"):
    return json.loads(machine.run(["ip", "-j", "link", "show", "dev", link]).stdout)[0]["address"]


def link_local(machine, link="eth0"):
    shown = json.loads(machine.run(["ip", "-j", "-6", "address", "show", "dev", link]).stdout)
    return next(each["local"] for each in shown[0]["addr_info"] if each["local"].startswith("fe80::"))


def index(machine, link="eth0"):
    with machine.netns.inside():
        return socket.if_nametoindex(link)
