"""Nodes tell each other of their pods, without a bridge: against the API server in small, and the real one."""

import asyncio
from ipaddress import ip_address

import pytest

from mocks.kubernetes import KubernetesServer
from mocks.serving import Fault
from tests.bridge.population.stage import CRDS, MERGE, OURS, Stage, becomes
from tests.enforcer.cluster.lightagent import KEY, Machine, agent
from tests.realkube import RealKube
from zones.addresses.inventory import UnownedAddress


@pytest.fixture(scope="module")
def real(programs):
    """A server of its own: other tests' admission policies would judge its pods."""
    with RealKube(programs) as server:
        server.kubectl("apply", "-f", str(CRDS))
        server.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
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
    networked(made)
    yield made
    for raw in made.ask("GET", "/api/v1/pods")["items"]:
        made.delete_pod(raw["metadata"]["name"], raw["metadata"]["namespace"])
    made.ask("DELETE", f"{OURS}/podslices")
    made.close()


@pytest.fixture
def mocked(mock):
    made = Stage(mock, mock.token)
    networked(made)
    yield made
    made.close()


def networked(stage):
    for number in (1, 2):
        spec = {"podCIDR": f"10.1.{number}.0/24", "podCIDRs": [f"10.1.{number}.0/24"]}
        stage.ask("PATCH", f"/api/v1/nodes/n{number}", json={"spec": spec}, headers=MERGE)


def test_each_node_knows_of_the_others_pods_without_a_bridge(stage):
    async def run():
        stage.pod("web-1", "10.1.1.1", "web")
        kubeconfig = stage.server.kubeconfig
        async with agent(kubeconfig, "n1") as n1, agent(kubeconfig, "n2") as n2:
            await becomes(lambda: n2.knows("10.1.1.1"), ("web-1", "web"))
            stage.pod("db-0", "10.1.2.1", "db", node="n2")
            await becomes(lambda: n1.knows("10.1.2.1"), ("db-0", "db"))
            stage.status("db-0", "10.1.2.2")
            await becomes(
                lambda: (n1.knows("10.1.2.1"), n1.knows("10.1.2.2")), (UnownedAddress.UNKNOWN, ("db-0", "db"))
            )
            stage.delete_pod("db-0")
            await becomes(lambda: n1.knows("10.1.2.2"), UnownedAddress.UNKNOWN)
            assert set(stage.versions()) == {"0.n1", "0.n2"}
            assert stage.told() == {"shop/web-1": ("n1", "web", "10.1.1.1")}

    asyncio.run(run())


def test_the_ends_of_tunnels_are_known_as_their_nodes(stage):
    async def run():
        machine = Machine("192.0.2.1", "10.1.1.0", "10.1.2.7", "172.17.0.1")
        async with agent(stage.server.kubeconfig, "n1", machine), agent(stage.server.kubeconfig, "n2") as n2:
            await becomes(lambda: getattr(n2.knows("10.1.1.0"), "name", None), "n1")
            assert n2.knows("10.1.2.7") is UnownedAddress.UNKNOWN
            assert n2.knows("172.17.0.1") is None
            (told,) = [raw["spec"] for raw in stage.objects("podslices") if raw["spec"]["node"] == "n1"]
            assert told["addresses"] == ["10.1.1.0"]
            machine.addresses = (*machine.addresses, ip_address("10.1.1.1"))
            await becomes(lambda: getattr(n2.knows("10.1.1.1"), "name", None), "n1")

    asyncio.run(run())


def test_what_others_do_to_a_nodes_slices_is_undone_by_the_node(stage):
    async def run():
        stage.pod("web-1", "10.1.1.1", "web")
        wanted = {"shop/web-1": ("n1", "web", "10.1.1.1")}
        async with agent(stage.server.kubeconfig, "n1"):
            await becomes(stage.told, wanted)
            stage.ask("PATCH", f"{OURS}/podslices/0.n1", json={"spec": {"pods": []}}, headers=MERGE)
            await becomes(stage.told, wanted)
            stage.ask("PATCH", f"{OURS}/podslices/0.n1", json={"metadata": {"labels": None}}, headers=MERGE)
            await becomes(lambda: stage.objects("podslices")[0]["metadata"].get("labels"), {"zonebridge.io/tier": "panorama"})  # fmt: skip
            stage.delete(f"{OURS}/podslices/0.n1")
            await becomes(stage.told, wanted)
            forged = stage.objects("podslices")[0]
            forged["metadata"] = {"name": "1.n1", "labels": forged["metadata"]["labels"]}
            stage.ask("POST", f"{OURS}/podslices", json=forged)
            await becomes(lambda: set(stage.versions()), {"0.n1"})

    asyncio.run(run())


