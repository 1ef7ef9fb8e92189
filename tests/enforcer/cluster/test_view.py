"""Raw objects to the inventory: nothing a cluster holds stops it, and the holders always agree with the inventory."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.cluster.view import ObjectPage, View, WatchedKind, WatchedObject
from tests.enforcer import smallcluster as world
from zones import decode
from zones.addresses.inventory import UnownedAddress
from zones.addresses.packed_pods import address_of
from zones.tiers import slices
from zones.tiers.native import TIER_LABEL


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


ENDED, WORKING = {"state": {"terminated": {}}}, {"state": {"running": {}}}


@pytest.mark.parametrize(
    ("deleted", "status", "holds"),
    [
        (True, {"containerStatuses": [ENDED, ENDED]}, False),
        (True, {"containerStatuses": [ENDED, WORKING]}, True),
        (True, {"containerStatuses": [{"state": {"waiting": {}}}]}, True),
        (True, {"containerStatuses": []}, True),
        (True, {"containerStatuses": [ENDED], "initContainerStatuses": [WORKING]}, True),
        (
            True,
            {"containerStatuses": [ENDED], "initContainerStatuses": [ENDED], "ephemeralContainerStatuses": []},
            False,
        ),
        (True, {"containerStatuses": [ENDED], "ephemeralContainerStatuses": [WORKING]}, True),
        (False, {"containerStatuses": [ENDED]}, True),  # it is about to be restarted
    ],
)
def test_a_deleted_pod_holds_its_addresses_until_its_last_container_has_ended(deleted, status, holds):
    raw = raw_pod("1")
    raw["status"] |= status
    raw["metadata"] |= {"deletionTimestamp": "2026-11-28T10:00:00Z"} if deleted else {}
    pod = decode.pod(raw).item
    assert (pod.holds_addresses, pod.terminating) == (holds, deleted)


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        ([], True),
        ([{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "False"}], True),
        ([{"type": "Ready", "status": "False"}], False),
        ([{"type": "Ready", "status": "Unknown"}], False),
    ],
)
def test_a_node_is_lost_where_its_kubelet_is_not_heard_of(conditions, ready):
    raw = raw_node("n1", "192.0.2.1", "10.1.0.0/24")
    raw["status"]["conditions"] = conditions
    assert decode.node(raw).item.ready is ready


def test_the_least_a_pod_may_have():
    pod = decode.pod({"metadata": {"uid": "1", "name": "p", "namespace": "n"}, "spec": {}, "status": None}).item
    assert (pod.addresses, pod.labels, pod.phase) == ((), {}, "")


def test_a_list_removes_what_vanished():
    view = View(world.TIER)
    view.fold(ObjectPage(WatchedKind.PODS, [raw_pod("1", "a"), raw_pod("2", "b", ip="bad")]))
    assert view.problems()
    view.fold(ObjectPage(WatchedKind.PODS, [raw_pod("1", "a")]))
    assert set(view.inventory().pods) == {"1"}
    assert view.problems() == ()


def test_pages_are_one_list_and_what_is_in_none_is_gone():
    view = View(world.TIER)
    view.fold(ObjectPage(WatchedKind.PODS, [raw_pod("1"), raw_pod("2")]))
    view.fold(ObjectPage(WatchedKind.PODS, [raw_pod("2")], last=False))
    view.fold(ObjectPage(WatchedKind.PODS, [raw_pod("3")], first=True, last=False))  # it broke off and began again
    view.fold(ObjectPage(WatchedKind.PODS, [raw_pod("4")], first=False))
    assert set(view.inventory().pods) == {"3", "4"}


def test_an_inventory_does_not_change_afterwards():
    view = View(world.TIER)
    view.fold(WatchedObject(WatchedKind.PODS, raw_pod("1")))
    before = view.inventory()
    view.fold(WatchedObject(WatchedKind.PODS, raw_pod("2")))
    assert set(before.pods) == {"1"}
    assert set(view.inventory().pods) == {"1", "2"}


def test_parts_of_another_tier_are_not_kept():
    view = View("other")
    rendered = world.tier(1)
    view.fold(ObjectPage(WatchedKind.TIERS, [rendered.tier]))
    view.fold(ObjectPage(WatchedKind.CHUNKS, rendered.parts))
    assert view.tier_object() is None
    assert view.parts() == {}


ADDRESSES = ["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.97.0.1", "10.98.0.1", "192.0.2.1", "203.0.113.9"]
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
            view.fold(ObjectPage(WatchedKind.PODS, [raw_pod(uid, ip=address, phase=phase)]))
        elif "node" in what:
            view.fold(
                WatchedObject(WatchedKind.NODES, raw_node(uid, address, f"10.{ord(uid)}.0.0/16"), gone="gone" in what)
            )
        else:
            view.fold(WatchedObject(WatchedKind.PODS, raw_pod(uid, ip=address, phase=phase), gone="gone" in what))
    directory = view.inventory().directory()
    for text in ADDRESSES:
        found, wanted = view.holders.of(ip_address(text)), directory.holder(ip_address(text))
        assert found == wanted or {type(found), type(wanted)} == {type(found)}
    assert dict(view.holders.disputed()).keys() == dict(view.inventory().disputed()).keys()


KEY = "zonebridge.io/zone"


def raw_slice(name, node, *pods, tier=world.TIER):
    """A PodSlice as the bridge makes it, of raw pods."""
    held = [decode.pod(raw).item for raw in pods]
    return slices.render(tier, name, node, held, [KEY])


def remote(uid, ip, zone="web", **more):
    return raw_pod(uid, uid, ip=ip, zone=zone, node="n2", **more)


def zone_at(view, ip):
    holder = view.holders.of(ip_address(ip))
    return world.policy(80).zoning.of_pod(holder.labels, holder.allowed) if hasattr(holder, "labels") else holder


@pytest.fixture
def view():
    """Of the node n1, with two nodes and a namespace whose pods may be anywhere."""
    made = View(world.TIER, node="n1")
    made.fold(
        ObjectPage(
            WatchedKind.NODES, [raw_node("n1", "192.0.2.1", "10.1.0.0/24"), raw_node("n2", "192.0.2.2", "10.2.0.0/24")]
        )
    )
    made.fold(ObjectPage(WatchedKind.NAMESPACES, [{"metadata": {"uid": "s", "name": "shop", "annotations": {world.ENTITLEMENT_ANNOTATION: "*"}}}]))  # fmt: skip
    return made


def test_pods_of_other_nodes_come_from_slices(view):
    view.fold(
        ObjectPage(WatchedKind.SLICES, [raw_slice("s", "n2", remote("1", "10.2.0.1"), remote("2", "10.2.0.2", "db"))])
    )
    assert (zone_at(view, "10.2.0.1"), zone_at(view, "10.2.0.2")) == ("web", "db")
    view.fold(WatchedObject(WatchedKind.SLICES, raw_slice("s", "n2", remote("1", "10.2.0.1", "db"))))
    assert (zone_at(view, "10.2.0.1"), zone_at(view, "10.2.0.2")) == ("db", UnownedAddress.UNKNOWN)
    view.fold(WatchedObject(WatchedKind.SLICES, raw_slice("s", "n2", remote("1", "10.2.0.1", "db")), gone=True))
    assert zone_at(view, "10.2.0.1") is UnownedAddress.UNKNOWN


def test_of_its_own_pods_a_node_believes_its_own_watch_alone(view):
    view.fold(WatchedObject(WatchedKind.PODS, raw_pod("1", ip="10.1.0.1", zone="web")))
    view.fold(
        ObjectPage(
            WatchedKind.SLICES,
            [raw_slice("s", "n1", raw_pod("1", ip="10.1.0.1", zone="db"), raw_pod("9", ip="10.1.0.9"))],
        )
    )
    assert (zone_at(view, "10.1.0.1"), zone_at(view, "10.1.0.9")) == ("web", UnownedAddress.UNKNOWN)
    assert [pod.uid for pod in view.own_pods()] == ["1"]


def test_missed_events_heal_by_the_next_list(view):
    view.fold(ObjectPage(WatchedKind.SLICES, [raw_slice("s", "n2", remote("1", "10.2.0.1")), raw_slice("t", "n2", remote("2", "10.2.0.2"))]))  # fmt: skip
    view.fold(ObjectPage(WatchedKind.SLICES, [raw_slice("t", "n2", remote("2", "10.2.0.2", "db"))]))
    assert (zone_at(view, "10.2.0.1"), zone_at(view, "10.2.0.2")) == (UnownedAddress.UNKNOWN, "db")


def test_remote_pods_are_judged_by_their_namespace_like_own_ones(view):
    view.fold(ObjectPage(WatchedKind.SLICES, [raw_slice("s", "n2", remote("1", "10.2.0.1"))]))
    view.holders.take_changed()
    view.fold(WatchedObject(WatchedKind.NAMESPACES, {"metadata": {"uid": "s", "name": "shop"}}))
    assert zone_at(view, "10.2.0.1") == "zonebridge.io/isolated"
    assert {str(address_of(key)) for key in view.holders.take_changed()} == {"10.2.0.1"}


def test_slices_of_another_tier_and_hostile_ones_put_nobody_into_a_zone(view):
    other = raw_slice("s", "n2", remote("1", "10.2.0.1"), tier="other")
    outside = raw_slice("t", "n2", remote("2", "203.0.113.1"), remote("3", "10.1.0.1"))
    broken = raw_slice("u", "n2", remote("4", "10.2.0.4"))
    broken["spec"]["pods"].append({"name": "x"})
    nothing = raw_slice("v", "n2") | {"spec": {"pods": 1}}
    view.fold(ObjectPage(WatchedKind.SLICES, [other, outside, broken, nothing]))
    assert zone_at(view, "10.2.0.1") is UnownedAddress.UNKNOWN
    assert zone_at(view, "203.0.113.1") is None
    assert zone_at(view, "10.1.0.1") is UnownedAddress.UNKNOWN
    assert zone_at(view, "10.2.0.4") == "web"
    assert [problem.split(":")[0] for problem in view.problems()] == ["PodSlice 'u'", "PodSlice 'v' has no node and pods; it was not made by us, and is left out"]  # fmt: skip
    view.fold(WatchedObject(WatchedKind.SLICES, raw_slice("u", "n2", remote("4", "10.2.0.4"))))
    view.fold(WatchedObject(WatchedKind.SLICES, nothing, gone=True))
    assert view.problems() == ()


def test_an_address_that_its_node_does_not_give_is_not_trusted_and_told(view):
    view.fold(WatchedObject(WatchedKind.PODS, raw_pod("1", ip="10.1.0.1", zone="web")))
    view.fold(WatchedObject(WatchedKind.PODS, raw_pod("2", "thief", ip="10.2.0.7", zone="web")))
    assert (zone_at(view, "10.1.0.1"), zone_at(view, "10.2.0.7")) == ("web", UnownedAddress.UNKNOWN)
    assert [(str(address), pod.name) for address, pod in view.holders.pod_address_conflicts("n1")] == [
        ("10.2.0.7", "thief")
    ]


def test_a_node_is_not_trusted_to_have_what_another_nodes_pods_have(view):
    """A node that was taken could be a pod of its neighbour, with a node's rights; the neighbour tells of it."""
    view.fold(ObjectPage(WatchedKind.SLICES, [raw_slice("s", "n2", remote("1", "10.2.0.1"))]))
    view.holders.take_changed()
    view.fold(WatchedObject(WatchedKind.NODES, raw_node("n1", "10.2.0.1", "10.1.0.0/24")))
    assert zone_at(view, "10.2.0.1") == "web"
    assert view.inventory().directory().holder(ip_address("10.2.0.1")).name == "1"
    assert [(str(address), node.name) for address, node in view.holders.node_address_conflicts("n2")] == [
        ("10.2.0.1", "n1")
    ]
    assert not list(view.holders.node_address_conflicts("n1"))

    view.fold(WatchedObject(WatchedKind.NODES, raw_node("n1", "10.2.0.9", "10.1.0.0/24")))
    assert view.holders.of(ip_address("10.2.0.9")) is UnownedAddress.UNKNOWN
    view.holders.take_changed()
    view.fold(
        WatchedObject(WatchedKind.NODES, raw_node("n2", "192.0.2.2", "10.3.0.0/24"))
    )  # nobody's pods are there any more
    assert view.holders.of(ip_address("10.2.0.9")).name == "n1"
    taken = {str(address_of(key)): holder for key, holder in view.holders.take_changed().items()}
    assert taken["10.2.0.9"].name == "n1"


