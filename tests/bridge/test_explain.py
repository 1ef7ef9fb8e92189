"""Explanations: the same verdict as the language's, and every rule passed over, in order."""

from ipaddress import ip_address

import pytest
from hypothesis import given

from bridge.errors import RevisionRefusedError, UndecidedError
from bridge.explain.answer import from_configuration
from bridge.explain.flow_options import FlowQuestion, flow_of, instant
from bridge.explain.pod_end import endpoint, versions
from bridge.explain.trace import explain, explain_policy, explanation_json, explanation_lines
from enforcer.rules.chains.verdict_chains import SERVICE_END
from tests.bridge.world import inexpressible, rule, rulebase, workload
from tests.strategies import flows, policies
from zones.compile import compile_policy
from zones.net import ICMP6, AddressSet
from zones.policy import usual_infrastructure
from zones.rules import Action, Addresses, AddressObject
from zones.runtime.errors import InputError
from zones.verdict import decide
from zones.zone import Zoning

ZONING = Zoning()
DNS = usual_infrastructure(frozenset({"kube-system"}), frozenset({"kube-system"}), frozenset({"coredns"}))
WEB_TO_DB = FlowQuestion("tcp", "web", "db", port=5432)


def compiled(*rules, infrastructure=()):
    return compile_policy(rulebase(*rules), ZONING, infrastructure=infrastructure)


def asked(question, *rules, infrastructure=()):
    return from_configuration(compiled(*rules, infrastructure=infrastructure), question, ZONING)


@given(policies(), flows())
def test_the_verdict_is_the_languages(policy, flow):
    decision = decide(policy, flow)
    explained = explain_policy(policy, flow)
    assert (explained.verdict, explained.origin, explained.log) == (decision.verdict, decision.origin, decision.log)


def test_every_rule_passed_over_is_named_in_order_whatever_became_of_it():
    rules = (
        rule("off", disabled=True),
        rule("other zones", from_zones=frozenset({"dev"})),
        rule("by user", conditions=("a cluster can't know its user: bob",)),
        rule("empty", sources=Addresses((AddressObject("hollow", hollow=True),))),
        rule("hit", Action.DENY),
        rule("after"),
    )
    found = asked(WEB_TO_DB, *rules)
    assert (found.verdict, found.origin.name) == ("deny", "hit")
    assert [(passed.origin.name, passed.why) for passed in found.trace] == [
        ("off", "not applicable; it is disabled"),
        ("other zones", "not for web to db"),
        ("by user", "not enforced; a cluster can't know its user: bob"),
        ("empty", "enforced; source 'hollow' holds no address"),
    ]


def test_the_defaults_answer_where_no_rule_does():
    assert asked(WEB_TO_DB).origin.name == "interzone-default"
    within = asked(FlowQuestion("tcp", "web", "web", port=1))
    assert (within.verdict, within.origin.name) == ("allow", "intrazone-default")


def test_an_app_names_the_destination_however_it_is_written():
    rules = (rule("to orders", applications=workload("orders-db")),)
    for app in ("orders-db", "Orders_DB", "orders db"):
        assert asked(FlowQuestion("tcp", "web", "db", port=9, app=app), *rules).verdict == "allow"
    assert asked(FlowQuestion("tcp", "web", "db", port=9, app="other"), *rules).verdict == "deny"


@pytest.mark.parametrize(
    ("rules", "question", "options"),
    [
        ((rule("r", applications=workload("db")),), WEB_TO_DB, "--app"),
        (
            (rule("r", sources=Addresses((AddressObject("o", AddressSet.parse(["10.0.0.0/8"])),))),),
            WEB_TO_DB,
            "--source",
        ),
    ],
)
def test_what_was_not_given_and_matters_is_asked_for(rules, question, options):
    with pytest.raises(UndecidedError, match=f"rule 'r' .*: give {options}$"):
        asked(question, *rules)


def test_a_refused_configuration_explains_nothing():
    with pytest.raises(RevisionRefusedError, match="'by user'"):
        asked(WEB_TO_DB, rule("a"), inexpressible())


def test_infrastructure_counts_where_it_is_asked_for():
    dns = FlowQuestion("udp", "web", "default", port=53, app="CoreDNS")
    assert asked(dns).verdict == "deny"
    found = asked(dns, infrastructure=DNS)
    assert (found.verdict, found.origin.name, found.origin.rulebase) == (
        "allow",
        "infrastructure/dns",
        "infrastructure",
    )
    other = asked(WEB_TO_DB, infrastructure=DNS)
    assert [passed.origin.name for passed in other.trace][:2] == [
        "infrastructure/node-to-own-pods",
        "infrastructure/dns",
    ]


def test_the_json_form():
    found = explanation_json(asked(WEB_TO_DB, rule("hit", Action.RESET_BOTH)))
    assert found == {
        "verdict": "reset",
        "rule": {"name": "hit", "uuid": "uuid-hit", "rulebase": "pre", "device_group": "dg"},
        "log": {"start": False, "end": False, "profile": None},
        "trace": [],
    }


def test_the_text_form_ends_in_the_verdict():
    lines = list(explanation_lines(asked(WEB_TO_DB, rule("off", disabled=True), rule("hit"))))
    assert lines == ["  passed  'off' (pre of dg): not applicable; it is disabled", "allow  by 'hit' (pre of dg)"]


