"""Brings a cluster's objects for the checks. Whatever it may not read becomes the reason why something is unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from bridge.check.snapshot import AccessReview, ClusterSnapshot, InstallationNames, Json, ListedObjects
from zones.kube.client import ApiServer
from zones.kube.errors import ClusterError

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
OURS = "/apis/zonebridge.io/v1alpha1"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"
PAGE = "500"


def paths(names: InstallationNames) -> dict[str, str]:
    """What is listed, by the name that checks know it by."""
    return {
        "nodes": "/api/v1/nodes",
        "namespaces": "/api/v1/namespaces",
        "configmaps": "/api/v1/namespaces/kube-system/configmaps",
        "enforcersettings": f"/api/v1/namespaces/{names.enforcer}/configmaps",
        "services": "/api/v1/services",
        "servicecidrs": "/apis/networking.k8s.io/v1/servicecidrs",
        "nodeleases": "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
        "daemonsets": "/apis/apps/v1/daemonsets",
        "deployments": f"/apis/apps/v1/namespaces/{names.bridge}/deployments",
        "events": "/apis/events.k8s.io/v1/events",
        "alerts": "/api/v1/namespaces/default/events",
        "customresourcedefinitions": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "validatingadmissionpolicies": f"{ADMISSION}/validatingadmissionpolicies",
        "validatingadmissionpolicybindings": f"{ADMISSION}/validatingadmissionpolicybindings",
        "tiers": f"{OURS}/tiers",
        "nodestates": f"{OURS}/nodestates",
        "felixconfigurations": "/apis/crd.projectcalico.org/v1/felixconfigurations",
        "installations": "/apis/operator.tigera.io/v1/installations",
    }


SELECTED = {
    "configmaps": {"fieldSelector": "metadata.name=cilium-config"},
    "events": {"fieldSelector": "reason=ZoneWouldDeny"},
    "alerts": {"fieldSelector": "involvedObject.kind=Tier"},
}


async def gather(server: ApiServer, names: InstallationNames, now: float) -> ClusterSnapshot:
    """Raises ClusterError where the API server doesn't even tell its version."""
    version = await server.get("/version", "the version") or {}
    asked = paths(names)
    lists = await asyncio.gather(*(_list(server, path, kind) for kind, path in asked.items()))
    snapshot = ClusterSnapshot(
        names,
        now,
        str(version.get("gitVersion", "")),
        await _resources(server),
        dict(zip(asked, lists, strict=True)),
    )
    return replace(snapshot, access=await _access(server, snapshot))


async def _list(server: ApiServer, path: str, kind: str) -> ListedObjects:
    items: list[Json] = []
    query = {"limit": PAGE, **SELECTED.get(kind, {})}
    try:
        while True:
            page = await server.get(path, kind, query) or {}
            items += page.get("items") or ()
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                return ListedObjects(items)
            query["continue"] = more
    except ClusterError as error:
        return ListedObjects(problem=str(error))


async def _resources(server: ApiServer) -> ListedObjects:
    try:
        resources = await server.get(ADMISSION, "the admission API") or {}
    except ClusterError as error:
        return ListedObjects(problem=str(error))
    return ListedObjects(resources.get("resources") or ())


async def _access(server: ApiServer, snapshot: ClusterSnapshot) -> tuple[AccessReview, ...]:
    return tuple(await asyncio.gather(*(_may(server, who, user, right) for who, user, right in _rights(snapshot))))


def _rights(snapshot: ClusterSnapshot) -> Iterator[tuple[str, str | None, tuple[str, str, str]]]:
    """Who, as whom, and verb, group and resource of what must be allowed."""
    if not snapshot.installed:
        for resource in ("customresourcedefinitions", "clusterroles", "validatingadmissionpolicies", "namespaces"):
            yield "you", None, ("create", _GROUPS[resource], resource)
        return
    yield "you", None, ("override", "zonebridge.io", "tiers")
    bridge = f"system:serviceaccount:{snapshot.names.bridge}:zonebridge"
    enforcer = f"system:serviceaccount:{snapshot.names.enforcer}:zone-enforcer"
    for verb in ("create", "patch"):
        yield "the bridge", bridge, (verb, "zonebridge.io", "tiers")
    for resource in ("pods", "nodes", "namespaces"):
        yield "the bridge", bridge, ("watch", "", resource)
        yield "the enforcers", enforcer, ("watch", "", resource)
    for resource in ("tiers", "policychunks", "addresssets", "podslices"):
        yield "the enforcers", enforcer, ("watch", "zonebridge.io", resource)
    yield "the enforcers", enforcer, ("create", "zonebridge.io", "nodestates")


_GROUPS = {
    "customresourcedefinitions": "apiextensions.k8s.io",
    "clusterroles": "rbac.authorization.k8s.io",
    "validatingadmissionpolicies": "admissionregistration.k8s.io",
    "namespaces": "",
}


async def _may(server: ApiServer, who: str, user: str | None, right: tuple[str, str, str]) -> AccessReview:
    verb, group, resource = right
    may = f"{verb} {resource}"
    spec: Json = {"resourceAttributes": {"verb": verb, "group": group, "resource": resource}}
    kind = "selfsubjectaccessreviews" if user is None else "subjectaccessreviews"
    if user is not None:
        _, _, namespace, _ = user.split(":")
        spec |= {"user": user, "groups": ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]}
    try:
        answer = await server.call(
            "POST", f"{AUTHORIZATION}/{kind}", f"asking whether {who} may {may}", body={"spec": spec}
        )
    except ClusterError:
        return AccessReview(who, may, None)
    return AccessReview(who, may, bool(answer and answer.get("status", {}).get("allowed")))
