"""Publishing against an API server, the mock and the real one: what pods are is told, kept told, and nothing else."""

import asyncio
import time
from dataclasses import replace

import pytest
import structlog

from bridge.population import PopulationTerms, Publishing
from mocks.kubernetes import KubernetesServer
from mocks.serving import Fault
from tests.bridge.population.stage import CRDS, MERGE, OURS, Stage, becomes
from tests.bridge.world import RecordingSink
from tests.realkube import RealKube
from zones import decode
from zones.kube.client import ApiServer, ClusterAccess
from zones.kube.errors import ClusterRefusedError
from zones.siem.alerts import AlertKind
from zones.tiers import slices
from zones.tiers.native import TIER_LABEL
from zones.zone import Zoning


@pytest.fixture(scope="module")
def real(programs):
    """A server of its own: other tests' admission policies would judge its pods."""
    with RealKube(programs) as server:
        server.kubectl("apply", "-f", str(CRDS))
        names = [f"{plural}.zonebridge.io" for plural in ("podslices", "zones", "tiers")]
        server.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", *names)
        yield server


@pytest.fixture
def mock():
    with KubernetesServer() as server:
        server.install([CRDS])
        yield server


@pytest.fixture(params=["mock", pytest.param("real", marks=pytest.mark.apiserver)])
def stage(request):
    server = request.getfixturevalue(request.param)
    made = Stage(server, server.token if request.param == "mock" else server.admin_token)
    yield made
    for raw in made.ask("GET", "/api/v1/pods")["items"]:
        made.delete_pod(raw["metadata"]["name"], raw["metadata"]["namespace"])
    for plural in ("podslices", "zones"):
        made.ask("DELETE", f"{OURS}/{plural}")
    made.close()


@pytest.fixture
def mocked(mock):
    made = Stage(mock, mock.token)
    yield made
    made.close()


def test_pods_are_told_from_their_first_address_to_their_end(stage):
    async def run():
        stage.pod("web-1", "10.1.0.1", "web")
        stage.pod("host", "192.0.2.1", "web", hostNetwork=True)
        stage.pod("done", "10.1.0.2", "web", phase="Succeeded")
        stage.pod("nowhere", "10.1.0.3", "web", node="gone")
        async with stage.publishing():
            await becomes(stage.told, {"shop/web-1": ("n1", "web", "10.1.0.1")})
            stage.pod("db-0", "10.1.1.1", "db", node="n2")
            told = {"shop/web-1": ("n1", "web", "10.1.0.1"), "shop/db-0": ("n2", "db", "10.1.1.1")}
            await becomes(stage.told, told)
            stage.status("web-1", "10.1.0.1", phase="Failed")
            await becomes(stage.told, {"shop/db-0": ("n2", "db", "10.1.1.1")})
            stage.status("db-0", "10.1.1.2")
            await becomes(stage.told, {"shop/db-0": ("n2", "db", "10.1.1.2")})
            stage.delete_pod("db-0")
            await becomes(stage.told, {})

    asyncio.run(run())


def test_zones_say_how_much_is_in_them(stage):
    async def run():
        stage.pod("web-1", "10.1.0.1", "web")
        stage.pod("thief", "10.1.0.2", "web", namespace="lab")
        stage.pod("odd", "10.1.0.3", "db")
        async with stage.publishing():
            await becomes(stage.zones, {"default": (True, 0, 0), "web": (False, 1, 1), "db": (False, 1, 0)})
            stage.entitle("lab", "web")
            await becomes(stage.zones, {"default": (True, 0, 0), "web": (False, 2, 0), "db": (False, 1, 0)})
            stage.entitle("lab", None)
            stage.delete_pod("odd")
            await becomes(stage.zones, {"default": (True, 0, 0), "web": (False, 1, 1)})

    asyncio.run(run())


def test_another_leader_writes_nothing_that_is_as_it_should_be(stage):
    async def run():
        for number in range(5):
            stage.pod(f"p{number}", f"10.1.0.{number + 1}", "web", node=f"n{number % 2 + 1}")
        async with stage.publishing():
            await becomes(lambda: len(stage.told()), 5)
        before = stage.versions()
        stage.pod("late", "10.1.0.9", "web", node="n2")
        async with stage.publishing():
            await becomes(lambda: len(stage.told()), 6)
        after = stage.versions()
        changed = {name for name in after if before.get(name) != after[name]}
        assert before.keys() == after.keys()
        assert changed == {slices.name_of("panorama", "n2", 0)}

    asyncio.run(run())


