"""The door to Kubernetes, against an API server in small: what it asks, and whose fault an error is."""

import asyncio
from pathlib import Path

import pytest

from bridge.tier.cluster import TierApi
from bridge.tier.plan import Part
from mocks.kubernetes import KubernetesServer
from mocks.serving import Fault
from tests.bridge.test_plan import policy_of
from tests.bridge.world import many, rule
from zones.kube.client import ApiServer, ClusterAccess
from zones.kube.errors import ClusterConflictError, ClusterRefusedError, ClusterUnreachableError
from zones.tiers import native

CRDS = Path(__file__).parents[2] / "config" / "crd"


@pytest.fixture(scope="module")
def served():
    with KubernetesServer() as server:
        server.install([CRDS])
        yield server


@pytest.fixture
def server(served):
    """The server without the faults that the test before has left."""
    yield served
    served.faults.queue.clear()


def with_cluster(server, work, **access):
    async def run():
        fields = {"kubeconfig": server.kubeconfig, "timeout": 30.0} | access
        cluster = TierApi(ApiServer(ClusterAccess("c1", **fields)))
        try:
            return await work(cluster)
        finally:
            await cluster.close()

    return asyncio.run(run())


def rendered(name, *rules, revision=1):
    return native.render(policy_of(*rules), name, revision)


async def publish(cluster, tier):
    for each in (*tier.parts, tier.tier):
        await cluster.apply(each)


def test_what_is_applied_is_read_back(server):
    tier = rendered("read-back", *many(300))

    async def work(cluster):
        await publish(cluster, tier)
        return await cluster.tier("read-back"), await cluster.parts("read-back")

    live, parts = with_cluster(server, work)
    assert native.parse(live, parts) == policy_of(*many(300))
    assert {part["kind"] for part in parts.values()} == {"PolicyChunk"}


def test_a_long_list_comes_in_pages(server):
    async def work(cluster):
        for tier in (rendered("paged", rule(f"rule {n}")) for n in range(120)):
            await cluster.apply(tier.parts[0])
        return await cluster.parts("paged")

    before = len(server.seen)
    assert len(with_cluster(server, work)) == 120
    pages = [
        each for each in server.seen[before:] if each.verb in {"list", "GET", "get"} and "policychunks" in each.path
    ]
    assert len(pages) == 2


def test_a_list_that_expires_in_between_is_begun_again(server):
    async def work(cluster):
        for tier in (rendered("expired", rule(f"rule {n}")) for n in range(120)):
            await cluster.apply(tier.parts[0])
        server.faults.add(Fault("status", "continue=", status=410, body='{"message": "expired"}'))
        return await cluster.parts("expired")

    assert len(with_cluster(server, work)) == 120


def test_a_pointer_for_another_version_is_a_conflict(server):
    tier = rendered("conflict", rule("a"))
    late = rendered("conflict", rule("a"), revision=2).tier
    late["metadata"] |= {"resourceVersion": "1"}

    async def work(cluster):
        await publish(cluster, tier)
        with pytest.raises(ClusterConflictError, match="applying Tier 'conflict' in cluster 'c1'"):
            await cluster.apply(late)

    with_cluster(server, work)


def test_status_events_and_deletes(server):
    tier = rendered("about", rule("a"))
    name = tier.parts[0]["metadata"]["name"]

    async def work(cluster):
        await publish(cluster, tier)
        await cluster.write_status("about", {"zones": 3})
        await cluster.record("about", "RevisionRefused", "because", warning=True)
        await cluster.delete(Part("PolicyChunk", name))
        await cluster.delete(Part("PolicyChunk", name))
        return await cluster.tier("about"), await cluster.parts("about")

    live, parts = with_cluster(server, work)
    assert (live["status"], parts) == ({"zones": 3}, {})
    assert live["spec"] == tier.tier["spec"]


def test_nothing_there_is_none(server):
    assert with_cluster(server, lambda cluster: cluster.tier("nobody")) is None
    assert with_cluster(server, lambda cluster: cluster.lease("default", "nobody")) is None


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("slow", seconds=0.5), ClusterUnreachableError),
        (Fault("status", status=503, body="later"), ClusterUnreachableError),
        (Fault("status", status=500, body="<html>oops</html>"), ClusterUnreachableError),
        (Fault("reset", times=2), ClusterUnreachableError),
        (Fault("truncate"), ClusterUnreachableError),
        (Fault("status", status=200, body="<html>a proxy</html>"), ClusterUnreachableError),
        (Fault("status", status=403, body='{"message": "tiers is forbidden"}'), ClusterRefusedError),
        (Fault("status", status=401, body="Unauthorized"), ClusterRefusedError),
        (Fault("status", status=409, body='{"message": "modified"}'), ClusterConflictError),
    ],
    ids=lambda value: f"{value.kind} {value.status}" if isinstance(value, Fault) else value.__name__,
)
def test_whose_fault_it_is(server, fault, kind):
    server.faults.add(fault)

    async def work(cluster):
        with pytest.raises(kind, match="reading Tier") as raised:
            await cluster.tier("any")
        assert "\n" not in str(raised.value)
        assert await cluster.tier("any") is None, "the next call works again"

    with_cluster(server, work, timeout=0.3)


def test_the_servers_wish_to_wait_is_kept(server):
    server.faults.add(Fault("status", status=429, headers={"Retry-After": "7"}, body="slow down"))

    async def work(cluster):
        with pytest.raises(ClusterUnreachableError) as raised:
            await cluster.tier("any")
        return raised.value.retry_after

    assert with_cluster(server, work) == 7


def test_definitions_that_are_not_installed(tmp_path):
    with KubernetesServer(tmp_path) as bare:

        async def work(cluster):
            with pytest.raises(ClusterRefusedError, match="install the custom resource definitions"):
                await cluster.parts("panorama")
            with pytest.raises(ClusterRefusedError, match="install the custom resource definitions"):
                await cluster.apply(rendered("panorama", rule("a")).tier)

        with_cluster(bare, work)


@pytest.mark.parametrize("content", [None, "", "not: [yaml", "{}", "clusters: 3"])
def test_a_kubeconfig_that_is_none(tmp_path, content):
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)

    async def work():
        cluster = TierApi(ApiServer(ClusterAccess("c1", path)))
        with pytest.raises(ClusterRefusedError, match="connecting to cluster 'c1'"):
            await cluster.tier("any")
        await cluster.close()

    asyncio.run(work())


def test_no_service_account_here():
    async def work():
        cluster = TierApi(ApiServer(ClusterAccess("c1")))
        with pytest.raises(ClusterRefusedError, match="the service account of the pod"):
            await cluster.tier("any")
        await cluster.close()

    asyncio.run(work())
