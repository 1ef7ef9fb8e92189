from ipaddress import ip_address

import pytest
from hypothesis import given

from tests.strategies import INTERZONE, INTRAZONE, flows, policies
from zones.net import ICMP, TCP, UDP, AddressSet, parse_ports
from zones.policy import ISOLATION, Entry, Policy, Traffic, Verdict, usual_infrastructure
from zones.rules import Origin, RuleType
from zones.verdict import Endpoint, Flow, UndeterminedError, decide
from zones.zone import ISOLATED, Zoning


def entry(name, verdict=Verdict.ALLOW, **fields):
    return Entry(Origin(name, None, "pre", "dg"), verdict, **fields)


def policy(*entries, infrastructure=()):
    return Policy(Zoning(), infrastructure, (*entries, INTRAZONE, INTERZONE))


def flow(source="web", destination="app", protocol=TCP, **fields):
    return Flow(Endpoint(source), Endpoint(destination), protocol, **fields)


@given(policies(), flows())
def test_every_flow_has_a_verdict_and_a_trace_of_all_before_it(some, flow):
    decision = decide(some, flow)
    if decision.origin.rulebase != "infrastructure":
        assert some.entries[len(decision.trace)].origin == decision.origin
        assert [each.origin for each in decision.trace] == [e.origin for e in some.entries[: len(decision.trace)]]


@pytest.mark.parametrize(("to", "verdict"), [("web", Verdict.ALLOW), ("app", Verdict.DENY)])
def test_zones_are_open_inside_and_closed_between(to, verdict):
    assert decide(policy(), flow("web", to)).verdict is verdict


@pytest.mark.parametrize(
    ("pairing", "to", "matches"),
    [
        (RuleType.UNIVERSAL, "web", True),
        (RuleType.UNIVERSAL, "app", True),
        (RuleType.INTRAZONE, "web", True),
        (RuleType.INTRAZONE, "app", False),
        (RuleType.INTERZONE, "web", False),
        (RuleType.INTERZONE, "app", True),
    ],
)
def test_rule_types_pair_zones(pairing, to, matches):
    zones = frozenset({"web", "app"})
    some = policy(entry("r", Verdict.RESET, pairing=pairing, from_zones=zones, to_zones=zones))
    assert (decide(some, flow("web", to)).verdict is Verdict.RESET) is matches


def test_first_match_wins():
    some = policy(entry("first", Verdict.RESET), entry("second"))
    assert decide(some, flow()).origin.name == "first"


def test_what_was_not_given_matters_only_where_a_rule_depends_on_it():
    by_source = entry("by source", sources=AddressSet.parse(["10.0.0.0/8"]), to_zones=frozenset({"app"}))
    by_app = entry("by app", traffic=(Traffic(TCP, parse_ports("80"), destination_workload="cart"),))
    with pytest.raises(UndeterminedError) as caught:
        decide(policy(by_source), flow())
    assert caught.value.missing == ("source",)
    assert decide(policy(by_source), flow("web", "data")).verdict is Verdict.DENY
    with pytest.raises(UndeterminedError, match="'by app' depends on app"):
        decide(policy(by_app), flow(port=80))
    assert decide(policy(by_app), flow(port=443)).verdict is Verdict.DENY


def test_one_alternative_that_holds_settles_it():
    either = entry("r", traffic=(Traffic(TCP, destination_workload="cart"), Traffic(TCP, parse_ports("80"))))
    assert decide(policy(either), flow(port=80)).verdict is Verdict.ALLOW


def test_a_port_condition_never_holds_for_icmp():
    some = policy(entry("r", Verdict.RESET, traffic=(Traffic(None, parse_ports("80")),)))
    assert decide(some, flow(protocol=ICMP)).verdict is Verdict.DENY


_SYSTEM = frozenset({"kube-system"})
INFRASTRUCTURE = usual_infrastructure(_SYSTEM, _SYSTEM, frozenset({"coredns"}), frozenset({"konnectivity-agent"}))
COREDNS = Endpoint("default", workload="coredns", namespace="kube-system")
METRICS = Endpoint("default", workload="metrics-server", namespace="kube-system")
TUNNEL = Endpoint("default", workload="konnectivity-agent", namespace="kube-system")
NODE = Endpoint("nodes", node="n2", is_node=True)


