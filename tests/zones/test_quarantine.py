"""What the zone of pods in quarantine means: open to what names it and to nothing else, whoever evaluates."""

from dataclasses import replace

import pytest
from hypothesis import given

from tests.strategies import INTERZONE, INTRAZONE, flows, policies
from zones.addresses.inventory import Pod, endpoint
from zones.net import TCP
from zones.policy import QUARANTINED, Entry, Policy, Verdict, usual_infrastructure
from zones.quarantine import closed
from zones.rules import Origin, RuleType
from zones.tiers import quarantines
from zones.tiers.quarantines import Quarantine
from zones.verdict import Endpoint, Flow, decide
from zones.zone import ANY_ZONE, ISOLATED, QUARANTINE, Entitlement, Zoning

SYSTEM = frozenset({"kube-system"})
INFRASTRUCTURE = usual_infrastructure(SYSTEM, SYSTEM, frozenset({"coredns"}))
DNS = Endpoint("default", workload="coredns", namespace="kube-system")


def entry(name, verdict=Verdict.ALLOW, from_zones=None, to_zones=None, pairing=RuleType.UNIVERSAL):
    zones = (None if each is None else frozenset(each.split()) for each in (from_zones, to_zones))
    return Entry(Origin(name, None, "pre", "dg"), verdict, pairing, *zones)


def decided(entries, from_zone, to_zone):
    some = Policy(Zoning(), INFRASTRUCTURE, (*entries, INTRAZONE, INTERZONE))
    decision = decide(some, Flow(Endpoint(from_zone), Endpoint(to_zone), TCP, 80))
    return decision.verdict, decision.origin.name


OPEN = (entry("open"),)
FORENSICS = (entry("forensics", from_zones="tools", to_zones=QUARANTINE),)


@pytest.mark.parametrize(
    ("entries", "ways", "by"),
    [
        (OPEN, [(QUARANTINE, "web"), ("web", QUARANTINE), (QUARANTINE, QUARANTINE)], QUARANTINED.name),
        ((entry("within", pairing=RuleType.INTRAZONE),), [(QUARANTINE, QUARANTINE)], QUARANTINED.name),
        (FORENSICS, [(QUARANTINE, "tools"), ("web", QUARANTINE)], QUARANTINED.name),
        ((entry("out", from_zones=QUARANTINE),), [(QUARANTINE, QUARANTINE)], QUARANTINED.name),
        ((entry("none", Verdict.DENY), *FORENSICS), [("tools", QUARANTINE)], "none"),
    ],
)
def test_what_does_not_name_the_zone_does_not_open_it(entries, ways, by):
    assert [decided(entries, *way) for way in ways] == [(Verdict.DENY, by)] * len(ways)


@pytest.mark.parametrize(
    ("entries", "way"),
    [
        (FORENSICS, ("tools", QUARANTINE)),
        ((entry("a", to_zones=QUARANTINE),), ("web", QUARANTINE)),
        ((entry("b", from_zones=QUARANTINE),), (QUARANTINE, "web")),
        ((entry("c", from_zones=QUARANTINE, pairing=RuleType.INTRAZONE),), (QUARANTINE, QUARANTINE)),
        ((entry("d", from_zones="web quarantine", to_zones="web quarantine"),), (QUARANTINE, QUARANTINE)),
    ],
)
def test_what_names_the_zone_opens_it(entries, way):
    assert decided(entries, *way) == (Verdict.ALLOW, entries[0].origin.name)


def test_infrastructure_does_not_reach_a_pod_in_quarantine_but_its_own_node_does():
    some = Policy(Zoning(), INFRASTRUCTURE, (*OPEN, INTRAZONE, INTERZONE))
    held = Endpoint(QUARANTINE, workload="web", namespace="shop", node="n1")
    node, other = (Endpoint("nodes", node=name, is_node=True) for name in ("n1", "n2"))
    ways = [(held, DNS, 53), (node, held, 8080), (other, held, 8080), (held, node, 10250), (DNS, held, 80)]
    verdicts = [decide(some, Flow(source, to, TCP, port)).verdict for source, to, port in ways]
    assert verdicts == [Verdict.DENY, Verdict.ALLOW, Verdict.DENY, Verdict.DENY, Verdict.DENY]


def test_an_unknown_end_closes_what_names_the_zone():
    some = Policy(Zoning(), (), (entry("to", to_zones=QUARANTINE), INTRAZONE, INTERZONE))
    decision = decide(some, Flow(Endpoint("untrust", unknown=True), Endpoint(QUARANTINE), TCP, 80))
    assert (decision.verdict, decision.origin) == (Verdict.DENY, QUARANTINED)


