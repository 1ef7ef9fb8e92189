"""The door to Kubernetes: nothing is lost, whatever the API server does, and only what expired is listed again."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from enforcer.cluster.view import View, WatchedKind, selectors
from enforcer.cluster.watch import Cluster
from enforcer.status.status import node_state
from mocks.kubernetes import KubernetesServer
from mocks.kubernetes.calls import Call
from mocks.serving import Fault
from tests.enforcer import smallcluster as world
from tests.enforcer.smallcluster import eventually
from zones import decode
from zones.kube.errors import ClusterError, ClusterRefusedError
from zones.runtime.backoff import Backoff
from zones.runtime.errors import InputError
from zones.tiers import slices


@pytest.fixture
def server():
    with KubernetesServer(bookmark_seconds=0.2) as running:
        world.fill(running)
        yield running


@asynccontextmanager
async def following(server, *kinds):
    """A view that follows the server."""
    cluster = await Cluster.connect(server.kubeconfig, selectors("n1", world.TIER))
    cluster._backoff = Backoff(0.01, 0.05)
    view = View(world.TIER, node="n1")

    async def follow(kind):
        async for change in cluster.changes(kind):
            view.fold(change)

    tasks = [asyncio.create_task(follow(kind)) for kind in kinds or WatchedKind]
    try:
        yield view
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await cluster.close()


def names(view):
    return {pod.name for pod in view.inventory().pods.values()}


def lists(server, path):
    """Whole ones: where a watch was cut off the version alone is asked for, with one object."""
    return sum(each.verb == "list" and each.path == path and each.query.get("limit") != "1" for each in server.seen)


def test_everything_is_listed_and_then_followed(server):
    async def run():
        async with following(server) as view:
            await eventually(lambda: view.complete)
            assert names(view) == {"web-1", "db-0"}
            assert view.inventory().nodes["n1"].pod_cidrs
            world.add_pod(server, world.pod("late", "10.1.0.30", "web"))
            await eventually(lambda: "late" in names(view))
            server.delete(world.pod("web-1", ""))
            await eventually(lambda: "web-1" not in names(view))
            world.publish(server, world.tier(1))
            await eventually(lambda: view.tier_object() is not None)
            made = {part["metadata"]["name"] for part in world.tier(1).parts}
            await eventually(lambda: view.parts().keys() == made)  # each kind has a watch of its own

    asyncio.run(run())


def told(pod, name="panorama-s-0", tier=world.TIER):
    """A PodSlice of one pod."""
    item = decode.pod({**pod, "metadata": {**pod["metadata"], "uid": pod["metadata"]["name"]}}).item
    return slices.render(tier, name, item.node, [item], ["zonebridge.io/zone"])


def test_a_node_asks_for_its_own_pods_and_learns_of_others_by_slices(server):
    away = world.pod("away", "10.2.0.5", "web", node="n2")

    async def run():
        async with following(server) as view:
            await eventually(lambda: view.complete)
            world.add_pod(server, away)
            server.create(told(away))
            server.create(told(world.pod("alien", "10.2.0.6", "web", node="n2"), "alien", "other"))
            world.add_pod(server, world.pod("late", "10.1.0.30", "web"))
            await eventually(lambda: {"away", "late"} <= names(view))
            assert {pod.name for pod in view.own_pods()} == {"web-1", "db-0", "late"}
            assert "alien" not in names(view)
            server.delete(told(away))
            await eventually(lambda: "away" not in names(view))

    asyncio.run(run())
    asked = {
        each.query.get("fieldSelector") for each in server.seen if each.path == "/api/v1/pods" and each.verb != "create"
    }
    assert asked == {"spec.nodeName=n1"}


@pytest.mark.parametrize("status", [403, 404])
def test_a_cluster_without_slices_is_enforced_for_the_nodes_own_pods(server, status):
    async def run():
        fault = Fault("status", path="/apis/zonebridge.io/v1alpha1/podslices", times=10**6, status=status)
        server.faults.add(fault)
        async with following(server) as view:
            await eventually(lambda: view.complete)
            assert names(view) == {"web-1", "db-0"}
            (problem,) = view.problems()
            assert "pods of other nodes are not known" in problem
            server.faults.queue.clear()
            server.create(told(world.pod("away", "10.2.0.5", "web", node="n2")))
            await eventually(lambda: "away" in names(view))
            assert view.problems() == ()

    asyncio.run(run())


def test_slices_that_were_known_stay_while_their_kind_is_refused(server):
    async def run():
        server.create(told(world.pod("away", "10.2.0.5", "web", node="n2")))
        async with following(server) as view:
            await eventually(lambda: view.complete and "away" in names(view))
            server.faults.add(Fault("status", path="/apis/zonebridge.io/v1alpha1/podslices", times=5, status=404))
            server.close_watches()
            server.compact()
            await eventually(lambda: not server.faults.queue)
            assert "away" in names(view)
            server.delete(told(world.pod("away", "10.2.0.5", "web", node="n2")))
            await eventually(lambda: "away" not in names(view))

    asyncio.run(run())


@pytest.mark.parametrize("broken", [True, False])
def test_a_watch_that_ends_is_resumed_without_a_new_list(server, broken):
    async def run():
        async with following(server, WatchedKind.PODS) as view:
            await eventually(lambda: server.watches == 1)
            for number in range(5):
                server.close_watches(broken=broken)
                world.add_pod(server, world.pod(f"p{number}", f"10.1.0.{100 + number}"))
                await eventually(lambda number=number: f"p{number}" in names(view))
            assert lists(server, "/api/v1/pods") == 1

    asyncio.run(run())


def test_what_expired_is_listed_again_and_only_that(server):
    async def run():
        async with following(server) as view:
            await eventually(lambda: view.complete and server.watches == len(WatchedKind))
            before = {kind: lists(server, kind.value) for kind in WatchedKind}
            server.close_watches()
            server.delete(world.pod("web-1", ""))
            server.compact()
            await eventually(lambda: names(view) == {"db-0"})
            await eventually(lambda: server.watches == len(WatchedKind))
            world.add_pod(server, world.pod("late", "10.1.0.30"))
            await eventually(lambda: "late" in names(view))
            after = {kind: lists(server, kind.value) for kind in WatchedKind}
            assert after[WatchedKind.PODS] == before[WatchedKind.PODS] + 1
            assert all(after[kind] <= before[kind] + 1 for kind in WatchedKind)

    asyncio.run(run())


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_api_server_that_says_later_is_asked_again(server, status):
    async def run():
        server.faults.add(Fault("status", path="/api/v1/pods", times=3, status=status))
        async with following(server, WatchedKind.PODS) as view:
            await eventually(lambda: WatchedKind.PODS in view.listed)
            assert names(view) == {"web-1", "db-0"}

    asyncio.run(run())


def test_a_cut_off_list_is_no_list(server):
    async def run():
        server.faults.add(Fault("truncate", path="/api/v1/pods", times=2))
        async with following(server, WatchedKind.PODS) as view:
            await eventually(lambda: names(view) == {"web-1", "db-0"})

    asyncio.run(run())


def test_long_lists_come_in_pages(server, monkeypatch):
    monkeypatch.setattr("enforcer.cluster.watch.PAGE", 3)
    for number in range(10):
        world.add_pod(server, world.pod(f"p{number}", f"10.1.0.{100 + number}"))

    async def run():
        async with following(server, WatchedKind.PODS) as view:
            await eventually(lambda: WatchedKind.PODS in view.listed)
            assert len(names(view)) == 12

    asyncio.run(run())
    assert lists(server, "/api/v1/pods") == 4


def test_an_object_longer_than_any_buffer_arrives(server):
    async def run():
        async with following(server, WatchedKind.SETS) as view:
            await eventually(lambda: server.watches == 1)
            spec = {"prefixes": [f"2001:db8:{at:x}::/64" for at in range(40_000)]}
            metadata = {"name": "panorama-big", "labels": {"zonebridge.io/tier": world.TIER}}
            server.create(
                {"apiVersion": "zonebridge.io/v1alpha1", "kind": "AddressSet", "metadata": metadata, "spec": spec}
            )
            await eventually(lambda: "panorama-big" in view.parts())
            assert view.parts()["panorama-big"]["spec"] == spec

    asyncio.run(run())


def test_the_node_state_is_made_and_then_updated(server):
    async def run():
        cluster = await Cluster.connect(server.kubeconfig)
        for revision in (1, 2):
            await cluster.report("n1", {"tier": world.TIER, "revision": revision, "problems": []})
        await cluster.close()

    asyncio.run(run())
    assert server.counts()["create", "/apis/zonebridge.io/v1alpha1/nodestates"] == 1
    (owner,) = held(server, "zonebridge.io/v1alpha1", "NodeState", "n1")["metadata"]["ownerReferences"]
    assert owner["uid"] == held(server, "v1", "Node", "n1")["metadata"]["uid"]


def test_what_no_longer_holds_is_in_the_node_state_no_more(server):
    """It is merged: a kubelet that was not asked yet and now is, that refuses, or isn't asked any more; zones, too."""
    said = {"tier": world.TIER, "revision": 1, "digest": "d", "appliedAt": None, "mode": "enforce", "why": ""}
    kubelets = {"problem": "it was not asked yet"}, {"settings": {"anonymous": False}}, {"problem": "refused"}, None
    zones = ["web"], [], ["web"], []

    async def run():
        cluster = await Cluster.connect(server.kubeconfig)
        for kubelet, enforced in zip(kubelets, zones, strict=True):
            status = node_state(said | {"enforcedZones": enforced, "problems": []}, kubelet)
            await cluster.report("n1", status)
            reported = held(server, "zonebridge.io/v1alpha1", "NodeState", "n1")["status"]
            assert reported.get("kubelet") == kubelet
            assert reported.get("enforcedZones", []) == enforced
        await cluster.close()

    asyncio.run(run())


def held(server, version, kind, name):
    return server.verbs.get(Call(server.catalog.by_kind(version, kind), "", name)).body


def test_a_refused_token_is_told_as_such(server):
    async def run():
        kubeconfig = server.directory / "wrong"
        kubeconfig.write_text(server.kubeconfig.read_text().replace("mock-token", "other"))
        cluster = await Cluster.connect(kubeconfig)
        with pytest.raises(ClusterRefusedError, match="401"):
            [page async for page in cluster.list(WatchedKind.PODS)]
        await cluster.close()

    asyncio.run(run())


def test_an_api_server_that_is_not_there_is_an_error_of_the_cluster(tmp_path):
    with KubernetesServer(tmp_path) as gone:
        kubeconfig = gone.kubeconfig

    async def run():
        cluster = await Cluster.connect(kubeconfig)
        with pytest.raises(ClusterError, match="no answer"):
            [page async for page in cluster.list(WatchedKind.PODS)]
        await cluster.close()

    asyncio.run(run())


def test_a_kubeconfig_that_is_not_there_is_bad_input(tmp_path):
    with pytest.raises(InputError, match="kubeconfig"):
        asyncio.run(Cluster.connect(tmp_path / "none"))
