"""When a bridge is ready: a pod of no use stops a rollout, and one that does its work is ready whatever Panorama does."""

import asyncio

import pytest
import structlog

from bridge.errors import ManagerRefusedError, ManagerUnreachableError
from bridge.metrics import Metrics
from bridge.service import unready
from tests.bridge.test_leadership import FakeLease
from tests.bridge.test_metrics import sample
from tests.bridge.test_service import run_until_reached, work_of
from tests.bridge.world import World, inexpressible, rule
from zones.kube.errors import ClusterUnreachableError

REFUSED = ManagerRefusedError("asking Panorama: it refuses our credentials; renew the key in apiKeyFile")
AWAY = ManagerUnreachableError("asking Panorama: no answer")


def follower():
    lease = FakeLease()
    lease.held = {"metadata": {}, "spec": {"holderIdentity": "other", "leaseDurationSeconds": 3600}}
    return lease


def said(work, text):
    return any(text in reason for reason in unready([work]))


@pytest.mark.parametrize("lease", [FakeLease, follower])
@pytest.mark.parametrize("trouble", [REFUSED, AWAY])
def test_a_manager_that_never_answered_keeps_leader_and_follower_unready_until_it_does(lease, trouble):
    world = World(rule("a"))
    world.manager.trouble = trouble
    work = work_of(world, lease=lease())

    def refused_and_then_right():
        if said(work, str(trouble)):
            world.manager.trouble = None
        return world.manager.trouble is None and not unready([work])

    with structlog.testing.capture_logs() as logs:
        run_until_reached([work], refused_and_then_right)
    assert any(str(trouble) in str(entry.get("error") or entry.get("problem")) for entry in logs)


@pytest.mark.parametrize("trouble", [REFUSED, AWAY])
def test_a_manager_that_goes_away_later_makes_nobody_unready(trouble):
    world = World(rule("a"))
    work = work_of(world)
    seen = []

    def away_for_some_passes():
        if work.passed:
            world.manager.trouble = trouble
            seen.append(unready([work]))
        return world.manager.asked.count("version") > 4

    run_until_reached([work], away_for_some_passes)
    assert set(seen) == {()}


def test_a_refused_revision_is_no_reason():
    world = World(inexpressible())
    work = work_of(world)
    run_until_reached([work], lambda: work.passed and not unready([work]))


def test_where_no_cluster_answers_nobody_is_ready_and_one_is_enough():
    clock = [0.0]
    good, bad = World(rule("a")), World(rule("a"))
    works = [work_of(good, "good"), work_of(bad, "bad")]
    for work in works:
        work.leadership._clock = lambda: clock[0]
        work.sync._reader.accepted = True
    assert unready(works) == ("no cluster's API server answers: none was asked yet",)

    asyncio.run(works[0].leadership.step())
    works[0].passed = True
    assert unready(works) == ()

    async def no_answer(*_):
        raise ClusterUnreachableError("reading Lease: no answer")

    works[0].leadership._cluster.lease = no_answer
    clock[0] += 10
    asyncio.run(works[0].leadership.step())
    assert unready(works) == ()
    clock[0] += 10
    asyncio.run(works[0].leadership.step())
    assert unready(works) == ("no cluster's API server answers: reading Lease: no answer",)


def test_one_clusters_device_group_that_is_missing_is_its_own_trouble():
    good, other = World(rule("a")), World(rule("a"))
    other.manager.trouble = AWAY
    works = [work_of(good, "good"), work_of(other, "other")]
    run_until_reached(works, lambda: good.cluster.tier_object and other.manager.asked and not unready(works))


@pytest.mark.parametrize(
    ("trouble", "kinds"),
    [(REFUSED, [("ManagerRefused", False)]), (AWAY, [])],
)
def test_credentials_that_are_refused_are_told_at_once(trouble, kinds):
    world = World(rule("a"))
    world.manager.trouble = trouble
    outcome = asyncio.run(world.sync.once())
    assert world.sink.told == kinds
    assert outcome.revision == 0
    if kinds:
        (alert,) = world.sink.alerts
        assert alert.message.startswith("no tier is published yet, the cluster goes on as it was: ")
        assert "renew the key" in alert.message
        world.manager.trouble = None
        asyncio.run(world.sync.once())
        assert world.sink.told[-1] == ("ManagerRefused", True)


def test_a_manager_that_is_away_at_the_installation_is_told_soon():
    world = World(rule("a"))
    world.manager.trouble = AWAY
    asyncio.run(world.sync.once())
    world.clock.forward(seconds=90)
    asyncio.run(world.sync.once())
    assert world.sink.told == [("SyncStale", False)]
    assert "no tier is published yet" in world.sink.alerts[0].message
    world.manager.trouble = None
    asyncio.run(world.sync.once())
    assert world.sink.told[-1] == ("SyncStale", True)
    world.manager.trouble = AWAY
    world.clock.forward(seconds=90)
    asyncio.run(world.sync.once())
    assert world.sink.told[-1] == ("SyncStale", True)


def test_a_first_revision_that_is_refused_leaves_the_cluster_as_it_was():
    world = World(inexpressible())
    asyncio.run(world.sync.once())
    assert world.cluster.tier_object is None
    assert world.sink.told == [("RevisionRefused", False)]
    assert "no tier is published yet" in world.sink.alerts[0].message


def adopted(trouble):
    """A tier that an earlier bridge left, and a manager that doesn't answer this one."""
    world = World(rule("a"))
    asyncio.run(world.sync.once())
    world.restart()
    world.manager.trouble = trouble
    asyncio.run(world.sync.once())
    return world


def test_conditions_that_nothing_speaks_for_are_unknown():
    world = adopted(AWAY)
    assert world.condition("Compiled") == ("Unknown", "NotRead")
    assert world.condition("FeedsFresh") == ("Unknown", "NotRead")
    assert world.condition("NodesInSync") == ("Unknown", "NoNodes")
    assert world.condition("Stale") == ("False", "NotForLong")


def test_a_tier_that_no_node_enforces_is_not_ready():
    world = World(rule("a"), present={"n1"})
    asyncio.run(world.sync.once())
    assert world.condition("Ready") == ("True", "Published")
    assert world.condition("NodesInSync") == ("Unknown", "NoNodes")
    world.clock.forward(seconds=180)
    asyncio.run(world.sync.once())
    assert world.condition("Ready") == ("False", "NotEnforced")
    assert world.condition("NodesInSync") == ("False", "NodesOutOfSync")


def test_a_former_leader_tells_no_figures_of_the_tier():
    world, metrics = World(rule("a")), Metrics()
    work = work_of(world)
    run_until_reached([work], lambda: work.passed, metrics=metrics)
    assert sample(metrics, "zonebridge_tier_revision") == 1
    assert sample(metrics, "zonebridge_manager_answers") == 1
    metrics.leads("c1", leading=False)
    with pytest.raises(StopIteration):
        sample(metrics, "zonebridge_tier_revision")
    assert sample(metrics, "zonebridge_leading") == 0
