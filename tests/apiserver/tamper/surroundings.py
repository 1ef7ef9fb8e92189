"""Attempts on what the tier trusts beside itself: nodes, the API server's endpoints, probes, owners, Services' addresses."""

from tests.apiserver.installed import API_SERVER_SLICES, api_server_slice, pod
from tests.apiserver.tamper.attempt import OURS, Attempt, By, Json, Request, delete, get, merge, post, put
from tests.apiserver.tamper.people import (
    ANYBODY,
    DEVELOPER,
    NEW_NODE,
    NODE,
    OPERATOR,
    OTHER_NODE,
    OWNER,
    SYSTEM,
    workload,
)

NODES = "/api/v1/nodes"
SHOP = "/api/v1/namespaces/shop"
WEB = {"zonebridge.io/zone": "web"}
ENDPOINTS = "/api/v1/namespaces/default/endpoints"
ADDRESSES = "a node's addresses are reported by its own kubelet"
NETWORKS = "a node's pod networks are assigned by the cluster's controllers"
COURIER = "names a host, which the kubelet would call from the node"
PART = "say what a node enforces and who it is"
CONTROLLER = "a pod's controller is the application that Panorama knows it by"
EXTERNAL = "takes what every node sends there"
FOREIGN = [{"type": "InternalIP", "address": "203.0.113.10"}]
PAYMENT = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "name": "orders-db-7d9f8c6b5d",
    "uid": "made-up",
    "controller": True,
}
SLICE = api_server_slice("203.0.113.10")


def node(name: str, **spec: object) -> Json:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}


def addressed(name: str) -> Request:
    return merge(f"{NODES}/{name}/status", {"status": {"addresses": FOREIGN}})


def labelled(name: str, key: str, value: str | None, part: str = "") -> Request:
    return merge(f"{NODES}/{name}{part}", {"metadata": {"labels": {key: value}}})


def probing(**container: object) -> Json:
    made = pod("courier", WEB)
    made["spec"]["containers"][0] |= container
    return made


def templated(version: str, kind: str) -> Request:
    made = workload(version, kind, "courier", WEB)
    template = made["spec"].get("jobTemplate", made)["spec"]["template"]
    template["spec"]["containers"][0]["livenessProbe"] = {"tcpSocket": {"host": "10.1.1.200", "port": 80}}
    return post(f"/apis/{version}/namespaces/shop/{kind.lower()}s", made)


def service(name: str, **spec: object) -> Json:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 443}], "selector": {"app": "mine"}} | spec}


HTTP = {"httpGet": {"host": "169.254.169.254", "port": 80, "path": "/latest"}}
TCP = {"tcpSocket": {"host": "10.1.1.200", "port": 80}}
CALLS = (
    probing(livenessProbe=HTTP),
    probing(readinessProbe=TCP),
    probing(startupProbe=HTTP),
    probing(lifecycle={"postStart": HTTP}),
    probing(lifecycle={"preStop": TCP}),
)
SIDECAR = pod("courier", WEB)
SIDECAR["spec"]["initContainers"] = [{"name": "side", "image": "i", "restartPolicy": "Always", "livenessProbe": TCP}]

