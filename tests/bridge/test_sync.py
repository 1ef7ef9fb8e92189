"""Passes over a cluster in memory: what is written, when, in which order, and what happens when it goes wrong."""

import asyncio
from datetime import timedelta

import pytest

from bridge.errors import ManagerAnswerError, ManagerUnreachableError, UnknownDeviceGroupError
from bridge.tier.outcome import Result
from bridge.tier.plan import SafetyLimits
from tests.bridge.world import Killed, World, inexpressible, many, rule
from zones.kube.errors import ClusterConflictError, ClusterRefusedError
from zones.net import AddressSet
from zones.rules import Action, Addresses, AddressObject, Feed, FeedKind
from zones.siem.alerts import AlertKind


def once(world):
    return asyncio.run(world.sync.once())


def names(world):
    return [entry.origin.name for entry in world.cluster.policy().entries]


def test_the_first_pass_publishes_revision_1():
    world = World(rule("a"), rule("b", Action.DENY))
    outcome = once(world)
    assert (outcome.result, outcome.revision) == (Result.PUBLISHED, 1)
    assert names(world) == ["a", "b", "intrazone-default", "interzone-default"]
    assert world.condition("Ready") == ("True", "Published")
    assert world.cluster.tier_object["status"]["rules"]["enforced"] == 4


def test_parts_come_first_and_the_pointer_last():
    world = World(*many(600))
    once(world)
    kinds = [write.split()[1] for write in world.cluster.writes if write.split()[0] in {"create", "apply"}]
    assert kinds == ["PolicyChunk"] * (len(kinds) - 2) + ["Revision", "Tier"]
    assert len(kinds) > 3


def test_an_unchanged_version_asks_for_no_rulebase_and_writes_nothing():
    world = World(rule("a"))
    once(world)
    world.cluster.calls.clear()
    assert once(world).result is Result.UNCHANGED
    assert world.manager.asked == ["version", "rulebase", "provenance", "version"]
    assert world.cluster.writes == []


def test_a_new_version_with_the_same_content_is_no_new_revision():
    world = World(rule("a"))
    once(world)
    world.manager.commit(rule("a"))
    world.cluster.calls.clear()
    outcome = once(world)
    assert (outcome.result, outcome.revision) == (Result.UNCHANGED, 1)
    assert world.cluster.writes == ["status"]
    assert world.cluster.tier_object["status"]["sourceVersion"] == "2"


def test_a_change_rewrites_only_what_it_touches():
    world = World(*many(600))
    once(world)
    chunks = len(world.cluster.held)
    world.manager.commit(*many(599), rule("new"))
    world.cluster.calls.clear()
    assert once(world).revision == 2
    applied = [write for write in world.cluster.writes if write.startswith("create PolicyChunk")]
    assert len(applied) == 1 < chunks


def test_parts_of_the_previous_revision_stay_for_one_pass():
    world = World(rule("a"))
    once(world)
    before = set(world.cluster.held)
    world.manager.commit(rule("b"), rule("a"))
    once(world)
    assert before < set(world.cluster.held)
    once(world)
    assert not before & set(world.cluster.held)


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
def test_killed_anywhere_readers_see_a_whole_revision_and_the_next_run_completes(after):
    """Stop at every single API call of a publish; a reader must always read the old policy or the new one."""
    calls = _calls_of_a_publish()
    assert calls > 10
    for at in range(calls):
        world = _before_a_publish()
        old = world.cluster.policy()
        world.cluster.dies_at, world.cluster.dies_after = at, after
        seen = []
        world.cluster.watch = lambda world=world, seen=seen: seen.append(world.cluster.policy())
        with pytest.raises(Killed):
            once(world)
        world.cluster.watch = lambda: None
        world.restart()
        once(world)
        new = world.cluster.policy()
        assert new != old
        assert names(world)[0] == "rule 100"
        assert all(policy in (old, new) for policy in seen)
        once(world)
        named = world.cluster.tier_object["spec"]["policyChunks"]
        assert sorted(world.cluster.held) == sorted(named), f"left over after being killed at call {at}"


def _before_a_publish():
    """Two revisions are there, the parts of the first not pruned yet, and a third is to come."""
    world = World(*many(300))
    once(world)
    world.manager.commit(*many(300, start=50))
    once(world)
    world.manager.commit(*many(300, start=100))
    world.restart()
    return world


def _calls_of_a_publish():
    world = _before_a_publish()
    once(world)
    assert any(call.startswith("retire") for call in world.cluster.calls)
    return len(world.cluster.calls)


