"""What a node tells of its own pods: whatever happens, the API server ends with exactly them, and nothing is written twice."""

import copy
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.cluster.own_slices import OwnSlices, SliceTerms
from zones.addresses.inventory import Pod
from zones.tiers import slices

KEY = "zonebridge.io/zone"
TERMS = SliceTerms("uid-of-n1", (KEY,))


def pod(number, zone="web", **changes):
    fields = {"phase": "Running", "addresses": (ip_address(f"10.1.0.{number}"),), "workload": "w"} | changes
    return Pod(str(number), "shop", f"p{number}", "n1", labels={KEY: zone}, **fields)


class Server:
    """What an API server has, and what was written to it."""

    def __init__(self):
        self.objects, self.version, self.writes = {}, 0, []

    def write(self, own, pods, terms=TERMS):
        for name, body in list(own.due(pods, terms)):
            self.writes.append(name)
            self.put(name, body)
            if body is None:
                own.lost(name)
            else:
                own.wrote(body, self.objects[name])

    def put(self, name, body):
        self.version += 1
        if body is None:
            self.objects.pop(name, None)
        else:
            self.objects[name] = copy.deepcopy(body)
            self.objects[name]["metadata"]["resourceVersion"] = str(self.version)

    def pods(self):
        found = [pod for raw in self.objects.values() for pod in slices.parse(raw).pods]
        assert len({each.uid for each in found}) == len(found)
        return {each.uid: (each.labels[KEY], each.addresses) for each in found}


def told(pods):
    return {each.uid: (each.labels[KEY], each.addresses) for each in pods if each.holds_addresses and each.addresses}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pods"), st.dictionaries(st.integers(1, 9), st.sampled_from(["web", "db"]), max_size=9)),
        st.tuples(st.just("restart")),
        st.tuples(st.just("tamper"), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.integers(0, 3)),
    ),
    max_size=10,
)


@settings(max_examples=200)
@given(STEPS)
def test_whatever_happens_the_slices_say_what_the_pods_are(steps):
    server, own, pods = Server(), OwnSlices("panorama", "n1", most=3), []
    for step in steps:
        match step:
            case "pods", wanted:
                pods = [pod(number, zone) for number, zone in wanted.items()]
            case ("restart",):
                own = OwnSlices("panorama", "n1", most=3)
                for raw in server.objects.values():
                    own.saw(raw)
            case "tamper", number:
                forged = slices.render("panorama", f"{number}.n1", "n1", [pod(99)], [KEY])
                server.put(f"{number}.n1", forged)
                own.saw(server.objects[f"{number}.n1"])
            case "delete", number:
                server.put(f"{number}.n1", None)
                own.lost(f"{number}.n1")
        server.write(own, pods)
        assert server.pods() == told(pods)
        assert "0.n1" in server.objects
        assert all(len(raw["spec"]["pods"]) <= 3 for raw in server.objects.values())
        assert not list(own.due(pods, TERMS))


def test_one_pods_change_writes_the_one_slice_that_it_is_in():
    server, own = Server(), OwnSlices("panorama", "n1", most=3)
    pods = [pod(number) for number in range(1, 8)]
    server.write(own, pods)
    assert server.writes == ["0.n1", "1.n1", "2.n1"]
    server.writes.clear()
    pods[4] = pod(5, "db")
    server.write(own, pods)
    assert server.writes == ["1.n1"]
    server.writes.clear()
    server.write(own, [*pods[:2], *pods[3:]])
    assert server.writes == ["0.n1"]
    server.writes.clear()
    server.write(own, [*pods[:2], *pods[3:], pod(9)])
    assert server.writes == ["0.n1"], "the room of the one that went"


def test_who_starts_over_slices_that_are_there_writes_only_what_differs():
    server, own = Server(), OwnSlices("panorama", "n1", most=3)
    pods = [pod(number) for number in range(1, 8)]
    server.write(own, pods)
    server.writes.clear()
    again = OwnSlices("panorama", "n1", most=3)
    for raw in server.objects.values():
        again.saw(raw)
    server.write(again, list(reversed(pods)))
    assert server.writes == []
    server.write(again, [*pods[:-1], pod(7, "db")])
    assert server.writes == ["2.n1"]


def test_an_api_server_whose_definition_has_no_start_yet_is_written_to_once():
    """It drops what it doesn't know; the watch then tells what it has kept."""
    server, own, pods = Server(), OwnSlices("panorama", "n1"), [pod(1, started=1_700_000_000)]
    server.write(own, pods)
    (kept,) = server.objects.values()
    del kept["spec"]["pods"][0]["startTime"]
    for _ in range(3):
        own.saw(kept)
        server.write(own, pods)
    assert server.writes == ["0.n1"]


