"""Nodes: their kernels, and once the enforcers are there what each says of itself. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bridge.check.snapshot import ClusterSnapshot, Json, labels, names
from bridge.nodes.startup_taint import TAINT
from zones.runtime.findings import Finding, Group, some

GROUP = Group("Nodes")
OLDEST_KERNEL = (5, 13)


def check(snapshot: ClusterSnapshot) -> Iterator[Finding]:
    nodes = snapshot.of("nodes")
    if nodes.problem:
        yield GROUP.unknown(f"the nodes can't be listed: {nodes.problem}", "ask with more rights")
        return
    linux = [item for item in nodes.items if labels(item).get("kubernetes.io/os", "linux") == "linux"]
    yield _kernels(linux)
    if snapshot.installed:
        yield from _states(snapshot, linux)
        yield from _taints(linux)


def _kernels(nodes: list[Json]) -> Finding:
    old = [name for node in nodes for name in names([node]) if (_kernel(node) or OLDEST_KERNEL) < OLDEST_KERNEL]
    unread = [name for node in nodes for name in names([node]) if _kernel(node) is None]
    wanted = f"{OLDEST_KERNEL[0]}.{OLDEST_KERNEL[1]}"
    if old:
        return GROUP.failed(f"{some(old)}: the kernel is older than {wanted}", "upgrade the nodes' image")
    if unread:
        return GROUP.unknown(f"{some(unread)}: the kernel's version can't be read", f"it must be {wanted} or later")
    return GROUP.ok(f"the kernels of all {len(nodes)} nodes are {wanted} or later")


def _kernel(node: Json) -> tuple[int, int] | None:
    version = node.get("status", {}).get("nodeInfo", {}).get("kernelVersion", "")
    match = re.match(r"(\d+)\.(\d+)", version)
    return None if match is None else (int(match[1]), int(match[2]))


def _states(snapshot: ClusterSnapshot, nodes: list[Json]) -> Iterator[Finding]:
    states = snapshot.of("nodestates")
    if states.problem:
        yield GROUP.unknown(f"the NodeStates can't be listed: {states.problem}", "ask with more rights")
        return
    reported = {item["metadata"]["name"]: item.get("status") or {} for item in states.items}
    silent = [name for name in names(nodes) if not reported.get(name)]
    if silent:
        yield GROUP.failed(
            f"{some(silent)}: no enforcer has reported from there",
            f"kubectl -n {snapshot.names.enforcer} get pods -o wide, and the log of the pod there",
        )
    troubled = {name: status["problems"][0] for name, status in reported.items() if status.get("problems")}
    for name in sorted(troubled)[:5]:
        yield GROUP.failed(f"{name}: {troubled[name]}", f"zone-enforcer status on {name} has all of it")
    if len(troubled) > 5:  # noqa: PLR2004
        yield GROUP.failed(f"{len(troubled) - 5} more nodes have problems", "kubectl get nodestates")
    if not silent and not troubled and reported:
        yield GROUP.ok(f"the enforcers of all {len(reported)} nodes report, and none has a problem")
    observing = [name for name, status in reported.items() if status.get("mode") == "observe"]
    if observing:
        yield GROUP.warning(
            f"{some(observing)}: observe, so nothing is denied there", "docs/enforce.md has the second step"
        )


def _taints(nodes: list[Json]) -> Iterator[Finding]:
    tainted = [
        node for node in nodes if any(taint["key"] == TAINT for taint in node.get("spec", {}).get("taints") or ())
    ]
    if tainted:
        yield GROUP.warning(
            f"{some(names(tainted))}: still has the startup taint {TAINT}",
            "its enforcer is not ready yet; once it is, the bridge removes the taint where startupTaint is remove: "
            "docs/install.md. By hand: kubectl taint nodes NODE " + TAINT + "-",
        )
