"""A node between a client and a server, and a way to send it many packets at the price of the packets alone.

Frames are made before they are timed and go by sendmmsg through a packet socket, so that what is timed is the node.
"""

from __future__ import annotations

import ctypes
import itertools
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from enforcer.kernel.reconcile import Reconciler
from enforcer.netlink.messages import ACK, INET, NFTABLES, REQUEST, messages, netfilter, number, text
from enforcer.rules.ruleset import TABLE
from mocks.lab.netns import Netns, libc
from tests.bench.enforcer import scale
from zones.addresses.inventory import Holder
from zones.net import IPAddress
from zones.policy import Policy

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
CLIENT, SERVER = scale.address(0), scale.address(26)  # of the first zone, and of the second
MAC = "02:00:00:00:00:01"
BATCH = 256
_FORGET = 1 << 8 | 2  # conntrack: delete, without saying which: all
OURS = TABLE
_BARE = """
table inet {name} {{
  chain forward {{ type filter hook forward priority 0; ct state established,related accept; ct state invalid drop; }}
}}
"""
_BEGIN, _NEW_TABLE, _END, _ASLEEP = 16, NFTABLES << 8, 17, 1


@dataclass
class Wire:
    """One node with tables of which one is awake. What goes to pods other than CLIENT and SERVER is lost behind it."""

    name: str
    client: Netns
    node: Netns
    server: Netns
    line: socket.socket
    channel: socket.socket
    leave: ExitStack
    tables: list[str] = field(default_factory=list)

    def bare(self, *names: str) -> None:
        """Tables that have connections tracked, and no more."""
        for name in names:
            self.node.require(["nft", "-f", "-"], stdin=_BARE.format(name=name))
            self.tables.append(name)

    def only(self, awake: str) -> None:
        """Put all tables to sleep but one."""
        batch = netfilter(_BEGIN, REQUEST, 0, 0, NFTABLES)
        for sequence, name in enumerate(self.tables, 1):
            flags = number(2, 0 if name == awake else _ASLEEP)
            batch += netfilter(_NEW_TABLE, REQUEST | ACK, sequence, INET, 0, text(1, name), flags)
        batch += netfilter(_END, REQUEST, len(self.tables) + 1, 0, NFTABLES)
        self.channel.send(batch)
        told = [answer.body[:4] for _ in self.tables for answer in messages(self.channel.recv(4096))]
        if told != [bytes(4)] * len(self.tables):
            raise RuntimeError(f"{self.name}: the table {awake} can't be woken alone")

    def home(self, pods: Iterable[IPAddress]) -> None:
        """These are where the client is."""
        routes = "".join(f"route replace {pod}/32 dev clients\n" for pod in pods)
        self.node.require(["ip", "-batch", "-"], stdin=routes)

    def enforce(self, policy: Policy, held: dict[IPAddress, Holder]) -> None:
        with self.node.inside():
            reconciler = Reconciler("n1", uplinks=("sink",))  # other nodes are behind it
            self.leave.callback(reconciler.stop)
            applied = reconciler.apply(policy, scale.feed(held), NOW)
        if applied.problems:
            raise RuntimeError(f"{self.name}: {applied.problems}")
        self.tables.append(OURS)

    def send(self, burst: Burst, some: int = 0) -> float:
        """Seconds of this thread for each packet, the node's work among them; `some`: of only so many."""
        line, all_ = self.line.fileno(), some or burst.many
        started = time.thread_time()
        for at in range(0, all_, BATCH):
            many = min(BATCH, all_ - at)
            if libc.sendmmsg(line, burst.at(at), many, 0) != many:
                raise OSError(ctypes.get_errno(), f"{self.name}: not all packets could be sent")
        return (time.thread_time() - started) / all_

    def tracked(self) -> int:
        """How many connections the node knows."""
        return int(self.node.require(["cat", "/proc/sys/net/netfilter/nf_conntrack_count"]))

    def forget(self) -> None:
        """No connection is known to the node any more."""
        self.channel.send(netfilter(_FORGET, REQUEST | ACK, 1, 0, 0))
        self.channel.recv(4096)


class Burst:
    """Frames in memory, and the kernel's list of them."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self.many = len(frames)
        self._bytes = ctypes.create_string_buffer(b"".join(frames))
        self._vectors = ctypes.create_string_buffer(16 * self.many)
        self._headers = ctypes.create_string_buffer(64 * self.many)
        at, vector = ctypes.addressof(self._bytes), ctypes.addressof(self._vectors)
        for place, frame in enumerate(frames):
            struct.pack_into("=QQ", self._vectors, 16 * place, at, len(frame))
            struct.pack_into("=QI4xQQQQi4xI4x", self._headers, 64 * place, 0, 0, vector + 16 * place, 1, 0, 0, 0, 0)
            at += len(frame)

    def at(self, number: int) -> ctypes.c_void_p:
        return ctypes.c_void_p(ctypes.addressof(self._headers) + 64 * number)


def udp_frame(source: IPAddress, source_port: int, target: IPAddress, port: int) -> bytes:
    """An empty datagram, without a checksum of its own."""
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28, 0, 0, 64, socket.IPPROTO_UDP, 0)
    words = struct.unpack("!10H", header + bytes(0) + source.packed + target.packed)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    header = header[:10] + checksum.to_bytes(2, "big") + source.packed + target.packed
    ethernet = bytes.fromhex(MAC.replace(":", "")) * 2 + b"\x08\x00"
    return (ethernet + header + struct.pack("!HHHH", source_port, port, 8, 0)).ljust(60, b"\0")


class Wires(ExitStack):
    """Makes wires, each in network namespaces of its own, and takes them down at the end."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count()

    def wire(self, name: str) -> Wire:
        number = next(self._numbers)
        client, node, server = (Netns.create(f"bench{number}-{role}") for role in ("client", "node", "server"))
        for each in (client, node, server):
            self.callback(each.close)
        _lay(client, node, server)
        with client.inside():
            line = self.enter_context(closing(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)))
        line.bind(("uplink", 0))
        with node.inside():  # to netfilter; kept, as closing one takes the kernel long
            channel = self.enter_context(closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)))
        return Wire(name, client, node, server, line, channel, self)


def _lay(client: Netns, node: Netns, server: Netns) -> None:
    """Both ends of a line have one MAC address, and nobody asks for it."""
    for end, address, name in ((client, CLIENT, "clients"), (server, SERVER, "servers")):
        link = ["ip", "link", "add", name, "address", MAC, "type", "veth", "peer", "name", "uplink", "address", MAC]
        node.require([*link, "netns", end.path])
        for space, device in ((node, name), (end, "uplink")):
            space.require(["ip", "link", "set", device, "up", "arp", "off"])
        end.require(["ip", "link", "set", "lo", "up"])
        end.require(["ip", "address", "add", f"{address}/32", "dev", "uplink"])
        end.require(["ip", "route", "add", "default", "dev", "uplink"])
        node.require(["ip", "route", "add", f"{address}/32", "dev", name])
    node.require(["ip", "link", "add", "sink", "type", "veth", "peer", "name", "lost"])
    node.require(["ip", "link", "set", "sink", "up", "arp", "off"])
    node.require(["ip", "route", "add", str(scale.PODS), "dev", "sink"])
    node.write_sysctl("net/ipv4/ip_forward", 1)
    for device in ("all", "clients", "servers"):
        node.write_sysctl(f"net/ipv4/conf/{device}/rp_filter", 0)
