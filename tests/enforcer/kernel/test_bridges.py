"""What a node's bridge doesn't show to netfilter is told, with what to do."""

from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from enforcer.node import bridge_netfilter
from mocks.lab import Lab, unavailable

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def lab():
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with Lab("brd") as made:
        yield made


@pytest.fixture(scope="module")
def bridged(lab):
    return node_with_pods(lab, "n1", bridge=True)


@pytest.fixture(scope="module")
def routed(lab):
    return node_with_pods(lab, "n2", bridge=False)


def node_with_pods(lab, name, *, bridge):
    node = lab.node(name, bridge=bridge)
    node.pod(f"{name}-a")
    node.pod(f"{name}-b")
    return node


def told(node):
    """As the service asks: in the node's network."""
    addresses = [ip_address(text) for pod in node.pods.values() for text in (pod.ip, pod.ip6)]
    with node.netns.inside():
        return bridge_netfilter.problems(addresses)


@contextmanager
def hidden(node):
    node.show_bridged(on=False)
    try:
        yield
    finally:
        node.show_bridged(on=True)


def test_a_bridge_that_shows_its_packets_is_no_problem(bridged):
    assert told(bridged) == []


def test_a_bridge_that_hides_them_is_one_for_each_family(bridged):
    with hidden(bridged):
        first, second = told(bridged)
    assert (
        "its pods (2 now) send each other by IPv4: no rule is enforced there; set net.bridge.bridge-nf-call-iptables=1"
        in first
    )
    assert (
        "its pods (2 now) send each other by IPv6: no rule is enforced there; set net.bridge.bridge-nf-call-ip6tables=1"
        in second
    )


def test_a_bridge_may_have_settings_of_its_own(bridged):
    name = told_name(bridged)
    with hidden(bridged):
        bridged.run(["ip", "link", "set", name, "type", "bridge", "nf_call_iptables", "1"])
        assert [each for each in told(bridged) if "IPv4" in each] == []
        assert len(told(bridged)) == 1
        bridged.run(["ip", "link", "set", name, "type", "bridge", "nf_call_iptables", "0"])


def test_without_the_module_it_is_to_be_loaded(bridged, tmp_path, monkeypatch):
    monkeypatch.setattr(bridge_netfilter, "_SETTINGS", tmp_path)
    assert all("load the kernel module br_netfilter" in each for each in told(bridged))
    assert len(told(bridged)) == 2


def test_routed_pods_meet_the_rules_in_any_case(routed):
    with hidden(routed):
        assert told(routed) == []


def test_a_bridge_without_pods_concerns_nobody(bridged):
    with hidden(bridged), bridged.netns.inside():
        assert bridge_netfilter.problems([]) == []
        assert bridge_netfilter.problems([ip_address("203.0.113.77")]) == []


def told_name(node):
    with hidden(node):
        return told(node)[0].split()[2]
