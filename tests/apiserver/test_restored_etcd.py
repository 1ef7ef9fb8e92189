"""etcd restored from a backup under a real API server: versions go back, and names come back as somebody else."""

import asyncio
from contextlib import aclosing

import pytest

from enforcer.cluster.view import View, WatchedKind
from enforcer.cluster.watch import Cluster
from tests.apiserver.restorable import Restorable
from tests.enforcer.smallcluster import eventually
from zones.kube.client import ApiServer, ClusterAccess
from zones.kube.objects import Source
from zones.kube.watch import Listed, follow
from zones.runtime.backoff import Backoff
from zones.zone import ENTITLEMENT_ANNOTATION

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(300)]
NAMESPACES = "/api/v1/namespaces"
MERGE = {"Content-Type": "application/merge-patch+json"}


class Kube(Restorable):
    """With an administrator who names and entitles namespaces."""

    def name(self, namespace, zones):
        body = {"metadata": {"name": namespace, "annotations": {ENTITLEMENT_ANNOTATION: zones}}}
        with self.client() as client:
            client.post(NAMESPACES, json=body).raise_for_status()

    def entitle(self, namespace, zones):
        body = {"metadata": {"annotations": {ENTITLEMENT_ANNOTATION: zones}}}
        with self.client() as client:
            client.patch(f"{NAMESPACES}/{namespace}", json=body, headers=MERGE).raise_for_status()


@pytest.fixture
def kube(programs):
    with Kube(programs) as server:
        yield server


def test_what_is_true_after_a_restore_is_known_within_seconds(kube):
    """Before, both went on with what was so before the restore, for as long as the versions had not caught up."""
    view, seen = View("panorama", node="n1"), {}

    def allowed(namespace):
        found = view.namespaces().get(namespace)
        return found and found.allowed

    async def agent():
        cluster = await Cluster.connect(kube.kubeconfig)
        cluster._backoff = Backoff(0.1, 1.0)
        try:
            async with aclosing(cluster.changes(WatchedKind.NAMESPACES)) as changes:
                async for change in changes:
                    view.fold(change)
        finally:
            await cluster.close()

    async def bridge():
        api = ApiServer(ClusterAccess("c1", kube.kubeconfig))
        went_back = []
        try:
            async with aclosing(follow(api, Source(NAMESPACES, "namespaces"))) as changes:
                async for change in changes:
                    objects = change.objects if isinstance(change, Listed) else [change.raw]
                    seen.update({raw["metadata"]["name"]: _zones(raw) for raw in objects})
                    went_back.append(isinstance(change, Listed) and change.went_back)
        finally:
            await api.close()
            assert any(went_back)

    async def run():
        await asyncio.to_thread(kube.name, "shop", "web")
        tasks = [asyncio.create_task(agent()), asyncio.create_task(bridge())]
        try:
            await eventually(lambda: allowed("shop") == {"web"} and seen.get("shop") == "web", 30)
            await asyncio.to_thread(kube.back_up)
            for turn in range(100):
                await asyncio.to_thread(kube.entitle, "shop", "web" if turn % 2 else "web,data")
            await asyncio.to_thread(kube.entitle, "shop", "web,data")
            await eventually(lambda: allowed("shop") == {"web", "data"} and seen["shop"] == "web,data", 60)
            await asyncio.to_thread(kube.restore)
            await asyncio.to_thread(kube.entitle, "shop", "admin-only")
            await asyncio.to_thread(kube.name, "brand-new", "dmz")
            await eventually(lambda: allowed("shop") == {"admin-only"}, 30)
            await eventually(lambda: allowed("brand-new") == {"dmz"}, 30)
            await eventually(lambda: (seen["shop"], seen.get("brand-new")) == ("admin-only", "dmz"), 45)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in results), results

    asyncio.run(run())


def _zones(raw):
    return (raw["metadata"].get("annotations") or {}).get(ENTITLEMENT_ANNOTATION, "")
