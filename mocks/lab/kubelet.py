"""Stands in for the kubelets: registers the lab's nodes at a Kubernetes API and reports its pods as running.

It runs nothing and watches nothing: what it was told to report is what it reports. Works with a real kube-apiserver
without controllers, as with the mock.
"""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from mocks.lab.machines import Node, Pod
from mocks.lab.netns import LabError

MERGE = {"Content-Type": "application/merge-patch+json"}
IMAGE = "registry.example/pause:1"
Phase = Literal["Pending", "Running", "Succeeded", "Failed"]
Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """Who is said to have made a pod: `Owner("ReplicaSet", "web-7d4b9c8f6d")`."""

    kind: str
    name: str
    api_version: str = "apps/v1"
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))

    def reference(self) -> Fields:
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


class Kubelet:
    """Speaks for all nodes of a lab. `client` must be set up for the API server, or use `connect`."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    @classmethod
    def connect(cls, url: str, token: str | None = None, ca_file: Path | str | None = None) -> Self:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        trust = ssl.create_default_context(cafile=ca_file)
        # an API server of a lab is near: never by way of a proxy that the environment names
        return cls(httpx.Client(base_url=url, headers=headers, verify=trust, timeout=10, trust_env=False))

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def namespace(
        self, name: str, labels: Mapping[str, str] | None = None, annotations: Mapping[str, str] | None = None
    ) -> None:
        """Make a namespace, or mark the one that is there; with the service account that pod admission asks for."""
        metadata = {"name": name, "labels": dict(labels or {}), "annotations": dict(annotations or {})}
        self._create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        self._patch(f"/api/v1/namespaces/{name}", {"metadata": metadata})
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        self._create(f"/api/v1/namespaces/{name}/serviceaccounts", account)

    def register(self, node: Node, labels: Mapping[str, str] | None = None) -> None:
        """Make the Node object, or take it over, and report it ready."""
        self._create("/api/v1/nodes", node_object(node, labels or {}))
        self._patch(f"/api/v1/nodes/{node.name}/status", {"status": node_status(node)})

    def report(
        self,
        pod: Pod,
        namespace: str = "default",
        *,
        labels: Mapping[str, str] | None = None,
        owner: Owner | None = None,
        phase: Phase = "Running",
    ) -> None:
        """Make the Pod object as if scheduled to its node, and report its phase and addresses."""
        self._create(_pods(namespace), pod_object(pod, namespace, labels or {}, owner))
        self.report_phase(pod, namespace, phase)

    def report_phase(self, pod: Pod, namespace: str = "default", phase: Phase = "Running") -> None:
        """Finished pods keep their addresses, as real ones do."""
        self._patch(f"{_pods(namespace)}/{pod.name}/status", {"status": pod_status(pod, phase)})

    def label(self, pod: Pod, labels: Mapping[str, str | None], namespace: str = "default") -> None:
        """Change labels; None takes one off."""
        self._patch(f"{_pods(namespace)}/{pod.name}", {"metadata": {"labels": dict(labels)}})

    def terminate(self, pod: Pod, namespace: str = "default") -> None:
        """Ask for deletion with the usual grace: the object stays, terminating, until `forget`."""
        self._require(self._client.delete(f"{_pods(namespace)}/{pod.name}"), HTTPStatus.NOT_FOUND)

    def forget(self, pod: Pod, namespace: str = "default") -> None:
        """Delete the object at once, as a kubelet does when the containers are gone."""
        path = f"{_pods(namespace)}/{pod.name}"
        done = self._client.delete(path, params={"gracePeriodSeconds": "0"})
        self._require(done, HTTPStatus.NOT_FOUND)

    def _create(self, path: str, body: Fields) -> None:
        self._require(self._client.post(path, json=body), HTTPStatus.CONFLICT)

    def _patch(self, path: str, body: Fields) -> None:
        self._require(self._client.patch(path, json=body, headers=MERGE))

    def _require(self, done: httpx.Response, *also: HTTPStatus) -> None:
        if done.is_success or done.status_code in also:
            return
        request = done.request
        raise LabError(
            f"{request.method} {request.url.path} was refused with {done.status_code}: {done.text[:300]}; "
            "is the namespace made (Kubelet.namespace), and may the token do this?"
        )


def node_object(node: Node, labels: Mapping[str, str]) -> Fields:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name, **labels}},
        "spec": {"podCIDR": node.pod_cidr, "podCIDRs": [node.pod_cidr, node.pod_cidr6]},
    }


def node_status(node: Node) -> Fields:
    return {
        "addresses": [
            {"type": "InternalIP", "address": node.ip},
            {"type": "InternalIP", "address": node.ip6},
            {"type": "Hostname", "address": node.name},
        ],
        "conditions": [_condition("Ready", now(), ready=True) | {"reason": "KubeletReady", "message": "lab"}],
    }


def pod_object(pod: Pod, namespace: str, labels: Mapping[str, str], owner: Owner | None) -> Fields:
    metadata: Fields = {"name": pod.name, "namespace": namespace, "labels": dict(labels)}
    if owner is not None:
        metadata["ownerReferences"] = [owner.reference()]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "nodeName": pod.node.name,
            "hostNetwork": pod.host_network,
            "automountServiceAccountToken": False,
            "containers": [{"name": "main", "image": IMAGE}],
        },
    }


def pod_status(pod: Pod, phase: Phase) -> Fields:
    time = now()
    running = phase == "Running"
    return {
        "phase": phase,
        "podIP": pod.ip,
        "podIPs": [{"ip": pod.ip}, {"ip": pod.ip6}],
        "hostIP": pod.node.ip,
        "hostIPs": [{"ip": pod.node.ip}, {"ip": pod.node.ip6}],
        "startTime": time,
        "conditions": [
            _condition("PodScheduled", time, ready=True),
            _condition("Initialized", time, ready=True),
            _condition("ContainersReady", time, ready=running),
            _condition("Ready", time, ready=running),
        ],
    }


def _condition(kind: str, time: str, *, ready: bool) -> Fields:
    return {"type": kind, "status": "True" if ready else "False", "lastTransitionTime": time}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"
