"""Who is where, folded from what an API server tells: as if it had just been listed, whatever came before."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.population import Population
from bridge.population.picture import FollowedKind
from tests.enforcer import smallcluster as world
from zones.kube.watch import Changed, Listed
from zones.zone import ENTITLEMENT_ANNOTATION, ISOLATED, Zoning


def pod(uid, node="n1", phase="Running", **more):
    raw = world.pod(uid, "10.1.0.9", more.pop("zone", "web"), node=node, phase=phase, **more)
    raw["metadata"]["uid"] = uid
    return raw


def node(name):
    return {"metadata": {"name": name}}


def namespace(name, zones):
    annotations = {} if zones is None else {ENTITLEMENT_ANNOTATION: zones}
    return {"metadata": {"name": name, "annotations": annotations}}


pods = st.builds(
    pod,
    st.sampled_from("abcd"),
    st.sampled_from(["", "n1", "n2"]),
    st.sampled_from(["Pending", "Running", "Succeeded"]),
    zone=st.sampled_from(["web", "db", ""]),
    namespace=st.sampled_from(["shop", "lab"]),
    hostNetwork=st.booleans(),
)
nodes = st.builds(node, st.sampled_from(["n1", "n2"]))
namespaces = st.builds(namespace, st.sampled_from(["shop", "lab"]), st.sampled_from([None, "web", "*"]))
objects = {FollowedKind.PODS: pods, FollowedKind.NODES: nodes, FollowedKind.NAMESPACES: namespaces}


def _steps(kind):
    told = st.lists(objects[kind], max_size=4, unique_by=lambda raw: key(kind, raw))
    changed = st.builds(Changed, objects[kind], st.booleans())
    whole = st.builds(Listed, told)
    return st.tuples(st.just(kind), st.one_of(changed, changed, whole))


def key(kind, raw):
    return raw["metadata"]["uid"] if kind is FollowedKind.PODS else raw["metadata"]["name"]


@settings(max_examples=200)
@given(st.lists(st.one_of(*map(_steps, FollowedKind)), max_size=20))
def test_the_members_are_those_of_a_fresh_list_and_every_move_is_told(steps):
    population, held, told = Population(Zoning()), {kind: {} for kind in FollowedKind}, {}
    for kind, change in steps:
        if isinstance(change, Listed):
            held[kind] = {key(kind, raw): raw for raw in change.objects}
        else:
            held[kind].pop(key(kind, change.raw), None)
            held[kind] |= {} if change.gone else {key(kind, change.raw): change.raw}
        before = population.generation
        moves = population.fold(kind, change)
        assert (population.generation > before) is bool(moves)
        for move in moves:
            assert move.before != move.after
            if move.before is not None:
                assert told.pop(move.before.pod.uid) == move.before
            if move.after is not None:
                told[move.after.pod.uid] = move.after
    fresh = Population(Zoning())
    for kind in FollowedKind:
        fresh.fold(kind, Listed(list(held[kind].values())))
    assert {member.pod.uid: member for member in population.members()} == told
    assert {member.pod.uid: member for member in fresh.members()} == told
    assert len(population) == len(told)


def test_pages_are_one_list():
    population = Population(Zoning())
    population.fold(FollowedKind.NODES, Listed([node("n1")]))
    population.fold(FollowedKind.PODS, Listed([pod("a")], first=True, last=False))
    assert not population.complete
    population.fold(FollowedKind.PODS, Listed([pod("b")], first=False, last=True))
    population.fold(FollowedKind.NAMESPACES, Listed([]))
    assert population.complete
    population.fold(FollowedKind.PODS, Listed([pod("b")], first=True, last=False))
    assert {member.pod.uid for member in population.members()} == {"a", "b"}
    population.fold(FollowedKind.PODS, Listed([pod("c")], first=False, last=True))
    assert {member.pod.uid for member in population.members()} == {"b", "c"}


def test_the_zone_is_what_its_namespace_is_entitled_to():
    population = Population(Zoning())
    population.fold(FollowedKind.NODES, Listed([node("n1")]))
    population.fold(FollowedKind.PODS, Listed([pod("a")]))
    (member,) = population.members()
    assert (member.zone, member.claimed, member.isolated) == (ISOLATED, "web", True)
    (move,) = population.fold(FollowedKind.NAMESPACES, Changed(namespace("shop", "web")))
    assert (move.before.zone, move.after.zone) == (ISOLATED, "web")
    (move,) = population.fold(FollowedKind.NAMESPACES, Changed(namespace("shop", "web"), gone=True))
    assert move.after.zone == ISOLATED


MADE_AGAIN = {
    FollowedKind.PODS: (pod("a", zone="web"), pod("a", zone="db")),
    FollowedKind.NODES: (node("n1"), node("n1")),
    FollowedKind.NAMESPACES: (namespace("shop", "web"), namespace("shop", "*")),
}


def made(kind, *, again):
    raw = MADE_AGAIN[kind][again]
    return {**raw, "metadata": {**raw["metadata"], "uid": "second" if again else "first"}}


def heard(kind, *changes):
    """The members after these changes of one kind, with one object of each other kind there."""
    population = Population(Zoning())
    for each in FollowedKind:
        for change in changes if each is kind else [Listed([MADE_AGAIN[each][0]])]:
            population.fold(each, change)
    return list(population.members())


@pytest.mark.parametrize("kind", FollowedKind)
def test_what_was_made_again_under_its_name_is_what_a_fresh_list_says(kind):
    before, after = Listed([made(kind, again=False)]), Listed([made(kind, again=True)])
    gone = Changed(made(kind, again=False), gone=True)
    ways = [
        (before, after),
        (before, Changed(made(kind, again=True)), gone),
        (before, gone, after),
        (before, after, gone),
    ]
    assert [heard(kind, *way) for way in ways] == [heard(kind, after)] * len(ways)
    assert heard(kind, before, after, Changed(made(kind, again=True), gone=True)) == heard(kind, Listed([]))