def test_a_node_may_have_an_address_of_its_own_pods_or_of_a_network_of_all():
    made = View(world.TIER, (ip_network("10.0.0.0/8"),))
    made.fold(
        ObjectPage(
            WatchedKind.NODES, [raw_node("a", "10.1.0.1", "10.1.0.0/24"), raw_node("b", "10.9.9.9", "10.2.0.0/24")]
        )
    )
    assert {made.holders.of(ip_address(each)).name for each in ("10.1.0.1", "10.9.9.9")} == {"a", "b"}


def test_where_neither_nodes_nor_settings_tell_networks_every_address_is_believed():
    view = View(world.TIER, node="n1")
    node = raw_node("n1", "192.0.2.1", "10.1.0.0/24")
    node["spec"] = {}
    view.fold(ObjectPage(WatchedKind.NODES, [node]))
    view.fold(WatchedObject(WatchedKind.PODS, raw_pod("1", ip="10.77.0.1")))
    assert list(view.holders.pod_address_conflicts("n1")) == []
    given = View(world.TIER, (ip_network("10.78.0.0/16"),), "n1")
    given.fold(ObjectPage(WatchedKind.NODES, [node]))
    given.fold(WatchedObject(WatchedKind.PODS, raw_pod("1", ip="10.77.0.1")))
    given.fold(WatchedObject(WatchedKind.PODS, raw_pod("2", ip="10.78.0.1")))
    assert [str(address) for address, _ in given.holders.pod_address_conflicts("n1")] == ["10.77.0.1"]


