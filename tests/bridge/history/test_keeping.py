"""What the bridge records of each revision, whatever happens to it or to the cluster meanwhile."""

import asyncio
from datetime import timedelta

import pytest

from bridge.errors import ManagerUnreachableError
from bridge.history.ledger import Retention
from bridge.history.revision import part_names, policy_of
from bridge.history.verification import breaks
from bridge.tier.outcome import Result
from tests.bridge.world import Killed, World, many, rule
from zones.policy import InfrastructureRule


def once(world):
    return asyncio.run(world.sync.once())


def committed(*configurations, **how):
    """A world in which these were committed and published one after the other."""
    world = World(*configurations[0], **how)
    once(world)
    for rules in configurations[1:]:
        world.manager.commit(*rules)
        once(world)
    return world


def specs(world):
    return [raw["spec"] for raw in sorted(world.cluster.recorded.values(), key=lambda raw: raw["spec"]["revision"])]


def parts(world):
    return world.cluster.held | world.cluster.kept


def in_force(world):
    """The numbers of those that were in force, the oldest first."""
    asyncio.run(world.sync.history.load(world.cluster.tier_object, ours=True))
    return [each.revision for each in world.sync.history.ledger.in_force(world.cluster.tier_object)][::-1]


def check_whole(world):
    assert breaks(list(world.cluster.recorded.values()), parts(world), world.cluster.tier_object) == ()


def test_each_revision_has_one_record_with_who_when_and_what():
    world = committed([rule("a")], [rule("a"), rule("b")])
    first, second = specs(world)
    assert (first["revision"], first["position"], first["replaces"], first["causes"]) == (1, 1, 0, ["first"])
    assert "previous" not in first
    assert second["previous"] == {"revision": 1, "chain": first["chain"]}
    assert (second["position"], second["replaces"], second["causes"]) == (2, 1, ["commit"])
    assert second["recorded"] == "2026-01-01T12:00:00Z"
    (commit,) = second["commits"]
    assert (commit["job"], commit["administrator"], commit["description"]) == (2, "alice", "change 2")
    assert (second["source"]["serial"], second["source"]["job"]) == ("0070", 2)
    assert second["rules"]["total"] == 4
    check_whole(world)


def test_the_commits_are_those_since_the_revision_was_last_right():
    """One that changes nothing here is not named by the revision after it, one that couldn't be published is."""
    world = committed([rule("a")])
    for rules in ([rule("a")], [rule("a"), rule("b")]):
        world.manager.commit(*rules)
        once(world)
    assert [commit["job"] for commit in specs(world)[-1]["commits"]] == [3]
    world.manager.commit()
    assert once(world).result is Result.REFUSED
    world.manager.commit(rule("c"), rule("a"), rule("b"))
    once(world)
    assert [commit["job"] for commit in specs(world)[-1]["commits"]] == [5, 4]


def test_after_a_restart_the_record_says_up_to_which_commit_it_was_right():
    world = committed([rule("a")])
    world.restart()
    world.manager.commit(rule("b"), rule("a"))
    once(world)
    assert [commit["job"] for commit in specs(world)[-1]["commits"]] == [2]


@pytest.mark.parametrize(
    ("change", "unknown"),
    [
        (lambda commits: commits.clear(), "began anew"),
        (lambda commits: commits.reverse(), None),
    ],
)
def test_what_a_manager_forgot_is_said(change, unknown):
    world = committed([rule("a")])
    world.manager.commit(rule("b"), rule("a"))
    change(world.manager.commits)
    once(world)
    record = specs(world)[-1]
    assert (unknown is None) == bool(record["commits"])
    assert unknown is None or unknown in record["unknown"]


def test_a_change_of_the_infrastructure_is_no_commit():
    infrastructure = []

    async def ask():
        return tuple(infrastructure)

    world = World(rule("a"), infrastructure_of=ask)
    once(world)
    infrastructure.append(InfrastructureRule("more"))
    once(world)
    assert (specs(world)[-1]["causes"], specs(world)[-1]["commits"]) == (["infrastructure"], [])
    world.manager.trouble = ManagerUnreachableError("away")
    world.restart()
    infrastructure.append(InfrastructureRule("and more"))
    once(world)
    assert specs(world)[-1]["causes"] == ["infrastructure"]
    assert "has not answered" in specs(world)[-1]["unknown"]
    check_whole(world)


def test_what_others_changed_is_put_back_as_a_revision_of_its_own():
    world = committed([rule("a")])
    world.cluster.tier_object["spec"] |= {"revision": 9}
    once(world)
    assert [(spec["revision"], spec["causes"]) for spec in specs(world)] == [(1, ["first"]), (10, ["repair"])]
    assert in_force(world) == [1, 10]
    check_whole(world)


