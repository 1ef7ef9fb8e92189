"""Whether what a bridge passes on between two pods of this node comes to our rules at all, and what to do where not.

It looks at routes, links and two settings of the kernel, and changes none. `enforcer.service` asks through
`enforcer.wiring`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET, AF_INET6, socket

from enforcer.errors import KernelError
from enforcer.netlink.messages import ERROR, REQUEST, attribute, attributes, message
from enforcer.netlink.sockets import ROUTE, answers, open_socket
from enforcer.node.uplinks import links_of
from zones.net import IPAddress

_GET_LINK, _GET_ROUTE = 18, 26
_LINK_HEADER, _ROUTE_HEADER = 16, 12
_DESTINATION, _OUT = 1, 4
_NAME, _INFO, _KIND, _DATA = 3, 18, 1, 2
_SETTINGS = Path("/proc/sys/net/bridge")
_SETTING = {4: "bridge-nf-call-iptables", 6: "bridge-nf-call-ip6tables"}
_OF_BRIDGE = {4: 36, 6: 37}  # the same, of one bridge


@dataclass(frozen=True, slots=True)
class _Bridge:
    name: str
    shows: frozenset[int]  # IP versions, by the bridge's own settings


def problems(addresses: Iterable[IPAddress]) -> list[str]:
    """For pods of this node. Raises nothing: what can't be found out is no problem."""
    try:
        with closing(open_socket(ROUTE)) as channel:
            return list(_problems(channel, addresses))
    except (KernelError, OSError):
        return []


def of_this_node() -> list[str]:
    """For whatever bridges there are that carry a pod's link. Raises nothing, as above."""
    try:
        with closing(open_socket(ROUTE)) as channel:
            carrying = {link.master for link in links_of(channel) if link.kind == "veth" and link.master}
        with closing(open_socket(ROUTE)) as channel:
            bridges = [bridge for index in sorted(carrying) if (bridge := _bridge(channel, index)) is not None]
    except (KernelError, OSError):
        return []
    hidden = {
        f"the bridge {bridge.name} shows netfilter nothing of its pods' IPv{version}: {_missing(version)}": None
        for bridge in bridges
        for version in _SETTING
        if version not in bridge.shows and _missing(version)
    }
    return list(hidden)


def _problems(channel: socket, addresses: Iterable[IPAddress]) -> Iterator[str]:
    bridges: dict[int, _Bridge | None] = {}
    carried: dict[tuple[str, int], int] = {}
    for address in addresses:
        index = way_out(channel, address)
        if index not in bridges:
            bridges[index] = _bridge(channel, index)
        bridge = bridges[index]
        if bridge is not None and address.version not in bridge.shows:
            where = bridge.name, address.version
            carried[where] = carried.get(where, 0) + 1
    for (name, version), many in sorted(carried.items()):
        what = _missing(version)
        if what:
            yield (
                f"the bridge {name} shows netfilter nothing of what its pods ({many} now) send each other by "
                f"IPv{version}: no rule is enforced there; {what}"
            )


def _missing(version: int) -> str:
    """What to do, so that bridges show their packets; nothing where they do."""
    name = _SETTING[version]
    try:
        shown = (_SETTINGS / name).read_text().strip() != "0"
    except FileNotFoundError:
        return f"load the kernel module br_netfilter on this node, and set net.bridge.{name}=1"
    return "" if shown else f"set net.bridge.{name}=1 on this node"


def way_out(channel: socket, address: IPAddress) -> int:
    """The index of the link that leads to an address; 0 where none does."""
    family = AF_INET if address.version == 4 else AF_INET6  # noqa: PLR2004 - the version
    head = bytes([family, address.max_prefixlen]) + bytes(_ROUTE_HEADER - 2)
    route = _asked(channel, _GET_ROUTE, head + attribute(_DESTINATION, address.packed))
    return 0 if route is None else int.from_bytes(attributes(route, _ROUTE_HEADER).get(_OUT, b""), sys.byteorder)


def _bridge(channel: socket, index: int) -> _Bridge | None:
    """A link, where it is one."""
    head = bytes(4) + index.to_bytes(4, sys.byteorder) + bytes(_LINK_HEADER - 8)
    link_body = _asked(channel, _GET_LINK, head) if index else None
    if link_body is None:
        return None
    link = attributes(link_body, _LINK_HEADER)
    info = attributes(link.get(_INFO, b""), 0)
    if info.get(_KIND, b"").rstrip(b"\0") != b"bridge":
        return None
    own = attributes(info.get(_DATA, b""), 0)
    shows = frozenset(version for version, kind in _OF_BRIDGE.items() if any(own.get(kind, b"")))
    return _Bridge(link.get(_NAME, b"?").rstrip(b"\0").decode(), shows)


def _asked(channel: socket, kind: int, body: bytes) -> bytes | None:
    channel.send(message(kind, REQUEST, 1, body))
    answer = next(answers(channel))
    return None if answer.kind == ERROR else answer.body