def test_most_of_what_happens_to_pods_and_nodes_is_nothing_to_the_kernel(view):
    """Conditions, heartbeats, a slice that is written anew: who enforces isn't woken for them."""
    view.holders.take_changed()
    assert view.holders.pod_networks
    assert not view.holders.has_changes
    same = raw_pod("1", "waiting", ip="")
    assert not view.fold(WatchedObject(WatchedKind.PODS, same))
    assert not view.fold(
        WatchedObject(WatchedKind.PODS, same | {"status": {"phase": "Pending", "conditions": [{"type": "Ready"}]}})
    )
    assert not view.fold(WatchedObject(WatchedKind.NAMESPACES, {"metadata": {"uid": "o", "name": "of-nobody"}}))
    told = raw_slice("a", "n2", remote("7", "10.2.0.7"))
    assert view.fold(WatchedObject(WatchedKind.SLICES, told))
    view.holders.take_changed()
    assert not view.fold(WatchedObject(WatchedKind.SLICES, told))
    assert view.fold(WatchedObject(WatchedKind.NODES, raw_node("n9", "192.168.9.9", "10.9.0.0/24")))


@pytest.mark.parametrize("kind", [WatchedKind.TIERS, WatchedKind.CHUNKS, WatchedKind.SETS])
def test_whatever_concerns_the_tier_wakes_who_enforces_it(view, kind):
    view.holders.take_changed()
    assert view.fold(ObjectPage(kind, ()))
    assert view.fold(WatchedObject(kind, {"metadata": {"name": "x", "labels": {}}, "spec": {}}))


