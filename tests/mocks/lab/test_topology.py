import subprocess

import pytest

from mocks.lab import Lab, LabError, Outcome, connect
from tests.mocks.lab.traffic import CUT, reach

pytestmark = pytest.mark.kernel


class TestRoutes:
    def test_addresses(self, lab, pods):
        a, b, c = pods
        assert (a.ip, a.ip6) == ("10.244.1.2", "fd00:10:244:1::2")
        assert (b.ip, c.ip) == ("10.244.1.3", "10.244.2.2")
        assert (a.node.ip, a.node.ip6) == ("192.168.50.10", "fd00:192:168:50::a")
        assert lab.control_ip == "192.168.50.1"

    def test_pods_reach_each_other(self, pods):
        a, b, c = pods
        assert reach(a, b) == reach(a, c) == reach(c, a) == {Outcome.ALLOWED}

    def test_nodes_reach_pods_from_their_own_address(self, lab, pods):
        a, _, c = pods
        assert reach(a.node, a) == reach(a.node, c) == {Outcome.ALLOWED}
        assert "src 192.168.50.10" in a.node.run(["ip", "route", "get", a.ip]).stdout
        assert "src fd00:192:168:50::a" in a.node.run(["ip", "route", "get", a.ip6]).stdout

    def test_pods_reach_nodes_and_host_network_pods(self, lab, pods):
        a, _, c = pods
        agent = c.node.pod("agent", host_network=True)
        lab.listen(agent, 9100)
        assert agent.ip == c.node.ip
        assert reach(a, agent, 9100) == reach(c, agent, 9100) == {Outcome.ALLOWED}

    def test_outside_and_pods_reach_each_other_without_translation(self, lab, pods):
        a = pods[0]
        lab.listen(lab.outside, 80)
        assert reach(a, lab.outside) == reach(lab.outside, a) == {Outcome.ALLOWED}
        with_source = f"src={a.ip} dst={lab.outside.ip}"
        assert with_source in a.node.run(["conntrack", "-L"]).stdout

    def test_hosts_reach_each_other_and_nodes_made_later(self, lab):
        corp = lab.host("corp", "10.20.0.5", "2001:db8:20::5")
        node = lab.node("late")
        pod = node.pod("p")
        lab.listen(pod, 80)
        lab.listen(lab.outside, 80)
        lab.listen(lab.control, 80)
        assert reach(corp, pod) == reach(corp, lab.outside) == reach(corp, lab.control) == {Outcome.ALLOWED}

    def test_udp(self, lab, pods):
        a, b, c = pods
        lab.listen(c, 53, transport="udp")
        assert reach(a, c, 53, transport="udp") == {Outcome.ALLOWED}
        assert reach(a, b, 53, transport="udp") == {Outcome.REFUSED}

    def test_outcomes(self, pods):
        a, b, c = pods
        assert reach(a, b, 81) == {Outcome.REFUSED}
        assert connect(a, "10.99.0.1", 80, timeout=0.3) is Outcome.TIMEOUT
        c.node.nft(CUT % (a.ip, c.ip, "reject with icmpx admin-prohibited"))
        assert connect(a, c.ip, 80) is Outcome.UNREACHABLE

    def test_conntrack_sees_forwarded_flows(self, pods):
        a, _, c = pods
        connect(a, c.ip, 80)
        assert f"src={a.ip} dst={c.ip}" in c.node.run(["conntrack", "-L"]).stdout

    def test_conntrack_can_be_left_out(self):
        with Lab("t2", conntrack=False) as lab:
            assert lab.node("node-1").run(["nft", "list", "ruleset"]).stdout == ""


class TestPods:
    def test_a_deleted_pods_address_is_used_again(self, lab, pods):
        a, b, _ = pods
        ip, link = b.ip, b.link
        b.delete()
        b.delete()
        assert link not in a.node.run(["ip", "link"]).stdout
        assert connect(a, ip, 80, timeout=0.3) is not Outcome.ALLOWED
        again = a.node.pod("d")
        lab.listen(again, 8080)
        assert again.ip == ip
        assert reach(a, again, 8080) == {Outcome.ALLOWED}

    def test_an_address_of_choice(self, pods):
        node = pods[0].node
        assert node.pod("chosen", ip="10.244.1.77").ip6 == "fd00:10:244:1::4d"
        with pytest.raises(LabError, match="is taken"):
            node.pod("other", ip="10.244.1.77")
        with pytest.raises(LabError, match="not in"):
            node.pod("other", ip="10.9.9.9")

    def test_a_full_prefix_says_so(self, lab):
        node = lab.node("small", "10.9.0.0/30", "fd00:9::/126")
        node.pod("a")
        with pytest.raises(LabError, match="no address is left"):
            node.pod("b")

    def test_names_are_unique(self, lab, pods):
        with pytest.raises(LabError, match="there is a pod a"):
            pods[0].node.pod("a")
        with pytest.raises(LabError, match="there is a machine"):
            lab.node("node-1")

    def test_programs_run_in_the_pod(self, pods):
        a = pods[0]
        assert a.ip in a.run(["ip", "address"]).stdout
        assert a.ip in subprocess.run(a.command(["ip", "address"]), capture_output=True, text=True, check=True).stdout

    def test_deleting_ends_the_pods_programs(self, pods):
        a = pods[0]
        child = a.popen(["cat", "/dev/zero"])
        a.delete()
        assert child.wait(5) != 0

    def test_a_failing_command_says_what_and_where(self, pods):
        with pytest.raises(LabError, match=r"nft .* failed in t/node-1: .*syntax error"):
            pods[0].node.nft("nonsense")
