"""Nodes that don't enforce what is published: told when they have had the time, by our own clock, and never too many."""

import pytest

from bridge.nodes.enforcement import Fault, Late, Nodes, about_json, text
from tests.bridge.world import Clock

NOW = (7, "seven")


def state(revision=7, digest="seven", reported=""):
    return {"revision": revision, "digest": digest} | ({"reportedAt": reported} if reported else {})


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def nodes(clock):
    return Nodes(clock.seconds)


def look(nodes, states, *, published=NOW, present=None):
    return [(each.name, each.fault) for each in nodes.look(states, published, present)]


def test_a_node_has_two_minutes(nodes, clock):
    behind = {"n1": state(6, "six"), "n2": state()}
    assert look(nodes, behind) == []
    clock.forward(seconds=119)
    assert look(nodes, behind) == []
    clock.forward(seconds=1)
    assert look(nodes, behind) == [("n1", Fault.BEHIND)]
    assert look(nodes, {"n1": state()}) == []


def test_another_content_of_the_same_revision_is_behind(nodes, clock):
    other = {"n1": state(7, "another")}
    look(nodes, other)
    clock.forward(minutes=2)
    assert look(nodes, other) == [("n1", Fault.BEHIND)]


def test_a_node_that_gets_on_is_not_behind_however_fast_revisions_come(nodes, clock):
    for revision in range(1, 30):
        published = revision + 1, str(revision + 1)
        assert look(nodes, {"n1": state(revision, str(revision))}, published=published) == []
        clock.forward(minutes=1)


def test_one_that_is_stuck_is_behind_however_fast_revisions_come(nodes, clock):
    told = []
    for revision in range(2, 6):
        told.append(look(nodes, {"n1": state(1, "1")}, published=(revision, str(revision))))
        clock.forward(minutes=1)
    assert told == [[], [], [("n1", Fault.BEHIND)], [("n1", Fault.BEHIND)]]


def test_silence_is_told_by_our_clock_whatever_the_nodes_says(nodes, clock):
    old = {"n1": state(reported="1970-01-01T00:00:00Z")}
    assert look(nodes, old) == []
    clock.forward(minutes=14)
    assert look(nodes, old) == []
    clock.forward(minutes=1)
    assert look(nodes, old) == [("n1", Fault.SILENT)]
    assert look(nodes, {"n1": state(reported="1970-01-01T00:00:01Z")}) == []


def test_an_enforcer_that_is_too_old_to_report_regularly_is_not_called_silent(nodes, clock):
    look(nodes, {"n1": state()})
    clock.forward(days=1)
    assert look(nodes, {"n1": state()}) == []


def test_a_node_without_an_enforcer(nodes, clock):
    assert look(nodes, {}, present={"n1"}) == []
    clock.forward(minutes=2)
    assert look(nodes, {}, present={"n1"}) == [("n1", Fault.MISSING)]
    assert look(nodes, {}, present={"n2"}) == []
    assert look(nodes, {}, present=None) == []


def test_before_anything_is_published_nobody_is_behind(nodes, clock):
    for _ in range(2):
        assert look(nodes, {"n1": state(0, "")}, published=(0, ""), present={"n1", "n2"}) == []
        clock.forward(hours=1)


def test_of_many_some_are_named():
    late = [Late(f"n{number}", Fault.BEHIND, 3) for number in range(25)]
    assert text(late, 7).endswith("n19 is at revision 3; and 5 more")
    about = about_json(late, 7)
    assert (about["count"], len(about["nodes"])) == (25, 20)
    assert "not reported for 15 min" in str(Late("n", Fault.SILENT, 7))
