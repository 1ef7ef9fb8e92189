"""Who has an address, by real connections: what the API server's objects say of it decides what its packets may."""

import socket
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from ipaddress import ip_address

import pytest

from enforcer.cluster.view import ObjectPage, View, WatchedKind
from enforcer.netlink import sockets
from mocks.lab import Lab, Outcome, Probe, measure, overlay, unavailable
from tests.enforcer.world import World
from zones.addresses.inventory import Node
from zones.policy import Entry, Policy, Verdict, usual_infrastructure
from zones.rules import Log, Origin
from zones.zone import Zoning

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module", params=["routed", "bridged"])
def stage(request):
    """The world, and the agent on its node n1."""
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with ExitStack() as stack:
        world = World(stack.enter_context(Lab("whose")), bridge=request.param == "bridged")
        yield world, stack.enter_context(world.enforcing())


def allowing(*pairs):
    """These pairs of zones, and nothing else."""
    allow = [
        Entry(
            Origin(f"{one} to {other}", None, "pre", "dg"),
            Verdict.ALLOW,
            from_zones=frozenset({one}),
            to_zones=frozenset({other}),
        )
        for one, other in pairs
    ]
    deny = Entry(Origin("the rest", None, "default", "Shared"), Verdict.DENY, log=Log(start=True))
    return Policy(
        Zoning(),
        usual_infrastructure(frozenset({"kube-system"}), frozenset({"kube-system"}), frozenset({"kube-dns"})),
        (*allow, deny),
    )


def outcomes(source, target, expected, port=80):
    """Of TCP and UDP over both families. What is to come about may take its time on a busy machine."""
    tries = [Probe(source, ip, port, each) for each in ("tcp", "udp") for ip in (target.ip, target.ip6)]
    return set(measure(tries, 20.0 if expected is Outcome.ALLOWED else 1.0))


def test_a_new_pod_has_the_zone_of_its_own_though_a_lost_node_still_lists_its_address(stage):
    """As where a machine ended and its pods' addresses were given out again, while its objects are still there."""
    world, node = stage
    p0, p1 = world.machines["p0"], world.machines["p1"]
    stale = world.pod("q0", "data", addresses=world.pod("p0").addresses, terminating=True)
    held = world.inventory(world.pod("p0", "web"), world.pod("p1", "app"), stale)
    without_networks = {name: Node(name, each.addresses) for name, each in held.nodes.items()}
    heard_of = replace(held, nodes=without_networks)
    lost = replace(held, nodes=without_networks | {"n2": replace(without_networks["n2"], ready=False)})
    gone = replace(held, nodes={"n1": without_networks["n1"]})
    policy = allowing(("web", "app"))
    for inventory, expected in ((heard_of, False), (lost, True), (heard_of, False), (gone, True)):
        node.enforce(policy, inventory)
        wanted = Outcome.ALLOWED if expected else Outcome.TIMEOUT
        assert outcomes(p0, p1, wanted) == {wanted}


@pytest.fixture(scope="module")
def overlaid():
    """Two nodes with a VXLAN between them, a pod behind a node port of the other one; the agent on n1."""
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with ExitStack() as stack:
        world = World(stack.enter_context(Lab("vxlan")))
        overlay.vxlan([world.n1, world.n2])
        for transport in ("tcp", "udp"):
            world.lab.service(80, [world.machines["p2"]], node_port=30080, transport=transport)
        yield world, stack.enter_context(world.enforcing())


def with_tunnels(inventory, world):
    """As each node's agent finds them among the machine's own addresses, and tells the others."""
    nodes = {}
    for machine in (world.n1, world.n2):
        node = inventory.nodes[machine.name]
        view = View("panorama", node=machine.name)
        view.fold(ObjectPage(WatchedKind.NODES, [raw_node(each) for each in inventory.nodes.values()]))
        with machine.netns.inside():
            nodes[machine.name] = replace(node, tunnels=view.tunnel_ends(sockets.local_addresses()))
    return replace(inventory, nodes=nodes)


def raw_node(node):
    addresses = [{"type": "InternalIP", "address": str(address)} for address in node.addresses]
    spec = {"podCIDRs": [str(cidr) for cidr in node.pod_cidrs]}
    return {"metadata": {"name": node.name, "uid": node.name}, "spec": spec, "status": {"addresses": addresses}}


def test_the_end_of_a_tunnel_is_its_node(overlaid):
    """Another node to a pod, and a node port of another node that is answered here: both come from the tunnel's end."""
    world, node = overlaid
    p2, n2 = world.machines["p2"], world.machines["n2"]
    plain = world.inventory(world.pod("p2", "data"))
    told = with_tunnels(plain, world)
    tunnel = overlay.tunnel_of(world.n2)
    assert {str(each) for each in told.nodes["n2"].tunnels} == {tunnel.ip, tunnel.ip6}
    for inventory, pairs, wanted in (
        (told, [("nodes", "data")], Outcome.ALLOWED),
        (plain, [("nodes", "data")], Outcome.TIMEOUT),
        (told, [("outside", "data")], Outcome.TIMEOUT),
    ):
        node.enforce(allowing(*pairs), inventory)
        assert outcomes(n2, p2, wanted) == {wanted}
        assert outcomes(world.machines["corp"], n2, wanted, port=30080) == {wanted}


