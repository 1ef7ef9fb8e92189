"""A node is drained and comes back: whoever stays loses nothing, not the Services whose other pod goes either."""

import pytest

from mocks.lab import Outcome
from tests.cluster.conftest import running
from tests.cluster.matrix import disagreements
from tests.cluster.traffic import Traffic, some

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(400)]
ROUNDS = 5


def test_a_drained_node(installed, matrix, until):
    cluster, kubectl = installed.cluster, installed.cluster.kubectl
    now = matrix()
    staying = {pod.name for pod in now.pods if pod.node == "n1"} | {now.outside.name, "n1"}
    connections = [
        each
        for each in now.connections()
        if each.source.name in staying and (each.target in staying or each.target.startswith("service "))
    ]
    allowed, denied = some(connections, Outcome.ALLOWED), some(connections, Outcome.TIMEOUT)
    assert any(each.target.startswith("service ") for each in allowed)
    before = installed.revision()
    with Traffic(allowed, denied) as traffic:
        kubectl("drain", "n2", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s")
        assert {pod["spec"]["nodeName"] for pod in installed.bridge_pods() if pod["spec"].get("nodeName")} == {"n1"}
        traffic.wait_rounds(ROUNDS, until)
        kubectl("uncordon", "n2")
        cluster.wait(lambda: running(cluster), "every workload is ready again", 90)
        installed.wait_rolled_out()
        traffic.wait_rounds(ROUNDS, until)
    assert (traffic.lost, traffic.leaked) == ([], [])
    installed.wait_in_sync()
    assert installed.revision() == before
    assert disagreements(matrix().connections()) == []
