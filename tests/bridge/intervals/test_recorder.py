"""A recorder beside a bridge: pods at once, alerts over gaps, nothing while another leads; trouble costs no more."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from bridge.alerts import TierAlert
from bridge.evidence.database import EvidenceError
from bridge.intervals.fold import IntervalKind
from bridge.intervals.observe import Rules
from bridge.intervals.recorder import _MOST_ALERTS, Recorder, Sight
from bridge.intervals.store import GAP, IntervalStore
from bridge.population.picture import FollowedKind as Followed
from bridge.population.picture import Population
from tests.bridge.world import rule, rulebase
from zones.kube.watch import Changed, Listed
from zones.siem.alerts import AlertKind
from zones.zone import Entitlement, Zoning

SECOND = 1_000_000
START = 1_800_000_000 * SECOND


def pod(name, zone, ip="10.0.0.1", phase="Running"):
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "labels": {"zonebridge.io/zone": zone}},
        "spec": {"nodeName": "n1"},
        "status": {"phase": phase, "podIPs": [{"ip": ip}], "hostIP": "192.0.2.1"},
    }


def node(revision, reported="1", **more):
    status = {"tier": "panorama", "revision": revision, "mode": "enforce", "reportedAt": reported} | more
    return {"metadata": {"name": "n1"}, "status": status}


@dataclass
class Bridge:
    """What a recorder sees; time stands still until it is moved."""

    store: IntervalStore
    leading: bool = True
    now: int = START
    nodes: list = field(default_factory=lambda: [node(1)])
    known: dict = field(default_factory=dict)

    def __post_init__(self):
        self.population = self.listed()
        self.recorder = Recorder(
            self.store,
            Sight(
                cluster="c",
                tier="panorama",
                settings="{}",
                leading=lambda: self.leading,
                sees=lambda: self.population.complete,
                population=lambda: self.population,
                nodes=lambda: self.nodes,
                tier_and_rules=lambda: dict(self.known),
                clock=lambda: self.now,
                steady=lambda: self.now / SECOND,
            ),
        )

    def listed(self, *pods):
        """As a watch begins: everything is told anew."""
        made = Population(Zoning(entitlement=Entitlement.ANNOTATED))
        made.fold(Followed.NODES, Listed([{"metadata": {"name": "n1", "uid": "n"}, "spec": {}}], True, True))
        made.fold(Followed.NAMESPACES, Listed([], True, True))
        made.fold(Followed.PODS, Listed(list(pods), True, True))
        return made

    def tell(self, raw, *, gone=False):
        for move in self.population.fold(Followed.PODS, Changed(raw, gone=gone)):
            self.recorder.moved(move)

    def look(self, after=SECOND):
        self.now += after
        asyncio.run(self.recorder.look())

    def alert(self, kind=AlertKind.TIER_TAMPERED, message="by eve", **more):
        asyncio.run(self.recorder.send(TierAlert(kind, "c", "panorama", message, **more)))

    def held(self, kind, begin=0):
        found = self.store.between("c", begin, self.now + SECOND, [kind])
        return [(each.subject, json.loads(each.value), each.begin, each.end) for each in found]


@pytest.fixture
def bridge(intervals):
    return Bridge(intervals)


def test_a_pod_that_lived_between_two_looks_has_its_interval_and_its_workload_too(bridge):
    bridge.look()
    bridge.now += 100
    bridge.tell(pod("flash", "web"))
    bridge.now += 200
    bridge.tell(pod("flash", "web"), gone=True)
    bridge.look()
    at = START + SECOND
    ((uid, about, begin, end),) = bridge.held(IntervalKind.POD)
    assert (uid, begin, end) == ("uid-flash", at + 100, at + 300)
    assert about["zone"] == "web"
    assert about["addresses"] == ["10.0.0.1"]
    assert bridge.held(IntervalKind.WORKLOAD) == [("shop/flash", {"zones": ["web"]}, at + 100, at + 300)]


def test_a_new_leader_compares_all_pods_with_what_the_former_one_left(bridge, database):
    bridge.population = bridge.listed(pod("stays", "web"), pod("leaves", "db", "10.0.0.2"))
    bridge.look()
    heir = Bridge(IntervalStore(database), now=bridge.now + 60 * SECOND)
    heir.population = heir.listed(pod("stays", "web"), pod("comes", "db", "10.0.0.3"))
    heir.look()
    assert {(subject, begin, end) for subject, _, begin, end in heir.held(IntervalKind.POD)} == {
        ("uid-stays", START + SECOND, None),
        ("uid-leaves", START + SECOND, heir.now),
        ("uid-comes", heir.now, None),
    }


def test_an_alert_that_outlasts_a_gap_is_on_again_after_it(bridge):
    bridge.look()
    bridge.alert()
    bridge.look()
    bridge.look(after=GAP + SECOND)  # nobody looked: the database was away, or the process slept
    bridge.look()
    first, second = bridge.held(IntervalKind.ALERT)
    assert (first[2], first[3]) == (START + SECOND, START + 2 * SECOND)
    assert (second[2], second[3]) == (bridge.now, None)
    bridge.now += SECOND
    bridge.alert(over=True)
    bridge.look()
    assert bridge.held(IntervalKind.ALERT)[1][3] == bridge.now - SECOND


def test_an_alert_told_while_the_database_is_away_keeps_its_time(bridge, monkeypatch):
    bridge.look()

    def away(*_):
        raise EvidenceError("away")

    bridge.alert(AlertKind.CANDIDATE_CHANGES, "bob is about to")
    told = bridge.now
    with monkeypatch.context() as patch:
        patch.setattr(IntervalStore, "record", away)
        patch.setattr(IntervalStore, "resume", away)
        for _ in range(3):
            with pytest.raises(EvidenceError):
                bridge.look(after=GAP)
    bridge.look()
    bridge.look()
    ((kind, about, begin, end),) = bridge.held(IntervalKind.ALERT)
    assert (kind, begin, end) == ("CandidateChanges", told, told + 1)
    assert about["message"] == "bob is about to"


def test_who_does_not_lead_records_nothing_and_keeps_little(bridge):
    bridge.leading = False
    for number in range(3 * _MOST_ALERTS):
        bridge.alert(message=f"number {number}")
    bridge.look()
    assert bridge.held(IntervalKind.ALERT) == []
    assert len(bridge.recorder._told) == 0
    bridge.leading = True
    bridge.look()  # it is on, and was before this one led
    ((_, about, begin, end),) = bridge.held(IntervalKind.ALERT)
    assert (about["message"], begin, end) == (f"number {3 * _MOST_ALERTS - 1}", bridge.now, None)


def test_alerts_without_end_are_bounded_and_the_last_one_holds(bridge):
    bridge.look()
    for number in range(2 * _MOST_ALERTS):
        bridge.now += 1
        bridge.alert(message=f"number {number}")
    assert len(bridge.recorder._told) == _MOST_ALERTS
    bridge.look()
    assert bridge.held(IntervalKind.ALERT)[-1][1]["message"] == f"number {2 * _MOST_ALERTS - 1}"


def test_what_nodes_enforce_is_told_with_silence_as_silence(bridge):
    bridge.look()
    bridge.nodes = [node(2, "2", problems=["no bridge table"])]
    bridge.look()
    for _ in range(8):
        bridge.look(after=150 * SECOND)
    bridge.nodes = []
    bridge.look()
    assert [about for _, about, _, _ in bridge.held(IntervalKind.NODE)] == [
        {"mode": "enforce", "revision": 1},
        {"mode": "enforce", "problems": 1, "revision": 2},
        {"mode": "none", "why": "silent"},
        {"mode": "none", "why": "never reported"},
    ]


def test_rules_and_the_tier_end_only_where_something_newer_is_known(bridge):
    rules = Rules()
    one = rulebase(rule("a", description="card data to the vault, CHG-7", tags=frozenset({"ticket:CHG-7"})), rule("b"))
    bridge.known = rules.values(one) | {(IntervalKind.TIER, "panorama"): '{"revision":1}'}
    bridge.look()
    bridge.known = {}  # another bridge has come to lead, and has read nothing yet
    bridge.look()
    assert [end for *_, end in bridge.held(IntervalKind.RULE)] == [None] * 4
    assert [end for *_, end in bridge.held(IntervalKind.TIER)] == [None]
    bridge.known = rules.values(rulebase(rule("b")))
    bridge.look()
    ended = {subject: about for subject, about, _, end in bridge.held(IntervalKind.RULE) if end is not None}
    assert ended == {
        "uuid-a": {
            "name": "a",
            "uuid": "uuid-a",
            "rulebase": "pre",
            "deviceGroup": "dg",
            "description": "card data to the vault, CHG-7",
            "tags": ["ticket:CHG-7"],
        }
    }


def test_a_clock_that_is_set_back_makes_nothing_end_before_it_began(bridge):
    bridge.look()
    bridge.tell(pod("p", "web"))
    bridge.now -= 3_600 * SECOND
    bridge.tell(pod("p", "web"), gone=True)
    bridge.look()
    for kind in (IntervalKind.POD, IntervalKind.WORKLOAD):
        assert all(end is None or begin < end for _, _, begin, end in bridge.held(kind))


def test_too_many_moves_at_once_are_a_census(bridge, monkeypatch):
    bridge.look()
    monkeypatch.setattr("bridge.intervals.recorder._MOST_MOVES", 4)
    for number in range(10):
        bridge.tell(pod(f"p{number}", "web", f"10.0.0.{number + 1}"))
    assert len(bridge.recorder._events) <= 6
    bridge.look()
    assert len(bridge.held(IntervalKind.POD)) == 10