def test_pods_on_both_sides_of_a_tunnel_are_themselves(overlaid):
    world, node = overlaid
    q0, p2 = world.machines["q0"], world.machines["p2"]
    told = with_tunnels(world.inventory(world.pod("p2", "data"), world.pod("q0", "web")), world)
    for pair, wanted in ((("web", "data"), Outcome.ALLOWED), (("nodes", "data"), Outcome.TIMEOUT)):
        node.enforce(allowing(pair), told)
        assert outcomes(q0, p2, wanted) == {wanted}
    node.enforce(allowing(("nodes", "web")), told)
    assert outcomes(world.machines["n1"], q0, Outcome.ALLOWED) == {Outcome.ALLOWED}
    assert outcomes(p2, q0, Outcome.TIMEOUT) == {Outcome.TIMEOUT}


FAMILIES = (socket.AF_INET, "ip", 0x0800, 20), (socket.AF_INET6, "ip6", 0x86DD, 40)


@pytest.mark.parametrize(("family", "kind", "ethertype", "header"), FAMILIES, ids=["IPv4", "IPv6"])
def test_nobody_has_what_goes_through_a_tunnel_sent_to_him_by_talking_from_its_port(
    overlaid, family, kind, ethertype, header
):
    """The network plug-in hides a pod that talks to a node behind its own, and keeps its port, the tunnel's.

    What the other node's tunnel then sends for pods here would be the answer to that pod.
    """
    world, node = overlaid
    p0, p2, q0 = (world.machines[name] for name in ("p0", "p2", "q0"))
    pods = world.pod("p0", "web"), world.pod("p2", "data"), world.pod("q0", "data")
    node.enforce(allowing(("web", "nodes"), ("data", "data")), with_tunnels(world.inventory(*pods), world))
    world.n1.masquerade(*(cidr for each in (world.n1, world.n2) for cidr in (each.pod_cidr, each.pod_cidr6)))
    try:
        with ExitStack() as stack:
            server, client, thief = (
                stack.enter_context(bound(family, machine, getattr(machine, kind), port))
                for machine, port in ((p2, 7777), (q0, 5555), (p0, overlay.PORT))
            )
            with world.n1.netns.inside():
                wire = stack.enter_context(closing(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)))
            wire.settimeout(5)
            wire.bind(("eth0", ethertype))
            client.sendto(b"first", (getattr(p2, kind), 7777))
            assert server.recv(100) == b"first"
            port = tunnels_port(wire, header)
            world.n1.netns.require(["conntrack", "-D", "-p", "udp", "-f", f"ipv{4 if family is socket.AF_INET else 6}"])
            thief.sendto(b"x", (getattr(world.n2, kind), port))
            client.sendto(b"second", (getattr(p2, kind), 7777))
            assert server.recv(100) == b"second"
            with pytest.raises(TimeoutError):
                thief.recv(100)
    finally:
        world.n1.masquerade()


def tunnels_port(wire, header):
    """From which port the other node's tunnel has sent, by the packets on a link. `header`: octets before UDP's."""
    while True:
        packet = wire.recv(2000)[header:]
        source, to = int.from_bytes(packet[:2], "big"), int.from_bytes(packet[2:4], "big")
        if to == overlay.PORT:
            return source


@contextmanager
def bound(family, machine, address, port):
    """A datagram socket of a machine's."""
    with machine.netns.inside():
        made = socket.socket(family, socket.SOCK_DGRAM)
    with closing(made):
        made.settimeout(1)
        made.bind((address, port))
        yield made


def test_only_the_machines_real_addresses_are_its_own_whatever_its_node_says(stage):
    """A host outside that the Node object lists is no probe: it doesn't reach every pod of the node."""
    world, node = stage
    corp, p2 = world.machines["corp"], world.machines["p2"]
    inventory = world.inventory(world.pod("p2", "data"))
    own = inventory.nodes["n1"]
    listed = replace(own, addresses=(*own.addresses, ip_address(corp.ip), ip_address(corp.ip6)))
    for pairs, wanted in (([], Outcome.TIMEOUT), ([("nodes", "data")], Outcome.ALLOWED)):
        node.enforce(allowing(*pairs), inventory.with_node(listed))
        assert outcomes(corp, p2, wanted) == {wanted}
        assert outcomes(world.n1, p2, Outcome.ALLOWED) == {Outcome.ALLOWED}, "the node itself always reaches its pods"
    silent = replace(own, addresses=())
    node.enforce(allowing(), inventory.with_node(silent))
    assert outcomes(world.n1, p2, Outcome.ALLOWED) == {Outcome.ALLOWED}, "also where its Node lists nothing"