def test_a_refused_configuration_keeps_the_last_good_tier_and_says_why():
    world = World(rule("a"))
    once(world)
    world.manager.commit(rule("a"), inexpressible())
    outcome = once(world)
    assert (outcome.result, outcome.revision) == (Result.REFUSED, 1)
    assert "'by user'" in str(outcome.problem)
    assert names(world)[0] == "a"
    assert world.condition("Compiled") == ("False", "InexpressibleDeny")
    assert world.condition("Ready") == ("False", "RevisionRefused")
    assert world.cluster.tier_object["status"]["rules"]["refusing"] == 1
    assert world.sink.told == [("RevisionRefused", False)]


def test_a_refusal_is_told_once_and_its_end_too():
    world = World(rule("a"))
    once(world)
    world.manager.commit(rule("a"), inexpressible())
    once(world)
    once(world)
    world.manager.commit(rule("a"), rule("b"))
    assert once(world).revision == 2
    assert world.sink.told == [("RevisionRefused", False), ("RevisionRefused", True)]
    assert world.condition("Compiled") == ("True", "Accepted")


def test_a_refused_first_configuration_writes_nothing():
    world = World(inexpressible())
    assert once(world).result is Result.REFUSED
    assert world.cluster.writes == []


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (UnknownDeviceGroupError("looking up device group 'dg': it is gone"), "UnknownDeviceGroup"),
        (ManagerAnswerError("asking Panorama: the answer is cut off"), "UnusableAnswer"),
    ],
)
def test_an_answer_that_can_not_be_used_is_a_refusal(trouble, reason):
    world = World(rule("a"))
    once(world)
    world.manager.trouble = trouble
    assert once(world).result is Result.REFUSED
    assert world.condition("Compiled") == ("False", reason)
    assert names(world)[0] == "a"


def test_guards_refuse_an_empty_rulebase_and_most_rules_gone():
    world = World(*(rule(name) for name in "abcd"), guards=SafetyLimits(max_deleted_share=0.5))
    once(world)
    world.manager.commit()
    assert once(world).problem.reason == "EmptyRulebase"
    world.manager.commit(rule("by user", conditions=("by user",)), rule("off", disabled=True))
    refused = once(world).problem
    assert refused.reason == "EmptyRulebase"
    assert "rule 'by user' (pre of dg) is not enforced: " in str(refused)
    assert "rule 'off' (pre of dg) is not applicable: it is disabled" in str(refused)
    world.manager.commit(rule("a"))
    outcome = once(world)
    assert outcome.problem.reason == "TooManyDeleted"
    assert "3 of 4 rules" in str(outcome.problem)
    world.manager.commit(rule("a"), rule("b"))
    assert once(world).revision == 2


def test_an_unreachable_manager_is_stale_only_after_a_while():
    world = World(rule("a"), stale_after=timedelta(minutes=10))
    once(world)
    world.manager.trouble = ManagerUnreachableError("asking Panorama: no answer")
    world.clock.forward(minutes=5)
    outcome = once(world)
    assert (outcome.result, outcome.stale) == (Result.UNREACHABLE, False)
    assert world.condition("Ready") == ("True", "Published")
    world.clock.forward(minutes=6)
    assert once(world).stale
    assert world.condition("Stale") == ("True", "NoAnswer")
    assert world.condition("Ready") == ("False", "SyncStale")
    world.manager.trouble = None
    assert not once(world).stale
    assert world.sink.told == [("SyncStale", False), ("SyncStale", True)]


@pytest.mark.parametrize("hours", [-5, 5])
def test_silence_is_told_by_what_has_passed_whatever_the_time_was_set_to(hours):
    world = World(rule("a"), stale_after=timedelta(minutes=10))
    once(world)
    world.manager.trouble = ManagerUnreachableError("asking Panorama: no answer")
    world.clock.set(hours=hours)
    world.clock.forward(minutes=9)
    assert not once(world).stale
    world.clock.forward(minutes=2)
    assert once(world).stale


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_node_is_silent_by_what_has_passed_whatever_the_time_was_set_to(hours):
    world = World(rule("a"))
    once(world)
    enforced = world.cluster.tier_object["spec"]["revision"], world.cluster.tier_object["spec"]["digest"]
    report = {"revision": enforced[0], "digest": enforced[1], "reportedAt": "now"}
    nodes = world.sync._nodes
    assert nodes.look({"n1": report}, enforced, {"n1"}) == ()
    world.clock.set(hours=hours)
    assert nodes.look({"n1": report}, enforced, {"n1"}) == ()
    world.clock.forward(minutes=16)
    assert [late.fault for late in nodes.look({"n1": report}, enforced, {"n1"})] == ["silent"]