def test_a_judgement_depends_on_the_tier_and_the_parts_that_it_names(view):
    tier = {"metadata": {"name": world.TIER}, "spec": {"policyChunks": ["a", "missing"], "addressSets": ["s"]}}
    view.fold(WatchedObject(WatchedKind.TIERS, tier))
    for kind, name in ((WatchedKind.CHUNKS, "a"), (WatchedKind.CHUNKS, "of-another-revision"), (WatchedKind.SETS, "s")):
        labels = {TIER_LABEL: world.TIER}
        view.fold(WatchedObject(kind, {"metadata": {"name": name, "labels": labels}, "spec": {"of": name}}))
    text = view.tier_text()
    assert {name: part["spec"] for name, part in text.read()[1].items()} == {"a": {"of": "a"}, "s": {"of": "s"}}
    view.fold(WatchedObject(WatchedKind.CHUNKS, {"metadata": {"name": "of-another-revision"}, "spec": {}}, gone=True))
    assert view.tier_text() == text
    view.fold(WatchedObject(WatchedKind.CHUNKS, {"metadata": {"name": "a"}, "spec": {}}, gone=True))
    assert view.tier_text() != text


@pytest.mark.parametrize("spec", [[], "none", {"policyChunks": "a", "addressSets": [1, {}]}])
def test_a_tier_that_somebody_wrote_by_hand_names_nothing(view, spec):
    view.fold(WatchedObject(WatchedKind.TIERS, {"metadata": {"name": world.TIER}, "spec": spec}))
    assert view.tier_text().parts == {}
