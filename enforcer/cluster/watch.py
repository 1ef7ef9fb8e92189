"""The one door to Kubernetes: what a node follows there, page by page; this node's NodeState, PodSlices and Events."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path

from enforcer.cluster.view import Change, ObjectPage, WatchedKind, WatchedObject
from zones.canonical import Json
from zones.kube import objects, watch
from zones.kube.api import MERGE
from zones.kube.client import SLOW_SECONDS, ApiServer, ClusterAccess
from zones.kube.errors import ClusterMissingError, ClusterRefusedError, CredentialsError
from zones.kube.objects import Source
from zones.kube.watch import Watch
from zones.runtime.backoff import Backoff
from zones.runtime.errors import InputError
from zones.tiers.native import API_VERSION

# A page is held whole, and objects of ours are long; whoever may make pods may make long ones.
PAGE, PAGE_OF_OURS = 100, 20
PAGE_BYTES = 4 * 2**20
_LONG = frozenset({WatchedKind.SLICES, WatchedKind.CHUNKS, WatchedKind.SETS})
_SECONDS = 60.0
_FIELD_MANAGER = "zone-enforcer"
_STATES = f"/apis/{API_VERSION}/nodestates"
# A cluster whose bridge is older has none of these; a node's own pods are enforced without them.
_MAY_BE_MISSING = {
    WatchedKind.SLICES: "pods of other nodes are not known, and so outside",
    WatchedKind.QUARANTINES: "quarantines are not known, but those that were before",
}


class Cluster:
    """A connection to one API server. `chosen`: what is asked for of a kind, as selectors; all of the others."""

    def __init__(
        self, api: ApiServer, chosen: Mapping[WatchedKind, Mapping[str, str]], backoff: Backoff | None = None
    ) -> None:
        self._api = api
        self._chosen = chosen
        self._backoff = backoff
        self._watches: dict[WatchedKind, Watch] = {}

    @classmethod
    async def connect(
        cls, kubeconfig: Path | None, chosen: Mapping[WatchedKind, Mapping[str, str]] | None = None
    ) -> Cluster:
        """By a kubeconfig file, or by the pod's own service account. Raises InputError."""
        api = ApiServer(ClusterAccess(kubeconfig=kubeconfig, timeout=_SECONDS))
        try:
            await api.open()
        except CredentialsError as error:
            raise InputError(str(error)) from error
        return cls(api, chosen or {})

    async def close(self) -> None:
        await self._api.close()

    @property
    def problem(self) -> str:
        """Which kinds the API server isn't heard of, and what it leaves without an answer; empty where all is well."""
        now = time.monotonic()
        troubles = {kind.name.lower(): watch.trouble_at(now) for kind, watch in self._watches.items()}
        silent = sorted(kind for kind, trouble in troubles.items() if trouble)
        reasons = "; ".join(dict.fromkeys(troubles[kind] for kind in silent))
        old = f"what is known of {', '.join(silent)} may be old: {reasons}" if silent else ""
        slow = ", ".join(self._api.unanswered)
        unanswered = f"the API server has not answered for {SLOW_SECONDS:g} s: {slow}" if slow else ""
        return "; ".join(filter(None, [old, unanswered]))

    async def changes(self, kind: WatchedKind, heard: Callable[[], None] = lambda: None) -> AsyncIterator[Change]:
        """The whole list, then every change, for ever. Trouble is waited out, and told once for each kind of it.

        `heard` is called whenever the API server has answered for this kind, changes or not.
        """
        followed = self._watches[kind] = Watch(self._api, self._source(kind), self._backoff, heard)
        while True:
            try:
                async with aclosing(followed.changes()) as changes:
                    async for change in changes:
                        yield _of_kind(kind, change)
            except ClusterRefusedError as error:
                if kind in _MAY_BE_MISSING and not followed.listed and not isinstance(error, CredentialsError):
                    heard()
                    yield ObjectPage(kind, (), problem=f"{_MAY_BE_MISSING[kind]}: {error}")
                await followed.wait(error)

    async def list(self, kind: WatchedKind) -> AsyncGenerator[ObjectPage]:
        """All objects of a kind, once, page by page. Raises ClusterError."""
        async with aclosing(objects.pages(self._api, self._source(kind))) as pages:
            async for page in pages:
                yield ObjectPage(kind, page.items, page.first, page.last, at=page.at)

    def _source(self, kind: WatchedKind) -> Source:
        page = PAGE_OF_OURS if kind in _LONG else PAGE
        return Source(kind.value, kind.value, self._chosen.get(kind, {}), page, PAGE_BYTES)

    async def report(self, node: str, status: Json) -> None:
        """Write this node's NodeState, making it where it isn't there yet."""
        if await self._write_status(node, status):
            return
        metadata = {"name": node, "ownerReferences": await self._owners(node)}
        state = {"apiVersion": API_VERSION, "kind": "NodeState", "metadata": metadata, "spec": {}}
        await self._api.call("POST", _STATES, f"making {_STATES}/{node}", body=state)
        if not await self._write_status(node, status):
            raise ClusterMissingError(
                f"writing {_STATES}/{node}: it is not there; install the custom resource definitions"
            )

    async def _write_status(self, node: str, status: Json) -> bool:
        """Whether it is there."""
        path, body = f"{_STATES}/{node}/status", {"status": status}
        return await self._api.call("PATCH", path, f"writing {path}", body=body, content_type=MERGE) is not None

    async def _owners(self, node: str) -> tuple[Json, ...]:
        """The Node, with which its state is to go away."""
        path = f"{WatchedKind.NODES.value}/{node}"
        current = await self._api.get(path, path)
        uid = ((current or {}).get("metadata") or {}).get("uid")
        if uid is None:
            raise ClusterMissingError(f"making {_STATES}/{node}: there is no {path}")
        return ({"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid},)

    async def put_slice(self, name: str, body: Json | None) -> Json:
        """Write a PodSlice of this node, or delete it. Returns it as the API server has it now."""
        path = f"{WatchedKind.SLICES.value}/{name}"
        if body is None:
            await self._api.call("DELETE", path, f"deleting {path}")
            return {}
        return await objects.apply(self._api, path, body, f"writing {path}", _FIELD_MANAGER, strict=False)

    async def post(self, event: Json) -> None:
        """Write a Kubernetes Event, or what has become of it: applied by its name, it may be written again."""
        namespace, name = event["metadata"]["namespace"], event["metadata"]["name"]
        path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events/{name}"
        await objects.apply(self._api, path, event, f"writing {path}", _FIELD_MANAGER, strict=False)


def _of_kind(kind: WatchedKind, change: watch.Change) -> Change:
    if isinstance(change, watch.Changed):
        return WatchedObject(kind, change.raw, gone=change.gone)
    return ObjectPage(kind, change.objects, change.first, change.last, at=change.at)
