"""PodSlices between bridge and enforcer: what is rendered is read again, and nothing else makes the reader fail."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zones.addresses.inventory import Pod
from zones.tiers import slices

KEY = "zonebridge.io/zone"
ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


@st.composite
def pods(draw, node="n1"):
    uid, namespace, name, workload = (draw(NAMES) for _ in range(4))
    labels = draw(st.dictionaries(st.sampled_from([KEY, "app", "other"]), NAMES))
    addresses = tuple(draw(st.lists(ADDRESSES, max_size=3, unique=True)))
    started = draw(st.none() | st.integers(1, 2**32 - 1))
    terminating = draw(st.booleans())
    return Pod(
        uid, namespace, name, node, "Running", addresses, labels, workload, terminating=terminating, started=started
    )


@given(st.lists(pods(), max_size=20, unique_by=lambda pod: pod.uid), st.sets(ADDRESSES, max_size=3))
def test_what_is_rendered_is_read_again(held, own):
    raw = slices.render("panorama", "panorama-x-0", "n1", held, [KEY, "app"], addresses=own)
    found = slices.parse(raw)
    assert (found.name, found.node, found.problems) == ("panorama-x-0", "n1", ())
    assert set(found.addresses) == own
    kept = {pod.uid: {key: pod.labels[key] for key in (KEY, "app") if key in pod.labels} for pod in held}
    assert {pod.uid: pod.labels for pod in found.pods} == kept
    assert {pod.uid: replace(pod, labels={}) for pod in found.pods} == {
        pod.uid: replace(pod, labels={}) for pod in held
    }


@pytest.mark.parametrize("started", [-62_135_596_800, -1, 0, 2**32, 253_402_300_799])
def test_a_start_that_no_reader_keeps_is_not_told(started):
    """A pod's status may say anything, and the API server refuses a slice with a time that is none."""
    assert "startTime" not in slices.entry(Pod("u", "shop", "p", "n1", "Running", (), {}, started=started), [KEY])


@pytest.mark.parametrize(
    "text", ["yesterday", "", 1_700_000_000, None, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", {}]
)
def test_a_start_that_makes_no_sense_costs_the_pod_nothing(text):
    raw = slices.render("panorama", "panorama-x-0", "n1", [Pod("u", "shop", "p", "n1", "Running", (), {}, "w")], [KEY])
    raw["spec"]["pods"][0]["startTime"] = text
    found = slices.parse(raw)
    assert found.problems == ()
    assert [pod.started for pod in found.pods] == [None]


@given(st.lists(pods(), max_size=8, unique_by=lambda pod: pod.uid), st.randoms())
def test_the_order_of_the_pods_makes_no_other_object(held, chance):
    mixed = list(held)
    chance.shuffle(mixed)
    assert slices.render("t", "s", "n1", held, [KEY]) == slices.render("t", "s", "n1", mixed, [KEY])


def test_a_name_belongs_to_its_node_and_number():
    name = slices.name_of("panorama", "a" * 253, 12)
    assert len(name) < 253
    assert slices.number_of("panorama", "a" * 253, name) == 12
    assert slices.number_of("panorama", "other", name) is None
    assert slices.number_of("panorama", "a" * 253, f"{name[:-2]}0012") is None
    assert slices.number_of("panorama", "a" * 253, "panorama") is None


@pytest.mark.parametrize(
    ("node", "name", "number"),
    [
        ("n1", "0.n1", 0),
        ("n1", "12.n1", 12),
        ("0.n1", "0.0.n1", 0),
        ("n1", "0.0.n1", None),
        ("n1", "00.n1", None),
        ("n1", "0.n2", None),
        ("n1", ".n1", None),
        ("n1", "n1", None),
        ("n1", "-1.n1", None),
        ("n1", "panorama-b1946ac92492d234-0", None),
    ],
)
def test_a_name_says_whether_the_node_itself_tells_a_slice(node, name, number):
    assert slices.own_number(node, name) == number
    assert slices.PodSlice(name, node, ()).is_own is (number is not None)


@pytest.mark.parametrize("bad", [1, "10.1.0.1", ["10.1.0.300"], [1], ["10.1.0.1"] * 65, {"a": 1}])
def test_addresses_of_the_node_that_make_no_sense_are_none_and_told(bad):
    found = slices.parse({"metadata": {"name": "s"}, "spec": {"node": "n1", "pods": [GOOD], "addresses": bad}})
    assert (found.addresses, [pod.name for pod in found.pods]) == ((), ["cart"])
    (problem,) = found.problems
    assert "PodSlice 's'" in problem
    assert len(problem) < 400


GOOD = {"uid": "1", "namespace": "shop", "name": "cart", "workload": "cart", "addresses": ["10.1.0.9"]}


@pytest.mark.parametrize(
    "bad",
    [
        None,
        "cart",
        [],
        {},
        GOOD | {"addresses": ["10.1.0.300"]},
        GOOD | {"addresses": [167837705]},
        GOOD | {"addresses": "10.1.0.9"},
        GOOD | {"addresses": None},
        GOOD | {"labels": ["web"]},
        GOOD | {"labels": {KEY: 1}},
        GOOD | {"name": "a\nb"},
        GOOD | {"namespace": ""},
        GOOD | {"workload": None},
        GOOD | {"uid": {"a": 1}},
    ],
)
def test_a_pod_that_makes_no_sense_is_left_out_and_told(bad):
    found = slices.parse({"metadata": {"name": "s"}, "spec": {"node": "n1", "pods": [bad, GOOD]}})
    assert [pod.name for pod in found.pods] == ["cart"]
    (problem,) = found.problems
    assert "PodSlice 's'" in problem
    assert len(problem) < 400


@pytest.mark.parametrize(
    "spec", [None, [], {}, {"node": "n1"}, {"pods": []}, {"node": 1, "pods": []}, {"node": "n1", "pods": {}}]
)
def test_a_slice_that_makes_no_sense_holds_nothing_and_is_told(spec):
    found = slices.parse({"metadata": {"name": "s"}, "spec": spec})
    assert found.pods == ()
    assert found.problems


def test_more_pods_than_are_ever_made_are_not_believed():
    many = [GOOD | {"uid": str(number)} for number in range(256)]
    found = slices.parse({"metadata": {"name": "s"}, "spec": {"node": "n1", "pods": many}})
    assert (found.pods, len(found.problems)) == ((), 1)


@given(st.recursive(st.none() | st.text(max_size=5) | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "node", "pods", "uid", "namespace", "workload", "addresses", "labels"]), inner, max_size=5), max_leaves=20))  # fmt: skip
def test_no_content_makes_the_reader_fail(raw):
    slices.parse({"metadata": {"name": "s"}, "spec": raw})
    slices.parse({"metadata": {"name": "s"}, "spec": {"node": "n1", "pods": [raw]}})


def test_an_address_that_stands_twice_is_one():
    raw = slices.render("t", "s", "n1", [Pod("1", "a", "b", "n1", "Running", (ip_address("10.0.0.1"),), {}, "b")], [])
    raw["spec"]["pods"][0]["addresses"] *= 2
    assert slices.parse(raw).pods[0].addresses == (ip_address("10.0.0.1"),)
