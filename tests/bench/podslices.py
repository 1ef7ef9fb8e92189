"""`python -m tests.bench.podslices [PODS]`: how long until other nodes know of a pod, without a bridge; JSON lines.

Agents without a kernel, all in this process, against the real API server. Measured from the moment at which the kubelet's word of a
pod's address is taken by the API server until another node's view has it; the pods come one after another, and all at once.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from tests.bridge.population.stage import CRDS, MERGE, Stage
from tests.enforcer.cluster.lightagent import LightAgent, agent
from tests.realkube import RealKube, Unavailable, binaries

RESULTS = Path("build/bench/podslices.jsonl")
PATIENCE = 60.0


def address(number: int) -> tuple[str, str]:
    """A pod's node and address. Nodes in turn, so that each writes."""
    node, at = number % 2 + 1, number // 2 + 1
    return f"n{node}", f"10.1{node}.{at >> 8}.{at & 255}"


async def known(listener: LightAgent, at: str, since: float) -> float:
    async with asyncio.timeout(PATIENCE):
        while not isinstance(listener.knows(at), tuple):
            listener.told.clear()
            await listener.told.wait()
    return time.perf_counter() - since


def make(stage: Stage, number: int, prefix: str) -> tuple[str, str]:
    node, at = address(number)
    name = f"{prefix}{number}"
    metadata = {"name": name, "labels": {"zonebridge.io/zone": "web"}}
    spec = {"nodeName": node, "automountServiceAccountToken": False, "containers": [{"name": "c", "image": "i"}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    stage.ask("POST", "/api/v1/namespaces/shop/pods", json=body)
    return name, at


async def one_by_one(stage: Stage, listener: LightAgent, count: int) -> list[float]:
    times = []
    for number in range(count):
        name, at = await asyncio.to_thread(make, stage, number, "single-")
        await asyncio.sleep(0.15)
        await asyncio.to_thread(stage.status, name, at)
        times.append(await known(listener, at, time.perf_counter()))
    return times


async def together(stage: Stage, listener: LightAgent, first: int, count: int) -> list[float]:
    """The words of all kubelets at once: each is measured from its own."""
    made = [await asyncio.to_thread(make, stage, number, "many-") for number in range(first, first + count)]
    waiting = []
    for name, at in made:
        await asyncio.to_thread(stage.status, name, at)
        waiting.append(asyncio.create_task(known(listener, at, time.perf_counter())))
    return list(await asyncio.gather(*waiting))


async def measure(stage: Stage, count: int) -> dict[str, list[float]]:
    async with AsyncExitStack() as stack:
        speakers = [await stack.enter_async_context(agent(stage.server.kubeconfig, f"n{n}")) for n in (1, 2)]
        listener = await stack.enter_async_context(agent(stage.server.kubeconfig, "elsewhere", speaks=False))
        for each in (listener, *speakers):
            while not each.view.complete:
                each.told.clear()
                await each.told.wait()
        times = {"one by one": await one_by_one(stage, listener, count)}
        return times | {"together": await together(stage, listener, count, count)}


def main(count: int) -> None:
    programs = binaries(may_build=False)
    if isinstance(programs, Unavailable):
        sys.exit(programs.reason)
    with RealKube(programs) as server:
        server.kubectl("apply", "-f", str(CRDS))
        server.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        stage = Stage(server, server.admin_token)
        for number in (1, 2):
            spec = {"podCIDR": f"10.1{number}.0.0/16", "podCIDRs": [f"10.1{number}.0.0/16"]}
            stage.ask("PATCH", f"/api/v1/nodes/n{number}", json={"spec": spec}, headers=MERGE)
        figures = asyncio.run(measure(stage, count))
        stage.close()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w") as results:
        for way, times in figures.items():
            parts = statistics.quantiles(times, n=100)
            for part, value in (("p50", parts[49]), ("p99", parts[98]), ("longest", max(times))):
                told = {
                    "name": f"to another node without a bridge, {count} pods {way}: {part}",
                    "value": round(value * 1000, 1),
                }
                line = json.dumps(told | {"unit": "ms"})
                print(line, flush=True)
                results.write(line + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
