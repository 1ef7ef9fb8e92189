"""Reads a cluster for the checks. What may not be read is the reason why something is unknown. No Secret is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.posture import decode
from bridge.posture.snapshot import Input, InputList, PostureSnapshot, PostureTerms
from zones.canonical import Json
from zones.kube.api import Api
from zones.kube.errors import ClusterError, ClusterMissingError
from zones.kube.objects import Source, read_all

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_ADMISSION = "/apis/admissionregistration.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class ListReading:
    """Where a list is, and what becomes of each object. `optional`: a cluster may lack the kind, and then has none."""

    path: str
    decode: Callable[[Json], Any]
    optional: bool = False
    query: Mapping[str, str] | None = None

    def source(self, kind: Input) -> Source:
        return Source(self.path, kind.value, self.query or {})


READINGS: Mapping[Input, ListReading] = {
    Input.CLUSTER_ROLES: ListReading(f"{_RBAC}/clusterroles", decode.cluster_role),
    Input.ROLES: ListReading(f"{_RBAC}/roles", decode.role),
    Input.CLUSTER_ROLE_BINDINGS: ListReading(f"{_RBAC}/clusterrolebindings", decode.cluster_role_binding),
    Input.ROLE_BINDINGS: ListReading(f"{_RBAC}/rolebindings", decode.role_binding),
    Input.NAMESPACES: ListReading("/api/v1/namespaces", decode.namespace),
    Input.PODS: ListReading("/api/v1/pods", decode.pod),
    Input.SERVICE_ACCOUNTS: ListReading("/api/v1/serviceaccounts", decode.service_account),
    Input.NETWORK_POLICIES: ListReading("/apis/networking.k8s.io/v1/networkpolicies", decode.network_policy),
    Input.WEBHOOKS: ListReading(f"{_ADMISSION}/validatingwebhookconfigurations", decode.webhooks),
    Input.ADMISSION_POLICIES: ListReading(f"{_ADMISSION}/validatingadmissionpolicies", decode.admission_policy),
    Input.ADMISSION_BINDINGS: ListReading(f"{_ADMISSION}/validatingadmissionpolicybindings", decode.admission_binding),
    Input.NODES: ListReading("/api/v1/nodes", decode.node),
    Input.SERVICES: ListReading("/api/v1/services", decode.service),
    # One object, by its name: a right to read this one is enough.
    Input.PROXY: ListReading(
        "/api/v1/namespaces/kube-system/configmaps",
        decode.kube_proxy,
        query={"fieldSelector": "metadata.name=kube-proxy"},
    ),
    Input.ENFORCERS: ListReading("/apis/zonebridge.io/v1alpha1/nodestates", decode.enforcer, optional=True),
}


async def gather(api: Api, terms: PostureTerms) -> PostureSnapshot:
    """Never raises for what may not be read."""
    lists = await asyncio.gather(*(_read(api, kind, reading) for kind, reading in READINGS.items()))
    return snapshot_of(dict(zip(READINGS, lists, strict=True)), terms)


def snapshot_of(lists: Mapping[Input, InputList[Any]], terms: PostureTerms) -> PostureSnapshot:
    return PostureSnapshot(**{kind.name.lower(): listed for kind, listed in lists.items()}, terms=terms)


async def _read(api: Api, kind: Input, reading: ListReading) -> InputList[Any]:
    try:
        return decoded(await read_all(api, reading.source(kind)), reading)
    except ClusterMissingError as error:
        return InputList() if reading.optional else InputList(problem=str(error))
    except ClusterError as error:
        return InputList(problem=str(error))


def decoded(raws: Collection[Json], reading: ListReading) -> InputList[Any]:
    """One that can't be read hides the list: who knows what it says."""
    try:
        return InputList([reading.decode(raw) for raw in raws])
    except decode.UnreadableObjectError as error:
        return InputList(problem=str(error))
