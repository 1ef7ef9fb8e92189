"""Below the threshold nothing is told, at it always, in any order and however often; what is expected is none."""

from datetime import UTC, date, datetime
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.detection.detection import Detection
from enforcer.detection.exceptions import ExpectedActivity, ExpectedEnd
from enforcer.detection.hit import TECHNIQUES, Detector
from enforcer.detection.terms import DetectionTerms
from enforcer.detection.windows import DistinctTargets
from tests.enforcer.detection.facts import ALLOW, DENY, denied, entry, outside, pod, policy
from zones.net import UDP
from zones.policy import Verdict
from zones.rules import Origin

DAY = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()


class Watched:
    """Detectors with a clock of their own."""

    def __init__(self, **terms):
        self.at, self.wall, self.hits = 0.0, DAY, []
        self.terms = DetectionTerms(**terms)
        self.detection = Detection(self.terms, self.hits.append, lambda: self.at, lambda: self.wall)

    def found(self):
        return [hit.detector for hit in self.hits]


@given(st.integers(2, 40), st.data())
def test_a_port_scan_is_told_at_the_threshold_and_never_below(threshold, data):
    few = data.draw(st.lists(st.integers(1, threshold - 1), max_size=3 * threshold))
    below = Watched(scan_ports=threshold, sweep_addresses=10_000, probe_zones=10)
    for port in few:
        below.detection.denied(denied(port=port))
    assert below.found() == []
    many = data.draw(st.permutations(range(1, threshold + 1)))
    repeated = [port for port in many for _ in range(data.draw(st.integers(1, 2)))]
    at = Watched(scan_ports=threshold, sweep_addresses=10_000, probe_zones=10)
    for port in repeated:
        at.detection.denied(denied(port=port))
    assert at.found() == [Detector.PORT_SCAN]
    assert (at.hits[0].value, at.hits[0].threshold) == (threshold, threshold)


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(0, 4)), max_size=200), st.integers(2, 8))
def test_a_window_says_what_a_naive_count_says(steps, threshold):
    """Of everything that came, counted anew each time: the oracle. Times only go on."""
    window, counted, now, log = DistinctTargets(10.0, 1_000), [], 0.0, []
    for target, passed in steps:
        now += passed
        log.append((target, now))
        counted.append(bool(window.add("k", target, now, threshold)))
        distinct = {one for one, at in log if now - at < 10.0}
        assert counted[-1] == (len(distinct) >= threshold)
        if counted[-1]:
            log.clear()


@pytest.mark.parametrize(("source", "threshold"), [(pod(), 25), (outside(), 100)])
def test_an_address_sweep_needs_more_of_who_is_no_pod(source, threshold):
    watched = Watched()
    for number in range(threshold - 1):
        watched.detection.denied(denied(source, pod(f"10.2.0.{number}", "db", "data"), 22))
    assert watched.found() == []
    watched.detection.denied(denied(source, pod(f"10.2.0.{threshold}", "db", "data"), 22))
    assert watched.found() == [Detector.ADDRESS_SWEEP]
    assert len(watched.hits[0].alert(0.0).details["targets"]) == 20


def test_pods_of_one_workload_are_one_source_and_other_ports_other_sweeps():
    watched = Watched()
    for number in range(24):
        watched.detection.denied(denied(pod(f"10.1.0.{number}"), pod(f"10.2.0.{number}", "db", "data"), 22))
        watched.detection.denied(denied(pod(), pod(f"10.2.1.{number}", "db", "data"), 23, UDP))
    assert watched.found() == []
    watched.detection.denied(denied(pod("10.1.0.99"), pod("10.2.0.99", "db", "data"), 22))
    assert watched.found() == [Detector.ADDRESS_SWEEP]


def test_a_slow_scan_is_none_and_the_window_is_exact():
    watched = Watched(scan_ports=3, scan_window=300.0)
    for port, at in ((1, 0), (2, 100), (3, 300)):
        watched.at = at
        watched.detection.denied(denied(port=port))
    assert watched.found() == []
    watched.at = 399
    watched.detection.denied(denied(port=4))
    assert watched.found() == [Detector.PORT_SCAN]


def test_zones_to_which_something_is_allowed_are_no_probe():
    zones = ("data", "pci", "dmz", "hr")
    watched = Watched()
    watched.detection.learn(policy(entry(from_zones=frozenset({"web"}), to_zones=frozenset({"data"}))))
    for zone in (*zones[:3], *zones[:3]):
        watched.detection.denied(denied(destination=pod("10.2.0.1", "x", zone)))
    assert watched.found() == []
    watched.detection.denied(denied(destination=pod("10.2.0.1", "x", "hr")))
    assert watched.found() == [Detector.ZONE_PROBE]
    assert sorted(watched.hits[0].targets) == ["dmz", "hr", "pci"]


