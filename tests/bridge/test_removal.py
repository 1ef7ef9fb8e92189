"""`zonebridge flush-nodes`: the enforcers are told to flush, and every node is waited for."""

import asyncio

import pytest

from bridge.errors import RemovalError
from bridge.nodes.flush import FLUSH, flush_nodes, progress_of
from tests.apiserver.installed import ENFORCER_NAMESPACE
from zones.kube.client import ApiServer, ClusterAccess

DAEMON_SETS = f"/apis/apps/v1/namespaces/{ENFORCER_NAMESPACE}/daemonsets/zone-enforcer"
PODS = f"/api/v1/namespaces/{ENFORCER_NAMESPACE}/pods"
ACCOUNT = f"system:serviceaccount:{ENFORCER_NAMESPACE}:nobody"
MERGE = {"Content-Type": "application/merge-patch+json"}


def pod(node, arguments=FLUSH, *codes, running=False):
    states = [{"terminated": {"exitCode": code}} for code in codes]
    status = {"state": {"running": {}} if running else {}, "lastState": states[-1] if states else {}}
    return {
        "spec": {"nodeName": node, "containers": [{"args": list(arguments)}]},
        "status": {"containerStatuses": [status]},
    }


@pytest.mark.parametrize(
    ("found", "flushed"),
    [
        (pod("n", FLUSH, 0), {"n"}),
        (pod("n", FLUSH, 0, running=True), {"n"}),
        (pod("n", FLUSH, 2), set()),  # an agent is still at work there; the kubelet tries again
        (pod("n", ("run",), 0), set()),  # the old agent, ended in good order: its rules stay
        (pod("n"), set()),
        ({"spec": {"containers": [{}]}}, set()),  # not on a node yet
    ],
)
def test_a_node_is_flushed_when_the_new_container_has_ended_well(found, flushed):
    assert progress_of(1, [found]).flushed == flushed


def test_it_is_done_when_all_nodes_are():
    assert not progress_of(2, [pod("a", FLUSH, 0), pod("b", ("run",))]).done
    assert progress_of(2, [pod("a", FLUSH, 0), pod("b", FLUSH, 0)]).done
    assert progress_of(0, []).done


@pytest.fixture
def daemons(guarded):
    """The DaemonSet as it is deployed, with two nodes' pods, and somebody who plays controller and kubelets."""
    with guarded.client() as admin:
        before = admin.get(DAEMON_SETS).raise_for_status().json()
        yield Daemons(admin)
        for name in ("enforcer-a", "enforcer-b"):
            admin.delete(f"{PODS}/{name}", params={"gracePeriodSeconds": "0"})
        live = admin.get(DAEMON_SETS).json()
        live["spec"] = before["spec"]
        admin.put(DAEMON_SETS, json=live).raise_for_status()


class Daemons:
    def __init__(self, admin):
        self.admin = admin

    def live(self):
        return self.admin.get(DAEMON_SETS).raise_for_status().json()

    def follow(self, flushed):
        """Both pods are made anew by the template, and those of `flushed` end well."""
        live = self.live()
        template = live["spec"]["template"]
        for name in ("a", "b"):
            body = {"metadata": {"name": f"enforcer-{name}", "labels": template["metadata"]["labels"]}}
            spec = template["spec"] | {"nodeName": name}
            self.admin.post(PODS, json=body | {"spec": spec}).raise_for_status()
            ended = {"name": "enforcer", "image": "i", "imageID": "", "ready": False, "restartCount": 1}
            ended |= {"state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 0 if name in flushed else 2}}}
            status = {"status": {"containerStatuses": [ended]}}
            self.admin.patch(f"{PODS}/enforcer-{name}/status", json=status, headers=MERGE).raise_for_status()
        counted = {"observedGeneration": live["metadata"]["generation"], "desiredNumberScheduled": 2}
        counted |= {"currentNumberScheduled": 2, "numberMisscheduled": 0, "numberReady": 0}
        self.admin.patch(f"{DAEMON_SETS}/status", json={"status": counted}, headers=MERGE).raise_for_status()


def flushing(guarded, daemons, flushed, patience=60.0, namespace=ENFORCER_NAMESPACE):
    told = []

    async def work():
        server = ApiServer(ClusterAccess("live", guarded.kubeconfig))
        try:
            task = asyncio.create_task(flush_nodes(server, namespace, patience, told.append))
            while namespace == ENFORCER_NAMESPACE and not _changed(daemons) and not task.done():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            if flushed is not None:
                daemons.follow(flushed)
            return await task
        finally:
            await server.close()

    return asyncio.run(work()), told


def _changed(daemons):
    return daemons.live()["spec"]["template"]["spec"]["containers"][0]["args"] == list(FLUSH)


@pytest.mark.apiserver
def test_every_node_is_flushed(guarded, daemons):
    before = daemons.live()["spec"]
    progress, told = flushing(guarded, daemons, {"a", "b"})
    assert progress.flushed == {"a", "b"}
    assert told == ["2 of 2 nodes have no rules any more"]
    after = daemons.live()["spec"]
    container = after["template"]["spec"]["containers"][0]
    assert container["args"] == list(FLUSH)
    assert after["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == "100%"
    container["args"] = before["template"]["spec"]["containers"][0]["args"]
    assert after["template"] == before["template"], "what an upgrade would not set back was changed"


@pytest.mark.apiserver
def test_nodes_that_keep_their_rules_are_named(guarded, daemons):
    with pytest.raises(RemovalError, match=r"1 of 2 nodes .* but not b; look at"):
        flushing(guarded, daemons, {"a"}, patience=2.0)


@pytest.mark.apiserver
def test_a_cluster_that_does_not_begin_is_told(guarded, daemons):
    with pytest.raises(RemovalError, match="did not begin"):
        flushing(guarded, daemons, None, patience=0.1)


@pytest.mark.apiserver
def test_another_namespace_is_told(guarded, daemons):
    with pytest.raises(RemovalError, match="name its namespace with --namespace"):
        flushing(guarded, daemons, None, namespace="default")
