import pytest

from mocks.lab import Outcome
from tests.mocks.lab.traffic import reach

pytestmark = pytest.mark.kernel


class TestServices:
    def test_a_cluster_address_is_answered_by_each_of_its_pods(self, lab, pods):
        a, b, c = pods
        service = lab.service(8000, [b, c], target_port=80)
        assert service.ip.startswith("10.96.")
        assert {reach(a, service, 8000).pop() for _ in range(20)} == {Outcome.ALLOWED}
        seen = a.node.run(["conntrack", "-L", "-d", service.ip]).stdout
        assert f"src={b.ip} dst={a.ip}" in seen
        assert f"src={c.ip} dst={a.ip}" in seen
        assert reach(c.node, service, 8000) == {Outcome.ALLOWED}

    def test_a_pod_may_get_itself(self, lab, pods):
        a = pods[0]
        service = lab.service(80, [a])
        assert reach(a, service) == {Outcome.ALLOWED}

    def test_a_node_port_hides_the_client_unless_local(self, lab, pods):
        a, _, c = pods
        lab.service(80, [c], node_port=30080)
        lab.service(80, [c], node_port=30081, local=True)
        assert reach(lab.outside, a.node, 30080) == reach(lab.outside, c.node, 30081) == {Outcome.ALLOWED}
        assert reach(lab.outside, a.node, 30081) == {Outcome.REFUSED}
        assert f"src={a.node.ip} dst={c.ip}" in c.node.run(["conntrack", "-L"]).stdout
        assert f"src={c.ip} dst={lab.outside.ip}" in c.node.run(["conntrack", "-L"]).stdout

    def test_a_node_made_later_knows_the_services_and_a_withdrawn_one_is_gone(self, lab, pods):
        service = lab.service(80, [pods[0]], ip="10.96.0.80")
        late = lab.node("late").pod("p")
        assert reach(late, service) == {Outcome.ALLOWED}
        lab.withdraw(service)
        assert reach(late, service, timeout=0.3) == {Outcome.TIMEOUT}

    def test_udp(self, lab, pods):
        a, _, c = pods
        lab.listen(c, 53, transport="udp")
        service = lab.service(53, [c], transport="udp")
        assert reach(a, service, 53, transport="udp") == {Outcome.ALLOWED}
