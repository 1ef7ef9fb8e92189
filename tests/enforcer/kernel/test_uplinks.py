"""Which links lead to pods of this node and which don't, on the machines that there are."""

from ipaddress import ip_address, ip_network

import pytest

from enforcer.node.uplinks import Link, Neighbours, Route, Uplinks, uplink_names
from mocks.lab import Lab, unavailable
from mocks.lab.wiring import configure
from zones.net import AddressSet

PODS = ("10.244.1.2", "10.244.1.3", "fd00:10:244:1::2")
AROUND = Neighbours(
    frozenset(map(ip_address, ("192.168.50.11", "10.9.0.7"))),
    frozenset(map(ip_address, PODS)),
    AddressSet.parse(["10.244.0.0/16", "fd00:10:244::/48"]),
)
ETH0 = Link(2, "eth0")
DEFAULT = ("0.0.0.0/0", 2, "192.168.50.1")


def ways(*told):
    return [Route(ip_network(to), link, ip_address(via[0]) if via else None) for to, link, *via in told]


@pytest.mark.parametrize(
    ("links", "routes", "expected"),
    {
        "a device and veths": (
            [ETH0, Link(3, "veth1", "veth"), Link(4, "veth2", "veth")],
            [DEFAULT, ("10.244.1.2/32", 3), ("10.244.1.3/32", 4)],
            ["eth0"],
        ),
        "pods on a bridge, containers of others on a second": (
            [ETH0, Link(3, "cni0", "bridge"), Link(4, "docker0", "bridge"), Link(5, "veth1", "veth", master=3)],
            [DEFAULT, ("10.244.1.0/24", 3), ("172.17.0.0/16", 4)],
            ["eth0"],
        ),
        "a node that is itself a container": (
            [Link(2, "eth0", "veth"), Link(3, "cni0", "bridge")],
            [DEFAULT, ("10.244.1.0/24", 3)],
            ["eth0"],
        ),
        "a bond with a VLAN": (
            [
                Link(2, "eth0", master=4),
                Link(3, "eth1", master=4),
                Link(4, "bond0", "bond"),
                Link(5, "bond0.7", "vlan", lower=4),
                Link(6, "veth1", "veth"),
            ],
            [("0.0.0.0/0", 5, "192.168.50.1"), ("10.244.1.2/32", 6)],
            ["bond0", "bond0.7", "eth0", "eth1"],
        ),
        "a bridge that the machine itself is on": (
            [Link(2, "eth0", master=3), Link(3, "br-ex", "bridge"), Link(4, "vm1", "tun", master=3)],
            [("0.0.0.0/0", 3, "192.168.50.1")],
            ["br-ex", "eth0"],
        ),
        "overlays": (
            [ETH0, Link(3, "flannel.1", "vxlan"), Link(4, "tunl0", "ipip"), Link(5, "wg0", "wireguard")],
            [DEFAULT, ("10.244.2.0/24", 3, "10.244.2.0")],
            ["eth0", "flannel.1", "tunl0", "wg0"],
        ),
        "default routes over two links, one in a table of its own": (
            [Link(2, "a", "veth"), Link(3, "b", "veth"), Link(4, "vlan.eth.1", "vlan", lower=3), Link(5, "p", "veth")],
            [DEFAULT, ("::/0", 3, "fe80::1"), ("0.0.0.0/0", 4, "192.168.60.1"), ("10.244.1.2/32", 5)],
            ["a", "b", "vlan.eth.1"],
        ),
        "other nodes on a second network, without a gateway": (
            [Link(2, "eth0", "veth"), Link(3, "eth1", "veth")],
            [DEFAULT, ("10.9.0.0/24", 3)],
            ["eth0", "eth1"],
        ),
        "other nodes' pods behind a second network": (
            [Link(2, "eth0", "veth"), Link(3, "eth1", "veth")],
            [DEFAULT, ("10.244.7.0/24", 3, "10.9.9.9")],
            ["eth0", "eth1"],
        ),
        "a pod that is a gateway": (
            [ETH0, Link(3, "cni0", "bridge"), Link(4, "veth9", "veth")],
            [DEFAULT, ("10.244.1.0/24", 3), ("10.8.0.0/24", 3, "10.244.1.3"), ("10.7.0.0/24", 4, "10.244.1.2")],
            ["eth0"],
        ),
        "pods in the nodes' own network": (
            [ETH0, Link(3, "eni1", "veth")],
            [("0.0.0.0/0", 2, "10.244.0.1"), ("10.244.0.0/16", 2), ("10.244.1.2/32", 3), ("10.244.1.3/32", 3)],
            ["eth0"],
        ),
        "a port of a card that leads to a pod": (
            [ETH0, Link(3, "eth0_rep1")],
            [DEFAULT, ("10.244.1.2/32", 3)],
            ["eth0"],
        ),
        "a VRF": (
            [Link(2, "eth0", master=3), Link(3, "vrf-blue", "vrf"), Link(4, "lo", loopback=True)],
            [DEFAULT],
            ["eth0", "vrf-blue"],
        ),
        "nothing but pods": ([Link(3, "veth1", "veth"), Link(1, "lo", loopback=True)], [("10.244.1.2/32", 3)], []),
    }.values(),
)
def test_an_uplink_is_what_leads_away(links, routes, expected):
    assert list(uplink_names(links, ways(*routes), AROUND)) == expected


