"""`python -m tests.bench.population`: what a node knows of the cluster's pods, in memory and time; JSON lines.

Each part is measured in a process of its own. `latency` goes through the API server in small, on loopback; the others
through none.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from bridge.population import Population, PopulationTerms, Publishing
from bridge.population.assignment import Assignment
from bridge.population.picture import FollowedKind as BridgeKind
from enforcer.cluster.view import ObjectPage, View, WatchedKind, WatchedObject, selectors
from enforcer.cluster.watch import PAGE_OF_OURS, Cluster
from mocks.kubernetes import KubernetesServer
from zones.addresses.inventory import Pod
from zones.kube.client import ApiServer, ClusterAccess
from zones.kube.watch import Changed as BridgeChanged
from zones.kube.watch import Listed as BridgeListed
from zones.net import IPNetwork, parse_address
from zones.tiers import slices
from zones.zone import ENTITLEMENT_ANNOTATION, Zoning

RESULTS = Path("build/bench/population.jsonl")
SIZES = (1_000, 150_000)
PODS_A_NODE = 100
WORKLOADS, NAMESPACES, ZONES = 4_000, 400, 40
CHANGES = 2_000
KEY = "zonebridge.io/zone"
CRDS = Path(__file__).parents[2] / "config" / "crd"
UNITS = {
    "memory": "MB",
    "bytes an address": "B",
    "one change p50": "ms",
    "one change p99": "ms",
    "peak above": "MB",
} | {f"to another node p{part}": "ms" for part in (50, 99)}


def network(node: int) -> IPNetwork:
    return ip_network(((10 << 24) + (node << 8), 24))


def pod(number: int, zone: int) -> Pod:
    node, at = divmod(number, PODS_A_NODE)
    workload = number * 7919 % WORKLOADS
    name = f"service-{workload:04d}-6c9f7d8b5-{number:06x}"[-40:]
    labels = {KEY: f"zone-{zone}"}
    uid = f"{number:08x}-1111-4222-8333-444444444444"
    address = network(node)[at + 2]
    namespace = f"team-{workload % NAMESPACES}"
    return Pod(uid, namespace, name, f"node-{node}", "Running", (address,), labels, f"service-{workload:04d}")


def sliced(node: int, shift: int = 0) -> dict[str, Any]:
    pods = [pod(node * PODS_A_NODE + at, (node * PODS_A_NODE + at) % ZONES) for at in range(PODS_A_NODE)]
    if shift:
        pods[shift % PODS_A_NODE] = pod(node * PODS_A_NODE + shift % PODS_A_NODE, (shift + 1) % ZONES)
    return slices.render("panorama", slices.name_of("panorama", f"node-{node}", 0), f"node-{node}", pods, [KEY])


def raw_node(node: int) -> dict[str, Any]:
    return {
        "metadata": {"uid": f"node-{node}", "name": f"node-{node}"},
        "spec": {"podCIDRs": [str(network(node))]},
        "status": {"addresses": [{"type": "InternalIP", "address": f"172.16.{node >> 8}.{node & 255}"}]},
    }


def raw_namespace(number: int) -> dict[str, Any]:
    name = f"team-{number}"
    return {"metadata": {"uid": name, "name": name, "annotations": {ENTITLEMENT_ANNOTATION: "*"}}}


def pages(nodes: int) -> Iterator[bytes]:
    """The list of slices as it comes from the API server, a page at a time."""
    for start in range(0, nodes, PAGE_OF_OURS):
        page = range(start, min(start + PAGE_OF_OURS, nodes))
        yield json.dumps({"items": [sliced(node) for node in page]}).encode()


def resident() -> float:
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


def enforcer(count: int) -> dict[str, float]:
    """The view of a node that runs none of these pods."""
    nodes = count // PODS_A_NODE
    view = View("panorama", node="elsewhere")
    view.fold(ObjectPage(WatchedKind.NAMESPACES, [raw_namespace(number) for number in range(NAMESPACES)]))
    view.fold(ObjectPage(WatchedKind.NODES, [raw_node(node) for node in range(nodes)]))
    gc.collect()
    before, spent, first = resident(), 0.0, True
    for page in pages(nodes):
        started = time.perf_counter()
        view.fold(ObjectPage(WatchedKind.SLICES, json.loads(page)["items"], first, last=False))
        spent += time.perf_counter() - started
        first = False
    view.fold(ObjectPage(WatchedKind.SLICES, [], first=False))
    changed = len(view.holders.take_changed())
    gc.collect()
    held = resident() - before
    started = time.perf_counter()
    known = len(view.holders.snapshot())
    snapshot = time.perf_counter() - started
    assert known == changed == count + nodes, (known, changed)
    peak = resident() - before - held
    times = list(_changes(view, nodes))
    return {
        "memory": held,
        "bytes an address": held * 2**20 / count,
        "peak above": peak,
        "first list": spent,
        "snapshot": snapshot,
        "one change p50": statistics.median(times) * 1000,
        "one change p99": statistics.quantiles(times, n=100)[98] * 1000,
    }


def _changes(view: View, nodes: int) -> Iterator[float]:
    """A pod gets another zone: its slice comes, and what the kernel must be told is asked for."""
    chance = random.Random(1)
    for shift in range(1, CHANGES):
        raw = sliced(chance.randrange(nodes), shift)
        started = time.perf_counter()
        view.fold(WatchedObject(WatchedKind.SLICES, raw))
        view.holders.take_changed()
        yield time.perf_counter() - started


def raw_pod(number: int, zone: int) -> dict[str, Any]:
    item = pod(number, zone)
    owner = {"kind": "StatefulSet", "name": item.workload, "controller": True}
    metadata = {"uid": item.uid, "namespace": item.namespace, "name": item.name, "labels": dict(item.labels)}
    return {
        "metadata": metadata | {"ownerReferences": [owner]},
        "spec": {"nodeName": item.node},
        "status": {"phase": "Running", "podIPs": [{"ip": str(item.addresses[0])}]},
    }


def bridge(count: int) -> dict[str, float]:
    """The leader's picture, and which slices it makes of it."""
    nodes = count // PODS_A_NODE
    population, assignment = Population(Zoning()), Assignment("panorama", [KEY])
    gc.collect()
    before, started = resident(), time.perf_counter()
    population.fold(BridgeKind.NAMESPACES, BridgeListed([raw_namespace(number) for number in range(NAMESPACES)]))
    population.fold(BridgeKind.NODES, BridgeListed([raw_node(node) for node in range(nodes)]))
    for number in range(count):
        _take(population, assignment, raw_pod(number, number % ZONES))
    spent = time.perf_counter() - started
    gc.collect()
    held = resident() - before
    times = []
    for shift in range(1, CHANGES):
        number = shift * 104_729 % count
        raw = raw_pod(number, (number + shift) % ZONES)
        started = time.perf_counter()
        for name in _take(population, assignment, raw):
            json.dumps(assignment.render(name))
        times.append(time.perf_counter() - started)
    return {
        "memory": held,
        "first list": spent,
        "one change p50": statistics.median(times) * 1000,
        "one change p99": statistics.quantiles(times, n=100)[98] * 1000,
    }


