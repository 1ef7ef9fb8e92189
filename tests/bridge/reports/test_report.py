"""A report against what its evidence says: scope, clipping, gaps, justification, the same bytes twice, hostile names."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.commands.options import zones_of
from bridge.evidence.store import micros
from bridge.intervals.fold import Interval, IntervalEvent, IntervalKind, intervals_of, state_at
from bridge.intervals.store import CellCount, Review
from bridge.pages.html import page_html
from bridge.reports import controls, gather
from bridge.reports.build import report_of
from bridge.reports.forms import bundle, report_digest, report_json, section_csv
from bridge.reports.model import ReportEvidence, ReportPeriod, ReportScope, moment_text
from bridge.reports.page import report_page
from bridge.reports.recorded import review_of, reviews_json
from bridge.segmentation.store import RecordedMeasurement
from tests.bridge.world import rule, rulebase
from zones import canonical
from zones.compile import compile_policy
from zones.policy import InfrastructureRule
from zones.runtime.errors import InputError
from zones.zone import Zoning

SECOND = 1_000_000
HOUR = 3600 * SECOND
T0 = micros(datetime(2026, 3, 1, tzinfo=UTC))
HOSTILE = "</script><svg onload=alert(1)>\u202e=cmd|' /C calc'!A0"


def policy(*rules):
    made = compile_policy(rulebase(*rules, zones=("cde", "web", "lab")), Zoning())
    return made.policy


def interval(kind, subject, value, begin, end=None):
    return Interval(kind, subject, canonical.text(value), T0 + begin, None if end is None else T0 + end)


def revision(number, at, **more):
    spec = {
        "revision": number,
        "recorded": (datetime(2026, 3, 1, tzinfo=UTC) + timedelta(microseconds=at)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "causes": ["commit"],
        "commits": [{"job": number, "type": "Commit", "administrator": "alice", "description": "CHG-7"}],
        "chain": f"{number:064}",
    }
    return {"spec": spec | more, "status": {"changes": {"pairsOpened": 1, "pairsClosed": 0, "lines": ["web to cde"]}}}


TO_CDE = rule("web to cde", from_zones=frozenset({"web"}), to_zones=frozenset({"cde"}))
LAB = rule("lab", from_zones=frozenset({"lab"}), to_zones=frozenset({"lab"}))


def evidence(**more):
    given_ = {
        "intervals": [
            interval(IntervalKind.WORKLOAD, "shop/pay", {"zones": ["cde"]}, -HOUR),
            interval(IntervalKind.WORKLOAD, "shop/cart", {"zones": ["web"]}, HOUR, 2 * HOUR),
            interval(IntervalKind.POD, "u1", {"namespace": "shop", "workload": "pay", "zone": "cde"}, -HOUR, HOUR),
            interval(IntervalKind.POD, "u2", {"namespace": "shop", "workload": "pay", "zone": "cde"}, HOUR),
            interval(IntervalKind.NODE, "n1", {"mode": "enforce", "revision": 2}, -HOUR),
            interval(IntervalKind.NODE, "n2", {"mode": "observe", "revision": 2}, 0, HOUR),
            interval(IntervalKind.NODE, "n2", {"mode": "none", "why": "silent"}, HOUR),
            interval(
                IntervalKind.ALERT,
                "TierTampered",
                {"severity": "error", "message": "by eve", "revision": 2},
                HOUR,
                HOUR + SECOND,
            ),
            interval(
                IntervalKind.RULE,
                "uuid-web to cde",
                {"name": "web to cde", "description": "card payments", "tags": ["ticket:CHG-7", "x"]},
                -HOUR,
            ),
            interval(IntervalKind.TIER, "panorama", {"revision": 2, "digest": "d" * 64}, 0),
            interval(IntervalKind.SETTINGS, "digest", {"digest": "e" * 64}, -HOUR),
        ],
        "looks": [(T0, T0 + 10 * HOUR)],
        "last_look": T0 + 10 * HOUR,
        "counts": [CellCount("web", "cde", "allow", "web to cde", 7), CellCount("lab", "lab", "allow", "lab", 3)],
        "revisions": [revision(1, -HOUR), revision(2, HOUR)],
        "policy": policy(TO_CDE, LAB),
    }
    return ReportEvidence(**given_ | more)


RANGE = ReportPeriod(T0, T0 + 10 * HOUR)
INSTANT = ReportPeriod(T0 + 3 * HOUR, T0 + 3 * HOUR + 1)
CDE = ReportScope("prod", frozenset({"cde"}))


def made(evidence_=None, period=RANGE, scope=CDE):
    return report_of(evidence_ or evidence(), period, scope, controls.frameworks())


def rows(report, key):
    section = report_json(report)["sections"][key]
    return section["rows"]


def test_the_scope_narrows_workloads_rules_and_connections():
    report = made()
    assert [(row["workload"], row["pods"]) for row in rows(report, "inventory")] == [("shop/pay", "2")]
    named = [row["rule"] for row in rows(report, "rules")]
    assert named == ["web to cde", "intrazone-default", "interzone-default"]
    assert [row["from"] for row in rows(report, "traffic")] == ["web"]
    whole = made(scope=ReportScope("prod"))
    assert {row["workload"] for row in rows(whole, "inventory")} == {"shop/pay", "shop/cart"}
    assert "lab" in [row["rule"] for row in rows(whole, "rules")]


def test_a_rule_has_its_justification_its_ticket_and_its_hits():
    first = rows(made(), "rules")[0]
    assert (first["justification"], first["tickets"], first["connections"]) == ("card payments", "ticket:CHG-7", "7")
    assert report_json(made(scope=ReportScope("prod")))["figures"]["allow_rules_without_justification"] == 1  # lab


def test_what_lies_before_and_after_the_period_does_not_show():
    (pay,) = rows(made(), "inventory")
    assert (pay["from"], pay["until"]) == ("2026-03-01T00:00:00Z", "2026-03-01T10:00:00Z")
    later = made(period=ReportPeriod(T0 + 5 * HOUR, T0 + 6 * HOUR))
    assert rows(later, "drift") == []
    assert [row["revision"] for row in rows(later, "changes")] == ["2"]  # in force at its beginning
    assert [row["revision"] for row in rows(made(), "changes")] == ["1", "2"]


def test_nodes_are_counted_by_what_they_said_and_a_silent_one_is_a_doubt():
    first, second = rows(made(), "enforcement")
    assert (first["enforced"], first["mode"]) == ("10:00:00", "enforce")
    assert (second["enforced"], second["observed"], second["neither"]) == ("0:00:00", "1:00:00", "9:00:00")
    assert second["why"] == "silent"
    assert made().doubts == ("1 of 2 nodes did not enforce at the end",)


def test_an_instant_shows_what_held_then():
    report = made(period=INSTANT)
    assert report_json(report)["at"] == "2026-03-01T03:00:00Z"
    assert [row["workload"] for row in rows(report, "inventory")] == ["shop/pay"]
    assert rows(report, "inventory")[0]["pods"] == "1"
    assert [row["mode"] for row in rows(report, "enforcement")] == ["enforce", "none"]


def test_times_in_which_nobody_looked_are_said_and_nothing_is_said_of_them():
    looks = [(T0, T0 + HOUR), (T0 + 2 * HOUR, T0 + 10 * HOUR)]
    report = made(evidence(looks=looks))
    assert [(row["from"], row["lasted"]) for row in rows(report, "gaps")] == [("2026-03-01T01:00:00Z", "1:00:00")]
    assert "Nobody looked for some of the time; nothing is said of it" in report.doubts
    at = made(evidence(looks=[], intervals=[]), ReportPeriod(T0, T0 + 1))
    assert at.doubts[0] == "Nobody looked at that instant: what is shown of it is not known"


def test_what_still_holds_is_not_said_of_times_after_the_last_look():
    report = made(evidence(looks=[(T0, T0 + 4 * HOUR)], last_look=T0 + 4 * HOUR))
    assert rows(report, "inventory")[0]["until"] == "2026-03-01T04:00:00Z"
    assert rows(report, "enforcement")[0]["enforced"] == "4:00:00"
    assert any("last look was at 2026-03-01T04:00:00Z" in doubt for doubt in report.doubts)


def test_a_revision_that_is_not_kept_is_a_doubt_and_no_empty_rule_base():
    report = made(evidence(policy=None, revisions=[], missing="it isn't kept any more"))
    assert report.doubts[0] == "The rules are not shown: it isn't kept any more"
    assert rows(report, "rules") == []
    assert next(each for each in report.sections if each.key == "rules").empty == "it isn't kept any more"


def review(at, due, zones=()):
    return Review(T0 + at, T0 + due, "Ann", zones, "seen", 2, "f" * 64)


def test_a_review_of_more_counts_and_one_of_less_does_not():
    some = [review(-HOUR, 20 * HOUR, ("cde", "web")), review(0, 90 * HOUR, ("lab",))]
    report = made(evidence(reviews=some))
    assert [row["zones"] for row in rows(report, "reviews")] == ["cde, web"]
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert not reviews_json(some, CDE, now)["overdue"]
    assert reviews_json(some, CDE, now + timedelta(days=1))["overdue"]
    assert reviews_json(some, ReportScope("prod"), now)["overdue"]  # of all zones there is none
    assert reviews_json([], CDE, now)["overdue"]


def test_what_a_reviewer_saw_can_be_made_again():
    seen = made(period=INSTANT)
    recorded = review_of(seen, " Ann ", "all right", datetime(2026, 9, 1, tzinfo=UTC))
    assert (recorded.at, recorded.reviewer, recorded.zones, recorded.revision) == (INSTANT.begin, "Ann", ("cde",), 2)
    text = json.dumps(report_json(made(period=INSTANT)), indent=2, ensure_ascii=False) + "\n"
    assert recorded.digest == hashlib.sha256(text.encode()).hexdigest() == report_digest(seen)


def test_two_runs_give_the_same_bundle_and_its_manifest_holds():
    command = "zonebridge report --cluster prod"
    first, second = (bundle(made(evidence()), command, {"cluster": "prod"}, {}) for _ in range(2))
    assert first == second
    archive = zipfile.ZipFile(io.BytesIO(first))
    manifest = json.loads(archive.read("manifest.json"))
    assert manifest["command"] == command
    assert set(manifest["files"]) == set(archive.namelist()) - {"manifest.json", "SHA256SUMS"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256(archive.read(name)).hexdigest() == digest
    assert bundle(made(evidence(counts=[])), command, {"cluster": "prod"}, {}) != first


def test_hostile_names_are_text_in_every_form():
    hostile = rule(HOSTILE, from_zones=frozenset({"web"}), to_zones=frozenset({"cde"}))
    report = made(evidence(policy=policy(hostile)))
    html = page_html(report_page(report))
    assert "<svg onload" not in html
    assert "\u202e" not in html
    for section in report.sections:
        text = section_csv(section)
        assert "\u202e" not in text
        found = list(csv.reader(io.StringIO(text)))
        assert {len(row) for row in found} == {len(section.fields)}
        assert all(not cell.startswith(("=", "+", "-", "@")) or cell == "-" for row in found[1:] for cell in row)


def test_every_control_names_sections_that_there_are():
    known = {section.key for section in made().sections}
    some = controls.frameworks()
    assert [each.name for each in some] == list(controls.NAMES)
    for framework in some:
        assert framework.controls
        for control in framework.controls:
            assert set(control.sections) <= known, control.number
    numbers = {control.number for framework in some for control in framework.controls}
    assert numbers >= {"1.2.5", "1.2.7", "1.2.8", "1.4.3", "11.4.5", "AC-4", "SC-7", "CM-3", "CC6.6", "A.8.22"}


steps = st.lists(
    st.tuples(
        st.integers(0, 9), st.sampled_from(["shop/a", "shop/b", "lab/c"]), st.sampled_from([None, "cde", "web", "lab"])
    ),
    max_size=20,
)


@given(steps, st.integers(0, 40))
def test_the_inventory_at_an_instant_is_the_fold_of_the_events_up_to_it(some, later):
    at, events = T0, []
    for step, workload, zone in some:
        at += step * SECOND
        value = None if zone is None else canonical.text({"zones": [zone]})
        events.append(IntervalEvent(at, IntervalKind.WORKLOAD, workload, value))
    moment = T0 + later * SECOND
    last = T0 + 100 * SECOND
    held = evidence(intervals=intervals_of(events), looks=[(T0, last)], last_look=last)
    report = made(held, ReportPeriod(moment, moment + 1))
    shown = {(row["workload"], row["zone"]) for row in rows(report, "inventory")}
    expected = {(subject, json.loads(value)["zones"][0]) for (_, subject), value in state_at(events, moment).items()}
    assert shown == {(workload, zone) for workload, zone in expected if zone == "cde"}


NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "begin", "end", "why"),
    [
        (None, None, None, "give --at"),
        (NOW, NOW, NOW, "give --at"),
        (None, NOW, None, "give --at"),
        (None, NOW, NOW, "before --to"),
        (None, NOW, NOW + timedelta(days=1), "to come"),
        (NOW + timedelta(seconds=1), None, None, "to come"),
    ],
    ids=range(6),
)
def test_times_that_are_no_period_are_refused(at, begin, end, why):
    with pytest.raises(InputError, match=why):
        gather.period_of(at, begin, end, NOW)


def test_a_scope_is_zones_and_nothing_else():
    assert zones_of(["zone=cde, zone=web", "zone=lab"]) == {"cde", "web", "lab"}
    for wrong in ("cde", "zone=", "namespace=shop"):
        with pytest.raises(InputError, match="write zone=NAME"):
            zones_of([wrong])


def test_what_was_measured_stands_by_pair_of_zones_with_its_limits_and_doubts():
    cell = {"from": "web", "to": "cde", "family": "IPv4", "tried": 8, "agree": 7, "open": [443, 8443], "closed": [22]}
    other = cell | {"from": "lab", "to": "lab"}
    content = {"revision": 2, "cells": [cell, other], "doubts": ["n1 does not enforce"], "limits": ["TCP alone"]}
    report = made(evidence(measurements=[RecordedMeasurement(T0 + HOUR, content)]))
    (row,) = rows(report, "measurements")
    assert row == {
        "at": moment_text(T0 + HOUR),
        "revision": "2",
        "from": "web",
        "to": "cde",
        "family": "IPv4",
        "tried": "8",
        "differ": "1",
        "open": "443, 8443",
        "closed": "22",
    }
    notes = report_json(report)["sections"]["measurements"]["notes"]
    assert notes[1:] == [f"{moment_text(T0 + HOUR)}: n1 does not enforce", "TCP alone"]
    assert not rows(made(), "measurements")


def test_what_is_allowed_before_the_rules_and_what_of_panorama_is_not_enforced_is_said():
    problem = {"name": "by user", "status": "not enforced", "reasons": ["a cluster can't know its user"]}
    last = revision(3, T0 + HOUR, rules={"notEnforced": 1, "enforcedInPart": 2}, problems=[problem])
    allowed = (InfrastructureRule("dns"), InfrastructureRule("node-to-own-pods"))
    report = made(evidence(policy=replace(policy(TO_CDE), infrastructure=allowed), revisions=[last]))
    notes = report_json(report)["sections"]["rules"]["notes"]
    assert "infrastructure/dns, infrastructure/node-to-own-pods" in notes[0]
    said = "by user (not enforced: a cluster can't know its user); and 2 more"
    assert notes[1] == f"In Panorama, and not enforced here or only in part: {said}."
    assert report_json(report)["figures"]["rules_not_enforced_or_in_part"] == 3
    quiet = report_json(made(evidence(policy=policy(TO_CDE))))
    assert not any("not enforced here" in note for note in quiet["sections"]["rules"]["notes"])
