"""The one door to a cluster: list what is ours, apply, prune, status, events, lease. It decides nothing.

`bridge.tier.sync` and `bridge.tier.lease` call it; failures are `zones.kube.errors.ClusterError`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Protocol

from bridge.explain import services as kubeservices
from bridge.history.revision import HISTORY_LABEL, REVISION, object_name
from bridge.history.revision import PLURAL as REVISIONS
from bridge.tier.cache import NODE_STATE
from bridge.tier.plan import Part
from bridge.tier.reader import CORE, LONG_PAGE, NODE_STATES, ROOT, ZONES, ClusterReader
from zones.canonical import Json
from zones.kube import objects
from zones.kube.api import MERGE, METADATA
from zones.kube.client import ApiServer
from zones.kube.errors import ClusterRefusedError
from zones.kube.objects import Source
from zones.kube.watch import Change, follow
from zones.tiers import slices
from zones.tiers.native import API_VERSION, PLURALS, TIER, TIER_LABEL

FIELD_MANAGER = "zonebridge"
ZONE = "Zone"
_ALL_PLURALS = {**PLURALS, slices.POD_SLICE: slices.PLURAL, ZONE: ZONES, REVISION: REVISIONS}
PAGE_OF_REVISIONS = 20  # each may be as long as a Tier
_API_SERVER_SLICE = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
# An event about a cluster-scoped object may only stand in this namespace.
_EVENT_NAMESPACE = "default"


class TierCluster(Protocol):
    """What a sync pass needs of a cluster."""

    async def tier(self, name: str) -> Json | None: ...
    async def parts(self, tier: str) -> dict[str, Json]: ...
    async def node_states(self) -> list[Json]: ...
    async def apply(self, wanted: Json) -> Json: ...
    async def create(self, part: Json) -> Json: ...
    async def delete(self, part: Part) -> Json | None: ...
    async def release(self, part: Part) -> None: ...
    async def retire(self, part: Part, tier: str) -> Json | None: ...
    async def revisions(self, tier: str) -> list[Json]: ...
    async def kept_parts(self, tier: str) -> list[Part]: ...
    async def write_status(self, tier: str, status: Json) -> Json: ...
    async def record(self, tier: str, reason: str, message: str, *, warning: bool) -> None: ...


class LeaseCluster(Protocol):
    """What leadership needs of a cluster."""

    async def lease(self, namespace: str, name: str) -> Json | None: ...
    async def write_lease(self, lease: Json) -> Json: ...


class TierApi(ClusterReader):
    """A real cluster. Implements both protocols. `watches`: connections of their own, as they break at other times."""

    def __init__(self, api: ApiServer, watches: ApiServer | None = None) -> None:
        super().__init__(api)
        self._watches = watches or api

    async def close(self) -> None:
        await super().close()
        await self._watches.close()

    def follow(self, kind: str, tier: str) -> AsyncGenerator[Change]:
        """Every change of one kind, for ever: of the tier's own objects, or of all nodes' states."""
        query = {TIER: {"fieldSelector": f"metadata.name={tier}"}, NODE_STATE: {}}.get(
            kind, {"labelSelector": f"{TIER_LABEL}={tier}"}
        )
        plural = NODE_STATES if kind == NODE_STATE else PLURALS[kind]
        return follow(self._watches, Source(f"{ROOT}/{plural}", plural, query))

    def services(self) -> AsyncGenerator[Change]:
        """Every change of a Service, for ever."""
        return follow(self._watches, Source(kubeservices.PATH, "services"))

    async def api_server_endpoints(self) -> Json | None:
        """The one EndpointSlice that the API server itself keeps: others of its Service may be anybody's."""
        return await self._api.get(_API_SERVER_SLICE, "EndpointSlice default/kubernetes")

    async def control_plane_nodes(self) -> list[Json]:
        """The nodes of the control plane, by a label that no kubelet may set; none where it runs elsewhere."""
        query = {"labelSelector": "node-role.kubernetes.io/control-plane", "limit": "100"}
        answer = await self._api.get("/api/v1/nodes", "the control plane's nodes", query)
        return list((answer or {}).get("items", ()))

    async def node(self, name: str) -> Json | None:
        return await self._api.get(f"/api/v1/nodes/{name}", f"node {name}")

    async def node_state(self, name: str) -> Json | None:
        return await self._api.get(f"{ROOT}/{NODE_STATES}/{name}", f"NodeState '{name}'")

    async def leave_taints(self, name: str, version: str, taints: list[Json]) -> None:
        """These taints alone stay on a node, if that is still of this version."""
        body = {"metadata": {"resourceVersion": version}, "spec": {"taints": taints or None}}
        doing = f"removing the startup taint of node {name}"
        await self._api.call("PATCH", f"/api/v1/nodes/{name}", doing, body=body, content_type=MERGE)

    async def pods_and_namespaces(self) -> list[Json]:
        """All of the cluster's, each with its kind."""
        pods = await self._list("pods", {}, page=LONG_PAGE, root=CORE)
        namespaces = await self._list("namespaces", {}, page=LONG_PAGE, root=CORE)
        return [pod | {"kind": "Pod"} for pod in pods] + [namespace | {"kind": "Namespace"} for namespace in namespaces]

    async def apply(self, wanted: Json) -> Json:
        """Server-side apply. Where `wanted` carries a resourceVersion, only onto that one."""
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        return await self._apply(_path(kind, name), wanted, f"applying {kind} '{name}'")

    async def create(self, part: Json) -> Json:
        """A new part; cheaper for the API server than an apply. ClusterConflictError: there is one of this name."""
        kind, name = part["kind"], part["metadata"]["name"]
        doing = f"creating {kind} '{name}'"
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        created = await self._api.call("POST", f"{ROOT}/{_ALL_PLURALS[kind]}", doing, body=part, query=query)
        if created is None:
            raise ClusterRefusedError(
                f"{doing} in cluster '{self.name}': the kind is not known; install the custom resource definitions"
            )
        return created

    async def delete(self, part: Part) -> Json | None:
        """What is left of it, where something keeps it from going. Gone is gone, whoever deleted it."""
        answer = await self._api.call("DELETE", _path(part.kind, part.name), f"deleting {part.kind} '{part.name}'")
        return None if answer is None or answer.get("kind") == "Status" else answer

    async def retire(self, part: Part, tier: str) -> Json | None:
        """Keep a part for the history alone: enforcers follow the tier's label. None where it is gone."""
        body = {"metadata": {"labels": {TIER_LABEL: None, HISTORY_LABEL: tier}}}
        doing = f"keeping {part.kind} '{part.name}' for the history"
        return await self._api.call("PATCH", _path(part.kind, part.name), doing, body=body, content_type=MERGE)

    async def kept_parts(self, tier: str) -> list[Part]:
        """The parts that are of the history alone."""
        query = {"labelSelector": f"{HISTORY_LABEL}={tier},!{TIER_LABEL}"}
        return [
            Part(kind, item["metadata"]["name"])
            for kind, plural in PLURALS.items()
            if kind != TIER
            for item in await self._list(plural, query, accept=METADATA)
        ]

    async def part(self, part: Part) -> Json | None:
        """One part, whatever it is of."""
        raw = await self._api.get(_path(part.kind, part.name), f"{part.kind} '{part.name}'")
        return None if raw is None else raw | {"kind": part.kind}

    async def revisions(self, tier: str) -> list[Json]:
        """Every Revision of a tier, in no order."""
        return await self._list(REVISIONS, {"labelSelector": f"{TIER_LABEL}={tier}"}, page=PAGE_OF_REVISIONS)

    async def revision(self, tier: str, number: int) -> Json | None:
        name = object_name(tier, number)
        return await self._api.get(_path(REVISION, name), f"Revision '{name}'")

    async def release(self, part: Part) -> None:
        """Take away what others let hold an object, or let it go with."""
        body = {"metadata": {"finalizers": None, "ownerReferences": None}}
        await self._api.call(
            "PATCH", _path(part.kind, part.name), f"releasing {part.kind} '{part.name}'", body=body, content_type=MERGE
        )

    async def write_status(self, tier: str, status: Json) -> Json:
        """The status as the API server has stored it."""
        wanted = {"apiVersion": API_VERSION, "kind": TIER, "metadata": {"name": tier}, "status": status}
        stored = await self._apply(f"{_path(TIER, tier)}/status", wanted, f"writing the status of Tier '{tier}'")
        written: Json = stored.get("status", {})
        return written

    async def apply_status(self, wanted: Json) -> Json:
        """The status alone, of an object that is there."""
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        return await self._apply(f"{_path(kind, name)}/status", wanted, f"writing the status of {kind} '{name}'")

    async def record(self, tier: str, reason: str, message: str, *, warning: bool) -> None:
        """A Kubernetes Event about the Tier."""
        event = _event(tier, reason, message, warning=warning)
        path = f"/api/v1/namespaces/{_EVENT_NAMESPACE}/events"
        await self._api.call("POST", path, f"recording the event {reason}", body=event)

    async def lease(self, namespace: str, name: str) -> Json | None:
        return await self._api.get(f"{_leases(namespace)}/{name}", f"Lease {namespace}/{name}")

    async def write_lease(self, lease: Json) -> Json:
        """Create it, or replace exactly the version that was read."""
        metadata = lease["metadata"]
        exists = "resourceVersion" in metadata
        path = f"{_leases(metadata['namespace'])}{'/' + metadata['name'] if exists else ''}"
        doing = f"writing Lease {metadata['namespace']}/{metadata['name']}"
        written = await self._api.call("PUT" if exists else "POST", path, doing, body=lease)
        if written is None:
            raise ClusterRefusedError(f"{doing} in cluster '{self.name}': there is no such namespace; create it")
        return written

    async def _apply(self, path: str, wanted: Json, doing: str) -> Json:
        return await objects.apply(self._api, path, wanted, doing, FIELD_MANAGER)


def _path(kind: str, name: str) -> str:
    return f"{ROOT}/{_ALL_PLURALS[kind]}/{name}"


def _leases(namespace: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def _event(tier: str, reason: str, message: str, *, warning: bool) -> Json:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{tier}-", "namespace": _EVENT_NAMESPACE},
        "involvedObject": {"apiVersion": API_VERSION, "kind": TIER, "name": tier},
        "reason": reason,
        "message": message[:1024],
        "type": "Warning" if warning else "Normal",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "source": {"component": FIELD_MANAGER},
    }
