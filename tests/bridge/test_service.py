"""The service's tasks: each cluster fails alone, back-off, triggers, health, and an end that leaves nothing behind."""

import asyncio
import json
import urllib.request

import pytest
import structlog

from bridge.errors import ManagerUnreachableError
from bridge.metrics import Metrics
from bridge.service import Work, delay, one_at_a_time, run_once, run_until, unready
from bridge.tier.lease import Leadership, LeaseTerms
from tests.bridge.test_leadership import FakeLease
from tests.bridge.world import World, inexpressible, rule
from zones.kube.errors import ClusterUnreachableError
from zones.runtime.health import serving


async def nothing():
    pass


def work_of(world, name="c1", lease=None):
    terms = LeaseTerms("ns", "zonebridge-panorama", "me", duration=0.6, renew=0.05)
    return Work(name, world.sync, Leadership(lease or FakeLease(), terms), world.feeds, close=nothing)


async def reached(condition, seconds=20.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a condition of somebody else
            await asyncio.sleep(0.005)


def run_until_reached(works, condition, interval=0.01, metrics=None):
    async def run():
        stop = asyncio.Event()
        service = asyncio.create_task(run_until(stop, works, interval, metrics or Metrics()))
        try:
            await reached(condition)
        finally:
            stop.set()
            await service

    asyncio.run(run())


def test_passes_follow_the_manager():
    world = World(rule("a"))

    def second_revision():
        spec = (world.cluster.tier_object or {}).get("spec", {})
        if spec.get("revision") == 1:
            world.manager.commit(rule("a"), rule("b"))
        return spec.get("revision", 0) >= 2

    run_until_reached([work_of(world)], second_revision)


def test_each_cluster_fails_alone():
    good, away, broken = World(rule("a")), World(rule("a")), World(rule("a"))

    async def no_answer(name):
        raise ClusterUnreachableError("reading Tier: no answer")

    async def bug(name):
        raise ZeroDivisionError

    away.cluster.tier, broken.cluster.tier = no_answer, bug
    works = [work_of(away, "away"), work_of(broken, "broken"), work_of(good, "good")]
    with structlog.testing.capture_logs() as logs:
        run_until_reached(works, lambda: good.manager.asked.count("version") > 3)
    assert [work.passed for work in works] == [False, False, True]
    assert {entry["error"] for entry in logs if entry["event"] == "pass failed" and "error" in entry} == {
        "reading Tier: no answer"
    }


def test_a_trigger_looks_again_at_once():
    world = World(rule("a"))
    work = work_of(world)

    def asked_twice():
        if world.cluster.tier_object:
            work.trigger.set()
        return world.manager.asked.count("version") >= 2

    run_until_reached([work], asked_twice, interval=3600)


def test_a_follower_writes_nothing_and_is_ready():
    world = World(rule("a"))
    lease = FakeLease()
    lease.held = {"metadata": {}, "spec": {"holderIdentity": "other", "leaseDurationSeconds": 3600}}
    work = work_of(world, lease=lease)

    run_until_reached([work], lambda: unready([work]) == ())
    assert not work.leadership.leading
    assert world.manager.asked == ["version"]
    assert world.cluster.calls == []


def test_the_lease_is_given_back_at_the_end():
    lease = FakeLease()
    world = World(rule("a"))
    run_until_reached([work_of(world, lease=lease)], lambda: world.cluster.tier_object)
    assert lease.holder == ""


@pytest.mark.parametrize(
    ("spoil", "good"),
    [
        (lambda world: None, True),
        (lambda world: world.manager.commit(inexpressible()), False),
        (lambda world: setattr(world.manager, "trouble", ManagerUnreachableError("no answer")), False),
    ],
)
def test_once_is_good_only_where_every_cluster_is(spoil, good):
    spoiled, other = World(rule("a")), World(rule("a"))
    spoil(spoiled)
    assert asyncio.run(run_once([work_of(spoiled), work_of(other, "c2")], Metrics())) is good
    assert other.cluster.tier_object["spec"]["revision"] == 1


def test_delays_grow_up_to_a_limit_and_heed_the_server():
    assert delay(0, 10, None, 0.5) == 10
    assert [delay(failures, 10, None, 1.0) for failures in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert delay(50, 10, None, 1.0) == 120
    assert delay(1, 10, None, 0.0) == 0.5
    assert delay(1, 10, 30.0, 0.5) == 30


def test_blocking_calls_come_one_at_a_time():
    running = []

    def call():
        running.append(1)
        assert len(running) == 1
        running.pop()
        return 5

    async def run():
        async with one_at_a_time() as run_blocking:
            return await asyncio.gather(*(run_blocking(call) for _ in range(20)))

    assert asyncio.run(run()) == [5] * 20


def test_health_and_metrics_over_http():
    waiting = ["c1"]
    metrics = Metrics()
    world = World(rule("a"))

    def get(port, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    async def run():
        assert await run_once([work_of(world)], metrics)
        async with serving(("127.0.0.1", 0), lambda: tuple(waiting), metrics.text) as port:
            assert await asyncio.to_thread(get, port, "/healthz") == (200, "ok\n")
            assert (await asyncio.to_thread(get, port, "/readyz"))[0] == 503
            waiting.clear()
            assert (await asyncio.to_thread(get, port, "/readyz"))[0] == 200
            return await asyncio.to_thread(get, port, "/metrics")

    status, text = asyncio.run(run())
    assert status == 200
    for line in (
        'zonebridge_sync_passes_total{cluster="c1",result="published"} 1.0',
        'zonebridge_tier_revision{cluster="c1"} 1.0',
        'zonebridge_rules{cluster="c1",status="enforced"} 3.0',
        'zonebridge_sync_stale{cluster="c1"} 0.0',
    ):
        assert line in text


def test_a_log_line_of_a_pass_is_json_without_secrets(capsys):
    from zones.runtime.logs import LogFormat, configure  # noqa: PLC0415

    try:
        configure("info", LogFormat.JSON)
        world = World(rule("a"))
        asyncio.run(run_once([work_of(world)], Metrics()))
    finally:
        structlog.reset_defaults()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {"event": "pass", "cluster": "c1", "result": "published", "revision": 1}.items() <= lines[-1].items()
