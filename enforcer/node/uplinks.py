"""The links behind which there are no pods of this node: found by routes and links, or as the settings name them.

It looks at the machine and changes nothing. `enforcer.kernel.reconcile` asks before each pass; all but the first answer
come from memory, until the kernel announces what may change it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from socket import AF_INET, AF_INET6, socket
from sys import byteorder

from enforcer.errors import KernelError
from enforcer.netlink.messages import DUMP, REQUEST, Message, attributes, message, messages
from enforcer.netlink.sockets import RECEIVE, ROUTE, answers, enlarge, open_socket
from zones.net import AddressSet, IPAddress, IPNetwork

_GROUPS = 0x1 | 0x40 | 0x400  # links, routes of IPv4, routes of IPv6
_ROOM = 2**20
_NEW_LINK, _DELETE_LINK, _GET_LINK, _NEW_ROUTE, _DELETE_ROUTE, _GET_ROUTE = 16, 17, 18, 24, 25, 26
_LINK_HEADER, _ROUTE_HEADER = 16, 12
_HARDWARE, _IFNAME, _LOWER, _MASTER, _INFO, _LOWER_ELSEWHERE, _KIND = 1, 3, 5, 10, 18, 37, 1
_XDP, _XDP_ATTACHED = 43, 2
_OUT, _GATEWAY, _MULTIPATH, _VIA, _DESTINATION = 4, 5, 9, 18, 1
_UNICAST, _CLONED = 1, 0x200
_LOOPBACK = 772  # ARPHRD_LOOPBACK
_TUNNELS = frozenset(
    ("vxlan", "geneve", "gre", "gretap", "ip6gre", "ip6gretap", "ipip", "ip6tnl", "sit", "vti", "vti6", "xfrm",
     "erspan", "wireguard")
)  # fmt: skip
_TOGETHER = frozenset(("bond", "team", "vrf"))  # packets come in by such a link or by one below it
_UPON = frozenset(("vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"))  # above another link of this machine


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface. `kind`: of one that is made; nothing for a device. `lower`: the link below it, by index.

    `xdp`: it has a program before the kernel's own way. `peer`: of a veth that leads to another network namespace, the
    link there, by its index; `namespace` is what this machine's namespace calls that one.
    """

    index: int
    name: str
    kind: str = ""
    master: int = 0
    lower: int = 0
    loopback: bool = False
    xdp: bool = False
    peer: int = field(default=0, compare=False)
    namespace: int = field(default=-1, compare=False)
    hardware: bytes = field(default=b"", compare=False)


@dataclass(frozen=True, slots=True)
class Route:
    """A route's way out: to which network, by which link, and through whose hands."""

    network: IPNetwork
    link: int
    gateway: IPAddress | None = None

    @property
    def is_single(self) -> bool:
        """Whether it leads to one address alone."""
        return self.network.prefixlen == self.network.max_prefixlen


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What tells uplinks: addresses of other nodes, those of this node's own pods, and the networks of all pods."""

    nodes: frozenset[IPAddress] = frozenset()
    own_pods: frozenset[IPAddress] = frozenset()
    pod_networks: AddressSet = field(default_factory=AddressSet)


def uplink_names(links: Iterable[Link], ways: Iterable[Route], around: Neighbours) -> tuple[str, ...]:
    """The names of the uplinks. A link by which own pods are reached is none, but where the default route leads too.

    Uplinks are: where default routes lead; devices and tunnels; where a gateway is that is no pod; where other nodes
    are. With each, those that it consists of, or stands upon.
    """
    by_index, routes = {link.index: link for link in links}, tuple(ways)
    default = {way.link for way in routes if way.network.prefixlen == 0}
    likely = {link.index for link in by_index.values() if link.kind in _TUNNELS or not (link.kind or link.loopback)}
    likely |= {way.link for way in routes if _leads_away(way, around)}
    chosen = default | (likely - set(_to_pods(routes, around.own_pods)))
    while more := _parts(by_index, chosen) - chosen:
        chosen |= more
    return tuple(sorted(by_index[index].name for index in chosen if index in by_index))


