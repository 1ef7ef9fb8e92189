"""What network plug-ins do to traffic, as the lab does it."""

from pathlib import Path

import pytest

from mocks.lab import LabError, Outcome, Probe, measure
from mocks.lab.netns import owning_as
from tests.mocks.lab.traffic import reach

pytestmark = pytest.mark.kernel

ALLOWED, TIMEOUT = {Outcome.ALLOWED}, {Outcome.TIMEOUT}


@pytest.fixture
def bridged(lab):
    """Two pods on one bridge, a third routed on another node."""
    one, two = lab.node("node-1", bridge=True), lab.node("node-2")
    made = one.pod("a"), one.pod("b"), two.pod("c")
    for pod in made:
        lab.listen(pod, 80)
    return made


def seen(node, source, destination):
    return f"src={source} dst={destination}" in node.run(["conntrack", "-L"]).stdout


class TestBridge:
    def test_pods_reach_each_other_and_everyone(self, lab, bridged):
        a, b, c = bridged
        lab.listen(lab.outside, 80)
        assert reach(a, b) == reach(a, c) == reach(c, a) == reach(a, lab.outside) == reach(lab.outside, a) == ALLOWED

    def test_a_node_talks_to_its_pods_from_the_bridge(self, bridged):
        a = bridged[0]
        assert reach(a.node, a) == ALLOWED
        assert seen(a.node, a.node.gateway.ip, a.ip)

    @pytest.mark.parametrize("shown", [True, False])
    def test_what_is_bridged_is_seen_where_it_is_shown(self, bridged, shown):
        a, b, _ = bridged
        a.node.show_bridged(on=shown)
        a.node.refuse(f"ip daddr {b.ip}", f"ip6 daddr {b.ip6}")
        assert reach(a, b, timeout=0.3) == (TIMEOUT if shown else ALLOWED)

    def test_a_pod_gets_itself_by_its_service(self, lab, bridged):
        a, _, c = bridged
        for pod in (a, c):
            assert reach(a, lab.service(80, [pod])) == ALLOWED


class TestMasquerade:
    def test_pods_are_hidden_from_the_outside_only(self, lab, pods):
        a, _, c = pods
        lab.listen(lab.outside, 80)
        a.node.masquerade(*lab.inside_prefixes)
        assert reach(a, lab.outside) == reach(a, c) == ALLOWED
        assert seen(a.node, lab.outside.ip, a.node.ip)
        assert seen(c.node, a.ip, c.ip)
        a.node.run(["conntrack", "-F"])
        a.node.masquerade()
        assert reach(a, lab.outside) == ALLOWED
        assert seen(a.node, lab.outside.ip, a.ip)


class TestPolicy:
    def test_what_the_plug_in_refuses_is_dropped_until_it_no_longer_does(self, pods):
        a, b, c = pods
        c.node.refuse(f"ip saddr {a.ip}", f"ip6 saddr {a.ip6}")
        assert reach(a, c, timeout=0.3) == TIMEOUT
        assert reach(b, c) == ALLOWED
        c.node.refuse()
        assert reach(a, c) == ALLOWED


class TestLocalDns:
    @pytest.mark.parametrize("tracked", [True, False])
    def test_it_answers_its_own_nodes_pods(self, lab, pods, tracked):
        a, _, c = pods
        place = a.node.local_dns(tracked=tracked)
        lab.listen(a.node, 53, at=place)
        lab.listen(a.node, 53, transport="udp", at=place)
        for transport in ("tcp", "udp"):
            assert reach(a, place, 53, transport=transport) == ALLOWED
        assert seen(a.node, a.ip, place.ip) is tracked
        assert Outcome.ALLOWED not in reach(c, place, 53, timeout=0.3)
        a.node.local_dns()


class TestUsers:
    def test_a_probe_is_of_the_user_that_it_names(self, pods):
        a = pods[0]
        if Path("/proc/self/uid_map").read_text().split()[2:] == ["1"]:
            with pytest.raises(LabError, match="run as root"), owning_as(65534):
                pass
            return
        a.node.nft("table inet users { chain output { type filter hook output priority 0; meta skuid 65534 drop; }; }")
        probes = [Probe(a.node, ip, 80, uid=uid) for ip in (a.ip, a.ip6) for uid in (0, 65534)]
        assert measure(probes, 0.3) == [Outcome.ALLOWED, Outcome.TIMEOUT] * 2