def test_the_policy_of_a_kept_revision_can_be_read():
    world = World(*many(300))
    policies = []
    for start in range(0, 150, 50):
        world.manager.commit(*many(300, start=start))
        once(world)
        policies.append(world.cluster.policy())
    once(world)
    assert [policy_of(spec, parts(world)) for spec in specs(world)] == policies
    assert len(world.cluster.held) == len(world.cluster.tier_object["spec"]["policyChunks"])


def test_a_configuration_that_comes_back_takes_its_parts_from_the_history():
    world = committed([rule("a")], [rule("b"), rule("a")])
    once(world)
    assert world.cluster.kept
    world.manager.commit(rule("a"))
    once(world)
    once(world)
    assert [spec["digest"] for spec in specs(world)][::2] == [specs(world)[0]["digest"]] * 2
    assert set(world.cluster.held) == set(world.cluster.tier_object["spec"]["policyChunks"])
    check_whole(world)


def test_as_many_are_kept_as_the_settings_say_with_their_parts_and_no_others():
    configurations = [many(300, start=40 * n) for n in range(6)]
    world = committed(*configurations, retention=Retention(keep=3))
    once(world)
    assert [spec["revision"] for spec in specs(world)] == [4, 5, 6]
    named = set().union(*(part_names(spec) for spec in specs(world)))
    assert set(parts(world)) == named
    check_whole(world)


def test_what_was_replaced_long_ago_goes_and_what_is_in_force_stays():
    world = committed([rule("a")], [rule("b"), rule("a")], retention=Retention(max_age=timedelta(days=90)))
    world.clock.forward(days=89)
    once(world)
    assert [spec["revision"] for spec in specs(world)] == [1, 2]
    world.clock.forward(days=2)
    once(world)
    assert [spec["revision"] for spec in specs(world)] == [2]
    world.clock.forward(days=900)
    once(world)
    assert [spec["revision"] for spec in specs(world)] == [2]
    check_whole(world)


def test_a_tier_of_before_there_was_a_history_gets_its_record():
    world = committed([rule("a")], [rule("b"), rule("a")])
    world.cluster.recorded.clear()
    world.restart()
    once(world)
    (record,) = specs(world)
    assert (record["revision"], record["position"], record["causes"]) == (2, 1, [])
    assert "without a record" in record["unknown"]
    world.manager.commit(rule("c"), rule("a"), rule("b"))
    once(world)
    assert in_force(world) == [2, 3]
    check_whole(world)


def test_a_spoiled_record_keeps_nothing_from_being_published():
    world = committed([rule("a")], [rule("b"), rule("a")])
    world.cluster.recorded["panorama-2"]["spec"]["content"] = "["
    world.restart()
    world.manager.commit(rule("c"), rule("a"), rule("b"))
    assert once(world).revision == 3
    assert any("revision 2: its content" in str(each) for each in breaks(specs_raw(world), parts(world), None))


def specs_raw(world):
    return list(world.cluster.recorded.values())


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("same", [True, False], ids=["and nothing new is committed", "and something else is committed"])
def test_killed_anywhere_the_history_has_each_revision_that_was_in_force_once(after, same):
    """At every single call of a publish that also lets an old revision go."""
    calls = None
    at = 0
    while calls is None or at < calls:
        world = committed(*(many(100, start=10 * n) for n in range(4)), retention=Retention(keep=3))
        world.manager.commit(*many(100, start=40))
        world.restart()
        if calls is None:
            once(world)
            calls = len(world.cluster.calls)
            assert {"delete Revision", "create Revision", "apply Tier"} <= {
                " ".join(call.split()[:2]) for call in world.cluster.calls
            }
            continue
        was = []
        world.cluster.watch = lambda world=world, was=was: was.append(world.cluster.tier_object["spec"]["revision"])
        world.cluster.dies_at, world.cluster.dies_after = at, after
        with pytest.raises(Killed):
            once(world)
        if not same:
            world.manager.commit(*many(100, start=50))
        world.restart()
        once(world)
        once(world)
        world.cluster.watch = lambda: None
        kept = [spec["revision"] for spec in specs(world)]
        assert len(kept) == 3, f"killed {after=} call {at}"
        assert [n for n in sorted(set(was)) if n >= kept[0]] == [n for n in in_force(world) if n >= was[0]]
        assert all(policy_of(spec, parts(world)) for spec in specs(world))
        assert set(parts(world)) == set().union(*(part_names(spec) for spec in specs(world)))
        check_whole(world)
        at += 1
