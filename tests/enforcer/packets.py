"""Sends real packets and tells what became of each: no waiting for silence, every outcome is a sign of its own.

An allowed probe is answered, a rejected one is refused, and what the rules log is read from the node's NFLOG group.
"""

import errno
import ipaddress
import selectors
import socket
import struct
import time
from dataclasses import dataclass, field
from itertools import count

from enforcer.netlink import nflog
from mocks.lab.netns import owning_as
from zones.net import ICMP, ICMP6, TCP, UDP

REFUSED = {errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.EACCES}
KINDS = {TCP: socket.SOCK_STREAM, UDP: socket.SOCK_DGRAM, ICMP: socket.SOCK_RAW, ICMP6: socket.SOCK_RAW}
ECHO = {ICMP: 8, ICMP6: 128}
_identifiers = count(1)


@dataclass
class Probe:
    """One attempt from a machine to an address. `outcome`: answered, refused, or nothing so far.

    `seen`: source, address and port as the rules see them, where these are translated on the way. `uid`: whose socket.
    """

    source: object
    source_ip: str
    ip: str
    protocol: int
    port: int = 0
    source_port: int = 0
    seen: tuple | None = None
    uid: int = 0
    outcome: str | None = None
    logged: list = field(default_factory=list)
    identifier: int = field(default_factory=lambda: next(_identifiers) & 0xFFFF)

    @property
    def key(self):
        source_ip, ip, port = self.seen or (self.source_ip, self.ip, self.port)
        return self.protocol, source_ip, ip, self.source_port or None, port or None

    def open(self):
        family = socket.AF_INET if ipaddress.ip_address(self.ip).version == 4 else socket.AF_INET6
        with self.source.netns.inside(), owning_as(self.uid):
            made = socket.socket(family, KINDS[self.protocol], self.protocol if self.protocol in ECHO else 0)
        made.setblocking(False)
        if self.source_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        made.bind((self.source_ip, self.source_port))
        return made

    def start(self, made):
        try:
            code = made.connect_ex((self.ip, self.port))
            if code == 0 and self.protocol != TCP:
                made.send(b"probe" if self.protocol == UDP else self._echo())
        except PermissionError:
            return  # a node's own packet that its rules drop
        if code not in (0, errno.EINPROGRESS):
            self.outcome = "refused" if code in REFUSED else f"errno {code}"

    def hear(self, made):
        try:
            if self.protocol == TCP:
                code = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            else:
                code, data = 0, made.recv(2000)
                if self.protocol in ECHO and not self._is_mine(data):
                    return
        except BlockingIOError:
            return
        except OSError as error:
            code = error.errno
        self.outcome = "answered" if code == 0 else "refused" if code in REFUSED else f"errno {code}"

    def _echo(self):
        head = struct.pack(">BBHHH", ECHO[self.protocol], 0, 0, self.identifier, 1)
        if self.protocol == ICMP:
            total = sum(struct.unpack(">4H", head))
            total = (total & 0xFFFF) + (total >> 16)
            head = head[:2] + struct.pack(">H", ~total & 0xFFFF) + head[4:]
        return head

    def _is_mine(self, data):
        at = (data[0] & 0xF) * 4 if self.protocol == ICMP else 0
        reply = 0 if self.protocol == ICMP else 129
        return data[at] == reply and struct.unpack(">H", data[at + 4 : at + 6])[0] == self.identifier


def run(probes, log, settled, seconds=4.0):
    """Send all and wait until `settled(probe)` holds for each; fail with those for which it doesn't."""
    by_key = {probe.key: probe for probe in probes}
    assert len(by_key) == len(probes), "probes must be told apart"
    sockets = {}
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(log, selectors.EVENT_READ, None)
            for probe in probes:
                sockets[probe.key] = made = probe.open()
                probe.start(made)
                if probe.outcome is None:
                    event = selectors.EVENT_WRITE if probe.protocol == TCP else selectors.EVENT_READ
                    selector.register(made, event, probe)
            deadline = time.monotonic() + seconds
            while (open_ := [probe for probe in probes if not settled(probe)]) and time.monotonic() < deadline:
                for key, _ in selector.select(0.2):
                    if key.data is None:
                        attribute(log, by_key)
                    else:
                        key.data.hear(key.fileobj)
                        if key.data.outcome is not None:
                            selector.unregister(key.fileobj)
            assert not open_, f"not settled: {open_}"
        finally:
            for made in sockets.values():
                made.close()


def attribute(log, by_key):
    """Give each logged packet to the probe whose connection it belongs to."""
    for body in log.read():
        packet = nflog.parse(body)
        assert packet is not None
        forward = packet.source, packet.destination, packet.source_port, packet.destination_port
        backward = packet.destination, packet.source, packet.destination_port, packet.source_port
        source, destination, *ports = forward if packet.prefix.endswith(":o") else backward
        probe = by_key.get((packet.protocol, str(source), str(destination), *ports))
        if probe is not None:
            probe.logged.append(packet)


def raw_sockets(machine, protocols):
    """What a machine takes in of these protocols, of both families, after its own rules."""
    with machine.netns.inside():
        made = [
            socket.socket(family, socket.SOCK_RAW, each)
            for each in protocols
            for family in (socket.AF_INET, socket.AF_INET6)
        ]
    for each in made:
        each.setblocking(False)
    return made
