"""What is learnt per workload: contacts, volumes and beacons; restarts, rollouts, policy changes; indicators."""

import json
from datetime import UTC, datetime
from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.detection.detection import Detection
from enforcer.detection.hit import Detector
from enforcer.detection.terms import DAY, HOUR, DetectionTerms
from tests.enforcer.detection.facts import ALLOW, DENY, accepted, denied, entry, outside, policy
from tests.enforcer.detection.test_scans import Watched
from zones.indicators import FeedForm, IndicatorIndex, parse_feed
from zones.policy import Verdict
from zones.rules import Origin

NEW = Origin("new", "u-new", "pre", "dg")


def test_somebody_new_is_told_after_the_learning_and_once():
    watched = Watched()
    watched.detection.accepted(accepted("198.51.100.1"))
    watched.at = 7 * DAY - 1
    watched.detection.accepted(accepted("203.0.113.1"))
    assert watched.found() == []
    watched.at = 7 * DAY
    for _ in range(3):
        watched.detection.accepted(accepted("203.0.113.200"))
        watched.detection.accepted(accepted("192.0.2.1"))
    assert watched.found() == [Detector.FIRST_CONTACT]
    assert watched.hits[0].alert(0).severity == "informational"
    watched.detection.accepted(accepted("192.0.2.1", port=8443))
    watched.detection.accepted(accepted("192.0.2.1", workload="scaled-out"))
    assert len(watched.hits) == 2, "another service is news, another workload is learnt first"


def test_somebody_new_to_a_sensitive_zone_is_worth_more():
    watched = Watched(sensitive_zones=frozenset({"web"}), learning=0.0)
    watched.detection.accepted(accepted())
    assert watched.hits[0].alert(0).severity == "medium"


def test_what_a_rule_allows_that_is_new_or_changed_is_no_news_for_an_hour():
    watched = Watched(learning=0.0)
    old = entry(ALLOW, to_zones=frozenset({"untrust"}))
    watched.detection.learn(policy(old))
    watched.at = 10.0
    watched.detection.learn(policy(old, entry(NEW)))
    watched.detection.accepted(accepted("192.0.2.1", origin=NEW))
    assert (watched.found(), watched.detection.suppressed["policy"]) == ([], 1)
    watched.detection.accepted(accepted("192.0.2.9", origin=ALLOW, port=1))
    assert watched.found() == [Detector.FIRST_CONTACT], "the other rule did not change"
    watched.at = 10.0 + HOUR
    watched.detection.accepted(accepted("198.51.100.7", origin=NEW))
    assert len(watched.hits) == 2
    watched.detection.learn(policy(entry(ALLOW, to_zones=frozenset({"untrust", "dmz"})), entry(NEW)))
    watched.detection.accepted(accepted("198.51.100.99", port=9, origin=ALLOW))
    assert (len(watched.hits), watched.detection.suppressed["policy"]) == (2, 2)


def test_a_workload_that_speaks_with_everybody_has_no_first_contact():
    watched = Watched(learning=0.0, contacts=10)
    for number in range(200):
        watched.detection.accepted(accepted(f"198.51.{number}.1"))
    assert (len(watched.hits), watched.detection.contacts.varied) == (10, 1)


def test_what_was_learnt_outlives_a_restart_and_a_clock_that_is_set():
    before = Watched()
    before.detection.accepted(accepted("198.51.100.1"))
    before.at = 6 * DAY
    content = before.detection.content()
    after = Watched()
    after.at, after.wall = 5.0, 0.0
    assert after.detection.restore(content)
    after.at += DAY
    after.detection.accepted(accepted("198.51.100.1"))
    assert after.found() == []
    after.detection.accepted(accepted("203.0.113.1"))
    assert after.found() == [Detector.FIRST_CONTACT]


@given(st.binary(max_size=80) | st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["watched", "contacts", "volumes", "workloads", "hour"]), inner, max_size=4)).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_a_damaged_file_is_learnt_anew(content):
    detection = Detection(DetectionTerms())
    if not detection.restore(content):
        assert (len(detection.contacts), len(detection.volumes)) == (0, 0)
    detection.accepted(accepted())
    detection.ended(accepted(), 1.0, 5)


def hours(watched, count, octets, workload="web", start=0):
    for hour in range(start, start + count):
        watched.at = hour * HOUR + 1
        watched.detection.tick()
        watched.detection.ended(accepted(workload=workload), 1.0, octets(hour) if callable(octets) else octets)
    watched.at = (start + count) * HOUR + 1
    watched.detection.tick()
    return start + count


MIB = 2**20
NO_BEACONS = frozenset({Detector.BEACON})


