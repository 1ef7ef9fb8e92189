"""A node that loses its power and comes back: its last rules are there before its pods, and its probes get through."""

import re
from datetime import UTC, datetime

import pytest

from mocks.lab import Outcome
from tests.cluster.images import PRODUCT_IMAGE
from tests.cluster.matrix import disagreements
from tests.cluster.traffic import Traffic, some

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(400)]
# What the kubelet says of a probe whose packets were dropped; one that is refused or slow has met its server.
DROPPED = re.compile(r"dial tcp \S+: (i/o timeout|connect: connection timed out)")


def test_a_node_without_power_comes_back_with_its_rules(installed, matrix):
    cluster, node = installed.cluster, installed.cluster.nodes["n2"]
    with Traffic(*beside(matrix(), "n2")) as traffic:
        restarts = cluster.restarts("n2")
        node.power_off(cluster.switch)
        cluster.power_on(node)
        began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        node.start_containerd()
        node.restore(PRODUCT_IMAGE)
        assert "chain" in node.require(["nft", "list", "table", "inet", "zonebridge"])
        node.start_proxy()
        node.start_kubelet()
        cluster.wait(
            lambda: all(count > restarts[uid] for uid, count in cluster.restarts("n2").items()), "restarts", 90
        )
        cluster.wait_ready()
        installed.wait_rolled_out()
        installed.wait_in_sync()
    assert (traffic.lost, traffic.leaked) == ([], [])
    assert [message for message in cluster.unhealthy("n2", began) if DROPPED.search(message)] == []
    assert disagreements(matrix().connections()) == []


def beside(matrix, node):
    """Allowed and denied connections that have nothing to do with a node."""
    elsewhere = {pod.name for pod in matrix.pods if pod.node != node} | {matrix.outside.name, matrix.control_plane.name}
    lasting = [each for each in matrix.connections() if each.source.node != node and each.target in elsewhere]
    return some(lasting, Outcome.ALLOWED), some(lasting, Outcome.TIMEOUT)