BORROWER = pod("static-n1", nodeName="n1", serviceAccountName="zonebridge") | {
    "metadata": {
        "name": "static-n1",
        "annotations": {"kubernetes.io/config.mirror": "1"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "UID OF n1", "controller": True}],
    }
}
ELSEWHERE = {
    "metadata": {"name": "mine", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.1.2.66"]}],
    "ports": [{"port": 5432}],
}

ATTEMPTS = (
    Attempt("node-registers-with-pod-networks", NEW_NODE, "a node that was taken registers anew with pod networks of its choice, `0.0.0.0/0`", By.NODES, (post(NODES, node("n3", podCIDR="0.0.0.0/0", podCIDRs=["0.0.0.0/0", "::/0"])),), NETWORKS),
    Attempt("node-assigns-itself-pod-networks", NEW_NODE, "a node without pod networks patches its own to another's", By.NODES, (merge(f"{NODES}/n3", {"spec": {"podCIDR": "10.1.2.0/24", "podCIDRs": ["10.1.2.0/24"]}}),), NETWORKS),
    Attempt("node-changes-its-pod-networks", NODE, "a node that was taken, and has pod networks, widens them", By.API, (merge(f"{NODES}/n1", {"spec": {"podCIDR": "10.0.0.0/8", "podCIDRs": ["10.0.0.0/8"]}}),)),
    Attempt("node-borrows-the-bridges-account", NODE, "a static pod with the bridge's service account, from a node that was taken", By.NODE, (post(f"{SYSTEM}/pods", BORROWER),), "may not reference service accounts"),
    Attempt("pod-reads-who-has-which-address", ANYBODY, "read the PodSlices with a pod's own service account: who is where, in which zone", By.RBAC, (get(f"{OURS}/podslices"), get(f"{OURS}/podslices/panorama-n1"))),
    Attempt("developer-answers-for-a-service", DEVELOPER, "an EndpointSlice by hand, which leads a Service to others' pods", By.RBAC, (post("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices", ELSEWHERE),)),
    Attempt("node-lists-anothers-addresses", OTHER_NODE, "a node that was taken reports another node's addresses", By.NODE, (addressed("n1"),)),
    Attempt("operator-makes-a-node-of-a-host", OPERATOR, "list a host outside as an address of a node", By.NODES, (addressed("n1"),), ADDRESSES),
    Attempt("operator-invents-a-node", OPERATOR, "create a Node with a pod network, or with addresses", By.NODES, (post(NODES, node("mine", podCIDR="10.1.1.0/24", podCIDRs=["10.1.1.0/24"])), post(NODES, node("mine") | {"status": {"addresses": FOREIGN}}))),
    Attempt("operator-assigns-pod-networks", OPERATOR, "give a Node without pod networks another's", By.NODES, (merge(f"{NODES}/n3", {"spec": {"podCIDR": "10.1.1.0/24", "podCIDRs": ["10.1.1.0/24"]}}),), NETWORKS),
    Attempt("operator-takes-a-node-out", OPERATOR, "take the label by which a node enforces (`enforcement.nodeSelector`), or set it", By.NODES, (labelled("n2", "zonebridge.io/enforce", None), labelled("n2", "zonebridge.io/enforce", "false"), labelled("n1", "zonebridge.io/enforce", "true"), labelled("n2", "zonebridge.io/enforce", None, "/status")), PART),
    Attempt("node-takes-itself-out", OTHER_NODE, "a node that was taken takes its own label, also through `nodes/status`", By.NODES, (labelled("n2", "zonebridge.io/enforce", None), labelled("n2", "zonebridge.io/enforce", "false", "/status")), PART),
    Attempt("operator-promotes-a-node", OPERATOR, "label a node as one of the control plane, whose nodes reach pods as the API server does", By.NODES, (labelled("n1", "node-role.kubernetes.io/control-plane", ""), post(NODES, {"metadata": {"name": "mine", "labels": {"node-role.kubernetes.io/control-plane": ""}}})), PART),
    Attempt("node-promotes-itself", NODE, "a node that was taken labels itself as one of the control plane", By.NODE, (labelled("n1", "node-role.kubernetes.io/control-plane", ""),), "is not allowed to modify labels"),
    Attempt("operator-moves-the-api-server", OPERATOR, "open a database to every pod as an end of the API server", By.API_SERVER, (merge(f"{API_SERVER_SLICES}/kubernetes", {key: SLICE[key] for key in ("endpoints", "ports")}), delete(f"{API_SERVER_SLICES}/kubernetes"), post(ENDPOINTS, {"metadata": {"name": "kubernetes"}, "subsets": []})), "the API server alone says where it answers"),
    Attempt("developer-sends-the-kubelet", DEVELOPER, "have the kubelet call others: a probe or a hook with a `host`", By.WORKLOADS, (*(post(f"{SHOP}/pods", each) for each in CALLS), post(f"{SHOP}/pods", SIDECAR)), COURIER),
    Attempt("developer-sends-the-kubelet-by-template", DEVELOPER, "the same in a Deployment, a StatefulSet, a DaemonSet, a Job, a CronJob", By.WORKLOADS, (*(templated("apps/v1", kind) for kind in ("Deployment", "StatefulSet", "DaemonSet")), *(templated("batch/v1", kind) for kind in ("Job", "CronJob"))), COURIER),
    Attempt("operator-sends-the-kubelet", OPERATOR, "the same, whoever asks", By.WORKLOADS, (post(f"{SHOP}/pods", CALLS[0]),), COURIER),
    Attempt("developer-takes-an-app-id", DEVELOPER, "another controller for a running pod, and with it another App-ID", By.WORKLOADS, (merge(f"{SHOP}/pods/web", {"metadata": {"ownerReferences": [PAYMENT]}}),), CONTROLLER),
    Attempt("developer-takes-the-siems-address", DEVELOPER, "a Service with the SIEM's or Panorama's address among its `externalIPs`", By.SERVICES, (post(f"{SHOP}/services", service("mine", externalIPs=["203.0.113.5"])), merge(f"{SHOP}/services/web", {"spec": {"externalIPs": ["203.0.113.5"]}})), EXTERNAL),
    Attempt("operator-takes-the-siems-address", OPERATOR, "the same with every usual right", By.SERVICES, (put(f"{SHOP}/services/web", service("web", externalIPs=["203.0.113.5"])),), EXTERNAL),
    Attempt("owner-reports-for-a-load-balancer", OWNER, "the same as a load balancer's address, through `services/status`", By.SERVICES, (merge(f"{SHOP}/services/balanced/status", {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.5"}]}}}),), "reported by its controller"),
)  # fmt: skip
