"""Every flow that changes is in a piece, and no other: against `decide` on all flows of small worlds."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from ipaddress import ip_address
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import strategies
from tests.strategies import INTERZONE, INTRAZONE, entries
from zones.difference import RuleChangeKind, difference
from zones.net import ALL_PORTS, ANY_ADDRESS, ICMP, TCP, UDP, AddressSet, Ranges
from zones.policy import Entry, InfrastructureRule, Peer, Policy, Traffic, Verdict, usual_infrastructure
from zones.rules import Log, Origin
from zones.schedule import Absolute, Schedule, Weekly
from zones.verdict import Endpoint, Flow, decide
from zones.zone import QUARANTINE, Zoning

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = ("web", "data", "nodes", "elsewhere", "quarantine")
ADDRESSES = tuple(map(ip_address, ("10.1.2.3", "10.9.9.9", "192.0.2.1", "fd00::1")))
TRAFFIC = (
    *({"protocol": protocol, "port": port, "source_port": 443} for protocol in (TCP, UDP) for port in (22, 443)),
    {"protocol": TCP, "port": 80, "source_port": 4000},
    {"protocol": ICMP, "icmp_type": 8},
    {"protocol": 47},
)
INSTANTS = tuple(NOW + timedelta(hours=hours) for hours in (0, 11, 24 * 3 + 20, 24 * 60))
DNS = usual_infrastructure(frozenset({"kube-system"}), frozenset({"kube-system"}), frozenset({"coredns"}))


def policy(*rules, infrastructure=()):
    return Policy(Zoning(), infrastructure, (*rules, INTRAZONE, INTERZONE))


def rule(name, verdict, **conditions):
    return Entry(Origin(name, None, "pre", "dg"), verdict, **conditions)


def ends(zone, address):
    if zone == "nodes":
        return (Endpoint(zone, address, "", "", "n1", is_node=True),)
    return (
        Endpoint(zone, address, "cart", "shop", "n1"),
        Endpoint(zone, address, "coredns", "kube-system", "n2"),
        Endpoint(zone, address, "", "", ""),
    )


def flows(instants=INSTANTS[:1]):
    for source, destination, traffic, at in product(
        [end for zone in ZONES for end in ends(zone, ADDRESSES[0])],
        [end for zone in ZONES for address in ADDRESSES for end in ends(zone, address)[:2]],
        TRAFFIC,
        instants,
    ):
        yield Flow(source, destination, at=at, **traffic)


def said(found, flow):
    moment = found.moment(flow.at)
    return [
        (piece.old.verdict, piece.new.verdict, piece.old.origin, piece.new.origin)
        for piece in found.between(flow.source.zone, flow.destination.zone)
        if piece.holds(flow, moment)
    ]


def assert_exact(old, new, some_flows, start=NOW):
    found = difference(old, new, start)
    for flow in some_flows:
        before, after = decide(old, flow), decide(new, flow)
        expected = (
            [(before.verdict, after.verdict, before.origin, after.origin)] if before.verdict != after.verdict else []
        )
        assert said(found, flow) == expected, flow
    return found


WEB_TO_DATA = {"from_zones": frozenset({"web"}), "to_zones": frozenset({"data"})}
POSTGRES = (Traffic(TCP, Ranges(((443, 443),))),)
TEN = AddressSet.parse(["10.0.0.0/8"])
NARROW = AddressSet.parse(["10.1.0.0/16", "192.0.2.1/32"])
ALLOW = rule("allow", Verdict.ALLOW, **WEB_TO_DATA, traffic=POSTGRES)
NIGHT = Schedule("night", (Weekly(0, time(22), time(6)), Weekly(1, time(22), time(6))), "Europe/Berlin")
WINTER = Schedule("winter", (Absolute(datetime(2026, 12, 1), datetime(2027, 3, 1)),), "America/New_York")


@pytest.mark.parametrize(
    ("old", "new"),
    {
        "added": ([], [ALLOW]),
        "removed": ([ALLOW], []),
        "verdict": ([ALLOW], [replace(ALLOW, verdict=Verdict.RESET)]),
        "moved": (
            [rule("deny", Verdict.DENY, to_zones=frozenset({"data"}), sources=TEN), ALLOW],
            [ALLOW, rule("deny", Verdict.DENY, to_zones=frozenset({"data"}), sources=TEN)],
        ),
        "any to any": ([ALLOW], [rule("all", Verdict.DENY, traffic=(Traffic(TCP, Ranges(((22, 80),))),)), ALLOW]),
        "an object that grew": ([replace(ALLOW, destinations=TEN)], [replace(ALLOW, destinations=TEN | NARROW)]),
        "an object that changed": ([replace(ALLOW, sources=TEN)], [replace(ALLOW, sources=NARROW)]),
        "zones": ([ALLOW], [replace(ALLOW, from_zones=frozenset({"data"}))]),
        "any zone": ([ALLOW], [replace(ALLOW, from_zones=None)]),
        "a workload": ([ALLOW], [replace(ALLOW, traffic=(Traffic(TCP, destination_workload="cart"),))]),
        "a workload of a namespace": (
            [replace(ALLOW, traffic=(Traffic(TCP, destination_workload="cart"),))],
            [replace(ALLOW, traffic=(Traffic(TCP, destination_workload="kube-system/coredns"),))],
        ),
        "icmp": ([ALLOW], [ALLOW, rule("ping", Verdict.ALLOW, traffic=(Traffic(ICMP, icmp_type=8),))]),
        "source ports": ([ALLOW], [replace(ALLOW, traffic=(Traffic(UDP, source_ports=Ranges(((443, 443),))),))]),
        "a default rule of one's own": ([], [rule("intrazone", Verdict.DENY, from_zones=None)]),
    }.values(),
)
@pytest.mark.parametrize("infrastructure", [(), DNS], ids=["rules alone", "with infrastructure"])
def test_every_flow_that_changes_is_in_a_piece_and_no_other(old, new, infrastructure):
    old, new = policy(*old, infrastructure=infrastructure), policy(*new, infrastructure=infrastructure)
    assert assert_exact(old, new, flows()).zones
    assert assert_exact(new, old, flows()).zones
    assert not assert_exact(old, old, ()).zones


@pytest.mark.parametrize(
    "schedules", [(NIGHT, None), (NIGHT, WINTER), (None, WINTER), (NIGHT, replace(NIGHT, windows=()))]
)
def test_a_schedule_counts_while_it_does(schedules):
    before, after = (policy(replace(ALLOW, schedule=schedule)) for schedule in schedules)
    found = assert_exact(before, after, flows(INSTANTS))
    assert len(found.moments) > 1


INFRASTRUCTURE = (
    InfrastructureRule("metrics", Peer(namespaces=frozenset({"shop"})), traffic=POSTGRES),
    InfrastructureRule("nodes", Peer(nodes=True, node_names=frozenset({"n1"})), Peer(workloads=frozenset({"cart"}))),
    InfrastructureRule("to-ten", destination=Peer(addresses=TEN), traffic=(Traffic(UDP),)),
    InfrastructureRule("from-own-node", Peer(nodes=True), own_node=True, log=Log(end=True)),
)


@pytest.mark.parametrize("changed", INFRASTRUCTURE, ids=lambda each: each.name)
def test_infrastructure_rules_count_too(changed):
    before, after = policy(ALLOW, infrastructure=DNS), policy(ALLOW, infrastructure=(*DNS, changed))
    found = assert_exact(before, after, flows())
    assert [(each.change, each.origin) for each in found.rules] == [(RuleChangeKind.ADDED, changed.origin)]
    assert found.zones
    assert_exact(after, before, flows())


def test_another_rule_with_the_same_verdict_is_only_counted():
    found = assert_exact(
        policy(ALLOW), policy(rule("before", Verdict.ALLOW, **WEB_TO_DATA, traffic=POSTGRES), ALLOW), ()
    )
    assert found.zones == ()
    assert found.untouched == 1


def test_what_differs_in_one_property_is_one_piece():
    ports = (Traffic(TCP, Ranges(((22, 22),))), Traffic(TCP, Ranges(((80, 443),))))
    (change,) = difference(policy(), policy(replace(ALLOW, traffic=ports)), NOW).zones
    (piece,) = change.pieces
    assert (piece.box.ports, piece.box.sources) == (Ranges(((22, 22), (80, 443))), ANY_ADDRESS)
    assert piece.box.source_ports == ALL_PORTS
    assert (change.from_zone, change.to_zone) == ("web", "data")


@st.composite
def edited(draw, rules):
    """The rules after some edits: removed, added, changed, moved."""
    rules = list(rules)
    for number in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["add", "remove", "edit", "move"]))
        if kind == "add" or not rules:
            rules.insert(draw(st.integers(0, len(rules))), draw(unique_entries(f"new {number}")))
            continue
        place = draw(st.integers(0, len(rules) - 1))
        taken = rules.pop(place)
        if kind == "edit":
            rules.insert(place, replace(draw(unique_entries("")), origin=taken.origin))
        elif kind == "move":
            rules.insert(draw(st.integers(0, len(rules))), taken)
    return rules


def unique_entries(name):
    return entries(name).map(lambda entry: replace(entry, origin=replace(entry.origin, uuid=None)))


@st.composite
def pairs(draw):
    rules = [draw(unique_entries(f"rule {number}")) for number in range(draw(st.integers(0, 5)))]
    infrastructure = draw(st.sampled_from([(), DNS]))
    changed = draw(st.sampled_from([infrastructure, infrastructure, (*infrastructure, INFRASTRUCTURE[0])]))
    return policy(*rules, infrastructure=infrastructure), policy(*draw(edited(rules)), infrastructure=changed)


@given(pairs(), st.lists(strategies.flows(), min_size=1, max_size=60))
@settings(deadline=None)
def test_random_rulebases_and_flows(both, some_flows):
    """No flow of these addresses is one that no rule can open."""
    assert_exact(*both, some_flows, START)


def with_quarantine(both):
    """The same rules, of which those that name `untrust` name the zone quarantine instead."""

    def renamed(zones):
        return zones and frozenset(QUARANTINE if zone == "untrust" else zone for zone in zones)

    for each in both:
        entries_ = (
            replace(entry, from_zones=renamed(entry.from_zones), to_zones=renamed(entry.to_zones))
            for entry in each.entries
        )
        yield replace(each, entries=tuple(entries_), known_zones=renamed(each.known_zones))


@given(pairs(), st.lists(strategies.flows(), min_size=1, max_size=40))
@settings(deadline=None)
def test_random_rulebases_that_name_quarantine(both, some_flows):
    """Verdicts alone: which rule denies is not said where the zone is closed anyway."""
    old, new = with_quarantine(both)
    found = difference(old, new, START)
    for flow in some_flows:
        ends_ = [
            replace(end, zone=QUARANTINE) if end.zone == "untrust" else end for end in (flow.source, flow.destination)
        ]
        moved = replace(flow, source=ends_[0], destination=ends_[1])
        before, after = decide(old, moved).verdict, decide(new, moved).verdict
        opens = {before is Verdict.ALLOW, after is Verdict.ALLOW} == {True, False}
        assert any(Verdict.ALLOW in each[:2] for each in said(found, moved)) == opens, moved


def test_an_allow_of_any_zone_opens_quarantine_to_nobody():
    found = assert_exact(policy(), policy(rule("all", Verdict.ALLOW)), flows())
    assert all("quarantine" not in (change.from_zone, change.to_zone) for change in found.zones)
    assert_exact(policy(), policy(rule("help", Verdict.ALLOW, to_zones=frozenset({"quarantine"}))), flows())
