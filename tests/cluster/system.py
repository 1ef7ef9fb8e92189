"""What a cluster has before anybody installs anything: its nodes and CoreDNS. Objects only."""

from __future__ import annotations

from typing import Any

from tests.cluster.addresses import DNS_SERVICE, DOMAIN, NodePlan

FLANNEL_USER = "flannel"
KUBE_ROUTER_USER = "kube-router"
COREDNS_IMAGE = "registry.k8s.io/coredns/coredns:v1.15.0"
COREFILE = f""".:53 {{
    errors
    health {{
        lameduck 1s
    }}
    ready
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
    cache 5
    loadbalance
}}
"""


def node(plan: NodePlan) -> dict[str, Any]:
    """The Node as a cloud's controllers make it: podCIDRs, where it has any, are there before the kubelet."""
    cidrs = list(plan.pod_cidrs)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": plan.name, "labels": {"kubernetes.io/hostname": plan.name}},
        "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs} if cidrs else {},
    }


def flannel() -> list[dict[str, Any]]:
    """What flannel's program may do, as its manifests say."""
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
    ]
    return _may(FLANNEL_USER, rules, _user(FLANNEL_USER))


def kube_router() -> list[dict[str, Any]]:
    """What kube-router may do, as its manifests say."""
    core = ["namespaces", "pods", "services", "nodes", "endpoints"]
    rules = [
        {"apiGroups": [""], "resources": core, "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
    ]
    return _may(KUBE_ROUTER_USER, rules, _user(KUBE_ROUTER_USER))


def _user(name: str) -> dict[str, str]:
    return {"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}


def _may(name: str, rules: list[dict[str, Any]], who: dict[str, str]) -> list[dict[str, Any]]:
    """A role of the whole cluster, and who has it."""
    group = "rbac.authorization.k8s.io"
    kind = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
    role = {"apiGroup": group, "kind": "ClusterRole", "name": name}
    return [
        kind | {"kind": "ClusterRole", "rules": rules},
        kind | {"kind": "ClusterRoleBinding", "roleRef": role, "subjects": [who]},
    ]


def coredns() -> list[dict[str, Any]]:
    labels = {"k8s-app": "kube-dns"}
    metadata = {"name": "coredns", "namespace": "kube-system", "labels": labels}
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        *_may("system:coredns", rules, {"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"Corefile": COREFILE}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": _coredns_pod(labels)},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata | {"name": "kube-dns"},
            "spec": {
                "clusterIP": DNS_SERVICE,
                "selector": labels,
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                ],
            },
        },
    ]


def _coredns_pod(labels: dict[str, str]) -> dict[str, Any]:
    return {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "tolerations": [{"operator": "Exists"}],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": labels},
            }
        ],
        "containers": [
            {
                "name": "coredns",
                "image": COREDNS_IMAGE,
                "imagePullPolicy": "Never",
                "args": ["-conf", "/etc/coredns/Corefile"],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 5},
                "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }
