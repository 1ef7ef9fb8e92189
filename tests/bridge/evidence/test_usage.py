"""What rules are used for: counts by rule, since when a rule is known to be unused, what shadows it, where it is broad."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest

from bridge.evidence.seen import Evidence
from bridge.evidence.usage import rule_digests, rule_key, unused, usage
from bridge.evidence.usage_text import usage_csv, usage_json, usage_lines
from tests.bridge.evidence.rows import NOON, WINDOW, counting, flow
from tests.strategies import INTERZONE, INTRAZONE
from zones.net import TCP, AddressSet, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict, usual_infrastructure
from zones.rules import Origin
from zones.seen import SeenEnd
from zones.zone import Zoning

DAY = timedelta(days=1)
NOW = NOON + 100 * DAY
NONE = frozenset()


def entry(name, verdict=Verdict.ALLOW, ports=((443, 443),), **more):
    return Entry(Origin(name, f"uuid {name}", "pre", "k8s"), verdict, traffic=(Traffic(TCP, Ranges(ports)),), **more)


WEB = entry("web", from_zones=frozenset({"web", "app"}), to_zones=frozenset({"data"}), ports=((400, 500),))
IDLE = entry("idle", ports=((22, 22),))
DEAD = entry("dead", ports=((22, 22),), from_zones=frozenset({"web"}))
POLICY = Policy(
    Zoning(), usual_infrastructure(NONE, NONE, NONE)[:1], (WEB, IDLE, DEAD, INTRAZONE, INTERZONE), frozenset()
)


def hit(rule, connections=1, at=NOW - DAY, **more):
    return flow(connections, 100 * connections, at=at, rule=rule.origin, port=more.pop("port", 443), **more)


def found(*flows, edited=None, **nodes):
    nodes = nodes or {"n1": replace(counting(NOW), since=NOON), "n2": replace(counting(NOW), since=NOON - DAY)}
    return usage(POLICY, Evidence(flows, nodes), edited or {}, NOW)


def of(usages, name):
    (one,) = [each for each in usages.rules if each.origin.name == name]
    return one


def test_hits_and_bytes_are_summed_and_times_are_the_outermost():
    seen = found(hit(WEB, 2, NOON + DAY), hit(WEB, 3, NOW - DAY, port=444), hit(INTERZONE, 7, verdict=Verdict.DENY))
    web = of(seen, "web")
    assert (web.hits, web.octets, web.first, web.last) == (5, 500, NOON + DAY - WINDOW, NOW - DAY)
    assert of(seen, INTERZONE.origin.name).hits == 7
    assert [each.origin.name for each in seen.rules][:2] == ["infrastructure/node-to-own-pods", "web"]


def test_unused_is_said_from_when_all_nodes_count_or_the_rule_was_edited_or_hit():
    seen = found(hit(WEB, at=NOW - 5 * DAY), edited={rule_key(DEAD.origin): NOW - 10 * DAY})
    assert of(seen, "idle").unused_since == NOON
    assert of(seen, "dead").unused_since == NOW - 10 * DAY
    assert of(seen, "web").unused_since == NOW - 5 * DAY
    assert (
        of(seen, "infrastructure/node-to-own-pods").unused_since == of(seen, INTERZONE.origin.name).unused_since == NOON
    )
    assert [each.origin.name for each in unused(seen, 90 * DAY)] == ["idle"], "nobody removes the others"
    assert of(found(hit(WEB, living=1)), "web").unused_since is None


def test_where_nobody_counts_nothing_is_said():
    seen = usage(POLICY, Evidence(), {}, NOW)
    assert {each.unused_since for each in seen.rules} == {None}
    assert unused(seen, timedelta(0)) == ()
    assert "No node has counted anything yet" in next(iter(usage_lines(seen, seen.rules)))


def test_a_rule_that_is_gone_keeps_its_hits():
    gone = Origin("gone", "uuid gone", "pre", "k8s")
    one = of(found(flow(4, rule=gone)), "gone")
    assert (one.in_force, one.hits, one.unused_since) == (False, 4, None)


def test_a_renamed_rule_is_the_same_rule():
    old = replace(WEB, origin=replace(WEB.origin, name="old name"))
    assert of(found(hit(old, 3)), "web").hits == 3


def test_a_rule_that_others_take_everything_from_is_shadowed():
    assert [each.name for each in of(found(), "dead").shadowed_by] == ["idle"]
    assert of(found(), "idle").shadowed_by == ()


def test_where_a_rule_is_broader_than_what_was_seen():
    narrow = {one.what: (one.allowed, one.seen) for one in of(found(hit(WEB), hit(WEB, port=450)), "web").broader}
    assert narrow == {
        "from zones": ("app, web", ("web",)),
        "tcp ports": ("400-500", ("tcp/443", "tcp/450")),
        "destinations": ("any workload", ("shop/db",)),
    }
    outside = hit(IDLE, port=22, destination=SeenEnd("outside", network=ip_network("192.0.2.1/32")))
    assert {one.what for one in of(found(outside), "idle").broader} == {"from zones", "to zones"}
    assert of(found(), "web").broader == ()


def test_the_same_rules_have_the_same_digests_and_an_edit_another_one():
    digests = rule_digests(POLICY)
    assert rule_digests(replace(POLICY)) == digests
    wider = replace(POLICY, entries=(replace(WEB, sources=AddressSet.parse(["10.0.0.0/8"])), *POLICY.entries[1:]))
    assert {key for key, each in rule_digests(wider).items() if digests[key] != each} == {"uuid web"}
    fed = [replace(WEB, feeds=("edl",), sources=AddressSet.parse([prefix])) for prefix in ("10.0.0.0/8", "10.9.0.0/16")]
    of_feeds = [rule_digests(replace(POLICY, entries=(each, *POLICY.entries[1:]))) for each in fed]
    assert of_feeds[0] == of_feeds[1]


HOSTILE = Origin("=cmd|'/c x'!A1\x1b[2J", "u", "pre", "k8s")


def test_the_table_says_how_far_it_goes_and_names_cant_steer_a_terminal():
    seen = found(flow(rule=HOSTILE), hit(WEB), n1=replace(counting(NOW), since=NOON, missed=3, held_back=9))
    lines = list(usage_lines(seen, seen.rules))
    assert lines[0].startswith("Counted on 1 nodes: on all of them since 2026-03-02 12:00")
    assert "3 connections ended faster than nodes heard; 9 denied packets" in lines[1]
    text = "\n".join(lines)
    assert "shadowed by 'idle'" in text
    assert "not hit for 100 d, as far as is known" in text
    assert "no longer in force" in text
    assert "\x1b" not in text


def test_json_and_csv_say_the_same():
    seen = found(flow(rule=HOSTILE), hit(WEB, 2), edited={"uuid web": NOON})
    said = json.loads(json.dumps(usage_json(seen, seen.rules)))
    assert (said["since"], said["nodes"]["n1"]["missed"]) == ("2026-03-02T12:00:00Z", 0)
    web = next(each for each in said["rules"] if each["rule"]["name"] == "web")
    assert (web["hits"], web["bytes"], web["editedAt"], web["inForce"]) == (2, 200, "2026-03-02T12:00:00Z", True)
    rows = list(csv.DictReader(io.StringIO(usage_csv(seen.rules))))
    assert [row["hits"] for row in rows] == [str(each["hits"]) for each in said["rules"]]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


@pytest.mark.parametrize("rulebase", ["pre", "post"])
def test_without_a_uuid_a_rule_is_known_by_its_place_and_name(rulebase):
    origins = [Origin("r", None, rulebase, group) for group in ("a", "b")]
    assert rule_key(origins[0]) != rule_key(origins[1])
    assert rule_key(origins[0]) == rule_key(replace(origins[0]))
