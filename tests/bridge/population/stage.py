"""A cluster for the publishing: the mock or the real API server, filled over HTTP as kubelets would."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from bridge.alerts import Alerts
from bridge.population import PopulationTerms, Publishing
from zones.kube.client import ApiServer, ClusterAccess
from zones.zone import ENTITLEMENT_ANNOTATION, Zoning

CRDS = Path(__file__).parents[3] / "config" / "crd"
OURS = "/apis/zonebridge.io/v1alpha1"
MERGE = {"Content-Type": "application/merge-patch+json"}
TIER = "panorama"


class Stage:
    """An API server, and what tests do to it."""

    def __init__(self, server, token):
        self.server = server
        trust = ssl.create_default_context(cafile=str(server.ca_file))
        headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx.Client(base_url=server.url, headers=headers, verify=trust, trust_env=False, timeout=30)
        for number in (1, 2):
            self.node(f"n{number}")
        self.namespace("shop", "web, db")
        self.namespace("lab", None)

    def close(self):
        self.http.close()

    def ask(self, method, path, **more):
        answer = self.http.request(method, path, **more)
        assert answer.is_success or answer.status_code == 409, answer.text
        return answer.json()

    def node(self, name):
        self.ask("POST", "/api/v1/nodes", json={"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})

    def namespace(self, name, zones):
        metadata = {"name": name, "annotations": {} if zones is None else {ENTITLEMENT_ANNOTATION: zones}}
        self.ask("POST", "/api/v1/namespaces", json={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        self.ask("POST", f"/api/v1/namespaces/{name}/serviceaccounts", json=account)

    def entitle(self, name, zones):
        change = {"metadata": {"annotations": {ENTITLEMENT_ANNOTATION: zones}}}
        self.ask("PATCH", f"/api/v1/namespaces/{name}", json=change, headers=MERGE)

    def pod(self, name, ip, zone=None, *, namespace="shop", node="n1", phase="Running", **spec):
        labels = {"app": name} | ({"zonebridge.io/zone": zone} if zone else {})
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "nodeName": node,
                "automountServiceAccountToken": False,
                "containers": [{"name": "c", "image": "i"}],
            }
            | spec,
        }
        path = f"/api/v1/namespaces/{namespace}/pods"
        self.ask("POST", path, json=body)
        self.status(name, ip, namespace=namespace, phase=phase)

    def status(self, name, ip, *, namespace="shop", phase="Running"):
        status = {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}]}
        self.ask("PATCH", f"/api/v1/namespaces/{namespace}/pods/{name}/status", json={"status": status}, headers=MERGE)

    def delete_pod(self, name, namespace="shop"):
        self.ask("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", params={"gracePeriodSeconds": 0})

    def delete(self, path):
        self.ask("DELETE", path)

    def objects(self, plural):
        return self.ask("GET", f"{OURS}/{plural}")["items"]

    def told(self):
        """What the slices tell: pod -> (node, zone label, addresses)."""
        found = {}
        for raw in self.objects("podslices"):
            for pod in raw["spec"]["pods"]:
                name = f"{pod['namespace']}/{pod['name']}"
                assert name not in found
                found[name] = (raw["spec"]["node"], pod.get("labels", {}).get("zonebridge.io/zone"), *pod["addresses"])
        return found

    def zones(self):
        """Zone -> (known, pods, isolated)."""
        return {
            raw["spec"]["zone"]: (raw["spec"]["known"], raw["status"]["pods"], raw["status"]["isolated"])
            for raw in self.objects("zones")
            if "status" in raw
        }

    def versions(self):
        return {raw["metadata"]["name"]: raw["metadata"]["resourceVersion"] for raw in self.objects("podslices")}

    @asynccontextmanager
    async def publishing(self, *sinks, **terms):
        """A bridge that leads, for the block; `sinks`: who is told of its alerts."""
        settings = {"slices_every": 0.05, "zones_every": 0.1} | terms
        alerts = Alerts("c1", TIER, sinks)
        made = Publishing(
            ApiServer(ClusterAccess("c1", self.server.kubeconfig)), PopulationTerms(TIER, Zoning(), **settings), alerts
        )
        running = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            running.cancel()
            results = await asyncio.gather(running, return_exceptions=True)
            await made.close()
            assert isinstance(results[0], asyncio.CancelledError), results


async def becomes(look, wanted, seconds=40.0):
    """Wait until a look at the API server shows what is wanted."""
    try:
        async with asyncio.timeout(seconds):
            while (found := look()) != wanted:  # noqa: ASYNC110 - a condition of somebody else
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{found} did not become {wanted}") from None
