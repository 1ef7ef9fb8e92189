"""New pods, while the bridge runs and while it doesn't: their neighbours on other nodes know them in time."""

import pytest

from mocks.lab import Outcome
from tests.cluster.installation import NAMESPACE
from tests.cluster.traffic import Traffic

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(400)]
ROUNDS = 20


@pytest.fixture(params=["with a bridge", "without a bridge"])
def bridges(installed, request):
    kubectl = installed.cluster.kubectl
    if request.param == "with a bridge":
        yield request.param
        return
    kubectl("scale", "-n", NAMESPACE, "deployment/zonebridge", "--replicas=0")
    installed.cluster.wait(lambda: not installed.bridge_pods(), "the bridges have ended", 60)
    yield request.param
    kubectl("scale", "-n", NAMESPACE, "deployment/zonebridge", "--replicas=2")


def test_a_rolling_update_loses_nothing(bridges, installed, matrix, until):
    """A Service whose every pod is replaced, asked from pods and nodes that stay."""
    connections = [
        each
        for each in matrix().connections()
        if each.target.startswith("service app") and each.protocol == "tcp" and each.source.app not in {"app", "worker"}
    ]
    allowed = [each for each in connections if each.source.zone == "web"]
    # a node reaches the pods that are its own
    denied = [each for each in connections if each.source.is_pod and each.expected == {Outcome.TIMEOUT}]
    assert allowed
    assert denied
    kubectl = installed.cluster.kubectl
    with Traffic(allowed, denied) as traffic:
        kubectl("rollout", "restart", "-n", "shop", "deployment/app")
        kubectl("rollout", "status", "-n", "shop", "deployment/app", "--timeout=120s")
        traffic.wait_rounds(ROUNDS, until)
    assert (traffic.lost, traffic.leaked) == ([], [])
