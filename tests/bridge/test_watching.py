"""Following a kind: everything arrives once, whatever the API server does, and only what expired is listed again."""

import asyncio
import shutil
from contextlib import aclosing, suppress

import pytest

from mocks.kubernetes import KubernetesServer
from mocks.serving import Fault
from tests.enforcer import smallcluster as world
from tests.relay import Relay, through
from zones.kube.client import ApiServer, ClusterAccess
from zones.kube.errors import ClusterRefusedError, ClusterUnreachableError
from zones.kube.objects import Source
from zones.kube.watch import Listed, follow

PODS = "/api/v1/pods"


@pytest.fixture(params=[False, True])
def server(request):
    """It tells of a version that is too old in one of the two ways that there are."""
    with KubernetesServer(bookmark_seconds=0.2, gone_as_status=request.param) as running:
        running.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        for number in range(5):
            world.add_pod(running, world.pod(f"p{number}", f"10.1.0.{number}"))
        yield running


async def following(server, done, source=None, meanwhile=lambda names: None):
    """The names that are there by what was told, until `done` says so; and how many pages came."""
    names, seen, pages = set(), set(), 0
    api = ApiServer(ClusterAccess("c1", server.kubeconfig))
    try:
        async with asyncio.timeout(40), aclosing(follow(api, source or Source(PODS, "pods", page=2))) as changes:
            async for change in changes:
                if isinstance(change, Listed):
                    pages += 1
                    seen = (set() if change.first else seen) | {raw["metadata"]["name"] for raw in change.objects}
                    names = set(seen) if change.last else names
                else:
                    (names.discard if change.gone else names.add)(change.raw["metadata"]["name"])
                if done(names):
                    return names, pages
                meanwhile(names)
    finally:
        await api.close()


def test_a_connection_that_dies_in_silence_is_left_and_nothing_is_missed(server, monkeypatch):
    monkeypatch.setattr("zones.kube.client.SILENCE_SECONDS", 0.5)

    async def run():
        async with Relay(int(server.url.rsplit(":", 1)[1])).serving() as relay:
            api = ApiServer(ClusterAccess("c1", through(server, relay)))
            names, swallowed = set(), False
            async with asyncio.timeout(40), aclosing(follow(api, Source(PODS, "pods"))) as changes:
                async for change in changes:
                    objects = change.objects if isinstance(change, Listed) else [change.raw]
                    names |= {raw["metadata"]["name"] for raw in objects}
                    if "late" in names:
                        break
                    if "before" in names and not swallowed:
                        swallowed = True
                        relay.swallow()
                        world.add_pod(server, world.pod("late", "10.1.0.9"))
                    elif not swallowed:
                        world.add_pod(server, world.pod("before", "10.1.0.8"))
            await api.close()

    asyncio.run(run())


def test_a_watch_without_any_sign_of_life_is_looked_into_and_not_listed_again(server, monkeypatch):
    """Of a kind of which nothing changes the API server may say nothing at all."""
    monkeypatch.setattr("zones.kube.client.SILENCE_SECONDS", 0.3)
    server.habits.bookmark_seconds = 3600

    async def run():
        api = ApiServer(ClusterAccess("c1", server.kubeconfig))
        async with aclosing(follow(api, Source(PODS, "pods"))) as changes:
            assert len((await anext(changes)).objects) == 5
            later = asyncio.ensure_future(anext(changes))
            while sum(each.query.get("limit") == "1" for each in server.seen) < 3:  # noqa: ASYNC110 - the server's own
                await asyncio.sleep(0.05)
            assert whole_lists(server) == 1
            world.add_pod(server, world.pod("late", "10.1.0.9"))
            assert (await later).raw["metadata"]["name"] == "late"
        await api.close()

    asyncio.run(run())


def test_all_is_listed_again_now_and_then(server, monkeypatch):
    monkeypatch.setattr("zones.kube.watch.LIST_AGAIN_SECONDS", (0.0, 0.0))
    monkeypatch.setattr("zones.kube.client.WATCH_SECONDS", (1, 1))
    asyncio.run(following(server, lambda _: whole_lists(server) > 3))


def test_a_page_that_is_too_long_is_asked_for_in_smaller_ones(server, monkeypatch):
    monkeypatch.setattr("zones.kube.objects.PAGE_BYTES", 50_000)
    for number in range(20):
        fat = world.pod(f"fat-{number}", f"10.1.1.{number}")
        fat["metadata"]["labels"] = {f"l{number}": "v" * 40 for number in range(500)}
        world.add_pod(server, fat)
    names, pages = asyncio.run(following(server, lambda names: len(names) == 25, Source(PODS, "pods")))
    assert {f"fat-{number}" for number in range(20)} < names
    assert 5 < pages <= 25