def test_a_restart_does_not_hide_that_the_manager_has_been_away():
    world = World(rule("a"), stale_after=timedelta(minutes=10))
    once(world)
    world.manager.trouble = ManagerUnreachableError("asking Panorama: no answer")
    world.clock.forward(minutes=11)
    world.restart()
    assert once(world).stale
    assert world.cluster.tier_object["status"]["rules"]["enforced"] == 3, "what was known stays told"


def test_a_deleted_part_is_put_back_without_a_new_revision():
    world = World(rule("a"))
    once(world)
    world.cluster.held.clear()
    outcome = once(world)
    assert outcome.revision == 1
    assert names(world)[0] == "a"


def test_a_changed_part_is_replaced():
    world = World(rule("a"))
    once(world)
    part = next(iter(world.cluster.held.values()))
    part["spec"]["entries"] = part["spec"]["entries"][1:]
    world.cluster.calls.clear()
    once(world)
    assert [write.split()[0] for write in world.cluster.writes][:2] == ["delete", "create"]
    assert names(world)[0] == "a"


def test_a_changed_pointer_is_written_anew_above_it():
    world = World(rule("a"))
    once(world)
    world.cluster.tier_object["spec"] |= {"policyChunks": [], "revision": 5}
    assert once(world).revision == 6
    assert names(world)[0] == "a"


def test_a_deleted_tier_comes_back_above_what_nodes_have_seen():
    world = World(rule("a"))
    once(world)
    world.cluster.tier_object = None
    world.cluster.nodes = [{"metadata": {"name": "n1"}, "status": {"tier": "panorama", "revision": 41}}]
    assert once(world).revision == 42


def test_the_last_good_tier_is_repaired_while_a_newer_one_is_refused():
    world = World(rule("a"))
    once(world)
    world.manager.commit(rule("a"), inexpressible())
    world.cluster.held.clear()
    assert once(world).result is Result.REFUSED
    assert names(world)[0] == "a"


BLOCKLIST = Feed("threats", FeedKind.IP_LIST, "https://feeds.example.com/ip.txt")


def blocked(world):
    return [entry.sources for entry in world.cluster.policy().entries if entry.origin.name == "blocklist"]


def world_with_a_list(*prefixes):
    world = World()
    deny = rule("blocklist", Action.DENY, sources=Addresses((AddressObject("threats", feeds=("threats",)),)))
    world.manager.commit(deny, rule("other"), feeds=(BLOCKLIST,))
    if prefixes:
        world.fetched["threats"] = prefixes
    return world


def test_a_list_is_fetched_before_the_first_revision():
    world = world_with_a_list("192.0.2.0/24")
    assert once(world).result is Result.PUBLISHED
    assert blocked(world) == [AddressSet.parse(["192.0.2.0/24"])]


def test_a_changed_list_is_a_new_revision_without_asking_for_the_rulebase_again():
    world = world_with_a_list("192.0.2.0/24")
    once(world)
    world.fetched["threats"] = ["198.51.100.0/24"]
    asyncio.run(world.feeds._refresh(BLOCKLIST))
    world.manager.asked.clear()
    assert once(world).revision == 2
    assert world.manager.asked == ["version"]
    assert blocked(world) == [AddressSet.parse(["198.51.100.0/24"])]


def test_a_list_that_was_never_fetched_refuses_its_deny_until_it_is():
    world = world_with_a_list()
    assert once(world).result is Result.REFUSED
    world.fetched["threats"] = ["192.0.2.0/24"]
    asyncio.run(world.feeds._refresh(BLOCKLIST))
    assert once(world).result is Result.PUBLISHED


def test_a_list_that_goes_away_keeps_its_last_good_content():
    world = world_with_a_list("192.0.2.0/24")
    once(world)
    assert world.condition("FeedsFresh") == ("True", "Answering")
    world.fetched.clear()
    asyncio.run(world.feeds._refresh(BLOCKLIST))
    assert once(world).result is Result.UNCHANGED
    assert blocked(world) == [AddressSet.parse(["192.0.2.0/24"])]
    assert world.condition("FeedsFresh") == ("False", "NoAnswer")
    assert "threats: " in world.cluster.tier_object["status"]["conditions"][-1]["message"]