@pytest.mark.parametrize(
    ("source", "destination", "port", "name"),
    [
        (Endpoint("nodes", node="n1", is_node=True), Endpoint("web", node="n1"), 80, "node-to-own-pods"),
        (Endpoint("nodes", node="n2", is_node=True), Endpoint("web", node="n1"), 80, None),
        (Endpoint("web"), Endpoint("default", workload="coredns", namespace="kube-system"), 53, "dns"),
        (Endpoint("web"), Endpoint("default", workload="coredns", namespace="kube-system"), 80, None),
        (Endpoint("web"), Endpoint("default", workload="coredns", namespace="shop"), 53, None),
        (Endpoint("web", node="n1"), Endpoint("nodes", node="n1", is_node=True), 53, "dns-on-own-node"),
        (Endpoint("web", node="n1"), Endpoint("nodes", node="n1", is_node=True), 80, None),
        (Endpoint("web", node="n1"), Endpoint("nodes", node="n2", is_node=True), 53, None),
        (COREDNS, Endpoint("untrust"), 53, "dns-upstream"),
        (COREDNS, Endpoint("untrust"), 853, "dns-upstream"),
        (COREDNS, Endpoint("untrust"), 443, None),
        (METRICS, Endpoint("untrust"), 53, None),
        (METRICS, COREDNS, 9153, "within-system-namespaces"),
        (METRICS, NODE, 10250, "system-to-kubelets"),
        (METRICS, NODE, 22, None),
        (METRICS, Endpoint("web"), 80, None),
        (METRICS, Endpoint("untrust"), 443, None),
        (TUNNEL, Endpoint("web"), 9443, "system-workloads"),
        (Endpoint("default", workload="konnectivity-agent", namespace="shop"), Endpoint("web"), 9443, None),
        (NODE, METRICS, 4443, "nodes-to-system-namespaces"),
        (Endpoint("web"), Endpoint("default", namespace="kube-system"), 443, None),
    ],
)
def test_infrastructure_is_served_before_every_rule(source, destination, port, name):
    decision = decide(
        policy(entry("all", Verdict.DENY), infrastructure=INFRASTRUCTURE), Flow(source, destination, TCP, port)
    )
    assert decision.origin.name == (f"infrastructure/{name}" if name else "all")


@pytest.mark.parametrize("port", [53, 80])
def test_a_pod_that_is_cut_off_has_what_its_node_begins_and_no_dns(port):
    node, pod = Endpoint("nodes", node="n1", is_node=True), Endpoint(ISOLATED, node="n1")
    dns = Endpoint("default", workload="coredns", namespace="kube-system")
    some = policy(entry("all"), infrastructure=INFRASTRUCTURE)
    assert decide(some, Flow(node, pod, TCP, port)).verdict is Verdict.ALLOW
    assert {decide(some, Flow(pod, end, TCP, port)).origin for end in (node, dns)} == {ISOLATION}


@pytest.mark.parametrize(
    ("source", "node", "port", "denied"),
    [
        (Endpoint("web", workload="shop", node="n1"), "n2", 8472, True),
        (Endpoint("web", workload="shop", node="n1"), "n2", 8473, False),
        (Endpoint("web", workload="shop", node="n1"), "n1", 8472, False),
        (Endpoint("nodes", node="n1", is_node=True), "n2", 8472, False),
    ],
)
def test_a_pod_sends_nothing_to_another_node_from_the_port_of_a_tunnel(source, node, port, denied):
    to = Endpoint("nodes", node=node, is_node=True)
    found = decide(policy(entry("all")), Flow(source, to, UDP, 40_000, port))
    assert (found.verdict is Verdict.DENY, found.origin.name == "infrastructure/tunnel-port") == (denied, denied)


def test_the_trace_says_why():
    some = policy(entry("corp", sources=AddressSet.parse(["10.0.0.0/8"])))
    found = decide(some, Flow(Endpoint("web", ip_address("192.0.2.1")), Endpoint("app"), TCP))
    assert [(each.origin.name, each.why) for each in found.trace] == [
        ("corp", "192.0.2.1 is not in its source"),
        ("intrazone-default", "not for web to app"),
    ]
