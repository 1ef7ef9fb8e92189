"""Pods to slices: the same content as a fresh plan, whatever came before, and one change touches one object."""

from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.population.assignment import Assignment
from zones.addresses.inventory import Pod
from zones.tiers import slices

KEY = "zonebridge.io/zone"
MOST = 3


def pod(uid, node="n1", zone="web", address="10.1.0.9", **more):
    labels = {KEY: zone, "beside": "the point"} | more
    return Pod(uid, "shop", f"pod-{uid}", node, "Running", (ip_address(address),), labels, "cart")


def objects(assignment):
    return {name: assignment.render(name) for name in assignment.names()}


def entries(assignment):
    """What is told of every pod, and on which node; where it stands doesn't matter."""
    return {
        (each["uid"], raw["spec"]["node"]): each for raw in objects(assignment).values() for each in raw["spec"]["pods"]
    }


changes = st.lists(
    st.tuples(
        st.sampled_from("abcdefghijkl"),
        st.one_of(st.none(), st.tuples(st.sampled_from(["n1", "n2"]), st.sampled_from(["web", "db"]))),
    ),
    max_size=40,
)


@settings(max_examples=200)
@given(changes)
def test_whatever_changes_the_content_is_that_of_a_fresh_plan(steps):
    assignment, live, written = Assignment("panorama", [KEY], MOST), {}, {}
    for uid, after in steps:
        before, now = live.pop(uid, None), None if after is None else pod(uid, *after)
        if now is not None:
            live[uid] = now
        touched = assignment.change(before, now)
        stays = before is not None and now is not None and before.node == now.node
        assert len(touched) <= (1 if stays or before is None or now is None else 2)
        for name in touched:  # only what was touched is written, as the bridge does it
            raw = assignment.render(name)
            written.pop(name, None)
            written |= {} if raw is None else {name: raw}
    fresh = Assignment("panorama", [KEY], MOST)
    for each in live.values():
        fresh.change(None, each)
    assert entries(assignment) == entries(fresh)
    assert written == objects(assignment)
    assert all(1 <= len(raw["spec"]["pods"]) <= MOST for raw in written.values())


@settings(max_examples=100)
@given(changes, st.permutations("abcdefghijkl"))
def test_another_leader_rewrites_nothing(steps, order):
    first, live = Assignment("panorama", [KEY], MOST), {}
    for uid, after in steps:
        before, now = live.pop(uid, None), None if after is None else pod(uid, *after)
        if now is not None:
            live[uid] = now
        first.change(before, now)
    second = Assignment("panorama", [KEY], MOST)
    for raw in objects(first).values():
        second.adopt(raw)
    for uid in order:
        if uid in live:
            second.change(None, live[uid])
    second.settle()
    assert objects(second) == objects(first)


def test_what_enforcers_are_not_told_touches_nothing():
    assignment = Assignment("panorama", [KEY, "app"])
    (name,) = assignment.change(None, pod("a"))
    assert assignment.change(pod("a"), pod("a", other="x")) == ()
    assert assignment.change(pod("a"), pod("a", app="cart")) == (name,)
    assert assignment.render(name)["spec"]["pods"][0]["labels"] == {KEY: "web", "app": "cart"}


def test_slices_that_are_not_ours_are_not_taken_over():
    assignment = Assignment("panorama", [KEY])
    stray = slices.render("panorama", "stray", "n1", [pod("a")], [KEY])
    forged = slices.render("panorama", slices.name_of("panorama", "n2", 7), "n1", [pod("b")], [KEY])
    for raw in (stray, forged, {"metadata": {"name": "x"}, "spec": None}):
        assignment.adopt(raw)
    touched = {*assignment.change(None, pod("a")), *assignment.change(None, pod("b"))}
    assert touched == {slices.name_of("panorama", "n1", 0)}
