"""The application teams' workloads on the test cluster: servers for TCP and UDP in three zones and in none. Objects only."""

from __future__ import annotations

from typing import Any

from tests.cluster.images import SERVER_IMAGE

PORT, HOST_PORT = 8080, 8081
NODE_PORT, LOCAL_NODE_PORT, POD_HOST_PORT = 30080, 30081, 18080
ZONE = "zonebridge.io/zone"
# A server that is slow on a busy machine is still there: who takes it out of its Services has lost connections, not we.
PATIENTLY = {"timeoutSeconds": 5, "failureThreshold": 20}
NAMESPACES = {"shop": "web,app,data", "plain": None, "host": None}


def everything() -> list[dict[str, Any]]:
    return [
        *(namespace(name, zones) for name, zones in NAMESPACES.items()),
        workload("Deployment", "shop", "web", "web"),
        service("shop", "web", "web", type="NodePort", nodePort=NODE_PORT),
        service("shop", "web-local", "web", type="NodePort", nodePort=LOCAL_NODE_PORT, externalTrafficPolicy="Local"),
        workload("Deployment", "shop", "app", "app"),
        service("shop", "app", "app"),
        workload("StatefulSet", "shop", "data", "data"),
        service("shop", "data", "data"),
        workload("Deployment", "shop", "worker", "app"),
        workload("Deployment", "shop", "door", "web", host_port=POD_HOST_PORT),
        workload("Deployment", "plain", "plain", None),
        service("plain", "plain", "plain"),
        workload("DaemonSet", "host", "agent", None, host_network=True),
    ]


def namespace(name: str, zones: str | None) -> dict[str, Any]:
    annotations = {"zonebridge.io/zones": zones} if zones else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": annotations}}


def workload(
    kind: str,
    where: str,
    app: str,
    zone: str | None,
    replicas: int = 2,
    *,
    host_network: bool = False,
    host_port: int | None = None,
) -> dict[str, Any]:
    """One pod on each node."""
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app": app}},
        "template": {
            "metadata": {"labels": {"app": app} | ({ZONE: zone} if zone else {})},
            "spec": _pod(app, host_network=host_network, host_port=host_port),
        },
    }
    if kind != "DaemonSet":
        spec["replicas"] = replicas
    if kind == "StatefulSet":
        spec |= {"serviceName": app, "podManagementPolicy": "Parallel"}
    if kind == "Deployment":
        spec["strategy"] = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": app, "namespace": where}, "spec": spec}


def _pod(app: str, *, host_network: bool, host_port: int | None) -> dict[str, Any]:
    port = HOST_PORT if host_network else PORT
    container = {
        "name": "server",
        "image": SERVER_IMAGE,
        "args": [str(port)],
        "env": [{"name": "ADDRESSES", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}}],
        "readinessProbe": {"httpGet": {"path": "/", "port": port}, "periodSeconds": 1} | PATIENTLY,
        "livenessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 2} | PATIENTLY,
        # With less, a busy machine leaves a server no time to take its connections: its queue is full, and its kernel
        # answers no further ones, which looks as if a firewall had lost them.
        "resources": {"requests": {"cpu": "50m"}},
    }
    if host_port:
        container["ports"] = [{"containerPort": port, "hostPort": host_port}]
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostNetwork": host_network,
        "terminationGracePeriodSeconds": 10,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": app}},
            }
        ],
        "containers": [container],
    }


def service(where: str, name: str, app: str, **spec: Any) -> dict[str, Any]:
    node_port = spec.pop("nodePort", None)
    ports = [{"name": each.lower(), "port": PORT, "protocol": each} for each in ("TCP", "UDP")]
    if node_port:
        ports = [port | {"nodePort": node_port} for port in ports]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": where},
        "spec": {"selector": {"app": app}, "ports": ports, "ipFamilyPolicy": "PreferDualStack"} | spec,
    }
