"""A data plane that passes by our rules is a problem of the node; a usual node has none."""

import pytest

from enforcer.netlink.messages import NFTABLES, attribute, message
from enforcer.node import bypass
from enforcer.node.uplinks import Link
from mocks.lab import Lab, Outcome, Probe, measure, unavailable
from mocks.lab.wiring import configure

VETHS = [Link(2, "eth0"), Link(5, "veth1", "veth"), Link(6, "veth2", "veth")]


@pytest.mark.parametrize(
    ("links", "disciplines", "ingress", "words"),
    [
        (VETHS, {2: "clsact"}, {"eth0"}, []),
        (VETHS, {5: "clsact"}, set(), ["1 links of pods (such as veth1) have a program or filter at the ingress (tc)"]),
        (VETHS, {}, {"veth1", "veth2"}, ["2 links of pods (such as veth1) have a chain of nftables at the ingress"]),
        (
            [*VETHS, Link(7, "veth3", "veth", xdp=True)],
            {},
            set(),
            ["1 links of pods (such as veth3) have an XDP program"],
        ),
        ([Link(2, "eth0", xdp=True)], {}, set(), []),
        ([*VETHS, Link(7, "cilium_host", "veth")], {}, set(), ["Cilium is on this node"]),
        (
            [*VETHS, Link(7, "bpfin.cali", "veth"), Link(8, "bpfout.cali", "veth")],
            {},
            set(),
            ["Calico's eBPF data plane"],
        ),
        ([*VETHS, Link(7, "pod7", "netkit")], {}, set(), ["netkit is on this node"]),
        ([*VETHS, Link(7, "ovs-system", "openvswitch")], {}, set(), ["Open vSwitch is on this node"]),
        ([*VETHS, Link(7, "ipvl", "ipvlan"), Link(8, "mac", "macvlan")], {}, set(), ["ipvlan is on", "macvlan is on"]),
    ],
)
def test_the_signs_of_other_data_planes(links, disciplines, ingress, words):
    found = sorted(bypass._problems(links, disciplines, ingress, frozenset({"eth0"})))
    assert len(found) == len(words)
    assert all(told.startswith(word) for told, word in zip(found, words, strict=True))


class Channel:
    """A netlink socket that has one answer, and nothing more; not every kernel can make a flowtable."""

    def __init__(self, data):
        self.data = [data]

    def send(self, _):
        """Whatever is asked."""

    def recv(self, _):
        return self.data.pop()


def test_a_flowtable_is_told():
    named = attribute(1, b"fast\0") + attribute(2, b"short\0")
    listed = message(NFTABLES << 8 | 22, 0, 1, bytes(4) + named) + message(3, 0, 1, bytes(4))
    (told,) = bypass._shortcuts(bypass._flowtables(Channel(listed)))
    assert told.startswith("the flowtable fast short takes connections past the rules")
    assert list(bypass._shortcuts(bypass._flowtables(Channel(message(3, 0, 1, bytes(4)))))) == []


@pytest.mark.kernel
def test_packets_sent_on_at_a_links_ingress_are_told_as_a_problem():
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with Lab("bypass") as lab:
        node = lab.node("n1")
        one, other = node.pod("p0"), node.pod("p1")
        lab.listen(other, 80)
        with node.netns.inside():
            assert bypass.problems(["eth0"]) == []
        node.nft("table inet closed { chain forward { type filter hook forward priority -5; policy drop; }; }")
        assert measure([Probe(one, other.ip, 80)], 0.4) == [Outcome.TIMEOUT]
        ways = [("pod1", "pod2", other, one), ("pod2", "pod1", one, other)]
        for here, there, _, _ in ways:
            node.nft(
                f"add table netdev by\nadd chain netdev by {here} {{ type filter hook ingress device {here} priority 0; }}\n"
                f"add rule netdev by {here} ip protocol tcp fwd to {there}"
            )
        for machine, peer in ((one, other), (other, one)):
            machine.run(["ip", "neigh", "replace", peer.ip, "lladdr", "02:00:00:00:00:01", "dev", "eth0"])
        with node.netns.inside():
            (told,) = bypass.problems(["eth0"])
        assert told.startswith("2 links of pods (such as pod1) have a chain of nftables at the ingress (netdev)")
        configure(node.netns, "link delete pod2")