def _leads_away(way: Route, around: Neighbours) -> bool:
    if way.gateway is not None:
        return way.gateway not in around.own_pods and way.gateway not in around.pod_networks
    return not way.is_single and any(node in way.network for node in around.nodes)


def _to_pods(ways: Iterable[Route], pods: Iterable[IPAddress]) -> Iterator[int]:
    """The links by which these are reached: of the networks that hold an address the smallest counts."""
    by_network: dict[IPNetwork, list[int]] = {}
    for way in ways:
        by_network.setdefault(way.network, []).append(way.link)
    lengths = sorted({(network.version, network.prefixlen) for network in by_network}, reverse=True)
    for pod in pods:
        for version, length in lengths:
            routes = by_network.get(ip_network((pod, length), strict=False)) if version == pod.version else None
            if routes is not None:
                yield from routes
                break


def _parts(links: dict[int, Link], chosen: Iterable[int]) -> set[int]:
    together = {index for index in chosen if index in links and links[index].kind in _TOGETHER}
    below = {links[index].lower for index in chosen if index in links and links[index].kind in _UPON}
    ports = {link.index for link in links.values() if link.master in together}
    # A route through a link of a VRF is in a table of its own; packets come in by the VRF's name too.
    above = {links[index].master for index in chosen if index in links and _is_together(links, links[index].master)}
    return {index for index in below | ports | above if index in links}


def _is_together(links: dict[int, Link], index: int) -> bool:
    return index in links and links[index].kind in _TOGETHER


class Uplinks:
    """`configured`: names, or patterns such as `eth*`, that are uplinks whatever is found; none: what is found.

    `problem`: why packets are judged by their addresses alone.
    """

    def __init__(self, configured: tuple[str, ...] = ()) -> None:
        self._configured = configured
        self._socket = open_socket(ROUTE, _GROUPS)
        enlarge(self._socket, _ROOM)
        self._socket.setblocking(False)
        self._names: tuple[str, ...] | None = None
        self._links: dict[int, Link] = {}
        self.problem = ""

    def fileno(self) -> int:
        """Readable when a link or a route changed."""
        return self._socket.fileno()

    def stirred(self) -> bool:
        """Whether they must be looked for. What was announced is read by this."""
        return self._heard() or self._names is None

    def names(self) -> tuple[str, ...]:
        """As they were looked for last."""
        return self._names or ()

    def look(self, around: Neighbours) -> tuple[str, ...]:
        with closing(open_socket(ROUTE)) as channel:
            enlarge(channel, _ROOM)
            links = [link for link in links_of(channel) if _sayable(link.name)]
            self._links = {link.index: link for link in links}
            if self._configured:
                names = [
                    link.name for link in links if any(fnmatchcase(link.name, pattern) for pattern in self._configured)
                ]
                self.problem = (
                    "" if names else f"there is no link {' or '.join(self._configured)} (uplinks) on this node"
                )
            else:
                names = list(uplink_names(links, _ways(channel), around))
                self.problem = "" if names else "no uplink was found: name this node's in the settings (uplinks)"
        if self.problem:
            names = [link.name for link in links]
        self._names = tuple(sorted(names))
        return self._names

    def close(self) -> None:
        self._socket.close()

    def _matters(self, message: Message) -> bool:
        """Not what a pod brings that comes or goes: a veth, routes to single addresses, link-local ones."""
        if message.kind in {_NEW_LINK, _DELETE_LINK}:
            link = link_of(message.body) if message.body[0] == 0 else None  # else it tells of a bridge's port
            if link is None or (message.kind == _NEW_LINK and self._links.get(link.index) == link):
                return False
            return link.kind != "veth" or link.name in self.names()
        if message.kind not in {_NEW_ROUTE, _DELETE_ROUTE}:
            return False
        return any(not (way.is_single or way.network.is_link_local) for way in _of_route(message.body))

    def _heard(self) -> bool:
        heard = False
        while True:
            try:
                heard = any(map(self._matters, messages(self._socket.recv(RECEIVE)))) or heard
            except BlockingIOError:
                return heard
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise KernelError(f"hearing of links and routes: {error.strerror}") from error
                heard = True


