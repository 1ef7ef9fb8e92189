"""Who tries: people with the rights they have in a cluster, nodes, and stolen tokens; each as an HTTP client.

It makes them and what they need; what they try is in the other files.
"""

from __future__ import annotations

import ssl
from base64 import b64decode, b64encode
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Self

import httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bridge.history.revision import HISTORY_LABEL, ChainPlace, Reasons, revision_object
from tests.apiserver.installed import (
    API_SERVER_SLICES,
    BRIDGE,
    BRIDGE_NAMESPACE,
    ENFORCER_NAMESPACE,
    api_server_slice,
    namespace,
    pod,
    restricted_pod,
)
from tests.realkube import RealKube
from zones.policy import Entry, Policy, Verdict
from zones.rules import Origin
from zones.tiers import native
from zones.zone import Zoning

RBAC = "/apis/rbac.authorization.k8s.io/v1"
SYSTEM = f"/api/v1/namespaces/{BRIDGE_NAMESPACE}"
WRITE = ["create", "update", "patch", "delete", "deletecollection"]
READ = ["get", "list", "watch"]
# What the role `edit` comes to in a cluster with controllers, which aggregate it.
EDIT = [
    {"apiGroups": [""], "resources": ["pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"], "verbs": READ + WRITE},
    {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["configmaps", "events", "persistentvolumeclaims", "replicationcontrollers", "secrets", "serviceaccounts", "services"], "verbs": READ + WRITE},
    {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
    {"apiGroups": [""], "resources": ["namespaces", "pods/log", "pods/status"], "verbs": READ},
    {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
    {"apiGroups": ["apps"], "resources": ["daemonsets", "deployments", "replicasets", "statefulsets"], "verbs": READ + WRITE},
    {"apiGroups": ["batch"], "resources": ["cronjobs", "jobs"], "verbs": READ + WRITE},
    {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses", "networkpolicies"], "verbs": READ + WRITE},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": READ + WRITE},
]  # fmt: skip
"""Each person's name, and with it a client of `People`."""
DEVELOPER, OWNER, OPERATOR, ADMINISTRATOR = "developer", "owner", "operator", "administrator"
NODE, OTHER_NODE, ENFORCER, LOOSE_ENFORCER = "node n1", "node n2", "enforcer of n1", "enforcer's token without a node"
ANYBODY, NEW_NODE, STOLEN = "a pod of shop", "node n3", "zonebridge's stolen token"
REQUESTER, APPROVER = "security analyst", "approver"


class People:
    """Clients of all of them, for one installed server; and the shop that they try it in."""

    def __init__(self, kube: RealKube) -> None:
        self.kube = kube
        self._stack = ExitStack()
        self._clients: dict[str, httpx.Client] = {}
        self.uid_of_n1 = ""

    def __enter__(self) -> Self:
        admin = self._keep(ADMINISTRATOR, self.kube.client())
        for path, body in (*_rights(), *_shop()):
            admin.post(path, json=body).raise_for_status()
        for each in tier().parts:
            plural = native.PLURALS[each["kind"]]
            admin.post(f"/apis/zonebridge.io/v1alpha1/{plural}", json=each).raise_for_status()
        admin.post("/apis/zonebridge.io/v1alpha1/tiers", json=tier().tier).raise_for_status()
        admin.post("/apis/zonebridge.io/v1alpha1/revisions", json=RECORD).raise_for_status()
        admin.post("/apis/zonebridge.io/v1alpha1/policychunks", json=KEPT).raise_for_status()
        for name in (DEVELOPER, OWNER, OPERATOR, REQUESTER, APPROVER):
            self._keep(name, self._with_certificate(name))
        for name, node in ((NODE, "n1"), (OTHER_NODE, "n2"), (NEW_NODE, "n3")):
            groups = ["system:nodes", "system:authenticated"]
            self._keep(name, self.kube.client(f"system:node:{node}", groups))
        self._keep(ENFORCER, self._with_token(ENFORCER_NAMESPACE, "zone-enforcer", self._enforcer_pod()))
        self.uid_of_n1 = str(admin.get("/api/v1/nodes/n1").json()["metadata"]["uid"])
        self._keep(LOOSE_ENFORCER, self._with_token(ENFORCER_NAMESPACE, "zone-enforcer"))
        self._keep(ANYBODY, self._with_token("shop", "default"))
        self._keep(STOLEN, self._with_token(BRIDGE_NAMESPACE, "zonebridge"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __getitem__(self, who: str) -> httpx.Client:
        return self._clients[who]

    def _keep(self, who: str, client: httpx.Client) -> httpx.Client:
        self._clients[who] = self._stack.enter_context(client)
        return client

    def _enforcer_pod(self) -> dict:
        """One as the DaemonSet would make it, on n1; a kubelet gets tokens for it that name the node."""
        made = pod("enforcer-n1", serviceAccountName="zone-enforcer", nodeName="n1", hostNetwork=True)
        answer = self[ADMINISTRATOR].post(f"/api/v1/namespaces/{ENFORCER_NAMESPACE}/pods", json=made)
        metadata = answer.raise_for_status().json()["metadata"]
        return {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}

    def _with_certificate(self, name: str) -> httpx.Client:
        """Nobody who is impersonated can try to impersonate, so these come by themselves."""
        user = yaml.safe_load(self.kube.kubeconfig_for(name).read_text())["users"][0]["user"]
        pem = self.kube.directory / f"{name}.pem"
        pem.write_bytes(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
        trust = ssl.create_default_context(cafile=str(self.kube.ca_file))
        trust.load_cert_chain(pem)
        return httpx.Client(base_url=self.kube.url, verify=trust, trust_env=False, timeout=60)

    def _with_token(self, where: str, account: str, bound: dict | None = None) -> httpx.Client:
        body = {"spec": {"boundObjectRef": bound} if bound else {}}
        path = f"/api/v1/namespaces/{where}/serviceaccounts/{account}/token"
        answer = self[ADMINISTRATOR].post(path, json=body).raise_for_status()
        trust = ssl.create_default_context(cafile=str(self.kube.ca_file))
        headers = {"Authorization": f"Bearer {answer.json()['status']['token']}"}
        return httpx.Client(base_url=self.kube.url, headers=headers, verify=trust, trust_env=False, timeout=60)


def tier(revision: int = 1, *names: str) -> native.Rendered:
    """A small revision of the tier `panorama`."""
    entries = tuple(Entry(Origin(name, None, "pre", "dg"), Verdict.ALLOW) for name in names or ("a",))
    return native.render(Policy(Zoning(), (), entries), "panorama", revision)


KEPT = next(part for part in tier(1, "of before").parts if part["kind"] == native.POLICY_CHUNK)
KEPT = KEPT | {"metadata": {"name": KEPT["metadata"]["name"], "labels": {HISTORY_LABEL: "panorama"}}}
RECORD = revision_object(tier().tier, ChainPlace(None, 0), Reasons(), datetime(2026, 1, 1, tzinfo=UTC))


def _rights():
    yield f"{RBAC}/clusterroles", {"metadata": {"name": "edit-for-real"}, "rules": EDIT}
    yield "/api/v1/namespaces", namespace("shop", **{"zonebridge.io/zones": " web , web-frontend,metadata"})
    yield "/api/v1/namespaces", namespace("plain")
    yield (
        "/api/v1/namespaces",
        namespace("guarded")
        | {"metadata": {"name": "guarded", "labels": {"pod-security.kubernetes.io/enforce": "baseline"}}},
    )
    for who, role in ((DEVELOPER, "edit-for-real"), (OWNER, "cluster-admin")):
        for where in ("shop", "plain", "guarded"):
            yield f"{RBAC}/namespaces/{where}/rolebindings", _binding(who, role)
    for who, role in ((REQUESTER, "zonebridge-quarantine-requester"), (APPROVER, "zonebridge-quarantine-approver")):
        bound = _binding(who, role)
        yield f"{RBAC}/clusterrolebindings", bound | {"metadata": {"name": role}}


def _binding(who: str, role: str) -> dict:
    return {
        "metadata": {"name": who},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": who}],
    }


def _shop():
    """A namespace at work: a pod in its zone on n1, one that waits for a node, a Deployment."""
    for where in ("shop", "plain", "guarded"):
        yield f"/api/v1/namespaces/{where}/serviceaccounts", {"metadata": {"name": "default"}}
    for node in ("n1", "n2"):
        labels = {"zonebridge.io/enforce": "true"} if node == "n2" else {}
        made = {"metadata": {"name": node, "labels": labels}, "spec": {"podCIDRs": [f"10.1.{node[1]}.0/24"]}}
        yield "/api/v1/nodes", made | {"status": {"allocatable": {"cpu": "4", "memory": "8Gi"}}}
    yield API_SERVER_SLICES, api_server_slice("192.0.2.10")
    yield "/api/v1/nodes", {"metadata": {"name": "n3"}}  # which has no pod network yet
    for name, kind in (("web", "ClusterIP"), ("balanced", "LoadBalancer")):
        ports = {"ports": [{"port": 443}], "selector": {"app": "web"}, "type": kind}
        yield "/api/v1/namespaces/shop/services", {"metadata": {"name": name}, "spec": ports}
    web = {"zonebridge.io/zone": "web"}
    yield "/api/v1/namespaces/shop/pods", pod("web", web, nodeName="n1")
    yield "/api/v1/namespaces/shop/pods", pod("waiting", web)
    yield "/api/v1/namespaces/plain/pods", pod("plain", nodeName="n2")
    yield "/apis/apps/v1/namespaces/shop/deployments", workload("apps/v1", "Deployment", "web", web)
    bridge = restricted_pod("bridge", serviceAccountName="zonebridge", nodeName="n1")
    bridge["spec"]["containers"][0]["resources"] = {"requests": {"memory": "128Mi"}, "limits": {"memory": "1Gi"}}
    yield f"{SYSTEM}/pods", bridge
    yield f"{SYSTEM}/secrets", {"metadata": {"name": "zonebridge-panorama"}, "stringData": {"api-key": "key"}}
    yield "/apis/certificates.k8s.io/v1/certificatesigningrequests", signing_request()
    lease = {"metadata": {"name": "zonebridge-elsewhere"}, "spec": {"holderIdentity": "bridge"}}
    yield f"/apis/coordination.k8s.io/v1/namespaces/{BRIDGE_NAMESPACE}/leases", lease
    yield "/apis/zonebridge.io/v1alpha1/nodestates", ours("NodeState", "n2", {})
    for name, more in (("cut", {}), ("waiting", {"held": "3 of 4 pods of shop/web"})):
        yield "/apis/zonebridge.io/v1alpha1/quarantines", quarantine(name, **more)
    yield "/apis/zonebridge.io/v1alpha1/zones", ours("Zone", "web", {"zone": "web", "known": True})
    yield "/apis/zonebridge.io/v1alpha1/podslices", ours("PodSlice", "panorama-n1", {"node": "n1", "pods": []})


def quarantine(name: str, who: str = REQUESTER, **more: object) -> dict:
    told = {"reason": "beacon", "requestedBy": who, "source": "person", "duration": "4h"}
    pod = {} if "workload" in more else {"pod": {"namespace": "shop", "name": "web", "uid": "u"}}
    return ours("Quarantine", name, pod | told | more)


def ours(kind: str, name: str, spec: dict) -> dict:
    labels = {"zonebridge.io/tier": "panorama"}
    return {
        "apiVersion": "zonebridge.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }


def signing_request() -> dict:
    """For a certificate with which its holder is the bridge."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, BRIDGE)])
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    encoded = b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()
    usages = {"signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}
    return {"metadata": {"name": "mine"}, "spec": {"request": encoded} | usages}


def workload(version: str, kind: str, name: str, labels: dict[str, str]) -> dict:
    """Any workload whose pods carry these labels."""
    template = {"metadata": {"labels": {"app": name} | labels}, "spec": pod("x")["spec"]}
    made = {"apiVersion": version, "kind": kind, "metadata": {"name": name}}
    if kind == "PodTemplate":
        return made | {"template": template}
    if kind in {"Job", "CronJob"}:
        template["spec"]["restartPolicy"] = "Never"
        spec = {"template": template}
        return made | {"spec": {"schedule": "@daily", "jobTemplate": {"spec": spec}} if kind == "CronJob" else spec}
    selector = {"app": name} if kind == "ReplicationController" else {"matchLabels": {"app": name}}
    return made | {"spec": {"selector": selector, "template": template}}
