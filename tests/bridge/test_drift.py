"""What others do to the tier: noticed, told with fields and names, put back, and not fought over without end."""

import asyncio
import copy

import pytest

from bridge.errors import ManagerUnreachableError
from bridge.tier.drift import LastApplied, What, changed_fields, differences, with_attempts
from bridge.tier.outcome import Result
from bridge.tier.plan import Live, Plan, SafetyLimits
from bridge.tier.repair_backoff import AT_ONCE, LONGEST_WAIT, QUIET, RepairBackoff, waiting
from tests.bridge.world import World, inexpressible, many, rule, rulebase
from zones.compile import compile_policy
from zones.kube.errors import ClusterRefusedError, ClusterUnreachableError
from zones.siem.alerts import Severity
from zones.tiers import native
from zones.zone import Zoning


class Watch:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def once(world):
    return asyncio.run(world.sync.once())


def repair(world):
    return asyncio.run(world.sync.repair())


def published(*rules, **target):
    world = World(*rules or many(300), **target)
    once(world)
    return world


def tampered(world):
    return [alert for alert in world.sink.alerts if alert.kind.reason == "TierTampered" and not alert.over]


def managed(world, manager="kubectl-edit", field="f:spec"):
    """Who wrote last, as the API server notes it."""
    world.cluster.tier_object["metadata"]["managedFields"] = [
        {"manager": "zonebridge", "operation": "Apply", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:status": {}}},
        {"manager": manager, "operation": "Update", "time": "2026-01-01T00:00:07Z", "fieldsV1": {field: {}}},
    ]


def spoil(world):
    world.cluster.tier_object["spec"] |= {"policyChunks": [], "revision": 5}


def first_part(world):
    return next(iter(world.cluster.held.values()))


def is_whole(world):
    return world.cluster.policy() == world.sync._vetted.policy


def test_what_the_bridge_wrote_itself_is_no_drift():
    world = published()
    assert repair(world) is None
    world.manager.commit(*many(300, start=20))
    once(world)
    assert repair(world) is None
    once(world)
    assert repair(world) is None
    assert world.sink.alerts == []


def test_a_deleted_part_is_put_back_and_told():
    world = published()
    part = copy.deepcopy(first_part(world))
    name = part["metadata"]["name"]
    del world.cluster.held[name]
    assert repair(world).drifts == {"PolicyChunk": 1}
    assert is_whole(world)
    (alert,) = tampered(world)
    assert f"PolicyChunk '{name}' was deleted" in alert.message
    assert "audit log" in alert.message
    assert alert.about["changes"][0] | {"times": 1} == {
        "kind": "PolicyChunk",
        "name": name,
        "what": "deleted",
        "fields": [],
        "by": [],
        "times": 1,
        "wait": 0.0,
    }


def test_a_changed_tier_is_put_back_and_told_with_fields_and_who_did_it():
    world = published(rule("a"))
    spoil(world)
    managed(world)
    assert repair(world).revision == 6
    assert is_whole(world)
    (alert,) = tampered(world)
    assert "spec.policyChunks, spec.revision by kubectl-edit (Update at 2026-01-01T00:00:07Z)" in alert.message
    assert alert.severity is Severity.HIGH


def test_a_changed_source_is_put_back_too_although_the_digest_does_not_cover_it():
    world = published(rule("a"))
    world.cluster.tier_object["spec"] |= {"source": {"manager": "x", "deviceGroup": "y", "version": "z"}, "revision": 2}
    managed(world)
    assert repair(world).revision == 3
    assert world.cluster.tier_object["spec"]["source"]["deviceGroup"] == "dg"


def test_a_forged_status_is_put_back_without_a_new_revision():
    world = published(rule("a"))
    honest = copy.deepcopy(world.cluster.tier_object["status"])
    world.cluster.tier_object["status"]["nodes"] = {"total": 900, "inSync": 900}
    assert repair(world).revision == 1
    assert world.cluster.tier_object["status"] == honest
    assert "status.nodes.inSync" in tampered(world)[0].message


def test_what_nobody_knows_is_removed_and_told():
    world = published()
    stranger = copy.deepcopy(first_part(world))
    stranger["metadata"] |= {"name": "panorama-stranger", "managedFields": []}
    world.cluster.held["panorama-stranger"] = stranger
    repair(world)
    assert "panorama-stranger" not in world.cluster.held
    assert "'panorama-stranger' was added" in tampered(world)[0].message


def test_repairs_leave_the_parts_of_the_last_revision_to_the_next_pass():
    world = published()
    world.manager.commit(*many(300, start=100))
    once(world)
    before = set(world.cluster.held)
    world.cluster.held.pop(world.cluster.tier_object["spec"]["policyChunks"][0])
    repair(world)
    assert set(world.cluster.held) == before
    once(world)
    assert sorted(world.cluster.held) == sorted(world.cluster.tier_object["spec"]["policyChunks"])


@pytest.mark.parametrize("what", ["part", "tier"])
def test_an_object_that_was_held_back_from_deletion_comes_back_clean(what):
    world = published(rule("a"))
    held = first_part(world) if what == "part" else world.cluster.tier_object
    held["metadata"] |= {"finalizers": ["x.example/stay"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    repair(world)
    assert is_whole(world)
    now = first_part(world) if what == "part" else world.cluster.tier_object
    assert not {"finalizers", "deletionTimestamp"} & now["metadata"].keys()


def test_it_is_put_back_while_the_manager_is_away():
    world = published()
    world.manager.trouble = ManagerUnreachableError("asking Panorama: no answer")
    assert once(world).result is Result.UNREACHABLE
    asked = len(world.manager.asked)
    world.cluster.held.popitem()
    spoil(world)
    assert repair(world).result is Result.UNREACHABLE
    assert is_whole(world)
    assert len(world.manager.asked) == asked, "nobody waits for the manager"


def test_it_is_put_back_while_a_newer_revision_is_refused():
    world = published(rule("a"))
    world.manager.commit(rule("a"), inexpressible())
    once(world)
    spoil(world)
    assert repair(world).result is Result.REFUSED
    assert is_whole(world)
    assert world.condition("Compiled") == ("False", "InexpressibleDeny")


def forged_tier(revision, *rules):
    """Whole, digests and all, but nobody's configuration."""
    return native.render(compile_policy(rulebase(*rules), Zoning()).policy, "panorama", revision)


def restarted_without_manager(world):
    world.manager.trouble = ManagerUnreachableError("asking Panorama: no answer")
    world.restart()
    asyncio.run(world.sync.adopt())


def test_after_a_restart_without_the_manager_the_live_tier_is_held_on_to_where_it_is_whole():
    world = published()
    good = world.cluster.policy()
    restarted_without_manager(world)
    spoil(world)
    world.cluster.held.popitem()
    once(world)
    assert world.cluster.policy() == good
    assert "spec.policyChunks" in tampered(world)[0].message


def test_after_a_restart_without_the_manager_a_damaged_tier_is_told_and_waits_for_it():
    world = published()
    good = world.cluster.policy()
    world.cluster.held.popitem()
    restarted_without_manager(world)
    once(world)
    with pytest.raises(native.IncompleteError):
        world.cluster.policy()
    assert [(kind, over) for kind, over in world.sink.told] == [("TierDamaged", False)]
    assert "when the manager answers" in world.sink.alerts[0].message
    world.manager.trouble = None
    once(world)
    assert world.cluster.policy() == good
    assert world.sink.told[-1] == ("TierDamaged", True)


def test_after_a_restart_a_tier_that_somebody_else_wrote_is_not_held_on_to():
    world = published(rule("a"))
    forged = forged_tier(7, rule("b"))
    world.cluster.tier_object["spec"] = forged.tier["spec"]
    world.cluster.held |= {part["metadata"]["name"]: part for part in forged.parts}
    managed(world, "kubectl-replace")
    restarted_without_manager(world)
    once(world)
    assert world.cluster.tier_object["spec"]["revision"] == 7, "nothing is known that could replace it"
    assert "written by kubectl-replace (Update" in tampered(world)[0].message
    world.manager.trouble = None
    assert once(world).revision == 8
    assert next(entry.origin.name for entry in world.cluster.policy().entries) == "a"


def test_guards_do_not_compare_with_a_tampered_tier():
    """Rules that somebody put in are not missed; rules that somebody took out still count."""
    world = published(*(rule(name) for name in "abcd"), guards=SafetyLimits(max_deleted_share=0.5))
    forged = forged_tier(9, *many(50))
    for _ in range(2):
        world.cluster.tier_object["spec"] = copy.deepcopy(forged.tier["spec"])
        world.cluster.held |= {part["metadata"]["name"]: copy.deepcopy(part) for part in forged.parts}
        managed(world)
        world.manager.commit(*(rule(name) for name in "abc"))
        assert once(world).result is Result.PUBLISHED
        world.restart()
    world.manager.commit(rule("a"))
    assert once(world).problem.reason == "TooManyDeleted"


def test_a_write_whose_answer_never_came_is_no_drift():
    """Each write of a publish in turn comes through, but the bridge hears nothing of it."""
    for at in range(20):
        world = published()
        world.manager.commit(*many(300, start=100))
        world.cluster.calls.clear()
        call = world.cluster._call

        async def unanswered(what, effect=lambda: None, world=world, call=call, at=at):
            number = len(world.cluster.calls)
            result = await call(what, effect)
            if number == at and what.split()[0] != "event":
                raise ClusterUnreachableError(f"{what}: no answer")
            return result

        world.cluster._call = unanswered
        try:
            once(world)
        except ClusterUnreachableError:
            pass
        else:
            assert at > 8
            break
        repair(world)
        once(world)
        assert repair(world) is None
        assert is_whole(world)
        assert world.sink.alerts == [], f"call {at}"


def test_a_fight_is_told_louder_backs_off_and_ends():
    world = published()
    clock = Watch()
    world.sync._repairs = RepairBackoff(clock)
    name = first_part(world)["metadata"]["name"]
    for times in range(1, AT_ONCE + 1):
        del world.cluster.held[name]
        assert repair(world).fought == 0
        assert len(tampered(world)) == times
        assert name in world.cluster.held
    del world.cluster.held[name]
    assert repair(world).fought == 1
    assert name not in world.cluster.held, "it waits"
    assert tampered(world)[-1].severity is Severity.CRITICAL
    assert "being fought over" in tampered(world)[-1].message
    assert repair(world) is None
    clock.now += world.sync.due() + 0.01
    repair(world)
    assert name in world.cluster.held
    assert len(tampered(world)) == AT_ONCE + 1
    clock.now += QUIET + 1
    once(world)
    assert world.sink.told[-1] == ("TierTampered", True)


def test_a_new_revision_is_not_held_back_by_a_fight():
    world = published()
    world.sync._repairs = RepairBackoff(Watch())
    for _ in range(AT_ONCE + 1):
        world.cluster.tier_object = None
        repair(world)
    assert world.cluster.tier_object is None
    world.manager.commit(*many(300, start=100))
    assert once(world).result is Result.PUBLISHED
    assert is_whole(world)


def test_the_end_of_the_numbers_is_told():
    world = published(rule("a"))
    world.cluster.tier_object["spec"] |= {"policyChunks": [], "revision": 2**63 - 1}
    outcome = repair(world)
    assert outcome.problem.reason == "NoRevisionLeft"
    assert "delete the Tier" in str(outcome.problem)


def test_a_node_that_lies_does_not_use_up_the_numbers():
    world = published(rule("a"))
    world.cluster.nodes = [{"metadata": {"name": "n"}, "status": {"tier": "panorama", "revision": 2**63 - 1}}]
    world.manager.commit(rule("a"), rule("b"))
    assert once(world).revision < 2**41


def test_waiting_doubles_up_to_a_bound():
    assert [waiting(times) for times in range(1, 8)] == [0, 0, 0, 1, 2, 4, 8]
    assert waiting(1000) == LONGEST_WAIT


def part_of(name, spec=None, **metadata):
    return {"kind": "PolicyChunk", "metadata": {"name": name} | metadata, "spec": spec or {"entries": [1]}}


def test_differences_of_parts():
    left = LastApplied(None, {name: part_of(name) for name in "abc"})
    live = Live(None, {"a": part_of("a", {"entries": [2]}), "b": part_of("b"), "d": part_of("d")})
    found = [(drift.name, drift.what, drift.fields) for drift in differences(left, live)]
    assert found == [("a", What.CHANGED, ("spec.entries[0]",)), ("c", What.DELETED, ()), ("d", What.ADDED, ())]


def test_foreign_annotations_and_labels_are_no_drift():
    left = LastApplied(None, {"a": part_of("a")})
    live = Live(None, {"a": part_of("a", labels={"team": "x"}, annotations={"y": "z"})})
    assert differences(left, live) == ()


@pytest.mark.parametrize(
    ("before", "now", "fields"),
    [
        ({"a": 1}, {"a": 1}, ()),
        ({"a": 1}, {"a": 2}, ("spec.a",)),
        ({"a": {"b": 1, "c": 1}}, {"a": {"b": 2}}, ("spec.a.b", "spec.a.c")),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ("spec.a[1].b",)),
        ({"a": [1]}, {"a": [1, 2]}, ("spec.a",)),
        ({"a": [1]}, {"a": {"b": 1}}, ("spec.a",)),
        ({"a": False}, {"a": 0}, ()),
    ],
)
def test_changed_fields(before, now, fields):
    assert changed_fields(before, now, "spec") == fields


def test_an_attempt_counts_as_far_as_it_came():
    left = LastApplied(None, {"a": part_of("a")})
    attempt = Plan((), (), (part_of("b"), part_of("c")), None, (), 1, "")
    assert sorted(with_attempts(left, [attempt], Live(None, {"a": part_of("a"), "b": part_of("b")})).parts) == [
        "a",
        "b",
    ]


def test_a_part_that_hides_under_our_name_is_replaced():
    """Without the label it isn't listed; it holds other content, which can't be changed, and can't be deleted."""
    world = published(rule("a"))
    (name,) = world.cluster.held
    hidden = world.cluster.held.pop(name)
    hidden["spec"] = {"entries": []}
    hidden["metadata"] |= {"finalizers": ["x.example/stay"]}
    store, lists = world.cluster._store, world.cluster.parts

    def refuse(wanted):
        if wanted["kind"] != native.TIER and world.cluster.held.get(name) is hidden:
            raise ClusterRefusedError("applying PolicyChunk: 422: never changes")
        return store(wanted)

    async def unlabelled(tier):
        return {key: part for key, part in (await lists(tier)).items() if part["spec"] != {"entries": []}}

    world.cluster.held[name] = hidden
    world.cluster._store, world.cluster.parts = refuse, unlabelled
    repair(world)
    assert is_whole(world)


def test_a_write_that_was_given_up_and_comes_through_later_is_no_drift():
    world = published()
    world.manager.commit(*many(300, start=100))
    create, late = world.cluster.create, []

    async def hangs(part):
        late.append(part)
        raise ClusterUnreachableError("creating a part: no answer in time")

    world.cluster.create = hangs
    with pytest.raises(ClusterUnreachableError):
        once(world)
    world.cluster.create = create
    world.manager.commit(*many(300, start=50))
    once(world)
    for part in late:
        world.cluster.held.setdefault(part["metadata"]["name"], copy.deepcopy(part))
    assert late
    assert repair(world) is None
    once(world)
    assert sorted(world.cluster.held) == sorted(world.cluster.tier_object["spec"]["policyChunks"])
    assert world.sink.alerts == []


def test_a_held_part_of_the_last_revision_is_let_go_and_told_once():
    world = published()
    world.manager.commit(*many(300, start=100))
    once(world)
    old = next(name for name in world.cluster.held if name not in world.cluster.tier_object["spec"]["policyChunks"])
    world.cluster.held[old]["metadata"] |= {"finalizers": ["x/y"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    repair(world)
    assert old not in world.cluster.held
    assert repair(world) is None
    assert len(tampered(world)) == 1
