"""An agent tells of its node's pods with the rights and under the policies that are installed, and of no other node's."""

import asyncio
from contextlib import asynccontextmanager
from datetime import datetime
from ipaddress import ip_address

import pytest
import yaml

from tests.apiserver.installed import ENFORCER_NAMESPACE, namespace, pod
from tests.bridge.population.stage import becomes
from tests.enforcer.cluster.lightagent import Machine, agent
from zones.addresses.inventory import UnownedAddress

pytestmark = pytest.mark.apiserver

NODES = {"tell-a": "10.71.1.0/24", "tell-b": "10.71.2.0/24"}
PODS = "/api/v1/namespaces/telling/pods"
MERGE = {"Content-Type": "application/merge-patch+json"}
STARTED = "2026-11-28T10:00:00Z"


@pytest.fixture(scope="module")
def admin(guarded):
    with guarded.client() as client:
        for name, cidr in NODES.items():
            spec = {"podCIDR": cidr, "podCIDRs": [cidr]}
            client.post("/api/v1/nodes", json={"metadata": {"name": name}, "spec": spec}).raise_for_status()
        client.post("/api/v1/namespaces", json=namespace("telling", **{"zonebridge.io/zones": "*"})).raise_for_status()
        account = {"metadata": {"name": "default"}}
        client.post("/api/v1/namespaces/telling/serviceaccounts", json=account).raise_for_status()
        yield client


@pytest.fixture(scope="module")
def kubeconfigs(guarded, admin, tmp_path_factory):
    """As the pods of the DaemonSet have them: tokens that name the node."""
    made = {}
    for node in NODES:
        body = pod(f"enforcer-{node}", serviceAccountName="zone-enforcer", nodeName=node, hostNetwork=True)
        there = f"/api/v1/namespaces/{ENFORCER_NAMESPACE}"
        metadata = admin.post(f"{there}/pods", json=body).raise_for_status().json()["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        asked = {"spec": {"boundObjectRef": bound}}
        answer = admin.post(f"{there}/serviceaccounts/zone-enforcer/token", json=asked).raise_for_status().json()
        config = yaml.safe_load(guarded.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": answer["status"]["token"]}
        made[node] = tmp_path_factory.mktemp("agents") / node
        made[node].write_text(yaml.safe_dump(config))
    return made


def run_pod(admin, name, node, address, zone):
    labels = {"zonebridge.io/zone": zone}
    admin.post(PODS, json=pod(name, labels, nodeName=node)).raise_for_status()
    status = {"phase": "Running", "startTime": STARTED, "podIP": address, "podIPs": [{"ip": address}]}
    admin.patch(f"{PODS}/{name}/status", json={"status": status}, headers=MERGE).raise_for_status()


@asynccontextmanager
async def both(kubeconfigs):
    async with (
        agent(kubeconfigs["tell-a"], "tell-a", Machine("10.71.1.0")) as a,
        agent(kubeconfigs["tell-b"], "tell-b") as b,
    ):
        yield a, b


def test_nodes_tell_each_other_with_the_rights_that_they_have(admin, kubeconfigs):
    async def run():
        async with both(kubeconfigs) as (a, b):
            await asyncio.to_thread(run_pod, admin, "web-1", "tell-a", "10.71.1.9", "web")
            await becomes(lambda: b.knows("10.71.1.9"), ("web-1", "web"))
            found = b.view.holders.of(ip_address("10.71.1.9"))
            assert found.started == datetime.fromisoformat(STARTED).timestamp()
            await becomes(lambda: getattr(b.knows("10.71.1.0"), "name", None), "tell-a")
            await asyncio.to_thread(admin.delete, f"{PODS}/web-1", params={"gracePeriodSeconds": 0})
            await becomes(lambda: b.knows("10.71.1.9"), UnownedAddress.UNKNOWN)
            assert (a.writer.problem, b.writer.problem) == ("", "")

    asyncio.run(run())


def test_a_node_can_not_tell_of_another_nodes_pods(admin, kubeconfigs):
    """With the token of one node, an agent that says it is the other one."""

    async def run():
        async with agent(kubeconfigs["tell-a"], "tell-b") as thief:
            await asyncio.to_thread(run_pod, admin, "db-0", "tell-b", "10.71.2.9", "db")
            await becomes(lambda: "on its node alone" in thief.writer.problem, True)
            assert thief.writer.writes == 0

    asyncio.run(run())
