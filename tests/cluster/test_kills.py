"""What is killed on a node costs nobody a connection, and lets none through that is denied."""

import os
import signal
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import pytest

from mocks.lab import Outcome
from tests.cluster.addresses import POD_CIDRS
from tests.cluster.traffic import Traffic, some
from zones.net import AddressSet

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(300)]
ROUNDS = 20
PODS = AddressSet.of(map(ip_network, POD_CIDRS))


@pytest.fixture
def traffic(installed, matrix):
    """Allowed and denied connections of every kind, and conversations over both families."""
    connections = matrix().connections()
    allowed = some(connections, Outcome.ALLOWED)
    with Traffic(allowed, some(connections, Outcome.TIMEOUT), allowed[:: len(allowed) // 8]) as running:
        yield running


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_an_enforcer_that_is_killed(installed, traffic, until, node):
    outside = installed.cluster.outside
    pod, where = installed.enforcer_pod(node), installed.cluster.nodes[node]
    killed = where.pod_processes(pod["metadata"]["uid"], "zone-enforcer")
    assert killed
    began = datetime.now(UTC).isoformat()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: installed.restarts(node) > 0, 60, 0.5)
    installed.wait_in_sync()
    traffic.wait_rounds(ROUNDS, until)
    assert (traffic.lost, traffic.leaked) == ([], [])
    since = [each for each in outside.records() if each["time"].replace("Z", "+00:00") >= began]
    assert since
    assert [each for each in since if guessed(each)] == [], "an end that can't be named says so"


def guessed(record):
    """Whether an end of a flow at a pod's address has the zone of what is no pod."""
    ends = [record[each] for each in ("source", "destination") if each in record]
    pods = [each for each in ends if ip_address(each.get("address", "::")) in PODS]
    return any(each.get("zone") in {"outside", "untrust", "zonebridge.io/isolated"} for each in pods)


@pytest.mark.parametrize("node", ["n1", "n2"])
def test_what_a_node_runs_is_killed(installed, traffic, until, node):
    where = installed.cluster.nodes[node]
    for name, start in (
        ("kubelet", where.start_kubelet),
        ("kube-proxy", where.start_proxy),
        ("containerd", where.start_containerd),
    ):
        where.kill(name)
        traffic.wait_rounds(ROUNDS // 2, until)
        start()
        traffic.wait_rounds(ROUNDS, until)
        assert (traffic.lost, traffic.leaked) == ([], []), name
    installed.cluster.wait_ready()


def test_both_bridges_are_killed(installed, traffic, until):
    before = installed.revision()
    for pod in installed.bridge_pods():
        for pid in installed.cluster.nodes[pod["spec"]["nodeName"]].pod_processes(pod["metadata"]["uid"], "zonebridge"):
            os.kill(pid, signal.SIGKILL)
    installed.wait_rolled_out()
    installed.wait_in_sync()
    traffic.wait_rounds(ROUNDS, until)
    assert (traffic.lost, traffic.leaked) == ([], [])
    assert installed.revision() == before