def test_pods_that_hold_no_address_are_not_told_and_an_empty_node_still_speaks():
    server, own = Server(), OwnSlices("panorama", "n1")
    none = [pod(1, phase="Succeeded"), pod(2, host_network=True), pod(3, addresses=()), pod(4, stopped=True)]
    server.write(own, none)
    assert server.objects["0.n1"]["spec"] == {"node": "n1", "pods": []}
    assert server.objects["0.n1"]["metadata"]["ownerReferences"][0]["uid"] == "uid-of-n1"


@pytest.mark.parametrize(
    "terms",
    [
        SliceTerms("another-uid", (KEY,)),
        SliceTerms("uid-of-n1", (KEY, "app")),
        SliceTerms("uid-of-n1", (KEY,), (ip_address("10.1.0.0"),)),
    ],
)
def test_other_terms_are_written(terms):
    server, own = Server(), OwnSlices("panorama", "n1")
    pods = [pod(1)]
    pods[0].labels["app"] = "shop"
    server.write(own, pods)
    server.writes.clear()
    server.write(own, pods, terms)
    assert server.writes == ["0.n1"]
    found = slices.parse(server.objects["0.n1"])
    assert found.addresses == terms.addresses
    assert set(found.pods[0].labels) == set(terms.labels)


def test_late_words_of_the_watch_about_our_own_writing_are_nothing_new():
    server, own = Server(), OwnSlices("panorama", "n1")
    server.write(own, [pod(1)])
    first = copy.deepcopy(server.objects["0.n1"])
    server.write(own, [pod(2)])
    server.writes.clear()
    own.changed = False
    own.saw(first)
    own.saw(server.objects["0.n1"])
    assert not own.changed
    server.write(own, [pod(2)])
    assert server.writes == []


def test_what_somebody_changed_before_our_answer_came_is_undone():
    """The watch is faster than an answer at times."""
    server, own = Server(), OwnSlices("panorama", "n1")
    ((name, body),) = own.due([pod(1)], TERMS)
    server.put(name, body)
    answer = copy.deepcopy(server.objects[name])
    own.saw(answer)
    server.put(name, slices.render("panorama", name, "n1", [], [KEY]))
    own.saw(server.objects[name])
    own.wrote(body, answer)
    assert own.changed
    server.write(own, [pod(1)])
    assert server.pods() == told([pod(1)])
    assert not list(own.due([pod(1)], TERMS))


def test_what_somebody_deleted_before_our_answer_came_is_written_again():
    server, own = Server(), OwnSlices("panorama", "n1")
    ((name, body),) = own.due([pod(1)], TERMS)
    server.put(name, body)
    answer = server.objects[name]
    own.saw(answer)
    server.put(name, None)
    own.lost(name)
    own.wrote(body, answer)
    assert own.changed
    server.write(own, [pod(1)])
    assert server.pods() == told([pod(1)])
    assert not list(own.due([pod(1)], TERMS))


def test_what_an_api_server_leaves_out_is_not_written_again_and_again():
    """As one whose definition of the kind is older, and doesn't know the node's addresses."""
    server, own = Server(), OwnSlices("panorama", "n1")
    terms = SliceTerms("uid-of-n1", (KEY,), (ip_address("10.1.0.0"),))
    ((name, body),) = own.due([], terms)
    pruned = copy.deepcopy(body)
    del pruned["spec"]["addresses"]
    server.put(name, pruned)
    own.wrote(body, server.objects[name])
    own.saw(server.objects[name])
    assert not list(own.due([], terms))


def test_the_bridges_slices_of_this_node_are_not_ours_to_write():
    own = OwnSlices("panorama", "n1")
    raw = slices.render("panorama", slices.name_of("panorama", "n1", 0), "n1", [pod(1)], [KEY])
    own.saw(raw | {"metadata": raw["metadata"] | {"resourceVersion": "7"}})
    assert [name for name, body in own.due([pod(1)], TERMS) if body is None] == []


def test_a_node_with_a_name_too_long_for_an_object_leaves_it_to_the_bridge():
    own = OwnSlices("panorama", "a" * 252)
    assert not list(own.due([pod(1)], TERMS))


def test_a_slice_that_a_backup_brought_back_is_written_again():
    """Its version is lower than that of what was written; as an event it would be an old one, in a list it counts."""
    server, own = Server(), OwnSlices("panorama", "n1")
    server.write(own, [pod(1)])
    backup = copy.deepcopy(server.objects)
    server.write(own, [pod(1), pod(2)])
    server.objects, server.writes = backup, []
    for raw in backup.values():
        own.saw(raw)
    assert not list(own.due([pod(1), pod(2)], TERMS))
    own.listed()
    for raw in backup.values():
        own.saw(raw)
    server.write(own, [pod(1), pod(2)])
    assert server.pods() == told([pod(1), pod(2)])
