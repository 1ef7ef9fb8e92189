"""Every connection as the policy says where pods' addresses are not simply their Nodes' podCIDRs, and with flannel's own program."""

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network

import pytest

from mocks.lab import Outcome, Probe, measure
from tests.cluster.addresses import BLOCK_NODES, FLANNEL_NODES, VPC_NODES, Scheme
from tests.cluster.conftest import nodes
from tests.cluster.images import PRODUCT_IMAGE
from tests.cluster.matrix import disagreements

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.registry,
    pytest.mark.timeout(600),
    nodes(("flannel", FLANNEL_NODES), ("vpc", VPC_NODES), ("blocks", BLOCK_NODES)),
]


def test_every_connection_is_as_the_policy_says(cluster, installed, matrix):
    now = matrix()
    assert len(now.pods) >= 10
    assert_addresses(cluster, now.pods)
    assert_tunnels(cluster, now.pods)
    assert disagreements(now.connections()) == []


def test_restored_rules_alone_let_nothing_through_but_probes(cluster, installed, matrix):
    """As between a node's start and its enforcer's: who its pods are now isn't known. Then everything is as before."""
    now = matrix()
    connections = now.connections()
    denied = [each for each in connections if Outcome.ALLOWED not in each.expected]
    node_of = {pod.name: pod.node for pod in now.pods}
    probes = [each for each in connections if each.source.is_node and node_of.get(each.target) == each.source.node]
    assert probes
    with installed.without_enforcers():
        with ThreadPoolExecutor() as workers:
            list(workers.map(start_with_restored_rules, cluster.nodes.values()))
        outcomes = measure([Probe(each.source, each.ip, each.port, each.protocol) for each in denied], 0.5)
        assert [str(each) for each, came in zip(denied, outcomes, strict=True) if came is Outcome.ALLOWED] == []
        assert disagreements(probes) == []
    assert disagreements(connections) == []


def start_with_restored_rules(node):
    node.require(["nft", "delete", "table", "inet", "zonebridge"])
    node.restore(PRODUCT_IMAGE)


def assert_addresses(cluster, pods):
    """That this cluster's pods have the addresses that their nodes' kind is about."""
    for pod in pods:
        plan = cluster.nodes[pod.node].plan
        said = cluster.object("nodes", pod.node)["spec"].get("podCIDRs", [])
        inside = [address for address in pod.addresses if any(ip_address(address) in ip_network(each) for each in said)]
        assert inside == (list(pod.addresses) if plan.scheme is Scheme.POD_CIDRS else [])


def assert_tunnels(cluster, pods):
    """That a node with flannel speaks to another's pods from its tunnel's address, which no Node has."""
    for node in cluster.nodes.values():
        other = next(pod for pod in pods if pod.node != node.name)
        ways = [node.require(["ip", "-oneline", "route", "get", address]) for address in other.addresses]
        ends = [f"src {ip_network(network).network_address} " for network in node.plan.pod_networks]
        assert [end in way for end, way in zip(ends, ways, strict=True)] == [node.plan.is_flannel] * len(ends)