def test_an_hour_like_none_before_is_told_once_and_then_is_usual():
    watched = Watched(off=NO_BEACONS)
    at = hours(watched, 80, lambda hour: (10 + hour % 5) * MIB)
    assert watched.found() == []
    at = hours(watched, 1, 500 * MIB, start=at)
    assert watched.found() == [Detector.OUTBOUND_VOLUME]
    assert watched.hits[0].evidence["bytes"] == 500 * MIB
    at = hours(watched, 100, 500 * MIB, start=at)
    before = len(watched.hits)
    hours(watched, 60, 500 * MIB, start=at)
    assert len(watched.hits) == before <= 5, "a level that stays becomes the usual one"
    assert watched.detection.volumes.repeated > 0


@pytest.mark.parametrize(("known", "octets"), [(71, 500 * MIB), (80, 99 * MIB), (80, 14 * MIB)])
def test_too_little_history_or_too_few_bytes_are_never_told(known, octets):
    watched = Watched(off=NO_BEACONS)
    at = hours(watched, known, lambda hour: (10 + hour % 5) * MIB)
    hours(watched, 1, octets, start=at)
    assert watched.found() == []


def test_at_the_history_that_is_asked_for_it_is_told():
    watched = Watched(off=NO_BEACONS)
    at = hours(watched, 72, 10 * MIB)
    hours(watched, 1, 100 * MIB, start=at)
    assert watched.found() == [Detector.OUTBOUND_VOLUME]


@settings(max_examples=30)
@given(st.permutations(range(24)))
def test_a_beacon_is_told_at_its_threshold_in_any_order_and_not_below(order):
    for count in (23, 24):
        watched = Watched()
        watched.at = DAY
        for number in order:
            if number < count:
                watched.detection.ended(accepted(), DAY - number * 600.0, 1200 + number % 3)
        assert watched.found() == [Detector.BEACON] * (count == 24)


@pytest.mark.parametrize(
    ("starts", "octets"),
    [
        (lambda number: number * 600.0 + Random(number).uniform(0, 600), lambda _: 1200),
        (lambda number: number * 600.0, lambda number: Random(number).randrange(500, 5000)),
        (lambda number: number * 4000.0, lambda _: 1200),
        (lambda number: number * 0.01, lambda _: 1200),
    ],
    ids=["uneven times", "uneven sizes", "too slow for the window", "a burst"],
)
def test_what_is_no_beacon(starts, octets):
    watched = Watched()
    for number in range(200):
        watched.at = starts(number)
        watched.detection.ended(accepted(), 0.0, octets(number))
    assert watched.found() == []


def test_a_beacon_to_what_a_rule_lists_by_name_is_none_and_another_is_told_once_a_day():
    watched = Watched()
    watched.detection.learn(policy(entry(NEW, feeds=("fqdn:updates.example.com",)), entry(ALLOW)))
    for number in range(200):
        watched.at = number * 600.0
        watched.detection.ended(accepted(origin=NEW), 0.0, 900)
        watched.detection.ended(accepted("198.51.100.4"), 0.0, 900)
    assert watched.found() == [Detector.BEACON] * 2
    assert "198.51.100.4" in watched.hits[0].subject


def listed(text, form=FeedForm.TEXT):
    return IndicatorIndex(parse_feed(text, form, "bad").indicators)


def test_an_indicator_is_high_where_it_passed_and_medium_where_it_was_denied():
    watched = Watched(learning=1e9)
    watched.detection.indicators = listed("203.0.113.0/24\n")
    watched.detection.accepted(accepted("203.0.113.7"))
    watched.detection.accepted(accepted("198.51.100.7"))
    watched.detection.denied(denied(destination=outside("203.0.113.8")))
    watched.detection.denied(denied(outside("203.0.113.8")))
    watched.detection.denied(denied(destination=outside("203.0.113.8"), enforced=False))
    assert watched.found() == [Detector.INDICATOR_HIT] * 4
    assert [hit.alert(0).severity for hit in watched.hits] == ["high", "medium", "medium", "high"]
    assert watched.hits[0].evidence["indicator"] == {"feed": "bad", "network": "203.0.113.0/24"}


def test_an_indicator_that_has_ended_is_none():
    stix = {"type": "bundle", "objects": [{"type": "indicator", "pattern": "[ipv4-addr:value = '203.0.113.7']", "valid_from": "2026-01-01T00:00:00Z", "valid_until": "2026-11-29T12:00:00Z", "confidence": 80}]}  # fmt: skip
    index = listed(json.dumps(stix), FeedForm.STIX)
    address = ip_address("203.0.113.7")
    assert index.at(address, datetime(2026, 11, 29, 11, 59, tzinfo=UTC)).confidence == 80
    assert index.at(address, datetime(2026, 11, 29, 12, tzinfo=UTC)) is None
    assert index.at(address, datetime(2025, 12, 31, tzinfo=UTC)) is None


def test_a_tag_expects_what_its_rule_allows():
    watched = Watched(learning=0.0)
    watched.detection.learn(policy(entry(ALLOW, expected=True), entry(DENY, Verdict.DENY)))
    watched.detection.accepted(accepted())
    assert (watched.found(), watched.detection.suppressed["rule"]) == ([], 1)
