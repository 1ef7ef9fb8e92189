"""Which port of a bridge leads to which pod of this node, as the kernel knows it: no pod is asked, nothing is learned.

A port is the node's end of a veth. What addresses its other end has, in the pod's network namespace, the kernel tells
by that namespace's number. `enforcer.kernel.bridge_table` asks.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from ipaddress import ip_address
from socket import socket

from enforcer.errors import KernelError
from enforcer.netlink.messages import DUMP, ERROR, REQUEST, Message, attribute, attributes, message, messages
from enforcer.netlink.sockets import INTERRUPTED, RECEIVE, ROUTE, answers, enlarge, error_code, open_socket
from enforcer.node.bridge_netfilter import way_out
from enforcer.node.uplinks import Link, link_of, links_of
from enforcer.rules.chains.bridge_table import Station, Surroundings
from zones.net import IPAddress

_LINKS = 0x1  # the group of announcements
_ROOM = 2**20
_SOL_NETLINK, _STRICT = 270, 12
_NEW_LINK, _DELETE_LINK, _GET_LINK, _NEW_ADDRESS, _GET_ADDRESS = 16, 17, 18, 20, 22
_LINK_HEADER, _ADDRESS_HEADER = 16, 8
_ADDRESS, _LOCAL, _ADDRESS_ELSEWHERE, _LINK_ELSEWHERE = 1, 2, 10, 46
_GONE = frozenset((errno.ENODEV, errno.EINVAL, errno.ENOENT, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP))
_ANYTHING = 4  # of octets in a number

Pods = Mapping[str, frozenset[IPAddress]]
"""The addresses of each pod of this node, by its uid."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the other end of a port has, as its namespace tells. Whose it is, the API server alone says."""

    addresses: frozenset[IPAddress]
    mac: str = ""

    @property
    def near(self) -> frozenset[IPAddress]:
        return frozenset(at for at in self.addresses if at.is_link_local)


@dataclass(frozen=True, slots=True)
class _Bond:
    """A port's pod, for as long as the port is there: nobody else ever gets the port, but the same pod made anew."""

    pod: str
    evidence: frozenset[IPAddress]
    claim: Claim


@dataclass(frozen=True, slots=True)
class PortSurvey:
    """What a look saw. `unknown`: ports whose pod is not known.

    `unplaced`: pods that are behind a bridge, of which no port is known; `disputed`: those that several ports claim.
    """

    around: Surroundings | None = None
    unknown: tuple[str, ...] = ()
    unplaced: tuple[str, ...] = ()
    disputed: tuple[str, ...] = ()


@dataclass(slots=True)
class BridgePorts:
    """Remembers which pod a port was found to lead to, until the port is gone."""

    _bonds: dict[int, _Bond] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)
    _socket: socket = field(default_factory=lambda: open_socket(ROUTE, _LINKS))

    def __post_init__(self) -> None:
        enlarge(self._socket, _ROOM)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Readable when a link changed."""
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def stirred(self) -> bool:
        """Whether a port came, changed or went since this was asked last."""
        stirred = False
        while True:
            try:
                stirred = any(map(self._matters, messages(self._socket.recv(RECEIVE)))) or stirred
            except BlockingIOError:
                return stirred
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise KernelError(f"hearing of bridges' ports: {error.strerror}") from error
                stirred = True

    def _matters(self, message: Message) -> bool:
        if message.kind not in {_NEW_LINK, _DELETE_LINK}:
            return False
        link = link_of(message.body)
        return link is not None and (link.master > 0 or link.kind == "bridge" or link.index in self._names)

    def look(
        self, pods: Pods, uplinks: Iterable[str], own: Iterable[IPAddress], former: Iterable[Station]
    ) -> PortSurvey:
        """`own`: this machine's addresses; `former`: what an agent before this one knew. Raises KernelError."""
        with closing(open_socket(ROUTE)) as channel:
            channel.setsockopt(_SOL_NETLINK, _STRICT, 1)
            enlarge(channel, _ROOM)
            return self._looked(channel, pods, frozenset(uplinks), own, former)

    def _looked(
        self,
        channel: socket,
        pods: Pods,
        uplinks: frozenset[str],
        own: Iterable[IPAddress],
        former: Iterable[Station],
    ) -> PortSurvey:
        links = list(links_of(channel))
        bridges = {link.index: link for link in links if link.kind == "bridge" and link.name not in uplinks}
        ports = {link.index: link for link in links if link.master in bridges and link.name not in uplinks}
        self._names = {index: link.name for index, link in ports.items()}
        self._bonds = {index: bond for index, bond in self._bonds.items() if index in ports}
        if not any(link.namespace >= 0 for link in ports.values()):
            return PortSurvey()
        missing = {uid: at for uid, at in pods.items() if not self._placed(uid, at)}
        missing = {
            uid: at for uid, at in missing.items() if any(way_out(channel, address) in bridges for address in at)
        }
        disputed = self._bind(channel, ports, pods, missing, former) if missing else ()
        bound = [(index, bond) for index, bond in self._bonds.items() if self._holds(bond, pods)]
        stations = tuple(
            Station(ports[index].name, pods[bond.pod], index, bond.claim.near, bond.claim.mac) for index, bond in bound
        )
        masters = {link.index for link in links if link.kind == "bridge"} - bridges.keys()
        passed = uplinks | {link.name for link in links if link.master in masters}
        near = frozenset[IPAddress]().union(
            *(at for index in bridges if (at := _addresses(channel, index, None)) is not None)
        )
        around = Surroundings(
            tuple(sorted(passed)),
            stations,
            frozenset(own) | near,
            frozenset(_mac(link.hardware) for link in bridges.values()),
        )
        known = {index for index, _ in bound}
        unknown = tuple(sorted(link.name for index, link in ports.items() if index not in known))
        placed = {bond.pod for _, bond in bound}
        unplaced = tuple(uid for uid in missing if uid not in placed)
        return PortSurvey(around, unknown, unplaced, disputed)

    def _holds(self, bond: _Bond, pods: Pods) -> bool:
        return not bond.evidence.isdisjoint(pods.get(bond.pod, ()))

    def _placed(self, uid: str, addresses: frozenset[IPAddress]) -> bool:
        return any(bond.pod == uid and not bond.evidence.isdisjoint(addresses) for bond in self._bonds.values())

    def _bind(
        self,
        channel: socket,
        ports: Mapping[int, Link],
        pods: Pods,
        missing: Pods,
        former: Iterable[Station],
    ) -> tuple[str, ...]:
        """Find the ports of these pods. Those that remain in dispute."""
        free = {index: link for index, link in ports.items() if link.namespace >= 0 and not self._is_taken(index, pods)}
        claims = {index: claim for index, link in free.items() if (claim := _claim(channel, link)) is not None}
        before = {station.port: station.addresses for station in former}
        candidates = {
            uid: {index for index, claim in claims.items() if not claim.addresses.isdisjoint(addresses)}
            for uid, addresses in missing.items()
        }
        for uid, indexes in candidates.items():
            remembered = {at for at in indexes if not missing[uid].isdisjoint(before.get(ports[at].name, ()))}
            fresh = {at for at in indexes if at not in self._bonds}
            candidates[uid] = remembered if len(remembered) == 1 else fresh or indexes
        for uid, index in matched(candidates):
            claim = claims[index]
            self._bonds[index] = _Bond(uid, claim.addresses & missing[uid], claim)
            del candidates[uid]
        return tuple(uid for uid, indexes in candidates.items() if indexes)

    def _is_taken(self, index: int, pods: Pods) -> bool:
        return index in self._bonds and self._holds(self._bonds[index], pods)


