"""Events go into the database as the fold of them says, whatever the batches; gaps are gaps; what is old goes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.evidence.database import EvidenceError
from bridge.intervals.fold import Interval, IntervalEvent, IntervalKind, clipped, gaps, intervals_of, state_at
from bridge.intervals.store import GAP, IntervalStore, Review

SECOND = 1_000_000
START = 1_800_000_000 * SECOND
KINDS = (IntervalKind.POD, IntervalKind.WORKLOAD, IntervalKind.NODE, IntervalKind.RULE)
events = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(KINDS),
        st.sampled_from(["a", "b", "'; DROP TABLE interval; --", "ü\u202e"]),
        st.sampled_from([None, '{"zone":"web"}', '{"zone":"db"}', ""]),
    ),
    max_size=25,
)
cuts = st.lists(st.integers(0, 25), max_size=4)


def in_order(steps):
    """Steps in seconds since the event before, as events; several may come at one instant."""
    at, made = START, []
    for step, kind, subject, value in steps:
        at += step * SECOND
        made.append(IntervalEvent(at, kind, subject, value))
    return made


def in_batches(made, places):
    bounds = sorted({0, len(made), *(min(place, len(made)) for place in places)})
    return [made[first:last] for first, last in pairwise(bounds)]


@pytest.fixture
def clusters():
    """A name that no example has had: a database is made once for all of them."""
    return iter(f"cluster-{number}" for number in range(1_000_000))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(steps=events, places=cuts, later=st.integers(0, 80))
def test_the_database_says_what_the_fold_of_the_events_says(intervals, clusters, steps, places, later):
    cluster, made = next(clusters), in_order(steps)
    intervals.resume(cluster, START)
    for batch in in_batches(made, places):
        assert intervals.record(cluster, batch, batch[-1].at if batch else START)
    end = made[-1].at + 1 if made else START + 1
    whole = intervals.between(cluster, START, end)
    assert whole == sorted(intervals_of(made), key=lambda each: (each.kind, each.subject, each.begin))
    moment = START + later * SECOND
    state = {(each.kind, each.subject): each.value for each in intervals.at(cluster, moment)}
    assert state == state_at(made, moment)
    # Another bridge that comes soon goes on with just that.
    assert IntervalStore(intervals._database).resume(cluster, end) == state_at(made, end)


@given(steps=events, later=st.integers(0, 80))
def test_intervals_of_events_hold_at_each_instant_what_was_said_last(steps, later):
    made, moment = in_order(steps), START + later * SECOND
    held = {
        (each.kind, each.subject): each.value
        for each in intervals_of(made)
        if each.begin <= moment and (each.end is None or moment < each.end)
    }
    assert held == state_at(made, moment)


def test_what_held_when_a_bridge_went_away_for_long_ends_with_its_last_look(intervals):
    held = IntervalEvent(START, IntervalKind.NODE, "n1", "enforce")
    late = IntervalEvent(START + 70 * SECOND, IntervalKind.NODE, "n2", "enforce")
    intervals.resume("c", START)
    intervals.record("c", [held], START + 60 * SECOND)
    intervals.record("c", [late], START + 70 * SECOND)
    back = START + 70 * SECOND + GAP + 1
    assert not intervals.record("c", [], back)  # it has to resume
    assert intervals.resume("c", back) == {}
    again = IntervalEvent(back, IntervalKind.NODE, "n1", "enforce")
    assert intervals.record("c", [again], back + SECOND)
    assert intervals.between("c", START, back + SECOND) == [
        Interval(IntervalKind.NODE, "n1", "enforce", START, START + 70 * SECOND),
        Interval(IntervalKind.NODE, "n1", "enforce", back),
    ]
    looks = intervals.looks("c", START, back + SECOND)
    assert looks == [(START, START + 70 * SECOND), (back, back + SECOND)]
    assert gaps(looks, START, back + SECOND) == [(START + 70 * SECOND, back)]
    assert intervals.at("c", back - SECOND) == []


def test_one_who_comes_soon_goes_on(intervals):
    intervals.resume("c", START)
    intervals.record("c", [IntervalEvent(START, IntervalKind.POD, "p", "web")], START)
    assert intervals.resume("c", START + GAP) == {(IntervalKind.POD, "p"): "web"}
    assert intervals.record("c", [IntervalEvent(START + GAP, IntervalKind.POD, "p", None)], START + GAP)
    assert intervals.between("c", 0, START + 2 * GAP) == [Interval(IntervalKind.POD, "p", "web", START, START + GAP)]
    assert intervals.looks("c", 0, START + GAP) == [(START, START + GAP)]


def test_clusters_are_apart(intervals):
    for cluster in ("one", "two"):
        intervals.resume(cluster, START)
        intervals.record(cluster, [IntervalEvent(START, IntervalKind.POD, "p", cluster)], START)
    intervals.record("two", [IntervalEvent(START + 1, IntervalKind.POD, "p", None)], START + 1)
    assert intervals.at("one", START + 5) == [Interval(IntervalKind.POD, "p", "one", START)]
    assert intervals.at("two", START + 5) == []


def test_thousands_of_subjects_at_once(intervals):
    first = [IntervalEvent(START, IntervalKind.POD, f"p{n}", "web") for n in range(2_000)]
    second = [IntervalEvent(START + 5, IntervalKind.POD, f"p{n}", "db" if n % 2 else None) for n in range(2_000)]
    intervals.resume("c", START)
    intervals.record("c", first, START + 1)
    intervals.record("c", second, START + 6)
    assert intervals.between("c", START, START + 10) == sorted(
        intervals_of([*first, *second]), key=lambda each: (each.kind, each.subject, each.begin)
    )


def test_what_ended_long_ago_goes_by_kind_and_what_still_holds_stays(intervals, database):
    intervals.resume("c", START)
    gone = [IntervalEvent(START, kind, "old", f"of {kind}") for kind in (IntervalKind.POD, IntervalKind.NODE)]
    ended = [IntervalEvent(START + SECOND, kind, "old", None) for kind in (IntervalKind.POD, IntervalKind.NODE)]
    stays = [IntervalEvent(START, IntervalKind.POD, "long", "web")]
    intervals.record("c", [*gone, *stays, *ended], START + SECOND)
    assert intervals.prune({IntervalKind.POD: START + 2 * SECOND, IntervalKind.NODE: START}) > 0
    left = intervals.between("c", START, START + 9 * SECOND)
    assert [(each.kind, each.subject) for each in left] == [(IntervalKind.NODE, "old"), (IntervalKind.POD, "long")]
    # Its texts went with it, and come again where they are needed.
    assert intervals.record(
        "c", [IntervalEvent(START + 2 * SECOND, IntervalKind.POD, "new", "of pod")], START + 2 * SECOND
    )
    assert [each.value for each in intervals.at("c", START + 3 * SECOND) if each.subject == "new"] == ["of pod"]


def test_what_fails_leaves_nothing_behind_and_can_be_done_again(intervals, monkeypatch):
    intervals.resume("c", START)

    def fails(*_):
        raise EvidenceError("the database went away")

    made = [IntervalEvent(START, IntervalKind.POD, "p", "web")]
    with monkeypatch.context() as patch:
        patch.setattr(IntervalStore, "_current", fails)
        with pytest.raises(EvidenceError):
            intervals.record("c", made, START + 1)
    assert intervals.at("c", START) == []
    assert intervals.record("c", made, START + 1)
    assert [each.value for each in intervals.at("c", START)] == ["web"]


def test_reviews_come_back_as_they_were_recorded(intervals):
    first = Review(START, START + 9, "Ann <ann@example.com>", ("cde", "web"), "all seen", 7, "d" * 64)
    second = Review(START + 5, START + 99, "Bo", (), "", 8, "e" * 64)
    intervals.add_review("c", second)
    intervals.add_review("c", first)
    intervals.add_review("other", first)
    assert intervals.reviews("c", START + 5) == [first, second]
    assert intervals.reviews("c", START + 4) == [first]


def test_what_is_cut_out_of_a_range_shows_nothing_of_later():
    held = [
        Interval(IntervalKind.POD, "a", "x", 0, 50),
        Interval(IntervalKind.POD, "b", "x", 20),
        Interval(IntervalKind.POD, "c", "x", 30, 31),
    ]
    assert list(clipped(held, 10, 30)) == [
        Interval(IntervalKind.POD, "a", "x", 10, 30),
        Interval(IntervalKind.POD, "b", "x", 20, 30),
    ]