def _sayable(name: str) -> bool:
    """Names with quotes in them can't be said in a rule; nobody has any."""
    return name.isprintable() and '"' not in name


def links_of(channel: socket) -> Iterator[Link]:
    for body in _dump(channel, _GET_LINK, _LINK_HEADER):
        link = link_of(body)
        if link is not None:
            yield link


def link_of(body: bytes) -> Link | None:
    """As a message tells it, whose body this is."""
    fields = attributes(body, _LINK_HEADER)
    name = fields.get(_IFNAME, b"").rstrip(b"\0").decode("utf-8", "replace")
    kind = attributes(fields.get(_INFO, b""), 0).get(_KIND, b"").rstrip(b"\0").decode("ascii", "replace")
    lower, peer, namespace = _number(fields.get(_LOWER)), 0, -1
    if _LOWER_ELSEWHERE in fields:
        lower, peer = 0, lower
        namespace = int.from_bytes(fields[_LOWER_ELSEWHERE][:4], byteorder, signed=True)
    xdp = any(attributes(fields.get(_XDP, b""), 0).get(_XDP_ATTACHED, b""))
    loopback, master = _number(body[2:4]) == _LOOPBACK, _number(fields.get(_MASTER))
    hardware, index = fields.get(_HARDWARE, b""), _number(body[4:8])
    return Link(index, name, kind, master, lower, loopback, xdp, peer, namespace, hardware) if name else None


def _ways(channel: socket) -> Iterator[Route]:
    for body in _dump(channel, _GET_ROUTE, _ROUTE_HEADER):
        yield from _of_route(body)


def _of_route(body: bytes) -> Iterator[Route]:
    """The ways of a route of any table; none of one that isn't of the usual kind."""
    family, length, kind, flags = body[0], body[1], body[7], _number(body[8:12])
    if family not in {AF_INET, AF_INET6} or kind != _UNICAST or flags & _CLONED:
        return
    fields = attributes(body, _ROUTE_HEADER)
    network = _network(family, fields.get(_DESTINATION, b""), length)
    if _OUT in fields:
        yield Route(network, _number(fields[_OUT]), _gateway(family, fields))
    hops = fields.get(_MULTIPATH, b"")
    at = 0
    while at + 8 <= len(hops):  # length, flags, weight, link; then attributes
        size = _number(hops[at : at + 2])
        if not 8 <= size <= len(hops) - at:  # noqa: PLR2004 - a hop's own header
            return
        hop = attributes(hops[at : at + size], 8)
        yield Route(network, _number(hops[at + 4 : at + 8]), _gateway(family, hop))
        at += (size + 3) & ~3


def _network(family: int, destination: bytes, length: int) -> IPNetwork:
    if family == AF_INET:
        return IPv4Network((destination.ljust(4, b"\0"), length), strict=False)
    return IPv6Network((destination.ljust(16, b"\0"), length), strict=False)


def _gateway(family: int, fields: dict[int, bytes]) -> IPAddress | None:
    via = fields.get(_VIA, b"")
    family, value = (_number(via[:2]), via[2:]) if via else (family, fields.get(_GATEWAY, b""))
    if family == AF_INET and len(value) == 4:  # noqa: PLR2004 - an address
        return IPv4Address(value)
    return IPv6Address(value) if family == AF_INET6 and len(value) == 16 else None  # noqa: PLR2004 - an address


def _dump(channel: socket, kind: int, header: int) -> Iterator[bytes]:
    channel.send(message(kind, REQUEST | DUMP, 1, bytes(header)))
    for answer in answers(channel):
        if answer.done:
            return
        yield answer.body


def _number(value: bytes | None) -> int:
    return int.from_bytes((value or b"")[:4], byteorder)