def _take(population: Population, assignment: Assignment, raw: dict[str, Any]) -> set[str]:
    touched: set[str] = set()
    for move in population.fold(BridgeKind.PODS, BridgeChanged(raw)):
        before, after = (None if member is None else member.pod for member in (move.before, move.after))
        touched.update(assignment.change(before, after))
    return touched


def latency(count: int) -> dict[str, float]:
    """From a kubelet's word that a pod has its address to a view on another node, the pods one after another."""
    with KubernetesServer() as server:
        server.install(sorted(CRDS.glob("zonebridge.io_*.yaml")))
        for node in range(10):
            server.create({"apiVersion": "v1", "kind": "Node"} | raw_node(node))
        for number in range(NAMESPACES):
            server.create({"apiVersion": "v1", "kind": "Namespace"} | raw_namespace(number))
        times = asyncio.run(_travel(server, count))
    return {
        "to another node p50": statistics.median(times) * 1000,
        "to another node p99": statistics.quantiles(times, n=100)[98] * 1000,
    }


async def _travel(server: KubernetesServer, count: int) -> list[float]:
    view, told = View("panorama", node="elsewhere"), asyncio.Event()
    publishing = Publishing(ApiServer(ClusterAccess("bench", server.kubeconfig)), PopulationTerms("panorama", Zoning()))
    cluster = await Cluster.connect(server.kubeconfig, selectors("elsewhere", "panorama"))

    async def follow(kind: WatchedKind) -> None:
        async for change in cluster.changes(kind):
            view.fold(change)
            told.set()

    tasks = [
        asyncio.create_task(follow(kind)) for kind in (WatchedKind.SLICES, WatchedKind.NODES, WatchedKind.NAMESPACES)
    ]
    tasks.append(asyncio.create_task(publishing.run()))
    try:
        return [await _one(server, view, told, raw_pod(number, number % ZONES)) for number in range(count)]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await publishing.close()
        await cluster.close()


async def _one(server: KubernetesServer, view: View, told: asyncio.Event, raw: dict[str, Any]) -> float:
    raw = {"apiVersion": "v1", "kind": "Pod"} | raw
    raw["spec"] |= {"containers": [{"name": "c", "image": "i"}]}
    raw["metadata"] = {key: value for key, value in raw["metadata"].items() if key != "ownerReferences"}
    await asyncio.to_thread(server.create, raw)
    await asyncio.sleep(0.2)  # alone, not with the one before
    address = parse_address(raw["status"]["podIPs"][0]["ip"])
    started = time.perf_counter()
    await asyncio.to_thread(server.set_status, raw)
    while not isinstance(view.holders.of(address), Pod):
        told.clear()
        await told.wait()
    return time.perf_counter() - started


def main() -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w") as results:
        for part, size in [(part, size) for size in SIZES for part in ("enforcer", "bridge")] + [("latency", 100)]:
            command = [sys.executable, "-m", "tests.bench.population", part, str(size)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            for figure, value in json.loads(done.stdout.splitlines()[-1]).items():
                told = {"name": f"{part}, {size} pods: {figure}", "value": round(value, 3)}
                line = json.dumps(told | {"unit": UNITS.get(figure, "s")})
                print(line, flush=True)
                results.write(line + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"enforcer": enforcer, "bridge": bridge, "latency": latency}[sys.argv[1]](int(sys.argv[2]))))
    else:
        main()