@pytest.fixture
def lab():
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with Lab("uplink") as made:
        yield made


def looked(node, made):
    with node.netns.inside():
        return made.look(AROUND)


@pytest.mark.kernel
def test_uplinks_are_looked_for_again_when_links_or_routes_change(lab):
    node = lab.node("n1", bridge=True)
    with node.netns.inside():
        made = Uplinks()
        try:
            assert made.stirred()
            assert made.look(AROUND) == ("eth0",)
            node.pod("p0")
            assert not made.stirred()  # a pod that comes and goes makes nothing an uplink
            configure(node.netns, "link add far type veth peer name far-end", "link set far up", "link set far-end up")
            configure(node.netns, "route add 10.77.0.0/16 via 192.168.50.1 dev far onlink")
            assert made.stirred()
            assert made.look(AROUND) == ("eth0", "far")
            configure(node.netns, "link delete far")
            assert made.stirred()
            assert made.look(AROUND) == ("eth0",)
        finally:
            made.close()


@pytest.mark.kernel
def test_the_settings_name_uplinks_where_they_are_not_found(lab):
    node = lab.node("n1", bridge=True)
    with node.netns.inside():
        for configured, names, problem in (
            (("eth*",), ("eth0",), ""),
            (("cni0", "eth0"), ("cni0", "eth0"), ""),
            (("ens5",), ("cni0", "eth0", "lo"), "there is no link ens5 (uplinks) on this node"),
        ):
            made = Uplinks(configured)
            try:
                assert made.look(AROUND) == names
                assert made.problem == problem
            finally:
                made.close()


@pytest.mark.kernel
def test_without_any_uplink_addresses_decide_alone_and_that_is_a_problem(lab):
    node = lab.node("n1")
    for version in ("-4", "-6"):
        node.run(["ip", version, "route", "flush", "default"])
    with node.netns.inside():
        made = Uplinks()
        try:
            assert made.look(Neighbours()) == ("eth0", "lo")
            assert "uplinks" in made.problem
        finally:
            made.close()


@pytest.mark.kernel
def test_a_route_over_several_links_makes_each_of_them_an_uplink(lab):
    node = lab.node("n1")
    for name in ("left", "right"):
        configure(node.netns, f"link add {name} type veth peer name {name}-end", f"link set {name} up")
    hops = " ".join(f"nexthop via 192.168.70.{n} dev {name} onlink" for n, name in enumerate(("left", "right"), 1))
    node.run(["ip", "link", "set", "left-end", "up"])
    node.run(["ip", "link", "set", "right-end", "up"])
    done = node.run(["ip", "route", "add", "10.99.0.0/16", *hops.split()])
    assert done.returncode == 0, done.stderr
    with node.netns.inside():
        made = Uplinks()
        try:
            assert made.look(AROUND) == ("eth0", "left", "right")
        finally:
            made.close()