def matched(candidates: Mapping[str, set[int]]) -> Iterator[tuple[str, int]]:
    """Pods and their ports, as far as they follow: a pod has one port, a port has one pod.

    Where one port alone may be a pod's, it is; it is no other pod's then.
    """
    left = {uid: set(indexes) for uid, indexes in candidates.items()}
    while True:
        sole = {uid: next(iter(indexes)) for uid, indexes in left.items() if len(indexes) == 1}
        owners: dict[int, list[str]] = {}
        for uid, index in sole.items():
            owners.setdefault(index, []).append(uid)
        sure = [(uids[0], index) for index, uids in owners.items() if len(uids) == 1]
        if not sure:
            return
        yield from sure
        taken = {index for _, index in sure}
        left = {uid: indexes - taken for uid, indexes in left.items() if uid not in dict(sure)}


def _claim(channel: socket, link: Link) -> Claim | None:
    """None where the port is gone, or its other end can't be looked at."""
    addresses = _addresses(channel, link.peer, link.namespace)
    elsewhere = attribute(_LINK_ELSEWHERE, link.namespace.to_bytes(4, sys.byteorder))
    peer = _link(channel, link.peer, elsewhere)
    now = _link(channel, link.index)  # a number of a namespace that went may be another's by now
    if addresses is None or peer is None or now is None or (now.namespace, now.peer) != (link.namespace, link.peer):
        return None
    return Claim(addresses, _mac(peer.hardware))


def _addresses(channel: socket, index: int, namespace: int | None) -> frozenset[IPAddress] | None:
    """Of a link. None where there is none, or the list was cut short."""
    head = bytes(_ANYTHING) + index.to_bytes(4, sys.byteorder)
    where = b"" if namespace is None else attribute(_ADDRESS_ELSEWHERE, namespace.to_bytes(4, sys.byteorder))
    channel.send(message(_GET_ADDRESS, REQUEST | DUMP, 1, head + where))
    addresses, complete = set[IPAddress](), True
    for answer in answers(channel):
        if answer.kind == ERROR or (answer.done and error_code(answer)):
            if error_code(answer) not in _GONE:
                raise KernelError(f"listing addresses of link {index}: {errno.errorcode.get(error_code(answer))}")
            return None
        complete = complete and not answer.flags & INTERRUPTED
        if answer.done:
            return frozenset(addresses) if complete else None
        if answer.kind == _NEW_ADDRESS and int.from_bytes(answer.body[4:8], sys.byteorder) == index:
            fields = attributes(answer.body, start=_ADDRESS_HEADER)
            addresses.add(ip_address(fields.get(_LOCAL) or fields[_ADDRESS]))
    return None


def _link(channel: socket, index: int, *where: bytes) -> Link | None:
    head = bytes(_ANYTHING) + index.to_bytes(4, sys.byteorder) + bytes(_LINK_HEADER - 8)
    channel.send(message(_GET_LINK, REQUEST, 1, head + b"".join(where)))
    answer = next(answers(channel))
    return None if answer.kind == ERROR else link_of(answer.body)


def _mac(hardware: bytes) -> str:
    return hardware.hex(":")