def test_what_others_do_to_it_is_undone(stage):
    async def run():
        stage.pod("web-1", "10.1.0.1", "web")
        wanted = {"shop/web-1": ("n1", "web", "10.1.0.1")}
        name = slices.name_of("panorama", "n1", 0)
        async with stage.publishing():
            await becomes(stage.told, wanted)
            stage.ask("PATCH", f"{OURS}/podslices/{name}", json={"spec": {"pods": []}}, headers=MERGE)
            await becomes(stage.told, wanted)
            stage.delete(f"{OURS}/podslices/{name}")
            await becomes(stage.told, wanted)
            forged = {"uid": "x", "namespace": "shop", "name": "forged", "workload": "w", "addresses": ["10.9.9.9"]}
            body = {
                "apiVersion": "zonebridge.io/v1alpha1",
                "kind": "PodSlice",
                "metadata": {"name": "forged", "labels": {TIER_LABEL: "panorama"}},
                "spec": {"node": "n2", "pods": [forged]},
            }
            stage.ask("POST", f"{OURS}/podslices", json=body)
            await becomes(stage.told, wanted)
            stage.ask("PATCH", f"{OURS}/zones/web/status", json={"status": {"pods": 99}}, headers=MERGE)
            await becomes(stage.zones, {"default": (True, 0, 0), "web": (False, 1, 0)})

    asyncio.run(run())


def test_leftovers_of_a_time_without_a_bridge_are_removed(stage):
    async def run():
        stage.pod("web-1", "10.1.0.1", "web")
        stage.pod("db-0", "10.1.1.1", "db", node="n2")
        async with stage.publishing():
            await becomes(lambda: len(stage.told()), 2)
            await becomes(lambda: len(stage.zones()), 3)
        stage.delete_pod("db-0")
        async with stage.publishing():
            await becomes(stage.told, {"shop/web-1": ("n1", "web", "10.1.0.1")})
            await becomes(stage.zones, {"default": (True, 0, 0), "web": (False, 1, 0)})

    asyncio.run(run())


def hasty():
    """A clock by which nobody is waited for long."""
    return 20 * time.monotonic()


def says(stage, node, *pods, number=0):
    """As a node's agent writes it; what is there is replaced."""
    body = slices.render("panorama", slices.own_name(node, number), node, pods, ["zonebridge.io/zone"])
    query = {"fieldManager": "zone-enforcer", "force": "true"}
    headers = {"Content-Type": "application/apply-patch+yaml"}
    path = f"{OURS}/podslices/{body['metadata']['name']}"
    stage.ask("PATCH", path, json=body, headers=headers, params=query)


def pod_of(stage, name):
    return decode.pod(stage.ask("GET", f"/api/v1/namespaces/shop/pods/{name}")).item


def test_a_node_that_speaks_for_itself_is_left_to_itself(stage):
    async def run():
        stage.pod("web-1", "10.1.0.1", "web")
        stage.pod("db-0", "10.1.1.1", "db", node="n2")
        told = {"shop/web-1": ("n1", "web", "10.1.0.1"), "shop/db-0": ("n2", "db", "10.1.1.1")}
        async with stage.publishing():
            await becomes(stage.told, told)
            says(stage, "n1", pod_of(stage, "web-1"))
            await becomes(lambda: set(stage.versions()), {"0.n1", slices.name_of("panorama", "n2", 0)})
            assert stage.told() == told
            says(stage, "n2", pod_of(stage, "db-0"))
            await becomes(lambda: set(stage.versions()), {"0.n1", "0.n2"})
        before = stage.versions()
        async with stage.publishing():
            await becomes(stage.zones, {"default": (True, 0, 0), "web": (False, 1, 0), "db": (False, 1, 0)})
            stage.pod("web-2", "10.1.0.2", "web")
            says(stage, "n1", pod_of(stage, "web-1"), pod_of(stage, "web-2"))
            await becomes(stage.zones, {"default": (True, 0, 0), "web": (False, 2, 0), "db": (False, 1, 0)})
        after = stage.versions()
        assert {name for name in after if after[name] != before.get(name)} == {"0.n1"}

    asyncio.run(run())


def test_for_a_node_that_says_what_is_not_so_the_bridge_speaks_until_it_is_right(mocked):
    """As of one whose agent has died, or that was taken: in a while, and for good."""
    name, sink = slices.name_of("panorama", "n1", 0), RecordingSink()

    def bridges():
        return [slices.parse(raw) for raw in mocked.objects("podslices") if raw["metadata"]["name"] == name]

    async def run():
        mocked.pod("web-1", "10.1.0.1", "web")
        right = pod_of(mocked, "web-1")
        says(mocked, "n1", right)
        async with mocked.publishing(sink, clock=hasty):
            await becomes(lambda: len(mocked.zones()), 2)
            assert not bridges()
            says(mocked, "n1", replace(right, labels={"zonebridge.io/zone": "data"}))
            await becomes(lambda: [[pod.labels for pod in each.pods] for each in bridges()], [[{"zonebridge.io/zone": "web"}]])  # fmt: skip
            says(mocked, "n1", right)
            await becomes(bridges, [])
            await becomes(lambda: [(each.kind, each.over) for each in sink.alerts], [(AlertKind.NODE_OVERRULED, over) for over in (False, True)])  # fmt: skip

    asyncio.run(run())
    assert sink.alerts[0].about == {"count": 1, "nodes": ["n1"]}