def test_a_refused_compilation_is_no_question_for_explain():
    with pytest.raises(ValueError, match="refused"):
        explain(compiled(inexpressible()), flow_of(WEB_TO_DB, ZONING))


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2030-01-31T08:00:00Z", "2030-01-31T08:00:00+00:00"),
        ("2030-01-31t08:00:00z", "2030-01-31T08:00:00+00:00"),
        ("2030-01-31 08:00:00.123456789+05:30", "2030-01-31T08:00:00.123456+05:30"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59+00:00"),
        ("2030-01-31T08:00:00-00:00", "2030-01-31T08:00:00+00:00"),
        ("2030-01-31T08:00:00.5Z", "2030-01-31T08:00:00.500000+00:00"),
    ],
)
def test_rfc_3339_times(text, iso):
    assert instant(text).isoformat() == iso


@pytest.mark.parametrize(
    "text", ["", "now", "2030-01-31", "2030-01-31T08:00:00", "2030-13-01T00:00:00Z", "20300131T080000Z"]
)
def test_what_is_no_rfc_3339_time(text):
    with pytest.raises(InputError, match="RFC 3339"):
        instant(text)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"protocol": "carrier-pigeon"}, "--protocol 'carrier-pigeon' is not known"),
        ({"protocol": "-1"}, "is not known"),
        ({"protocol": "256"}, "is not known"),
        ({"protocol": "icmp", "port": 80}, "has no ports"),
        ({"port": 70000}, "--port 70000 is not within"),
        ({"source": "10.0.0.300"}, "--source '10.0.0.300' is no IP address"),
        ({"source": "10.0.0.1", "destination": "::1"}, "different IP versions"),
        ({"to_zone": None}, "--from-zone and --to-zone"),
        ({"icmp_type": 300}, "--icmp-type 300"),
    ],
)
def test_wrong_words_are_one_clear_line(fields, complaint):
    question = FlowQuestion(**({"protocol": "tcp", "from_zone": "web", "to_zone": "db"} | fields))
    with pytest.raises(InputError, match=complaint) as wrong:
        flow_of(question, ZONING)
    assert "\n" not in str(wrong.value)


def test_icmp_between_ipv6_addresses_is_icmpv6():
    assert flow_of(FlowQuestion("icmp", "a", "b", source="fd00::1"), ZONING).protocol == ICMP6


ANY = frozenset({"*"})
POD = {
    "metadata": {
        "name": "orders-7d9f8c6b5-x2x7k",
        "namespace": "shop",
        "labels": {"zonebridge.io/zone": "db"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "orders-7d9f8c6b5", "controller": True}],
    },
    "spec": {"nodeName": "node-1"},
    "status": {"podIPs": [{"ip": "10.0.0.5"}, {"ip": "fd00::5"}]},
}


def test_a_pod_as_an_end():
    end = endpoint(POD, ANY, ZONING, version=6)
    assert (end.zone, end.workload, end.namespace, end.node) == ("db", "orders", "shop", "node-1")
    assert end.address == ip_address("fd00::5")
    assert versions(POD) == {4, 6}


def test_a_host_network_pod_is_its_node():
    end = endpoint(POD | {"spec": {"nodeName": "node-1", "hostNetwork": True}}, ANY, ZONING)
    assert (end.zone, end.is_node, end.workload) == ("nodes", True, "")


def test_a_bare_pod_without_label_or_address():
    end = endpoint({"metadata": {"name": "Alone", "namespace": "x"}}, None, ZONING)
    assert (end.zone, end.workload, end.address) == ("default", "alone", None)


SERVICES = AddressSet.parse(["10.96.0.0/12", "fd00:10:96::/112"])
OUTSIDE = rule("to anywhere", to_zones=frozenset({"outside"}))


def to_a_service(destination="10.96.0.77", port=80, *rules, source="web", infrastructure=()):
    question = FlowQuestion("tcp", source, "outside", destination=destination, port=port)
    return from_configuration(compiled(*rules, infrastructure=infrastructure), question, ZONING, SERVICES)


@pytest.mark.parametrize("rules", [(), (OUTSIDE,)], ids=["denied", "allowed"])
@pytest.mark.parametrize("destination", ["10.96.0.77", "fd00:10:96::77"])
def test_an_address_of_services_that_nothing_translated_is_refused(rules, destination):
    found = to_a_service(destination, 80, *rules, infrastructure=DNS)
    assert (found.verdict, found.origin) == ("reset", SERVICE_END[0])
    assert found.verdict == SERVICE_END[1].value
    assert {each.origin.rulebase for each in found.trace} <= {"infrastructure"}


def test_other_addresses_and_ends_that_are_no_pods_are_as_they_were():
    assert to_a_service("192.0.2.1", 80, OUTSIDE).origin.name == "to anywhere"
    assert to_a_service("10.96.0.77", 80, OUTSIDE, source="outside").verdict == "allow"
    assert to_a_service("10.96.0.77", 80, OUTSIDE, source="nodes").origin.name == "to anywhere"
    assert asked(FlowQuestion("tcp", "web", "outside", destination="10.96.0.77", port=80), OUTSIDE).verdict == "allow"
