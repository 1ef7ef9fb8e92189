"""The picture that a watch keeps: pages, news that come in any order, and what we wrote ourselves."""

import asyncio
import copy

from bridge.tier.cache import KINDS, NODE_STATE, Picture
from bridge.tier.plan import Part
from tests.bridge.world import World, many
from zones.kube.watch import Changed, Listed
from zones.tiers.native import POLICY_CHUNK


def part(name, version, uid="", entries=(1,)):
    metadata = {"name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"entries": list(entries)}}


def picture(*parts):
    made = Picture()
    for kind in KINDS:
        made.fold(kind, Listed(parts if kind == POLICY_CHUNK else ()))
    return made


def versions(made):
    return {name: each["metadata"]["resourceVersion"] for name, each in made.parts().items()}


def test_it_is_whole_when_every_kind_was_listed():
    made = Picture()
    for kind in KINDS:
        assert not made.is_complete
        made.fold(kind, Listed(()))
    assert made.is_complete


def test_a_kind_that_is_not_watched_any_more_is_listed_anew():
    made = picture(part("a", 1))
    made.lost(NODE_STATE)
    assert not made.is_complete
    made.fold(NODE_STATE, Listed(()))
    assert made.is_complete


def test_pages_replace_what_was_there_when_the_last_one_has_come():
    made = picture(part("old", 1), part("kept", 1))
    made.fold(POLICY_CHUNK, Listed([part("kept", 5)], last=False))
    assert sorted(made.parts()) == ["kept", "old"]
    made.fold(POLICY_CHUNK, Listed([part("new", 6)], first=False))
    assert versions(made) == {"kept": "5", "new": "6"}
    assert made.parts()["new"]["kind"] == POLICY_CHUNK


def test_what_we_wrote_while_a_list_was_on_its_way_is_not_lost():
    made = picture(part("a", 1), part("b", 2))
    made.wrote(part("new", 12) | {"kind": POLICY_CHUNK})
    made.deleted(POLICY_CHUNK, "b")
    made.fold(POLICY_CHUNK, Listed([part("a", 1), part("b", 2)], version="10"))
    assert versions(made) == {"a": "1", "new": "12"}
    made.fold(POLICY_CHUNK, Listed([part("a", 1)], version="20"))
    assert versions(made) == {"a": "1"}


def test_changes_and_deletions_are_followed():
    made = picture(part("a", 1))
    made.fold(POLICY_CHUNK, Changed(part("b", 2)))
    made.fold(POLICY_CHUNK, Changed(part("a", 3)))
    made.fold(POLICY_CHUNK, Changed(part("b", 4), gone=True))
    made.fold(NODE_STATE, Changed(part("node-1", 5)))
    assert versions(made) == {"a": "3"}
    assert [node["metadata"]["name"] for node in made.nodes()] == ["node-1"]


def test_the_echo_of_our_own_write_comes_late():
    made = picture()
    made.wrote(part("a", 5) | {"kind": POLICY_CHUNK})
    made.fold(POLICY_CHUNK, Changed(part("a", 4)))
    assert versions(made) == {"a": "5"}
    made.deleted(POLICY_CHUNK, "a")
    made.fold(POLICY_CHUNK, Changed(part("a", 5)))
    assert made.parts() == {}, "it lived before we deleted it"
    made.fold(POLICY_CHUNK, Changed(part("a", 9, uid="another")))
    made.fold(POLICY_CHUNK, Changed(part("a", 8), gone=True))
    assert versions(made) == {"a": "9"}, "the one that was deleted is another one"


def test_a_part_that_went_into_the_history_may_come_back():
    """To a watch by label it is deleted, and added again with a later version."""
    made = picture(part("a", 1), part("b", 2))
    made.retired(POLICY_CHUNK, "a", part("a", 5))
    made.fold(POLICY_CHUNK, Changed(part("a", 3)))
    assert sorted(made.parts()) == ["b"], "as it was before"
    made.wrote(part("a", 9) | {"kind": POLICY_CHUNK})
    made.fold(POLICY_CHUNK, Changed(part("a", 5), gone=True))
    assert versions(made) == {"a": "9", "b": "2"}, "it has come back since"
    made.fold(POLICY_CHUNK, Changed(part("a", 9)))
    made.fold(POLICY_CHUNK, Changed(part("a", 12), gone=True))
    assert sorted(made.parts()) == ["b"]


def test_what_can_not_be_deleted_stays_in_the_picture():
    """A part that is to be pruned was held by somebody a moment before."""
    world = World(*many(100))
    world.sync.picture = world.sync._publisher._picture = made = Picture()
    publisher = world.sync._publisher
    asyncio.run(world.sync.once())
    for kind in KINDS:
        made.fold(kind, Listed(copy.deepcopy([p for p in world.cluster.held.values() if p["kind"] == kind])))
    name, held = next(iter(world.cluster.held.items()))
    held["metadata"] |= {"uid": "uid-1", "finalizers": ["x.example/stay"]}
    asyncio.run(publisher._delete(Part(POLICY_CHUNK, name)))
    assert made.parts()[name]["metadata"]["finalizers"] == ["x.example/stay"]
    made.fold(POLICY_CHUNK, Changed(copy.deepcopy(held)))
    assert name in made.parts()
    asyncio.run(world.cluster.release(Part(POLICY_CHUNK, name)))
    made.fold(POLICY_CHUNK, Changed(held, gone=True))
    assert name not in made.parts()


def test_what_equals_a_rendered_part_is_held_only_once():
    made = picture(part("a", 1))
    rendered = part("a", 0) | {"kind": POLICY_CHUNK}
    made.share([rendered, part("b", 0) | {"kind": POLICY_CHUNK}])
    assert made.parts()["a"]["spec"] is rendered["spec"]
    made.fold(POLICY_CHUNK, Changed(part("a", 2)))
    assert made.parts()["a"]["spec"] is rendered["spec"]
    made.fold(POLICY_CHUNK, Changed(part("a", 3, entries=(2,))))
    assert made.parts()["a"]["spec"] == {"entries": [2]}


def test_a_watch_that_does_not_come_is_waited_for_once():
    async def run():
        made = Picture(watched=True)
        assert not await made.soon_whole(0.01)
        assert not await made.soon_whole(3600)
        for kind in KINDS:
            made.fold(kind, Listed(()))
        assert await made.soon_whole(3600)

    asyncio.run(run())
