"""Kube-proxies that go from iptables to nftables and back under traffic: what was open stays so, what was denied too."""

import pytest

from mocks.lab import Outcome
from tests.cluster.matrix import disagreements
from tests.cluster.traffic import Traffic, some

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(600)]
OTHER = {"iptables": "nftables", "nftables": "iptables"}
ROUNDS = 10


@pytest.fixture
def change(installed):
    """Change every kube-proxy's mode; at the end it is as it was."""
    nodes = installed.cluster.nodes.values()

    def to(mode_of):
        for node in nodes:
            node.kill("kube-proxy")
            node.set_proxy_mode(mode_of(node.plan.proxy))
            node.start_proxy()

    yield lambda: to(OTHER.__getitem__)
    to(str)


def test_the_rules_hold_while_kube_proxies_change_their_modes(installed, change, matrix, until):
    """New connections to Services wait for a kube-proxy that has just begun; nothing else does."""
    connections = matrix().connections()
    allowed = some(connections, Outcome.ALLOWED)
    through_services = [each for each in allowed if not is_direct(each)]
    assert through_services
    conversations = allowed[:: len(allowed) // 8] + through_services[:4]
    with Traffic(filter(is_direct, allowed), some(connections, Outcome.TIMEOUT), conversations) as traffic:
        change()
        traffic.wait_rounds(ROUNDS, until)
        installed.cluster.wait(lambda: disagreements(through_services) == [], "kube-proxies serve Services again", 60)
    assert (traffic.lost, traffic.leaked) == ([], [])
    assert disagreements(connections) == []


def is_direct(connection):
    """Whether it goes to a pod, a node or a machine by its own address."""
    return " " not in connection.target
