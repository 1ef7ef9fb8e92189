"""Everything of config/ in a real API server, as a platform team installs it, and proof that its policies are in force.

It tries nothing itself: tests/conftest.py installs, tests/apiserver/tamper and tests/config use what stands.
"""

import time
from pathlib import Path

from tests.realkube import RealKube

CONFIG = Path(__file__).parents[2] / "config"
# Of a container that Pod Security's level `restricted` lets in.
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
# Where config/deploy puts the bridge, and the enforcers; and as whom they speak to the API server.
BRIDGE_NAMESPACE, ENFORCER_NAMESPACE = "zonebridge-system", "zonebridge-enforcer"
BRIDGE = f"system:serviceaccount:{BRIDGE_NAMESPACE}:zonebridge"
ENFORCER = f"system:serviceaccount:{ENFORCER_NAMESPACE}:zone-enforcer"
# As a cluster has them: kubelets with rights over their own pods, and no others.
FLAGS = ("--authorization-mode=Node", "--enable-admission-plugins=NodeRestriction")
STANDARD_VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
# Every usual right on everything, and none of zonebridge's own permissions: what a careless ClusterRole gives.
OPERATOR = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "operator"},
    "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": STANDARD_VERBS}],
}
MERGE = "application/merge-patch+json"
API_SERVER_SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
IN_FORCE_SECONDS = 60


def install(kube: RealKube) -> None:
    """Kinds, rights and policies; returns when all of it is in force."""
    kube.kubectl("apply", "-f", str(CONFIG / "crd"))
    kube.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    kube.kubectl("apply", "-k", str(CONFIG / "deploy"))
    with kube.client() as admin:
        for path, body in (*operators_rights(), *_probed()):
            admin.post(path, json=body).raise_for_status()
    _await_policies(kube)


def namespace(name: str, **annotations: str) -> dict:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": annotations}}


def pod(name: str, labels: dict[str, str] | None = None, **spec: object) -> dict:
    metadata = {"name": name, "labels": labels or {}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": "c", "image": "i"}]} | spec,
    }


def restricted_pod(name: str, **spec: object) -> dict:
    """One that Pod Security's level `restricted` lets into the bridge's namespace."""
    made = pod(name, securityContext={"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}, **spec)
    made["spec"]["containers"][0]["securityContext"] = RESTRICTED
    return made


def operators_rights():
    roles = "/apis/rbac.authorization.k8s.io/v1"
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "operator"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "operator"}],
    }
    yield f"{roles}/clusterroles", OPERATOR
    yield f"{roles}/clusterrolebindings", binding


def _probed():
    yield "/api/v1/namespaces", namespace("probe")
    yield "/api/v1/namespaces/probe/serviceaccounts", {"metadata": {"name": "default"}}
    yield "/api/v1/namespaces/probe/pods", pod("probe")


def _probes():
    """For each policy a write that it alone refuses."""
    yield "zonebridge-tier", "POST", "/apis/zonebridge.io/v1alpha1/addresssets", _address_set()
    yield "zonebridge-nodestates", "POST", "/apis/zonebridge.io/v1alpha1/nodestates", _node_state()
    yield "zonebridge-podslices", "POST", "/apis/zonebridge.io/v1alpha1/podslices", _pod_slice()
    yield "zonebridge-quarantines", "POST", "/apis/zonebridge.io/v1alpha1/quarantines", _quarantine()
    yield "zonebridge-zones", "POST", "/api/v1/namespaces/probe/pods", pod("p", {"zonebridge.io/zone": "elsewhere"})
    yield "zonebridge-addresses", "PATCH", "/api/v1/namespaces/probe/pods/probe/status", {"status": {"phase": "Failed"}}
    yield "zonebridge-namespaces", "POST", "/api/v1/namespaces", namespace("p", **{"zonebridge.io/zones": "*"})
    yield (
        "zonebridge-nodes",
        "POST",
        "/api/v1/nodes",
        {"metadata": {"name": "p"}, "spec": {"podCIDRs": ["10.9.0.0/24"]}},
    )
    yield "zonebridge-api-server", "POST", API_SERVER_SLICES, api_server_slice("203.0.113.10")
    yield "zonebridge-workloads", "POST", "/api/v1/namespaces/probe/pods", _courier()
    external = {"metadata": {"name": "p"}, "spec": {"ports": [{"port": 1}], "externalIPs": ["203.0.113.1"]}}
    yield "zonebridge-services", "POST", "/api/v1/namespaces/probe/services", external
    yield (
        "zonebridge-system",
        "POST",
        f"/api/v1/namespaces/{BRIDGE_NAMESPACE}/pods",
        restricted_pod("p", serviceAccountName="zonebridge"),
    )
    yield "zonebridge-installation", "DELETE", f"/api/v1/namespaces/{BRIDGE_NAMESPACE}", None


def api_server_slice(address: str) -> dict:
    """What the API server itself keeps, where it is at more than its own machine's loopback address."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
    }


def _courier() -> dict:
    made = pod("p")
    made["spec"]["containers"][0]["livenessProbe"] = {"tcpSocket": {"host": "192.0.2.1", "port": 80}}
    return made


def _address_set() -> dict:
    return {
        "apiVersion": "zonebridge.io/v1alpha1",
        "kind": "AddressSet",
        "metadata": {"name": "probe"},
        "spec": {"prefixes": ["192.0.2.0/24"]},
    }


def _node_state() -> dict:
    return {"apiVersion": "zonebridge.io/v1alpha1", "kind": "NodeState", "metadata": {"name": "probe"}, "spec": {}}


def _quarantine() -> dict:
    spec = {"pod": {"namespace": "probe", "name": "p", "uid": "u"}, "reason": "r", "requestedBy": "operator"}
    spec |= {"source": "person", "duration": "1h"}
    return {"apiVersion": "zonebridge.io/v1alpha1", "kind": "Quarantine", "metadata": {"name": "probe"}, "spec": spec}


def _pod_slice() -> dict:
    spec = {"node": "probe", "pods": []}
    return {"apiVersion": "zonebridge.io/v1alpha1", "kind": "PodSlice", "metadata": {"name": "0.probe"}, "spec": spec}


def _await_policies(kube: RealKube) -> None:
    """The API server takes a moment until a new policy, or a new right, counts."""
    deadline = time.monotonic() + IN_FORCE_SECONDS
    with kube.client("operator", ["system:authenticated"]) as operator:
        for policy, method, path, body in _probes():
            answer = ""
            while f"'{policy}'" not in answer:
                if time.monotonic() > deadline:
                    raise AssertionError(f"not in force within {IN_FORCE_SECONDS} s: {policy}: {answer}")
                headers = {"Content-Type": MERGE if method == "PATCH" else "application/json"}
                answer = operator.request(method, path, json=body, params={"dryRun": "All"}, headers=headers).text
                time.sleep(0.02)
