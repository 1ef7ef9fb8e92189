"""Asking for a quarantine in a cluster, and ending one, as whoever the kubeconfig says; and the budget for that.

Enforcers read the objects themselves. `bridge.commands.quarantine` asks; admission says who may.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from zones import decode
from zones.addresses.inventory import Pod
from zones.canonical import Json
from zones.kube.api import MERGE, METADATA, Api
from zones.kube.errors import ClusterRefusedError
from zones.net import IPAddress
from zones.runtime.errors import InputError
from zones.tiers import quarantines
from zones.tiers.native import API_VERSION
from zones.tiers.quarantines import EXEMPT, Quarantine

_ROOT = f"/apis/{API_VERSION}/{quarantines.PLURAL}"
_PAGE = "500"
IN_FORCE = "in force"


@dataclass(frozen=True, slots=True)
class QuarantineBudget:
    """How much may be cut off without a second person, in percent: of a workload's pods, and of the cluster's.

    One pod is always within it.
    """

    workload: int = 50
    cluster: int = 10

    def exceeded(self, cut_of_workload: int, of_workload: int, cut: int, pods: int) -> str:
        """Why so many are beyond it; empty where they aren't. The first two are of a workload."""
        if cut_of_workload > max(1, of_workload * self.workload // 100):
            return f"{cut_of_workload} of {of_workload} pods of the workload, and the budget is {self.workload} %"
        if cut > max(1, pods * self.cluster // 100):
            return f"{cut} of {pods} pods of the cluster, and the budget is {self.cluster} %"
        return ""


@dataclass(frozen=True, slots=True)
class Subject:
    """`pod/NS/NAME` or `workload/NS/NAME`. `uid`: of the pod that is meant; empty for whichever has the name now."""

    kind: str
    namespace: str
    name: str
    uid: str = ""

    @classmethod
    def parse(cls, text: str) -> Subject:
        """Raises InputError."""
        kind, _, rest = text.partition("/")
        namespace, _, name = rest.partition("/")
        if kind not in {"pod", "workload"} or not namespace or not name or "/" in name:
            raise InputError(f"'{text}' is neither pod/NAMESPACE/NAME nor workload/NAMESPACE/NAME")
        return cls(kind, namespace, name)


class QuarantineClient:
    """Of one cluster."""

    def __init__(self, server: Api, budget: QuarantineBudget | None = None) -> None:
        self._server = server
        self._budget = budget or QuarantineBudget()

    async def add(self, subject: Subject, asked: Quarantine, now: float) -> Quarantine:
        """Made, in the caller's name unless `asked` has one; it waits for an approval where it is beyond the budget.

        `asked`: why, for how long. `now`: seconds since the epoch. Raises InputError where there is nobody to cut off.
        """
        if subject.namespace in EXEMPT:
            raise InputError(f"pods of {subject.namespace} are exempt from quarantine: the cluster depends on them")
        pods = await self._pods(subject.namespace)
        name, requested_by = asked.name or _name_of(subject.name), asked.requested_by or await self._who()
        created = replace(_naming(subject, pods, asked), name=name, requested_by=requested_by)
        created = replace(created, held="" if created.dry_run else await self._beyond(created, pods, now))
        raw = await self._server.call(
            "POST", _ROOT, f"creating Quarantine '{created.name}'", body=quarantines.render(created)
        )
        if raw is None:
            raise ClusterRefusedError("creating a Quarantine: the cluster doesn't know the kind; install config/crd")
        return created

    async def all(self) -> list[Quarantine]:
        """Those that can be read, the oldest first."""
        parsed = [quarantines.parse(raw) for raw in await self._list(_ROOT, "Quarantines")]
        return sorted(
            (quarantine for quarantine in parsed if isinstance(quarantine, Quarantine)),
            key=lambda quarantine: quarantine.created or 0.0,
        )

    async def get(self, name: str) -> Quarantine:
        """Raises InputError where there is none."""
        raw = await self._server.get(_path(name), f"Quarantine '{name}'")
        parsed = None if raw is None else quarantines.parse(raw)
        if not isinstance(parsed, Quarantine):
            raise InputError(f"there is no Quarantine '{name}'; `zonebridge quarantine list` has those that there are")
        return parsed

    async def pod_at(self, address: IPAddress) -> Subject:
        """The one pod that has an address. Raises InputError where there is none, or more than one.

        The API server finds a pod by its first address alone: for a second one all pods are gone through.
        """
        fields = {"fieldSelector": f"status.podIP={address}"}
        raw = await self._list("/api/v1/pods", "pods", fields) or await self._list("/api/v1/pods", "pods")
        pods = [pod for pod in _decoded(raw) if address in pod.addresses]
        if len(pods) != 1:
            how = "no running pod has" if not pods else f"{len(pods)} running pods claim"
            raise InputError(f"{how} the address {address} for its own: name the pod")
        return Subject("pod", pods[0].namespace, pods[0].name, pods[0].uid)

    async def close(self) -> None:
        await self._server.close()

    async def release(self, name: str) -> None:
        """Raises InputError where there is none."""
        if await self._server.call("DELETE", _path(name), f"deleting Quarantine '{name}'") is None:
            raise InputError(f"there is no Quarantine '{name}'; `zonebridge quarantine list` has those that there are")

    async def approve(self, name: str) -> None:
        """In the caller's name. Raises InputError where there is none, or none that waits."""
        if not (await self.get(name)).waits:
            raise InputError(f"Quarantine '{name}' waits for no approval")
        body = {"spec": {"approvedBy": await self._who()}}
        await self._server.call("PATCH", _path(name), f"approving '{name}'", body=body, content_type=MERGE)

    async def _beyond(self, created: Quarantine, pods: Sequence[Pod], now: float) -> str:
        others = [quarantine for quarantine in await self.all() if quarantine.cuts and not is_over(quarantine, now)]
        theirs = [pod for pod in pods if pod.workload == _workload_of(created, pods)]
        cut = {pod.uid for pod in theirs if any(_names(quarantine, pod) for quarantine in (*others, created))}
        elsewhere = 0
        for namespace in {other.namespace for other in others}:
            known = pods if namespace == created.namespace else await self._pods(namespace)
            cut_pods = (pod for pod in known if any(_names(other, pod) for other in others))
            elsewhere += sum(1 for pod in cut_pods if pod.uid not in cut)
        return self._budget.exceeded(len(cut), len(theirs), len(cut) + elsewhere, await self._count())

    async def _pods(self, namespace: str) -> list[Pod]:
        """Those that run and have an address of their own."""
        raw = await self._list(f"/api/v1/namespaces/{quote(namespace, safe='')}/pods", f"pods of {namespace}")
        return _decoded(raw)

    async def _count(self) -> int:
        """How many pods the cluster has, finished ones too."""
        query = {"limit": "1"}
        page = await self._server.call("GET", "/api/v1/pods", "counting pods", query=query, accept=METADATA) or {}
        return len(page.get("items") or ()) + int((page.get("metadata") or {}).get("remainingItemCount") or 0)

    async def _list(self, path: str, what: str, fields: Mapping[str, str] | None = None) -> list[Json]:
        items: list[Json] = []
        more: dict[str, str] = {}
        while True:
            page = await self._server.get(path, what, {"limit": _PAGE, **(fields or {}), **more})
            if page is None:
                raise ClusterRefusedError(f"reading {what}: the cluster doesn't know the kind; install config/crd")
            items += page.get("items") or ()
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return items
            more = {"continue": token}

    async def _who(self) -> str:
        """As whom the API server knows us."""
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await self._server.call("POST", path, "asking who we are", body=body) or {}
        return str(((answer.get("status") or {}).get("userInfo") or {}).get("username", ""))


def is_over(quarantine: Quarantine, now: float) -> bool:
    """By this machine's clock: for people. The enforcers have their own."""
    return quarantine.created is not None and now >= quarantine.created + quarantine.seconds


def state_of(quarantine: Quarantine, now: float) -> str:
    """For people: what it does at this moment."""
    if is_over(quarantine, now):
        return "over"
    if quarantine.waits:
        return "held"
    return "dry run" if quarantine.dry_run else "exempt" if quarantine.exempt else IN_FORCE


def names(quarantine: Quarantine, pod: Json) -> bool:
    """Whether it is about a pod, as the API server has that."""
    metadata = pod["metadata"]
    return quarantine.names(metadata["namespace"], metadata["name"], metadata.get("uid", ""), decode.workload(metadata))


def _naming(subject: Subject, pods: Sequence[Pod], asked: Quarantine) -> Quarantine:
    """With the pod's uid, or the workload. Raises InputError where no such pod runs."""
    if subject.kind == "workload":
        if not any(pod.workload == subject.name for pod in pods):
            known = ", ".join(sorted({pod.workload for pod in pods})[:10]) or "none"
            message = f"no pod of a workload '{subject.name}' runs in namespace '{subject.namespace}'"
            raise InputError(f"{message}; there are: {known}")
        return replace(asked, namespace=subject.namespace, workload=subject.name)
    pod = next((pod for pod in pods if pod.name == subject.name), None)
    if pod is not None and subject.uid not in {"", pod.uid}:
        raise InputError(f"{subject.namespace}/{subject.name} is another pod by now: its uid is {pod.uid}")
    if pod is None:
        raise InputError(
            f"no pod {subject.namespace}/{subject.name} runs with an address of its own; "
            "pods on their node's network can't be cut off"
        )
    return replace(asked, namespace=pod.namespace, pod=pod.name, pod_uid=pod.uid)


def _workload_of(created: Quarantine, pods: Sequence[Pod]) -> str:
    return created.workload or next(pod.workload for pod in pods if pod.uid == created.pod_uid)


def _names(quarantine: Quarantine, pod: Pod) -> bool:
    return quarantine.names(pod.namespace, pod.name, pod.uid, pod.workload)


def _decoded(raw: Sequence[Json]) -> list[Pod]:
    """Those that run and have an address of their own."""
    pods = (decode.pod(item).item for item in raw)
    return [pod for pod in pods if isinstance(pod, Pod) and pod.holds_addresses and pod.addresses]


def _name_of(subject: str) -> str:
    return f"{subject[:60].rstrip('.-')}-{secrets.token_hex(3)}"


def _path(name: str) -> str:
    return f"{_ROOT}/{quote(name, safe='')}"
