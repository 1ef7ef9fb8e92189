"""A stream of datagrams that never rests: which of them arrive is known exactly, of new connections and of old ones.

Everything runs in the caller's thread: `turn` sends one round and reads what has come.
"""

import socket
import struct
import time
from dataclasses import dataclass, field

_ROOM = 16 * 2**20
_FORCE = getattr(socket, "SO_RCVBUFFORCE", 33)
_FORM = struct.Struct("!HQ")


@dataclass
class Way:
    """From one machine to an address of another, over one connection that lasts and ever new ones."""

    name: str
    client: object
    ip: str
    port: int
    sent: set = field(default_factory=set)
    arrived: set = field(default_factory=set)
    times: dict = field(default_factory=dict)

    def __post_init__(self):
        self._lasting = self._open()

    def _open(self):
        family = socket.AF_INET6 if ":" in self.ip else socket.AF_INET
        return self.client.netns.socket(family, socket.SOCK_DGRAM)

    def send(self, number, serial):
        """Odd ones over the connection that lasts."""
        made = self._lasting if serial % 2 else self._open()
        made.sendto(_FORM.pack(number, serial), (self.ip, self.port))
        self.sent.add(serial)
        self.times[serial] = time.monotonic()
        if made is not self._lasting:
            made.close()

    def close(self):
        self._lasting.close()


class Stream:
    """`ways` as (name, client, server); each is tried in both families."""

    def __init__(self, ways, port):
        self.ways = [
            Way(f"{name} {ip}", client, ip, port) for name, client, server in ways for ip in (server.ip, server.ip6)
        ]
        servers = {id(server): server for _, _, server in ways}.values()
        self._ears = [self._ear(server, port) for server in servers]
        self._serial = 0

    def _ear(self, server, port):
        made = server.netns.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.setsockopt(socket.SOL_SOCKET, _FORCE, _ROOM)
        made.bind(("::", port))
        return made

    def turn(self):
        self._serial += 1
        for number, way in enumerate(self.ways):
            way.send(number, self._serial)
        self.hear()

    def hear(self):
        for ear in self._ears:
            while True:
                try:
                    number, serial = _FORM.unpack(ear.recv(100))
                except BlockingIOError:
                    break
                self.ways[number].arrived.add(serial)

    def settle(self, names, seconds):
        """Wait until all that was sent on these ways has arrived, or it is late."""
        deadline = time.monotonic() + seconds
        while any(way.sent != way.arrived for way in self.of(names)) and time.monotonic() < deadline:
            time.sleep(0.01)
            self.hear()

    def of(self, names):
        return [way for way in self.ways if way.name.split()[0] in names]

    def close(self):
        for each in (*self._ears, *self.ways):
            each.close()
