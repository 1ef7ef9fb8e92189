"""The rules that keep the API server and the bridge within reach, and what they don't open."""

from ipaddress import ip_address

import pytest

from tests.zones.test_verdict import entry, policy
from zones import canonical
from zones.infrastructure import ApiServerEnds, BridgeNeeds, api_server_rules, bridge_rules
from zones.net import TCP, UDP, AddressSet, Ranges
from zones.policy import LOGGED, Peer, Verdict
from zones.verdict import Endpoint, Flow, decide
from zones.zone import ISOLATED

AT = AddressSet.parse(["192.0.2.10", "2001:db8::10"])
ENDS = ApiServerEnds(AT, Ranges(((6443, 6443),)), frozenset({"cp1"}))
API_SERVER = Endpoint("untrust", ip_address("192.0.2.10"), "")
BY_TUNNEL = Endpoint("nodes", ip_address("10.244.0.0"), "", node="cp1", is_node=True)
OTHER_NODE = Endpoint("nodes", ip_address("10.244.1.0"), "", node="n1", is_node=True)
ON_A_NODE = Endpoint("nodes", ip_address("192.0.2.10"), "", node="cp1", is_node=True)
WEB = Endpoint("web", ip_address("10.244.1.2"), "cart", "shop", "n1")
BRIDGE = Endpoint("default", ip_address("10.244.1.9"), "zonebridge", "zonebridge-system", "n1")
NAMESAKE = Endpoint("default", ip_address("10.244.1.8"), "zonebridge", "shop", "n1")
OUTSIDE = Endpoint("untrust", ip_address("203.0.113.7"), "")
OURS = Peer(namespaces=frozenset({"zonebridge-system"}), workloads=frozenset({"zonebridge"}))
NEEDS = BridgeNeeds(
    Ranges(((443, 443), (6443, 6443))),
    Ranges(((443, 443),)),
    Ranges(((8088, 8088),)),
    Ranges(((5432, 5432),)),
    Ranges(((9470, 9470),)),
)


def decided(infrastructure, source, destination, port, protocol=TCP):
    some = policy(entry("all", Verdict.DENY), infrastructure=infrastructure)
    return decide(some, Flow(source, destination, protocol, port))


@pytest.mark.parametrize(
    ("source", "destination", "port", "name"),
    [
        (WEB, API_SERVER, 6443, "api-server"),
        (WEB, ON_A_NODE, 6443, "api-server"),
        (WEB, API_SERVER, 22, None),
        (WEB, OUTSIDE, 6443, None),
        (Endpoint(ISOLATED, workload="cart"), API_SERVER, 6443, None),
        (API_SERVER, WEB, 9443, "from-api-server"),
        (ON_A_NODE, WEB, 9443, "from-api-server"),
        (BY_TUNNEL, WEB, 9443, "from-api-server-nodes"),
        (OTHER_NODE, WEB, 9443, None),
        (OUTSIDE, WEB, 9443, None),
        (API_SERVER, Endpoint(ISOLATED, workload="cart"), 9443, None),
    ],
)
def test_every_pod_reaches_the_api_server_and_it_reaches_webhooks(source, destination, port, name):
    decision = decided(api_server_rules(ENDS), source, destination, port)
    assert (decision.verdict is Verdict.ALLOW) == (name is not None)
    if name:
        assert decision.origin.name == f"infrastructure/{name}"
        assert decision.log == LOGGED
    assert decided(api_server_rules(ENDS), source, destination, port, UDP).verdict is Verdict.DENY


def test_where_webhooks_are_named_the_api_server_reaches_no_other_pod():
    rules = api_server_rules(ENDS, frozenset({"cert-manager"}))
    assert decided(rules, API_SERVER, Endpoint("default", namespace="cert-manager"), 9443).verdict is Verdict.ALLOW
    assert decided(rules, API_SERVER, WEB, 9443).verdict is Verdict.DENY


@pytest.mark.parametrize("ends", [ApiServerEnds(), ApiServerEnds(AT), ApiServerEnds(ports=Ranges(((1, 1),)))])
def test_an_api_server_that_is_nowhere_opens_nothing(ends):
    assert api_server_rules(ends) == ()


@pytest.mark.parametrize(
    ("source", "port", "protocol", "name"),
    [
        (BRIDGE, 6443, TCP, "bridge-to-api-server"),
        (BRIDGE, 443, TCP, "bridge-to-api-server"),
        (BRIDGE, 8088, TCP, "bridge-to-siem"),
        (BRIDGE, 5432, TCP, "bridge-to-evidence"),
        (BRIDGE, 9470, TCP, None),
        (BRIDGE, 53, UDP, "bridge-to-dns"),
        (BRIDGE, 53, TCP, "bridge-to-dns"),
        (BRIDGE, 22, TCP, None),
        (BRIDGE, 443, UDP, None),
        (NAMESAKE, 443, TCP, None),
        (WEB, 443, TCP, None),
    ],
)
def test_the_bridge_reaches_what_it_needs_and_nobody_else_does(source, port, protocol, name):
    decision = decided(bridge_rules(OURS, NEEDS), source, OUTSIDE, port, protocol)
    assert decision.origin.name == (f"infrastructure/{name}" if name else "all")


def test_nodes_reach_the_collector_and_pods_dont():
    node = Endpoint("nodes", node="n1", is_node=True)
    rules = bridge_rules(OURS, NEEDS)
    assert decided(rules, node, BRIDGE, 9470).origin.name == "infrastructure/nodes-to-collector"
    assert decided(rules, node, BRIDGE, 9471).origin.name == "all"
    assert decided(rules, WEB, BRIDGE, 9470).origin.name == "all"


def test_what_the_bridge_does_not_need_has_no_rule():
    only_dns = bridge_rules(OURS, BridgeNeeds())
    assert [rule.name for rule in only_dns] == ["bridge-to-dns"]


@pytest.mark.parametrize("rule", [*api_server_rules(ENDS, frozenset()), *bridge_rules(OURS, NEEDS)])
def test_a_rule_comes_back_from_its_canonical_form(rule):
    assert canonical.infrastructure_of(canonical.infrastructure_json(rule)) == rule