def whole_lists(server):
    """Where a watch was cut off the version alone is asked for, with one object."""
    return sum(each.verb == "list" and each.path == PODS and each.query.get("limit") != "1" for each in server.seen)


def test_a_list_comes_in_pages_and_changes_follow(server):
    told = []

    def change(names):
        if len(names) == 5 and not told:
            told.append(True)
            server.delete(world.pod("p0", ""))
            world.add_pod(server, world.pod("late", "10.1.0.9"))

    wanted = {"p1", "p2", "p3", "p4", "late"}
    assert asyncio.run(following(server, lambda names: names == wanted, meanwhile=change)) == (wanted, 3)


def test_what_expired_is_listed_again(server):
    told = []

    def change(names):
        if len(names) == 5 and not told:
            told.append(True)
            server.delete(world.pod("p0", ""))
            server.compact()

    _, pages = asyncio.run(following(server, lambda names: names == {"p1", "p2", "p3", "p4"}, meanwhile=change))
    assert pages == 5


@pytest.mark.parametrize("kind", ["reset", "truncate"])
def test_a_list_that_breaks_off_begins_again(server, kind):
    server.faults.add(Fault(kind, path="continue", times=2))
    names, pages = asyncio.run(following(server, lambda names: len(names) == 5))
    assert pages >= 3  # the client asks again by itself where a connection was only stale
    assert len(names) == 5


def test_selectors_hold_for_the_watch_too(server):
    source = Source(PODS, "pods", {"fieldSelector": "spec.nodeName=n2"})

    def change(names):
        if not names:
            world.add_pod(server, world.pod("other", "10.1.0.8"))
            world.add_pod(server, world.pod("mine", "10.1.0.9", node="n2"))

    names, _ = asyncio.run(following(server, bool, source, change))
    assert names == {"mine"}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_the_callers_matter(server, status):
    server.faults.add(Fault("status", path=PODS, times=10, status=status))
    with pytest.raises(ClusterRefusedError, match=str(status)):
        asyncio.run(following(server, lambda names: False))


def test_a_failure_of_one_request_ends_no_other(server):
    """They share a connection."""

    async def run():
        api = ApiServer(ClusterAccess("c1", server.kubeconfig))
        try:
            async with asyncio.timeout(40), aclosing(follow(api, Source(PODS, "pods"))) as changes:
                await anext(changes)
                waiting = asyncio.create_task(anext(changes))
                await asyncio.sleep(0.05)
                server.faults.add(Fault("truncate", path="/api/v1/nodes", times=3))
                failed = await asyncio.gather(api.get("/api/v1/nodes", "nodes"), return_exceptions=True)
                world.add_pod(server, world.pod("late", "10.1.0.9"))
                assert (await waiting).raw["metadata"]["name"] == "late"
                assert isinstance(failed[0], ClusterUnreachableError)
        finally:
            await api.close()

    asyncio.run(run())
    assert server.counts()["list", PODS] == 1


@pytest.mark.parametrize("what", ["authority", "token"])
def test_what_is_rotated_is_read_anew_without_a_restart(tmp_path, what):
    """As the bridge's loops do: whatever is told as trouble is tried again, with the same door."""
    first = KubernetesServer(tmp_path, bookmark_seconds=0.1)
    first.start()
    world.fill(first)
    port = int(first.url.rsplit(":", 1)[1])

    def rotate():
        first.stop()
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        token = "another-token" if what == "token" else "mock-token"
        second = KubernetesServer(tmp_path, port=port, bookmark_seconds=0.1, token=token)
        second.start()
        world.fill(second)
        world.add_pod(second, world.pod("late", "10.1.0.31", "web"))
        return second

    async def follow_for_ever(api, names):
        while True:
            with suppress(ClusterRefusedError, ClusterUnreachableError):
                async with aclosing(follow(api, Source(PODS, "pods"))) as changes:
                    async for change in changes:
                        objects = change.objects if isinstance(change, Listed) else [change.raw]
                        names.update(raw["metadata"]["name"] for raw in objects)
            await asyncio.sleep(0.05)

    async def run():
        api, names = ApiServer(ClusterAccess("c1", first.kubeconfig)), set()
        task = asyncio.create_task(follow_for_ever(api, names))
        try:
            await world.eventually(lambda: first.watches == 1 and "web-1" in names)
            second = await asyncio.to_thread(rotate)
            try:
                await world.eventually(lambda: "late" in names)
            finally:
                await asyncio.to_thread(second.stop)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await api.close()

    asyncio.run(run())
