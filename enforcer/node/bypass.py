"""Signs that what pods send passes by netfilter, where no rule of ours sees it: other data planes on this node.

It looks at links, queueing disciplines, ingress chains and flowtables, and changes nothing. `enforcer.service` asks
through `enforcer.wiring`; `enforcer.node_check` looks at uplinks too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from socket import socket
from sys import byteorder

from enforcer.errors import KernelError
from enforcer.netlink.messages import DUMP, NFTABLES, REQUEST, attributes, message, netfilter
from enforcer.netlink.sockets import NETFILTER, ROUTE, answers, open_socket
from enforcer.node.uplinks import Link, links_of

_GET_DISCIPLINE, _NEW_DISCIPLINE, _DISCIPLINE_HEADER, _DISCIPLINE_KIND = 38, 36, 20, 1
_GET_CHAIN, _NETDEV, _TABLE, _HOOK, _DEVICE, _DEVICES, _DEVICE_NAME = NFTABLES << 8 | 4, 5, 1, 4, 3, 4, 1
_GET_FLOWTABLE, _FLOWTABLE_TABLE, _FLOWTABLE_NAME = NFTABLES << 8 | 23, 1, 2
_AT_INGRESS = frozenset(("clsact", "ingress"))
_NAMES = {
    "cilium_host": "Cilium",
    "cilium_net": "Cilium",
    "bpfin.cali": "Calico's eBPF data plane",
    "bpfout.cali": "Calico's eBPF data plane",
    "ovs-system": "Open vSwitch",
    "antrea-gw0": "Antrea",
}
_KINDS = {
    "openvswitch": "Open vSwitch",
    "ipvlan": "ipvlan",
    "macvlan": "macvlan",
    "macvtap": "macvlan",
    "netkit": "netkit",
}


def problems(uplinks: Iterable[str]) -> list[str]:
    """Of the links that lead to pods. Raises nothing: what can't be found out is no problem."""
    try:
        with closing(open_socket(ROUTE)) as routes, closing(open_socket(NETFILTER)) as tables:
            links = list(links_of(routes))
            texts = [*_problems(links, dict(_disciplines(routes)), set(_ingress(tables)), frozenset(uplinks))]
            return sorted([*texts, *_shortcuts(_flowtables(tables))])
    except (KernelError, OSError):
        return []


def _problems(
    links: list[Link], disciplines: dict[int, str], ingress: set[str], uplinks: frozenset[str]
) -> Iterator[str]:
    """One for each kind of sign."""
    names = {link.name for link in links}
    planes = {plane for name, plane in _NAMES.items() if name in names}
    planes |= {_KINDS[link.kind] for link in links if link.kind in _KINDS and link.name not in uplinks}
    for plane in sorted(planes):
        yield f"{plane} is on this node: what it takes from pods itself comes to no rule, and may not be enforced"
    to_pods = [link for link in links if link.kind == "veth" and link.name not in uplinks]
    for what, concerned in (
        ("a program or filter at the ingress (tc)", [link.name for link in to_pods if link.index in disciplines]),
        ("a chain of nftables at the ingress (netdev)", [link.name for link in to_pods if link.name in ingress]),
        ("an XDP program", [link.name for link in to_pods if link.xdp]),
    ):
        if concerned:
            yield (
                f"{len(concerned)} links of pods (such as {min(concerned)}) have {what}: what that sends on comes to "
                "no rule, and may not be enforced"
            )


def _shortcuts(flowtables: Iterable[str]) -> Iterator[str]:
    names = sorted(flowtables)
    if names:
        yield (
            f"the flowtable {names[0]} takes connections past the rules once they are established: "
            "what a later revision denies goes on in it; remove it, or the option that makes it"
        )


def of_uplinks(uplinks: Iterable[str]) -> list[str]:
    """Uplinks with a program before the kernel's own way. Many only drop or count, so it is for people to judge."""
    try:
        with closing(open_socket(ROUTE)) as routes:
            names = frozenset(uplinks)
            return sorted(link.name for link in links_of(routes) if link.name in names and link.xdp)
    except (KernelError, OSError):
        return []


def _flowtables(channel: socket) -> Iterator[str]:
    channel.send(netfilter(_GET_FLOWTABLE, REQUEST | DUMP, 1, 0, 0))
    for answer in answers(channel):
        if answer.done:
            return
        fields = attributes(answer.body)
        if _FLOWTABLE_NAME in fields:
            yield " ".join(fields[kind].rstrip(b"\0").decode() for kind in (_FLOWTABLE_TABLE, _FLOWTABLE_NAME))


def _disciplines(channel: socket) -> Iterator[tuple[int, str]]:
    channel.send(message(_GET_DISCIPLINE, REQUEST | DUMP, 1, bytes(_DISCIPLINE_HEADER)))
    for answer in answers(channel):
        if answer.done:
            return
        kind = attributes(answer.body, _DISCIPLINE_HEADER).get(_DISCIPLINE_KIND, b"").rstrip(b"\0").decode()
        if answer.kind == _NEW_DISCIPLINE and kind in _AT_INGRESS:
            yield int.from_bytes(answer.body[4:8], byteorder), kind


def _ingress(channel: socket) -> Iterator[str]:
    """The links that have a chain at their ingress."""
    channel.send(netfilter(_GET_CHAIN, REQUEST | DUMP, 1, _NETDEV, 0))
    for answer in answers(channel):
        if answer.done:
            return
        hook = attributes(attributes(answer.body).get(_HOOK, b""), 0)
        if _DEVICE in hook:
            yield hook[_DEVICE].rstrip(b"\0").decode()
        devices = hook.get(_DEVICES, b"")
        at = 0
        while at + 4 <= len(devices):
            length = max(4, int.from_bytes(devices[at : at + 2], byteorder))
            yield devices[at + 4 : at + length].rstrip(b"\0").decode()
            at += (length + 3) & ~3
