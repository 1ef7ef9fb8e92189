"""What enforcement costs a packet between two pods of one bridge, with and without the table that holds ports to pods.

One node; the tables are put to sleep and woken by turns. A table that only tracks connections is always awake.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from ipaddress import IPv4Address, ip_network

from enforcer.kernel.reconcile import Reconciler
from enforcer.netlink.messages import ACK, BRIDGE, INET, NFTABLES, REQUEST, messages, netfilter, number, text
from enforcer.rules.chains import bridge_table
from enforcer.rules.members.address_delta import AddressDelta
from enforcer.rules.ruleset import TABLE
from mocks.lab import Lab
from mocks.lab.machines import Node, Pod
from tests.bench.enforcer.turns import compared, costs
from tests.bench.enforcer.wire import BATCH, MAC, NOW, Burst, Wire, udp_frame
from tests.bench.figures import Figure
from tests.enforcer.frames import mac, octets
from zones.addresses import inventory
from zones.policy import Entry, Policy, Verdict, usual_infrastructure
from zones.rules import Origin
from zones.zone import ANY_ZONE, Zoning

ROUNDS, LATER_ROUNDS, CONNECTIONS = 40, 2000, 5_000
BARE, AGAIN, RULES, BOTH = "bare", "again", "rules", "rules and ports"
_AWAKE = {BARE: (), AGAIN: (), RULES: (TABLE,), BOTH: (TABLE, bridge_table.TABLE)}
_FAMILIES = {TABLE: INET, bridge_table.TABLE: BRIDGE}
_BEGIN, _END, _ASLEEP = 16, 17, 1
_SINK = "table ip sink { chain everything { type filter hook prerouting priority -300; policy drop; }; }"


def figures() -> Iterator[Figure]:
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("benchb"))
        node = lab.node("n1", bridge=True)
        client, server = node.pod("p0"), node.pod("p1")
        server.nft(_SINK)
        with node.netns.inside():
            channel = stack.enter_context(closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)))
        with client.netns.inside():
            line = stack.enter_context(closing(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)))
        line.bind(("eth0", 0))
        wire = Wire("bridged", client.netns, node.netns, server.netns, line, channel, stack)
        _enforce(node, (client, server), stack)
        burst = _burst(client, server)
        found = costs({each: partial(_first, wire, burst, each) for each in _AWAKE}, ROUNDS)
        yield from _ratios("first packet", found)
        _only(wire, BOTH)
        wire.forget()
        wire.send(burst)
        found = costs({each: partial(_later, wire, burst, each) for each in _AWAKE}, LATER_ROUNDS)
        yield from _ratios("later packets", found)


def _ratios(what: str, found: dict[str, list[float]]) -> Iterator[Figure]:
    for name in (AGAIN, RULES, BOTH):
        yield from compared(f"{what} on a bridge, {name}", found[BARE], found[name])


def _enforce(node: Node, pods: tuple[Pod, Pod], stack: ExitStack) -> None:
    held = {
        pod.name: inventory.Pod(
            uid=pod.name, namespace="shop", name=pod.name, node="n1", phase="Running",
            addresses=(IPv4Address(pod.ip),), labels={"zonebridge.io/zone": zone}, workload=pod.name,
            allowed=frozenset({ANY_ZONE}),
        )
        for pod, zone in zip(pods, ("web", "data"), strict=True)
    }  # fmt: skip
    nodes = {"n1": inventory.Node("n1", (IPv4Address(node.ip),), (ip_network(node.pod_cidr),))}
    allowed = Entry(Origin("all", None, "pre", "dg"), Verdict.ALLOW)
    infrastructure = usual_infrastructure(*[frozenset({"kube-system"})] * 2, frozenset({"coredns"}))
    with node.netns.inside():
        reconciler = Reconciler("n1")
        stack.callback(reconciler.stop)
        applied = reconciler.apply(
            Policy(Zoning(), infrastructure, (allowed,)), AddressDelta.of(inventory.Inventory(held, nodes)), NOW
        )
    if applied.problems or applied.stations.known != len(pods):
        raise RuntimeError(f"bridged: {applied.problems}, {applied.stations}")


def _burst(client: Pod, server: Pod) -> Burst:
    head = b"".join(octets(mac(pod)) for pod in (server, client))
    ports = itertools.islice(itertools.count(10_000), CONNECTIONS)
    frames = [udp_frame(IPv4Address(client.ip), port, IPv4Address(server.ip), 80) for port in ports]
    skip = 2 * len(bytes.fromhex(MAC.replace(":", "")))
    return Burst([head + frame[skip:] for frame in frames])


def _first(wire: Wire, burst: Burst, awake: str) -> float:
    _only(wire, awake)
    wire.forget()
    cost = wire.send(burst)
    if (tracked := wire.tracked()) < burst.many:
        raise RuntimeError(f"{awake}: of {burst.many} connections {tracked} were allowed")
    return cost


def _later(wire: Wire, burst: Burst, awake: str) -> float:
    _only(wire, awake)
    return wire.send(burst, BATCH)


def _only(wire: Wire, awake: str) -> None:
    batch = netfilter(_BEGIN, REQUEST, 0, 0, NFTABLES)
    for sequence, (name, family) in enumerate(_FAMILIES.items(), 1):
        flags = number(2, 0 if name in _AWAKE[awake] else _ASLEEP)
        batch += netfilter(NFTABLES << 8, REQUEST | ACK, sequence, family, 0, text(1, name), flags)
    batch += netfilter(_END, REQUEST, len(_FAMILIES) + 1, 0, NFTABLES)
    wire.channel.send(batch)
    told = [answer.body[:4] for _ in _FAMILIES for answer in messages(wire.channel.recv(4096))]
    if told != [bytes(4)] * len(_FAMILIES):
        raise RuntimeError(f"{awake}: the tables can't be woken so")
