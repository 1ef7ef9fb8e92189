"""What was made again under its name is known as if it had just been listed, however the view heard of it."""

import copy

import pytest

from enforcer.cluster.view import ObjectPage, View, WatchedKind, WatchedObject
from tests.enforcer import smallcluster as world
from zones import decode
from zones.tiers import slices
from zones.tiers.native import TIER_LABEL
from zones.zone import ENTITLEMENT_ANNOTATION


def of_tier(name, spec):
    return {"metadata": {"name": name, "labels": {TIER_LABEL: world.TIER}}, "spec": spec}


def namespace(zones):
    return {"metadata": {"name": "shop", "annotations": {ENTITLEMENT_ANNOTATION: zones}}}


def slice_of(pod):
    return slices.render(world.TIER, "s", "n2", [decode.pod(pod | {"metadata": {"uid": "1"} | pod["metadata"]}).item], [])  # fmt: skip


# Of each kind an object that nothing else depends on being absent, and what is made under its name afterwards.
OBJECTS = {
    WatchedKind.PODS: (world.pod("web", "10.1.0.9", "web"), world.pod("web", "10.1.0.9", "db")),
    WatchedKind.SLICES: (
        slice_of(world.pod("a", "10.2.0.1", node="n2")),
        slice_of(world.pod("b", "10.2.0.1", node="n2")),
    ),
    WatchedKind.NODES: (world.node("n2", "192.0.2.2", "10.2.0.0/24"), world.node("n2", "192.0.2.2", "10.2.0.0/24")),
    WatchedKind.NAMESPACES: (namespace("web"), namespace("*")),
    WatchedKind.TIERS: (of_tier(world.TIER, {"revision": 1}), of_tier(world.TIER, {"revision": 2})),
    WatchedKind.CHUNKS: (of_tier("c", {"rules": []}), of_tier("c", {"rules": [1]})),
    WatchedKind.SETS: (of_tier("s", {"prefixes": []}), of_tier("s", {"prefixes": ["192.0.2.0/24"]})),
    WatchedKind.QUARANTINES: (world.quarantine("q", pod=("p", "another")), world.quarantine("q", pod=("p", "p"))),
}
BYSTANDERS = [
    ObjectPage(
        WatchedKind.NODES, [world.node("n1", "192.0.2.1", "10.1.0.0/24") | {"metadata": {"name": "n1", "uid": "n1"}}]
    ),
    ObjectPage(
        WatchedKind.PODS, [{**world.pod("p", "10.1.0.8"), "metadata": {"name": "p", "namespace": "shop", "uid": "p"}}]
    ),
]


def made(kind, *, again):
    raw = copy.deepcopy(OBJECTS[kind][again])
    raw["metadata"]["uid"] = "second" if again else "first"
    return raw


def known(view, kind):
    """All that a view says, with what its kind of objects is asked for."""
    view.holders.take_changed()
    asked = {
        "holders": view.holders.snapshot(),
        "networks": view.holders.pod_networks,
        "namespaces": dict(view.namespaces()),
        "nodes": view.nodes(),
        "own": sorted(pod.name for pod in view.own_pods()),
        "allowed": {pod.name: pod.allowed for pod in view.own_pods()},
        "tier": view.tier_object(),
        "parts": dict(view.parts()),
        "count": view.count(kind),
        "held": [pod.name for pod in view.own_pods() if pod.quarantined],
    }
    return asked | {"problems": view.problems()}


def fresh(kind, *changes):
    view = View(world.TIER, node="n1")
    for each in BYSTANDERS:
        if each.kind is not kind:
            view.fold(each)
    for each in changes:
        view.fold(each)
    return view


WAYS = {
    "a list": lambda kind: [ObjectPage(kind, [made(kind, again=True)])],
    "a list of two pages": lambda kind: [
        ObjectPage(kind, [made(kind, again=True)], last=False),
        ObjectPage(kind, (), first=False),
    ],
    "it came before the old one went": lambda kind: [
        WatchedObject(kind, made(kind, again=True)),
        WatchedObject(kind, made(kind, again=False), gone=True),
    ],
    "the old one went first": lambda kind: [
        WatchedObject(kind, made(kind, again=False), gone=True),
        WatchedObject(kind, made(kind, again=True)),
    ],
    "a list, and a late word of the old one": lambda kind: [
        ObjectPage(kind, [made(kind, again=True)]),
        WatchedObject(kind, made(kind, again=False), gone=True),
    ],
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", WatchedKind)
def test_what_was_made_again_under_its_name_is_what_a_fresh_list_says(kind, way):
    view = fresh(kind, ObjectPage(kind, [made(kind, again=False)]), *WAYS[way](kind))
    assert known(view, kind) == known(fresh(kind, ObjectPage(kind, [made(kind, again=True)])), kind)


@pytest.mark.parametrize("kind", WatchedKind)
def test_what_was_made_again_and_is_gone_then_is_gone(kind):
    gone = WatchedObject(kind, made(kind, again=True), gone=True)
    view = fresh(kind, ObjectPage(kind, [made(kind, again=False)]), ObjectPage(kind, [made(kind, again=True)]), gone)
    assert known(view, kind) | {"allowed": {}} == known(fresh(kind, ObjectPage(kind, ())), kind) | {"allowed": {}}
