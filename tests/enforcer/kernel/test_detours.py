"""Ways that senders write into their packets lead past rules that judge where these first lead: a problem of the node."""

import socket

import pytest

from enforcer.node import source_routing
from mocks.lab import Lab, unavailable
from tests.enforcer import frames
from tests.enforcer.test_every_packet import POLICY, ZONES
from tests.enforcer.world import World

WAYS = {"ipv4": "accept_source_route", "ipv6": "seg6_enabled"}


@pytest.fixture
def kernel(tmp_path):
    def setting(family, link, value):
        file = tmp_path / family / "conf" / link / WAYS[family]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")

    for family in WAYS:
        for link in ("all", "default", "lo", "eth0", "pod1"):
            setting(family, link, 0)
    return setting


@pytest.mark.parametrize(("family", "what"), [("ipv4", "IPv4 source routes"), ("ipv6", "segment routing")])
def test_it_takes_the_setting_of_all_and_of_a_pods_link(kernel, tmp_path, family, what):
    assert source_routing.problems({"eth0"}, tmp_path) == []
    for link in ("default", "lo", "eth0", "pod1"):
        kernel(family, link, 1)  # as they are by themselves, where `all` is 0
    assert source_routing.problems({"eth0"}, tmp_path) == []
    kernel(family, "all", 1)
    (problem,) = source_routing.problems({"eth0"}, tmp_path)
    assert problem == (
        f"1 links of pods (such as pod1) take {what}: what a pod may send to this node it may have sent on to anybody, "
        f"past the rules; set net.{family}.conf.all.{WAYS[family]}=0"
    )
    kernel(family, "pod1", 0)
    assert source_routing.problems({"eth0"}, tmp_path) == []


def test_what_cannot_be_read_is_no_problem(tmp_path):
    assert source_routing.problems((), tmp_path / "nowhere") == []
    (tmp_path / "ipv4/conf/all").mkdir(parents=True)
    (tmp_path / "ipv4/conf/all/accept_source_route").write_text("?")
    assert source_routing.problems((), tmp_path) == []


@pytest.mark.kernel
def test_a_node_that_takes_source_routes_tells_so():
    """A pod that may ask its node's DNS, and nobody else, without any capability."""
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with Lab("detours") as lab:
        world = World(lab)
        p1, corp = world.machines["p1"], world.corp
        with world.enforcing() as node, frames.line(corp) as at_corp:
            node.enforce(POLICY, world.inventory(*(world.pod(name, zone) for name, zone in ZONES.items())))

            def arrives(mark):
                option = bytes([131, 7, 4]) + frames.packed(world.n1.ip) + b"\0"
                with p1.netns.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
                    ask.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK: the sum would be for the last address
                    ask.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, option)
                    ask.sendto(mark, (corp.ip, 53))  # by way of the node
                return bool(frames.hears({"corp": at_corp}, mark))

            with node.inside():
                assert source_routing.problems({"lo", "eth0"}) == []
            assert not arrives(b"<closed>")
            for link in ("all", "pod2"):
                world.n1.netns.write_sysctl(f"net/ipv4/conf/{link}/accept_source_route", 1)
            with node.inside():
                (problem,) = source_routing.problems({"lo", "eth0"})
            assert "source routes" in problem
            assert arrives(b"<opened>")
