"""Kube-proxies that go from iptables to nftables and back under traffic: what was open stays so, what was denied too."""

import pytest

from mocks.lab import Outcome
from tests.cluster.matrix import disagreements
from tests.cluster.traffic import Traffic, some

pytestmark = [pytest.mark.cluster, pytest.mark.registry, pytest.mark.timeout(600)]
OTHER = {"iptables": "nftables", "nftables": "iptables"}
ROUNDS = 10


@pytest.fixture
def connections(installed, matrix):
    return matrix().connections()


@pytest.fixture
def through_services(connections):
    """Some that are allowed, and that kube-proxy leads on."""
    return [each for each in some(connections, Outcome.ALLOWED) if not is_direct(each)]


@pytest.fixture
def change(installed, through_services):
    """Change every kube-proxy's mode, and wait until it serves; at the end it is as it was."""
    cluster = installed.cluster

    def to(mode_of):
        for node in cluster.nodes.values():
            node.kill("kube-proxy")
            node.set_proxy_mode(mode_of(node.plan.proxy))
            node.start_proxy()
        wanted = {name: {mode_of(node.plan.proxy)} for name, node in cluster.nodes.items()}
        cluster.wait(lambda: rules(cluster) == wanted, "kube-proxies have rules of the other kind alone", 60)
        cluster.wait(lambda: disagreements(through_services) == [], "kube-proxies serve Services again", 60)

    assert through_services
    yield lambda: to(OTHER.__getitem__)
    to(str)


def test_the_rules_hold_while_kube_proxies_change_their_modes(connections, through_services, change, until):
    """New connections to Services wait for a kube-proxy that has just begun; nothing else does."""
    allowed = some(connections, Outcome.ALLOWED)
    conversations = allowed[:: len(allowed) // 8] + through_services[:4]
    with Traffic(filter(is_direct, allowed), some(connections, Outcome.TIMEOUT), conversations) as traffic:
        change()
        traffic.wait_rounds(ROUNDS, until)
    assert (traffic.lost, traffic.leaked) == ([], [])
    assert disagreements(connections) == []


def rules(cluster):
    """Of which kinds the rules for Services are that each node has."""
    kinds = {}
    for name, node in cluster.nodes.items():
        nftables = "kube-proxy" in node.require(["nft", "list", "tables"])
        iptables = "KUBE-SVC" in node.require(["iptables-save", "-t", "nat"])
        kinds[name] = {kind for kind, there in (("nftables", nftables), ("iptables", iptables)) if there}
    return kinds


def is_direct(connection):
    """Whether it goes to a pod, a node or a machine by its own address."""
    return " " not in connection.target
