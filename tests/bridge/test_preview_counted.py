"""What nodes counted, under a candidate: all of a kind, some of it and on what that depends, or none. Exact."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.evidence.seen import Evidence
from bridge.preview.counted import counted_effect
from bridge.preview.population import Resident
from tests.bridge.evidence.rows import counting, flow
from tests.panorama_xml import config_text, entry, rule, rulebase, section
from tests.strategies import policies
from zones.difference import difference
from zones.net import PROTOCOLS_WITH_PORTS, AddressSet, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict
from zones.rules import Origin
from zones.seen import SeenEnd, SeenKey
from zones.siem.records import Stamp
from zones.verdict import Endpoint, Flow, decide
from zones.zone import Zoning

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
OPEN, CLOSED = Origin("open", "o", "pre", "dg"), Origin("closed", "c", "pre", "dg")
DEFAULT = Entry(Origin("interzone-default", None, "default", ""), Verdict.DENY)
WEB, DB = SeenEnd("web", "shop", "front"), SeenEnd("db", "data", "postgres")
CORP = SeenEnd("corp", network=ip_network("192.0.2.7/32"))
PODS = (
    Resident("shop", "front-1", "web", "front", (ip_address("10.1.0.1"), ip_address("fd00::1"))),
    Resident("data", "postgres-0", "db", "postgres", (ip_address("10.2.0.1"), ip_address("fd00::2"))),
)


def policy(*entries):
    return Policy(Zoning(), (), (*entries, DEFAULT), frozenset({"web", "db", "corp"}))


def entry_of(origin, verdict, ports=((0, 65535),), **more):
    return Entry(origin, verdict, traffic=(Traffic(6, Ranges(ports)),), **more)


ALLOW = entry_of(OPEN, Verdict.ALLOW)


def effect(candidate, *rows, pods=PODS):
    found = difference(policy(ALLOW), policy(*candidate), AT)
    return counted_effect(found, Evidence(rows, {"n1": counting(missed=3)}), pods, "nodes")


def row(connections=5, source=WEB, destination=DB, port=5432, rule=OPEN, **more):
    return flow(connections, key=SeenKey(source, destination, 6, port, rule, Verdict.ALLOW), **more)


def deny(**more):
    return entry_of(CLOSED, Verdict.DENY, **more)


def space(*prefixes):
    return AddressSet.parse(prefixes)


def test_all_of_a_kind_is_denied_with_its_count():
    found = effect((deny(ports=((5432, 5432),)), ALLOW), row(), row(7, port=80))
    assert [(change.flow.connections, change.flow.port, change.depends) for change in found.changes] == [(5, 5432, ())]
    assert (found.flows, found.connections, found.missing, found.nodes) == (2, 12, 3, ("n1",))
    assert [flow.connections for flow in found.denied] == [5]


def test_a_pods_addresses_are_those_of_its_workload():
    of_it, beside = (deny(sources=space(prefix)) for prefix in ("10.1.0.0/24", "10.9.0.0/24"))
    for candidate, pods, depends in (
        (of_it, PODS, [("source address",)]),  # its IPv6 address isn't in the rule
        (of_it, (replace(PODS[0], addresses=PODS[0].addresses[:1]),), [()]),
        (beside, PODS, []),
        (of_it, (), [("source address",)]),
    ):
        assert [change.depends for change in effect((candidate, ALLOW), row(), pods=pods).changes] == depends
    with_corp = effect((of_it, ALLOW), row(destination=CORP))
    assert [change.depends for change in with_corp.changes] == [()], "with an IPv4 peer it speaks IPv4"


def test_a_count_that_doesnt_tell_what_a_rule_asks_says_so():
    assert effect((deny(ports=((443, 443),)), ALLOW), row(port=None)).changes[0].depends == ("port",)
    folded = row(source=SeenEnd("corp", network=ip_network("192.0.2.0/24")))
    assert effect((deny(sources=space("192.0.2.7")), ALLOW), folded).changes[0].depends == ("source address",)
    by_zone = row(source=SeenEnd("corp"))
    assert effect((deny(sources=space("192.0.2.7")), ALLOW), by_zone).changes[0].depends == ("source address",)


def test_of_a_kind_in_part_another_rules_count_is_the_other_part():
    candidate = deny(sources=space("192.0.2.7")), ALLOW
    folded = SeenEnd("corp", network=ip_network("192.0.2.0/24"))
    assert effect(candidate, row(source=folded, rule=Origin("else", "e", "pre", "dg"))).changes == ()
    renamed = replace(OPEN, name="it was called so")
    assert len(effect(candidate, row(source=folded, rule=renamed)).changes) == 1


def test_a_connection_that_began_before_anybody_counted_is_one_that_lives():
    assert effect((deny(), ALLOW), row(0, living=2)).denied[0].connections == 2


@settings(max_examples=20)
@given(policies(), policies(), st.sampled_from([22, 80, 443, 5432]), st.sampled_from([6, 17]), st.booleans())
def test_without_a_depends_every_connection_of_the_kind_changes_and_without_a_row_none(old, new, port, protocol, pods):
    """By `decide` on the flows that a count of two pods may stand for."""
    found = difference(old, new, AT)
    zones = sorted({"web", "db", *old.known_zones, *new.known_zones})[:4]
    for zone in zones:
        source, destination = SeenEnd(zone, "shop", "front"), SeenEnd(zones[0], "data", "postgres")
        residents = tuple(replace(pod, zone=each.zone, addresses=pod.addresses[:1]) for pod, each in zip(PODS, (source, destination), strict=True))  # fmt: skip
        ends = [Endpoint(each.zone, pod.addresses[0], pod.workload, pod.namespace) for each, pod in zip((source, destination), residents, strict=True)]  # fmt: skip
        flows = [Flow(*ends, protocol, port, source_port, at=AT) for source_port in (1, 1023, 1024, 40000, 65535)]
        if protocol not in PROTOCOLS_WITH_PORTS:
            continue
        decided = [(decide(old, each), decide(new, each)) for each in flows]
        if any(before.origin.rulebase == "infrastructure" for before, _ in decided):
            continue
        rule = decided[0][0].origin
        counted = flow(1, key=SeenKey(source, destination, protocol, port, rule, decided[0][0].verdict))
        result = counted_effect(found, Evidence((counted,), {}), residents if pods else (), "nodes")
        now = found.moment(AT)
        whole = [change for change in result.changes if not change.depends and now in change.piece.box.moments]
        changed = [before.verdict != after.verdict for before, after in decided]
        if whole:
            assert all(changed)
        if not result.changes:
            assert not changed[0]


def test_the_command_reads_counts_and_ends_with_1(run, tmp_path):
    services = section("service", entry("db", "<protocol><tcp><port>5432</port></tcp></protocol>"))
    texts = {}
    for name, action in (("running", "allow"), ("candidate", "deny")):
        text = config_text(services + rulebase("pre", rule("db", action, from_="web", to="db", service="db")))
        texts[name] = tmp_path / f"{name}.xml"
        texts[name].write_text(text)
    key = SeenKey(WEB, DB, 6, 5432, Origin("db", "uuid-db", "pre", "Shared"), Verdict.ALLOW)
    stamp = Stamp("prod", "n1", "boot", 1)
    records = [stamp.record("counting", 0) | counting().json(), stamp.record("seen", 0) | flow(41, key=key).json()]  # fmt: skip
    seen = tmp_path / "seen.jsonl"
    seen.write_text("".join(json.dumps(each) + "\n" for each in records))
    options = ["--running", texts["running"], "--candidate", texts["candidate"], "--device-group", "dg", "--seen", seen]
    code, out, err = run("preview", *options, "-o", "json")
    assert code == 1, err
    (change,) = json.loads(out)["seen"]
    assert (change["connections"], change["from"]["workload"], change["new"]["verdict"], change["depends"]) == (41, "front", "deny", [])  # fmt: skip
    assert "41 connections that were seen would be denied" in err
    table = run("preview", *options)[1]
    assert "shop/front" in table
    assert "nothing is known of earlier days" in table  # all rules are counted, whether they log or not
    assert "shop/front" in run("preview", *options, "-o", "html")[1]


@pytest.mark.parametrize("kind", ["flow", "alert"])
def test_records_of_single_connections_are_read_as_before(kind):
    from bridge.preview.seen import are_counted  # noqa: PLC0415 - of this test alone

    assert not are_counted(["no JSON", json.dumps({"kind": kind})])
    assert are_counted([json.dumps({"kind": "alert"}), json.dumps({"event": {"kind": "counting"}})])
