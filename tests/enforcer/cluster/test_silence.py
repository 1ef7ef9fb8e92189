"""An API server that falls silent, that comes back as another one, whose authority is another one, or that has giants."""

import asyncio
import datetime as dt
import shutil
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from kubernetes.aio.config import incluster_config

from enforcer.cluster.view import ObjectPage, View, WatchedKind, selectors
from enforcer.cluster.watch import Cluster
from mocks.kubernetes import KubernetesServer
from tests.enforcer import smallcluster as world
from tests.enforcer.smallcluster import eventually
from tests.relay import Relay, through
from zones.runtime.backoff import Backoff


@pytest.fixture
def server():
    with KubernetesServer(bookmark_seconds=0.1) as running:
        world.fill(running)
        yield running


@asynccontextmanager
async def following(kubeconfig, kind=WatchedKind.PODS):
    """A view that follows one kind, and the connection that it follows by."""
    cluster = await Cluster.connect(kubeconfig, selectors("n1", world.TIER))
    cluster._backoff = Backoff(0.01, 0.05)
    view = View(world.TIER, node="n1")

    async def follow():
        async for change in cluster.changes(kind):
            view.fold(change)

    task = asyncio.create_task(follow())
    try:
        yield view, cluster
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await cluster.close()


def names(view):
    return {pod.name for pod in view.inventory().pods.values()}


def whole_lists(server):
    return sum(each.verb == "list" and each.query.get("limit") != "1" for each in server.seen)


def test_a_connection_that_dies_in_silence_is_left_and_nothing_is_missed(server, monkeypatch):
    monkeypatch.setattr("zones.kube.client.SILENCE_SECONDS", 0.5)

    async def run():
        port = int(server.url.rsplit(":", 1)[1])
        async with Relay(port).serving() as relay, following(through(server, relay)) as (view, _):
            await eventually(lambda: server.watches == 1)
            await eventually(lambda: "web-1" in names(view))
            relay.swallow()
            world.add_pod(server, world.pod("late", "10.1.0.31", "web"))
            await eventually(lambda: "late" in names(view))

    asyncio.run(run())


def test_a_watch_without_any_sign_of_life_is_looked_into_and_not_listed_again(server, monkeypatch):
    """Of a kind of which nothing changes the API server may say nothing at all."""
    monkeypatch.setattr("zones.kube.client.SILENCE_SECONDS", 0.3)

    async def run():
        async with following(server.kubeconfig) as (view, _):
            await eventually(lambda: "web-1" in names(view))
            server.habits.bookmark_seconds = 3600
            server.close_watches()
            await eventually(lambda: sum(each.query.get("limit") == "1" for each in server.seen) >= 4)
            assert whole_lists(server) == 1
            world.add_pod(server, world.pod("late", "10.1.0.31", "web"))
            await eventually(lambda: "late" in names(view))

    asyncio.run(run())


def test_all_is_listed_again_now_and_then(server, monkeypatch):
    monkeypatch.setattr("zones.kube.watch.LIST_AGAIN_SECONDS", (0.0, 0.0))

    async def run():
        async with following(server.kubeconfig):
            await eventually(lambda: server.watches == 1)
            server.close_watches()
            await eventually(lambda: whole_lists(server) >= 2)

    asyncio.run(run())


def test_the_kernel_looks_after_every_connection(server):
    async def run():
        async with following(server.kubeconfig) as (_, cluster):
            await eventually(lambda: server.watches == 1)
            (made,) = cluster._api._connection.sockets._made
            assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000

    asyncio.run(run())


@pytest.mark.parametrize("what", ["authority", "token"])
def test_what_is_rotated_is_read_anew_without_a_restart(tmp_path, what):
    first = KubernetesServer(tmp_path, bookmark_seconds=0.1)
    first.start()
    world.fill(first)
    port = int(first.url.rsplit(":", 1)[1])

    def rotate():
        first.stop()
        for each in tmp_path.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        token = "another-token" if what == "token" else "mock-token"
        second = KubernetesServer(tmp_path, port=port, bookmark_seconds=0.1, token=token)
        second.start()
        world.fill(second)
        world.add_pod(second, world.pod("late", "10.1.0.31", "web"))
        return second

    async def run():
        async with following(first.kubeconfig) as (view, _):
            await eventually(lambda: "web-1" in names(view))
            second = await asyncio.to_thread(rotate)
            try:
                await eventually(lambda: "late" in names(view))
            finally:
                await asyncio.to_thread(second.stop)

    asyncio.run(run())


class TimeSetBack(dt.datetime):
    """The machine's time, an hour earlier from some moment on: what the client reads anew each minute isn't due."""

    back = dt.timedelta()

    @classmethod
    def now(cls, tz=None):
        return dt.datetime.now(tz) - cls.back


def test_a_pods_token_that_ends_is_read_anew_though_the_machines_time_was_set_back(tmp_path, monkeypatch):
    """The Kubernetes client goes by that time. A token that is refused is read from its file again, whenever that is."""
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    times = SimpleNamespace(datetime=TimeSetBack, timedelta=dt.timedelta)
    monkeypatch.setattr(incluster_config, "datetime", times)
    first = KubernetesServer(tmp_path / "first", bookmark_seconds=0.1, token="first")
    first.start()
    port = int(first.url.rsplit(":", 1)[1])
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
    servers = [first]

    def serve(server):
        world.fill(server)
        token.write_text(server.token)
        trusted = yaml.safe_load(server.kubeconfig.read_text())["clusters"][0]["cluster"]
        authority.write_bytes(Path(trusted["certificate-authority"]).read_bytes())

    def rotate():
        first.stop()
        servers.append(KubernetesServer(tmp_path / "second", port=port, bookmark_seconds=0.1, token="second").start())
        serve(servers[-1])
        world.add_pod(servers[-1], world.pod("late", "10.1.0.31", "web"))

    async def run():
        async with following(None) as (view, _):
            await eventually(lambda: "web-1" in names(view))
            monkeypatch.setattr(TimeSetBack, "back", dt.timedelta(hours=1))
            await asyncio.to_thread(rotate)
            await eventually(lambda: "late" in names(view))

    try:
        serve(first)
        asyncio.run(run())
    finally:
        servers[-1].stop()


def fat(name, address, labels):
    pod = world.pod(name, address, "web")
    pod["metadata"]["labels"] |= {f"l{number}": "v" * 40 for number in range(labels)}
    return pod


def test_a_page_that_is_too_long_is_asked_for_in_smaller_ones(server, monkeypatch):
    monkeypatch.setattr("enforcer.cluster.watch.PAGE_BYTES", 50_000)
    for number in range(20):
        world.add_pod(server, fat(f"fat-{number}", f"10.1.1.{number + 1}", 500))
    for number in range(100):
        world.add_pod(server, world.pod(f"thin-{number}", f"10.1.2.{number + 1}", "web"))

    async def run():
        cluster = await Cluster.connect(server.kubeconfig, selectors("n1", world.TIER))
        view, pages = View(world.TIER, node="n1"), 0
        async for page in cluster.list(WatchedKind.PODS):
            assert isinstance(page, ObjectPage)
            view.fold(page)
            pages += 1
        await cluster.close()
        return view, pages

    view, pages = asyncio.run(run())
    assert len(names(view)) == 122
    assert pages < 40
    assert all(len(pod.labels) <= 64 for pod in view.own_pods())
    assert {pod.labels["zonebridge.io/zone"] for pod in view.own_pods() if pod.name.startswith("fat")} == {"web"}
