"""Takes the rules out of every node's kernel: the enforcers' DaemonSet is told to flush instead of run, and waited for.

It changes only what an upgrade sets back: the arguments of its container, and how many pods are replaced at once.
Nothing else of the installation is removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from bridge.errors import RemovalError
from zones.kube.client import ApiServer
from zones.kube.errors import ClusterUnreachableError

Json = dict[str, Any]
DAEMON_SET = "zone-enforcer"
CONTAINER = "enforcer"
FLUSH = ("flush", "--yes")
STRATEGIC = "application/strategic-merge-patch+json"
_LOOK_EVERY = 1.0
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class FlushProgress:
    """`flushed`, `waiting`: names of nodes. `wanted`: how many nodes have an enforcer."""

    wanted: int
    flushed: frozenset[str]
    waiting: frozenset[str]

    @property
    def done(self) -> bool:
        return len(self.flushed) >= self.wanted

    def __str__(self) -> str:
        return f"{len(self.flushed)} of {self.wanted} nodes have no rules any more"


async def flush_nodes(server: ApiServer, namespace: str, patience: float, tell: Callable[[str], None]) -> FlushProgress:
    """Until every node with an enforcer is free of rules. Raises ClusterError; RemovalError names nodes that aren't."""
    path = f"/apis/apps/v1/namespaces/{namespace}/daemonsets/{DAEMON_SET}"
    doing = f"telling the enforcers of namespace '{namespace}' to flush"
    changed = await server.call("PATCH", path, doing, body=_patch(), content_type=STRATEGIC)
    if changed is None:
        raise RemovalError(f"{doing}: there is no DaemonSet '{DAEMON_SET}'; name its namespace with --namespace")
    generation = changed["metadata"]["generation"]
    deadline = asyncio.get_running_loop().time() + patience
    before = ""
    while True:
        progress = await _progress(server, path, namespace, generation)
        if progress is not None and str(progress) != before:
            before = str(progress)
            tell(before)
        if progress is not None and progress.done:
            return progress
        if asyncio.get_running_loop().time() > deadline:
            raise RemovalError(_too_long(progress, patience))
        await asyncio.sleep(_LOOK_EVERY)


def _patch() -> Json:
    container = {"name": CONTAINER, "args": list(FLUSH)}
    return {
        "spec": {
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {"spec": {"containers": [container]}},
        }
    }


async def _progress(server: ApiServer, path: str, namespace: str, generation: int) -> FlushProgress | None:
    """None while the cluster has not looked at the change yet, or doesn't answer."""
    query = {"labelSelector": f"app.kubernetes.io/name={DAEMON_SET}"}
    try:
        live = await server.get(path, "the enforcers' DaemonSet") or {}
        listed = await server.get(f"/api/v1/namespaces/{namespace}/pods", "the enforcers' pods", query) or {}
    except ClusterUnreachableError:
        return None
    status = live.get("status") or {}
    if status.get("observedGeneration", 0) < generation:
        return None
    return progress_of(status.get("desiredNumberScheduled", 0), listed.get("items") or ())


def progress_of(wanted: int, pods: Iterable[Json]) -> FlushProgress:
    """A node is flushed once a container with the new arguments has ended there with 0."""
    flushed: set[str] = set()
    running: set[str] = set()
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if node is None:
            continue
        running.add(node)
        arguments = tuple(pod["spec"]["containers"][0].get("args") or ())
        if arguments == FLUSH and 0 in _exit_codes(pod):
            flushed.add(node)
    return FlushProgress(wanted, frozenset(flushed), frozenset(running - flushed))


def _exit_codes(pod: Json) -> Iterable[int]:
    for container_status in (pod.get("status") or {}).get("containerStatuses") or ():
        for state in (container_status.get("state"), container_status.get("lastState")):
            if state and state.get("terminated"):
                yield state["terminated"]["exitCode"]


def _too_long(progress: FlushProgress | None, patience: float) -> str:
    if progress is None:
        return f"removing the rules: the cluster did not begin within {patience:g} s; look at its controller manager"
    names = sorted(progress.waiting)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    missing = progress.wanted - len(progress.flushed) - len(names)
    without = f"; {missing} nodes have no pod yet" if missing > 0 else ""
    return (
        f"removing the rules: {progress} after {patience:g} s, "
        f"but not {', '.join(names[:_MOST_NAMED])}{more}{without}; "
        "look at the enforcers' pods there, or run zone-enforcer flush --yes on those nodes"
    )
