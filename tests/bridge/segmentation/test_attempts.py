"""Which connections are tried, and how a difference is called."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from bridge.segmentation.attempts import UNNAMED, PortChoice, ProbeEnd, pod_zones, ports_among, ports_between
from bridge.segmentation.attempts import attempts as planned
from bridge.segmentation.matrix import Deviation, Measured, cells, differences_json
from bridge.segmentation.probe import Outcome
from zones.net import TCP, UDP, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict
from zones.rules import Origin
from zones.verdict import Flow, decide
from zones.zone import Zoning

AT = datetime(2026, 3, 1, tzinfo=UTC)


def entry(name, verdict, from_zones, to_zones, **more):
    sides = (None if zones is None else frozenset(zones) for zones in (from_zones, to_zones))
    return Entry(Origin(name, None, "pre", "dg"), verdict, from_zones=next(sides), to_zones=next(sides), **more)


def tcp(*spans):
    return Traffic(TCP, Ranges(spans))


def attempts(policy, sources, destinations, most, at):
    zones = sorted({end.zone for end in (*sources, *destinations)})
    choice = PortChoice(frozenset(ports_among(policy, zones)), most)
    return [each for source in sources for each in planned(policy, source, destinations, choice, at)]


@pytest.fixture
def policy():
    rules = (
        entry("web to db", Verdict.ALLOW, {"web"}, {"db"}, traffic=(tcp((5432, 5440)),)),
        entry("no ssh", Verdict.RESET, None, {"db"}, traffic=(tcp((22, 22)),)),
        entry("dns", Verdict.ALLOW, {"web"}, {"db"}, traffic=(Traffic(UDP, Ranges(((53, 53),))),)),
        entry("defaults", Verdict.DENY, None, None),
    )
    return Policy(Zoning(networks=()), (), rules, frozenset({"web", "db"}))


def ends(*zones):
    return [
        ProbeEnd(f"p-{zone}", zone, (ip_address(f"10.0.0.{n}"), ip_address(f"fd00::{n}")), f"p-{zone}", "probes", "n1")
        for n, zone in enumerate(zones, 1)
    ]


def test_ports_are_where_rules_begin_and_end_and_beside_that(policy):
    assert ports_between(policy, "web", "db") == [UNNAMED, 5432, 5440, 5431, 5441, 22, 21, 23, 65535]
    assert ports_between(policy, "db", "web") == [UNNAMED, 65535]


def test_zones_without_pods_are_not_measured(policy):
    assert pod_zones(policy) == ("db", "default", "web")


def test_each_pair_has_allowed_and_denied_ports_in_both_families_and_each_rule_its_turn(policy):
    found = list(attempts(policy, ends("web", "db"), ends("web", "db"), 4, AT))
    chosen = [each for each in found if (each.source.zone, each.destination.zone) == ("web", "db")]
    for version in (4, 6):
        some = [each for each in chosen if each.address.version == version]
        assert len(some) == 4
        assert {each.decision.origin.name for each in some} == {"web to db", "no ssh", "defaults"}
        assert {each.expected for each in some} == {Outcome.ALLOWED, Outcome.REFUSED, Outcome.TIMEOUT}
    for each in found:
        begin, end = each.source.endpoint(each.address.version), each.destination.endpoint(each.address.version)
        assert each.decision.origin == decide(policy, Flow(begin, end, TCP, each.port, at=AT)).origin


def test_of_very_many_ports_some_are_listened_on(policy):
    many = entry("many", Verdict.ALLOW, {"web"}, {"db"}, traffic=(tcp(*((n, n) for n in range(1000, 9000, 4))),))
    wide = Policy(policy.zoning, (), (many, *policy.entries), policy.known_zones)
    ports = ports_among(wide, ("web", "db"))
    assert len(ports) <= 400
    assert UNNAMED in ports
    assert {each.port for each in attempts(wide, ends("web"), ends("db"), 50, AT)} <= set(ports)


def test_an_end_without_a_family_is_not_tried_in_it(policy):
    (four,) = ends("db")
    only = ProbeEnd("v4", "web", (ip_address("10.0.0.9"),), "v4", "probes")
    assert {each.address.version for each in attempts(policy, [only], [four], 4, AT)} == {4}


def test_a_difference_is_called_what_it_is_and_the_worst_comes_first(policy):
    some = {each.port: each for each in attempts(policy, ends("web"), ends("db"), 9, AT) if each.address.version == 4}
    allowed, refused, denied = some[5432], some[22], some[UNNAMED]
    results = [
        Measured(refused, Outcome.TIMEOUT),
        Measured(allowed, None),
        Measured(allowed, Outcome.REFUSED),
        Measured(denied, Outcome.ALLOWED),
        Measured(denied, Outcome.TIMEOUT),
        Measured(allowed, Outcome.ALLOWED),
        Measured(refused, Outcome.REFUSED),
    ]
    assert [each["kind"] for each in differences_json(results)] == [kind.value for kind in Deviation]
    (cell,) = cells(results)
    assert (cell.tried, cell.agree, cell.open, cell.closed) == (7, 3, (5432, UNNAMED), (22,))
