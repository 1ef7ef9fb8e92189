"""Raw objects to the inventory: nothing a cluster holds stops it, and the holders always agree with the inventory."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.view import Changed, Kind, Listed, View
from tests.enforcer import cluster as world
from zones import decode


def raw_pod(uid, name="p", **more):
    raw = world.pod(name, **({"ip": "10.1.0.9"} | more))
    raw["metadata"]["uid"] = uid
    return raw


def raw_node(name, ip, cidr):
    raw = world.node(name, ip, cidr)
    raw["metadata"]["uid"] = name
    return raw


@pytest.mark.parametrize(
    ("owner", "name", "workload"),
    [
        (None, "App_Name", "app-name"),
        (("ReplicaSet", "web-7d4b9c6f5"), "web-7d4b9c6f5-x2x4z", "web"),
        (("StatefulSet", "db"), "db-0", "db"),
        (("Job", "backup-29000000"), "backup-29000000-abcde", "backup"),
    ],
)
def test_the_workload_comes_from_the_controller(owner, name, workload):
    raw = raw_pod("1", name)
    if owner:
        raw["metadata"]["ownerReferences"] = [
            {"kind": "Else", "name": "no"},
            {"kind": owner[0], "name": owner[1], "controller": True},
        ]
    assert decode.pod(raw).item.workload == workload


def test_both_stacks_and_host_network():
    raw = raw_pod("1", hostNetwork=True)
    raw["status"]["podIPs"] = [{"ip": "10.1.0.9"}, {"ip": "2001:db8::9"}]
    pod = decode.pod(raw).item
    assert pod.addresses == (ip_address("10.1.0.9"), ip_address("2001:db8::9"))
    assert pod.host_network
    assert not pod.holds_addresses


@pytest.mark.parametrize("bad", ["not an address", "10.1.0.9/32", "010.1.0.9"])
def test_an_address_that_is_none_is_a_problem_and_in_no_zone(bad):
    decoded = decode.pod(raw_pod("1", ip=bad))
    assert decoded.item.addresses == ()
    assert bad in decoded.problems[0]


def test_the_least_a_pod_may_have():
    pod = decode.pod({"metadata": {"uid": "1", "name": "p", "namespace": "n"}, "spec": {}, "status": None}).item
    assert (pod.addresses, pod.labels, pod.phase) == ((), {}, "")


def test_a_list_removes_what_vanished():
    view = View(world.TIER)
    view.fold(Listed(Kind.PODS, [raw_pod("1", "a"), raw_pod("2", "b", ip="bad")]))
    assert view.problems()
    view.fold(Listed(Kind.PODS, [raw_pod("1", "a")]))
    assert set(view.inventory().pods) == {"1"}
    assert view.problems() == ()


def test_an_inventory_does_not_change_afterwards():
    view = View(world.TIER)
    view.fold(Changed(Kind.PODS, raw_pod("1")))
    before = view.inventory()
    view.fold(Changed(Kind.PODS, raw_pod("2")))
    assert set(before.pods) == {"1"}
    assert set(view.inventory().pods) == {"1", "2"}


def test_parts_of_another_tier_are_not_kept():
    view = View("other")
    rendered = world.tier(1)
    view.fold(Listed(Kind.TIERS, [rendered.tier]))
    view.fold(Listed(Kind.CHUNKS, rendered.parts))
    assert view.tier_object() is None
    assert view.parts() == {}


ADDRESSES = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "192.0.2.1", "203.0.113.9"]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.sampled_from(ADDRESSES),
        st.sampled_from(["Running", "Succeeded", "Pending"]),
        st.sampled_from(["pod", "gone pod", "node", "gone node", "list"]),
    ),
    max_size=25,
)


@given(CHANGES)
@settings(max_examples=200)
def test_the_holders_agree_with_the_inventory(changes):
    view = View(world.TIER, (ip_network("10.1.0.0/30"),))
    for uid, address, phase, what in changes:
        if what == "list":
            view.fold(Listed(Kind.PODS, [raw_pod(uid, ip=address, phase=phase)]))
        elif "node" in what:
            view.fold(Changed(Kind.NODES, raw_node(uid, address, f"10.{ord(uid)}.0.0/16"), gone="gone" in what))
        else:
            view.fold(Changed(Kind.PODS, raw_pod(uid, ip=address, phase=phase), gone="gone" in what))
    directory = view.inventory().directory()
    for text in ADDRESSES:
        found, wanted = view.holders.of(ip_address(text)), directory.holder(ip_address(text))
        assert found == wanted or {type(found), type(wanted)} == {type(found)}
    assert dict(view.holders.disputed()).keys() == dict(view.inventory().disputed()).keys()