def test_who_starts_again_writes_nothing_that_is_as_it_should_be(stage):
    async def run():
        stage.pod("web-1", "10.1.1.1", "web")
        async with agent(stage.server.kubeconfig, "n1", Machine("10.1.1.0")):
            await becomes(lambda: len(stage.told()), 1)
        before = stage.versions()
        async with agent(stage.server.kubeconfig, "n1", Machine("10.1.1.0")) as again:
            await becomes(lambda: again.writer._told is not None, True)
            assert again.writer.writes == 0
            stage.pod("web-2", "10.1.1.2", "web")
            await becomes(lambda: len(stage.told()), 2)
            await becomes(lambda: again.writer.writes, 1)
        assert stage.versions().keys() == before.keys()

    asyncio.run(run())


def test_slices_belong_to_the_node_also_to_one_that_was_made_again(mocked):
    def owner():
        raws = mocked.objects("podslices")
        return raws[0]["metadata"]["ownerReferences"][0]["uid"] if raws else None

    def uid():
        return mocked.ask("GET", "/api/v1/nodes/n1")["metadata"]["uid"]

    async def run():
        async with agent(mocked.server.kubeconfig, "n1"):
            await becomes(owner, uid())
            mocked.delete("/api/v1/nodes/n1")
            mocked.node("n1")
            await becomes(owner, uid())

    asyncio.run(run())


def test_an_api_server_that_is_away_is_waited_out_and_told_once(mock, mocked):
    async def run():
        mocked.pod("web-1", "10.1.1.1", "web")
        mock.faults.add(Fault("status", path=f"{OURS}/podslices/0.n1", times=5, status=503))
        async with agent(mocked.server.kubeconfig, "n1") as n1:
            await becomes(lambda: "not told of this node's pods" in n1.writer.problem, True)
            await becomes(mocked.told, {"shop/web-1": ("n1", "web", "10.1.1.1")})
            await becomes(lambda: n1.writer.problem, "")

    asyncio.run(run())


def test_pods_that_come_together_are_written_together(mock, mocked):
    async def run():
        async with agent(mocked.server.kubeconfig, "n1") as n1:
            await becomes(lambda: len(mocked.versions()), 1)
            for number in range(30):
                mocked.pod(f"p{number}", f"10.1.1.{number + 1}", "web")
            await becomes(lambda: len(mocked.told()), 30)
            return n1.writer.writes

    assert asyncio.run(run()) < 25


def test_who_is_undone_each_time_takes_more_and_more_time_over_it(mocked):
    """As where a bridge of an older version deletes slices that it doesn't know."""
    deleted = 0

    async def run():
        nonlocal deleted
        async with agent(mocked.server.kubeconfig, "n1") as n1:
            async with asyncio.timeout(60):
                while n1.writer._repeated < 4:
                    if mocked.versions():
                        mocked.delete(f"{OURS}/podslices/0.n1")
                        deleted += 1
                    await asyncio.sleep(0.01)
            await becomes(lambda: len(mocked.versions()), 1)
            assert n1.writer.writes <= deleted + 1
            mocked.pod("web-1", "10.1.1.1", "web")
            await becomes(lambda: n1.writer._repeated, 0)

    asyncio.run(run())


def test_without_the_right_to_write_a_node_says_so(mock, mocked):
    async def run():
        mock.faults.add(Fault("status", path=f"{OURS}/podslices/0.n1", times=10**6, status=403))
        async with agent(mocked.server.kubeconfig, "n1") as n1:
            await becomes(lambda: "HTTP 403" in n1.writer.problem, True)

    asyncio.run(run())


def test_labels_that_records_carry_are_told_too(mocked):
    async def run():
        mocked.pod("web-1", "10.1.1.1", "web")
        async with agent(mocked.server.kubeconfig, "n1", labels=("app",)):
            await becomes(lambda: len(mocked.told()), 1)
            (raw,) = mocked.objects("podslices")
            assert raw["spec"]["pods"][0]["labels"] == {"app": "web-1", KEY: "web"}

    asyncio.run(run())


def test_the_bridge_and_the_agents_agree_on_who_speaks(stage):
    """Before an agent is there, while it is, and after it has died and its pods went on."""

    async def run():
        stage.pod("web-1", "10.1.1.1", "web")
        kubeconfig = stage.server.kubeconfig
        async with agent(kubeconfig, "n2", speaks=False) as n2, stage.publishing(clock=hasty):
            await becomes(lambda: n2.knows("10.1.1.1"), ("web-1", "web"))
            async with agent(kubeconfig, "n1"):
                await becomes(lambda: set(stage.versions()), {"0.n1"})
                stage.pod("web-2", "10.1.1.2", "web")
                await becomes(lambda: n2.knows("10.1.1.2"), ("web-2", "web"))
                assert set(stage.versions()) == {"0.n1"}
            stage.delete_pod("web-2")
            await becomes(lambda: n2.knows("10.1.1.2"), UnownedAddress.UNKNOWN)
            assert n2.knows("10.1.1.1") == ("web-1", "web")
            assert len(stage.versions()) == 2
            async with agent(kubeconfig, "n1"):
                await becomes(lambda: set(stage.versions()), {"0.n1"})
                assert n2.knows("10.1.1.1") == ("web-1", "web")

    asyncio.run(run())


def hasty():
    """A clock by which a node that is wrong is waited for a short while: in a quarter of a second pass five."""
    return 20 * asyncio.get_running_loop().time()
