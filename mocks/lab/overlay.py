"""A VXLAN between nodes, laid by hand as flanneld lays it: another node's pods are behind the end of a tunnel there.

A node's own packets to them have the tunnel's address as their source, which no Node object lists.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from mocks.lab.addresses import Place
from mocks.lab.machines import Node
from mocks.lab.wiring import configure

PORT = 8472
LINKS = {4: "flannel.1", 6: "flannel-v6.1"}


def tunnel_of(node: Node) -> Place:
    """The addresses of a node's end: the first of its pod networks, which no pod ever gets."""
    first, first6 = (ipaddress.ip_network(each).network_address for each in (node.pod_cidr, node.pod_cidr6))
    return Place(str(first), str(first6))


def vxlan(nodes: Sequence[Node]) -> None:
    """Lay it between these nodes. Their pods are reached through it from now on."""
    for number, node in enumerate(nodes, 1):
        _make_ends(node, number)
    for node in nodes:
        for number, other in enumerate(nodes, 1):
            if other is not node:
                _introduce(node, other, number)


def _make_ends(node: Node, number: int) -> None:
    place, kind = tunnel_of(node), f"type vxlan id 1 dev eth0 dstport {PORT} nolearning"
    for version, local, own, length in ((4, node.ip, place.ip, 32), (6, node.ip6, place.ip6, 128)):
        link = LINKS[version]
        configure(
            node.netns,
            f"link add {link} address {_mac(version, number)} {kind} local {local}",
            f"link set {link} up",
            f"address add {own}/{length} dev {link}",
        )


def _introduce(node: Node, other: Node, number: int) -> None:
    place = tunnel_of(other)
    for version, cidr, end, at in (
        (4, other.pod_cidr, place.ip, other.ip),
        (6, other.pod_cidr6, place.ip6, other.ip6),
    ):
        link, mac = LINKS[version], _mac(version, number)
        configure(
            node.netns,
            f"neigh replace {end} lladdr {mac} dev {link} nud permanent",
            f"route del {cidr}",
            f"route add {cidr} via {end} dev {link} onlink",
        )
        node.netns.require(["bridge", "fdb", "append", mac, "dev", link, "dst", at])


def _mac(version: int, number: int) -> str:
    return f"02:00:00:00:0{version}:{number:02x}"