def renamed(zones):
    return None if zones is None else frozenset(QUARANTINE if zone == "data" else zone for zone in zones)


@given(policies(), flows())
def test_the_entries_for_the_zone_say_what_the_oracle_says(some, flow):
    """Judged plainly as entries of a zone like any other, after infrastructure; other zones lose nothing."""
    entries = tuple(replace(e, from_zones=renamed(e.from_zones), to_zones=renamed(e.to_zones)) for e in some.entries)
    some = replace(some, entries=entries, infrastructure=())
    ends = (replace(e, zone=QUARANTINE if e.zone == "data" else e.zone) for e in (flow.source, flow.destination))
    flow = replace(flow, **dict(zip(("source", "destination"), ends, strict=True)))
    wanted = decide(some, flow)
    by_entries = replace(some, entries=tuple(map(as_any_zone, closed(some).entries)))
    plain = replace(flow, source=as_any_zone(flow.source), destination=as_any_zone(flow.destination))
    found = decide(by_entries, plain)
    assert (found.verdict, found.origin) == (wanted.verdict, wanted.origin)


def as_any_zone(each):
    """The same with another name of the zone, which means nothing to the oracle."""
    if isinstance(each, Endpoint):
        return replace(each, zone="plain" if each.zone == QUARANTINE else each.zone)
    zones = (
        None if some is None else frozenset("plain" if zone == QUARANTINE else zone for zone in some)
        for some in (each.from_zones, each.to_zones)
    )
    return replace(each, **dict(zip(("from_zones", "to_zones"), zones, strict=True)))


@pytest.mark.parametrize("allowed", [None, frozenset({ANY_ZONE}), frozenset({QUARANTINE})])
@pytest.mark.parametrize("entitlement", Entitlement)
def test_no_label_puts_a_pod_into_the_zone_and_none_takes_it_out(allowed, entitlement):
    zoning = Zoning.of({}, entitlement)
    labels = {zoning.label_key: QUARANTINE}
    assert zoning.of_pod(labels, allowed) == ISOLATED
    assert zoning.of_pod({zoning.label_key: "web"}, frozenset({"web"}), quarantined=True) == QUARANTINE
    held = Pod("u", "shop", "a", "n1", "Running", (), {}, allowed=allowed, quarantined=True)
    assert endpoint(None, held, zoning).zone == QUARANTINE


WHOLE = Quarantine(
    "q", "u-q", "shop", "web-1", "u-1", reason="beacon", requested_by="ann", duration="4h", seconds=14400
)
OF_WORKLOAD = replace(WHOLE, pod="", pod_uid="", workload="web", source="soar", reference="INC-1", dry_run=True)


@pytest.mark.parametrize("whole", [WHOLE, OF_WORKLOAD, replace(WHOLE, held="2 of 2 pods of shop/web")])
def test_objects_are_read_as_they_are_written(whole):
    raw = quarantines.render(whole)
    raw["metadata"] |= {"uid": "u-q", "creationTimestamp": "2026-03-02T12:00:00Z"}
    assert quarantines.parse(raw) == replace(whole, created=1772452800.0)


def spec(**changes):
    raw = quarantines.render(WHOLE)
    return raw | {"spec": {key: value for key, value in (raw["spec"] | changes).items() if value is not None}}


@pytest.mark.parametrize(
    "raw",
    [
        {"metadata": {"name": "q"}},
        spec(pod=None),
        spec(workload={"namespace": "shop", "name": "web"}),
        spec(pod={"namespace": "shop", "name": "web-1"}),
        spec(pod={"namespace": "shop", "name": 7, "uid": "u"}),
        spec(workload={"name": "web"}, pod=None),
        *(spec(duration=each) for each in (None, "", "0s", "4", "4 h", "-1h", "169h", "1h30m", 4, "9999999h")),
    ],
)
def test_what_makes_no_sense_is_no_quarantine_and_says_why(raw):
    found = quarantines.parse(raw)
    assert isinstance(found, str)
    assert "has no effect" in found


def test_what_a_quarantine_tells_of_itself_is_one_bounded_line():
    found = quarantines.parse(spec(reason="a\nb\x1b" + "c" * 1000))
    assert found.reason.startswith("a_b_c")
    assert len(found.reason) == 300