def test_what_a_node_that_is_gone_has_left_is_deleted(mocked):
    async def run():
        says(mocked, "n1")
        says(mocked, "n2")
        async with mocked.publishing(clock=hasty):
            await becomes(lambda: len(mocked.zones()), 1)
            mocked.delete("/api/v1/nodes/n1")
            await becomes(lambda: set(mocked.versions()), {"0.n2"})

    asyncio.run(run())


def test_many_pods_of_a_node_take_several_slices(stage):
    async def run():
        for number in range(12):
            stage.pod(f"p{number}", f"10.1.0.{number + 1}")
        async with stage.publishing(most=5):
            await becomes(lambda: len(stage.told()), 12)
            assert sorted(len(raw["spec"]["pods"]) for raw in stage.objects("podslices")) == [2, 5, 5]

    asyncio.run(run())


def test_chosen_labels_are_told_too(stage):
    async def run():
        stage.pod("web-1", "10.1.0.1", "web")
        async with stage.publishing(labels=("app", "none")):
            await becomes(lambda: len(stage.told()), 1)
            (raw,) = stage.objects("podslices")
            assert raw["spec"]["pods"][0]["labels"] == {"app": "web-1", "zonebridge.io/zone": "web"}

    asyncio.run(run())


@pytest.mark.apiserver
def test_kubectl_shows_zones_and_slices(real):
    stage = Stage(real, real.admin_token)

    async def run():
        stage.pod("web-1", "10.1.0.1", "Web_Tier")
        async with stage.publishing():
            await becomes(lambda: len(stage.zones()), 2)
            await becomes(lambda: len(stage.told()), 1)

    asyncio.run(run())
    header, *rows = real.kubectl("get", "zones.zonebridge.io").splitlines()
    assert header.split() == ["NAME", "ZONE", "KNOWN", "PODS", "ISOLATED", "NODES", "AGE"]
    assert rows[1].split()[1:6] == ["Web_Tier", "false", "0", "1", "0"]
    assert "n1" in real.kubectl("get", "zbslice")
    stage.delete_pod("web-1")
    stage.close()


def test_trouble_is_waited_out(mock, mocked):
    async def run():
        mocked.pod("web-1", "10.1.0.1", "web")
        for path in ("/api/v1/pods?", "/api/v1/nodes?", f"{OURS}/podslices?"):
            mock.faults.add(Fault("status", path=path, times=2, status=503))
        async with mocked.publishing():
            await becomes(lambda: len(mocked.told()), 1)
            mock.close_watches(broken=True)
            mock.faults.add(Fault("reset", path=f"{OURS}/podslices/panorama", times=3))
            mocked.pod("web-2", "10.1.0.2", "web")
            await becomes(lambda: len(mocked.told()), 2)
            mock.close_watches()
            mocked.delete_pod("web-1")
            mock.compact()
            await becomes(mocked.told, {"shop/web-2": ("n1", "web", "10.1.0.2")})

    asyncio.run(run())


def test_zones_that_are_refused_hold_up_no_slice(mock, mocked):
    mock.faults.add(Fault("status", path=f"{OURS}/zones", times=10**6, status=403))

    async def run():
        mocked.pod("web-1", "10.1.0.1", "web")
        async with mocked.publishing():
            await becomes(lambda: len(mocked.told()), 1)

    with structlog.testing.capture_logs() as logs:
        asyncio.run(run())
    assert "zones not published" in {entry["event"] for entry in logs}


def test_pods_that_come_together_are_written_together(mock, mocked):
    async def run():
        async with mocked.publishing(slices_every=1.0):
            await becomes(lambda: len(mocked.zones()), 1)
            for number in range(30):
                mocked.pod(f"p{number}", f"10.1.0.{number + 1}", "web")
            await becomes(lambda: len(mocked.told()), 30)

    asyncio.run(run())
    writes = mock.counts()["patch", f"{OURS}/podslices/{slices.name_of('panorama', 'n1', 0)}"]
    assert 0 < writes < 15


def test_an_api_server_without_our_kinds_is_told():
    with KubernetesServer() as bare:
        asyncio.run(_refused(bare))


async def _refused(bare):
    made = Publishing(ApiServer(ClusterAccess("c1", bare.kubeconfig)), PopulationTerms("panorama", Zoning()))
    try:
        with pytest.raises(ClusterRefusedError, match="install the custom resource definitions"):
            await made.run()
    finally:
        await made.close()