def test_what_the_api_server_changes_is_not_pointed_to():
    world = World(rule("a"))
    store = world.cluster._store

    def without_log(wanted):
        wanted["spec"].pop("entries", None)
        return store(wanted)

    world.cluster._store = without_log
    with pytest.raises(ClusterRefusedError, match="stored something else"):
        once(world)
    assert world.cluster.tier_object is None


def test_another_writer_between_reading_and_writing_is_a_conflict():
    world = World(rule("a"))
    once(world)
    world.manager.commit(rule("b"), rule("a"))

    def somebody_writes():
        if world.cluster.calls[-1].startswith("create PolicyChunk"):
            world.cluster.tier_object["metadata"]["resourceVersion"] = "other"

    world.cluster.watch = somebody_writes
    with pytest.raises(ClusterConflictError):
        once(world)
    assert names(world)[0] == "a"


def node(name, revision, digest, **status):
    return {"metadata": {"name": name}, "status": {"tier": "panorama", "revision": revision, "digest": digest} | status}


def out_of_sync(world):
    return [alert for alert in world.sink.alerts if alert.kind is AlertKind.NODE_OUT_OF_SYNC]


def test_a_node_that_stays_behind_is_an_alert_and_a_condition_until_it_has_caught_up():
    world = World(rule("a"))
    once(world)
    digest = world.cluster.tier_object["spec"]["digest"]
    world.cluster.nodes = [node("n1", 1, digest), node("n2", 0, "")]
    assert once(world).late == ()
    assert world.condition("NodesInSync") == ("True", "InSync")
    world.clock.forward(minutes=3)
    (late,) = once(world).late
    assert str(late) == "n2 is at revision 0"
    assert world.condition("NodesInSync") == ("False", "NodesOutOfSync")
    (alert,) = out_of_sync(world)
    assert alert.about == {"revision": 1, "count": 1, "nodes": [{"node": "n2", "fault": "behind", "revision": 0}]}
    once(world)
    world.cluster.nodes = [node("n1", 1, digest), node("n2", 1, digest)]
    once(world)
    assert [alert.over for alert in out_of_sync(world)] == [False, True]


def test_what_nodes_left_behind_that_are_gone_is_passed_over_and_one_without_an_enforcer_is_told():
    world = World(rule("a"), present={"n1", "n2"})
    once(world)
    digest = world.cluster.tier_object["spec"]["digest"]
    world.cluster.nodes = [node("n1", 1, digest), node("gone", 0, "")]
    assert once(world).nodes == {"total": 1, "inSync": 1}
    world.clock.forward(minutes=3)
    (late,) = once(world).late
    assert str(late) == "n2 has never reported: no enforcer runs there"


def test_nodes_in_sync_are_counted():
    world = World(rule("a"))
    digest = (once(world), world.cluster.tier_object["spec"]["digest"])[1]
    world.cluster.nodes = [
        node("n1", 1, digest),
        node("n2", 1, "another"),
        node("n3", 0, ""),
        node("n4", 1, digest, tier="other"),
        {"metadata": {"name": "n5"}},
    ]
    assert once(world).nodes == {"total": 4, "inSync": 1}


def test_the_status_is_written_for_its_time_alone_only_once_a_minute():
    world = World(rule("a"))
    once(world)
    world.cluster.calls.clear()
    world.clock.forward(seconds=30)
    once(world)
    assert world.cluster.writes == []
    world.clock.forward(seconds=31)
    once(world)
    assert world.cluster.writes == ["status"]


def test_after_losing_the_lead_nothing_remembered_is_trusted():
    world = World(rule("a"))
    once(world)
    world.sync.forget()
    assert once(world).result is Result.UNCHANGED
    assert world.manager.asked.count("rulebase") == 2


def test_a_condition_that_others_add_is_theirs_and_no_reason_to_write():
    world = World(rule("a"))
    once(world)
    theirs = {
        "type": "Audited",
        "status": "True",
        "reason": "R",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    world.cluster.tier_object["status"]["conditions"].insert(0, theirs)
    world.cluster.calls.clear()
    once(world)
    assert world.cluster.writes == []


def test_a_status_from_the_future_is_written_again():
    world = World(rule("a"))
    once(world)
    world.cluster.tier_object["status"]["lastSyncTime"] = "2099-01-01T00:00:00Z"
    once(world)
    assert world.cluster.tier_object["status"]["lastSyncTime"] == "2026-01-01T12:00:00Z"