def test_nodes_and_infrastructure_are_no_scan():
    watched = Watched(scan_ports=2)
    node = outside("192.0.2.1", "nodes")
    object.__setattr__(node, "node", "n1")
    for port in range(5):
        watched.detection.denied(denied(node, port=port + 1))
        watched.detection.denied(denied(port=port + 1, origin=Origin("infrastructure/x", None, "infrastructure", "")))
    assert watched.found() == []


def test_metadata_is_told_of_pods_in_both_families():
    watched = Watched()
    for address in ("169.254.169.254", "fd00:ec2::254"):
        watched.detection.denied(denied(destination=outside(address)))
    watched.detection.denied(denied(outside(), outside("169.254.169.254")))
    assert watched.found() == [Detector.METADATA_ACCESS] * 2


EXCEPTION = ExpectedActivity(
    "the scanner", "sec", date(2026, 11, 29), frozenset({Detector.PORT_SCAN}), ExpectedEnd(namespace="shop"), port=None
)


def test_an_exception_covers_what_it_says_until_its_last_day_and_is_counted():
    watched = Watched(scan_ports=3, exceptions=(EXCEPTION,))
    for port in range(1, 6):
        watched.detection.denied(denied(port=port))
        watched.detection.denied(denied(pod(namespace="other"), port=port))
    assert [hit.source["namespace"] for hit in watched.hits] == ["other"]
    assert watched.detection.suppressed == {"exception": 5}
    watched.wall += 86_400
    for port in range(1, 4):
        watched.detection.denied(denied(port=port + 10))
    assert len(watched.hits) == 2


@pytest.mark.parametrize(
    ("end", "matches"),
    [
        (ExpectedEnd(), True),
        (ExpectedEnd(zone="web"), True),
        (ExpectedEnd(zone="web", workload="db"), False),
        (ExpectedEnd(network=ip_network("10.1.0.0/24")), True),
        (ExpectedEnd(network=ip_network("10.2.0.0/24")), False),
        (ExpectedEnd(network=ip_network("fd00::/8")), False),
    ],
)
def test_what_an_end_of_an_exception_matches(end, matches):
    assert end.matches(pod()) is matches


def test_a_rule_with_the_tag_is_expected_and_only_that():
    watched = Watched(scan_ports=3)
    watched.detection.learn(policy(entry(DENY, Verdict.DENY, expected=True), entry(ALLOW)))
    for port in range(1, 6):
        watched.detection.denied(denied(port=port))
    assert (watched.found(), watched.detection.suppressed["rule"]) == ([], 5)
    other = Origin("other", None, "pre", "dg")
    for port in range(1, 4):
        watched.detection.denied(denied(port=port, origin=other))
    assert watched.found() == [Detector.PORT_SCAN]


def test_what_is_off_is_not_looked_for():
    watched = Watched(scan_ports=2, sweep_addresses=2, probe_zones=2, off=frozenset(Detector))
    for number in range(9):
        watched.detection.denied(denied(destination=pod(f"10.2.0.{number}", "x", f"zone{number}"), port=number + 1))
        watched.detection.denied(denied(port=number + 1))
    assert watched.found() == []


def test_an_alert_says_detector_evidence_and_technique_of_a_pinned_version():
    watched = Watched(scan_ports=2)
    for port in (22, 23):
        watched.detection.denied(denied(port=port))
    alert = watched.hits[0].alert(5.0)
    assert alert.severity == "high"
    assert alert.details["attack"] == {"version": "18", "technique": "T1046", "name": "Network Service Discovery"}
    assert alert.details["targets"] == ["tcp/22", "tcp/23"]
    assert alert.details["rule"]["name"] == "no"
    assert alert.details["destination"]["address"] == "10.1.0.2"
    assert set(TECHNIQUES) == set(Detector)


def test_who_leaves_for_others_is_counted_unless_he_was_quiet_for_a_window():
    window = DistinctTargets(10.0, 3)
    for number in range(5):
        window.add(number, "t", 0.0, 2)
    assert (len(window), window.evicted) == (3, 2)
    window.add("late", "t", 100.0, 2)
    assert window.evicted == 2
    assert window.add("late", "u", 100.0, 2) == ("t", "u")


def test_addresses_of_a_scan_are_known_in_both_families():
    watched = Watched(sweep_addresses=2)
    for address in ("10.2.0.1", "fd00::1"):
        watched.detection.denied(denied(destination=outside(str(ip_address(address))), port=22))
    assert watched.found() == [Detector.ADDRESS_SWEEP]
