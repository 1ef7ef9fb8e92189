"""Reads all pods of an API server as an agent does, or as the bridge; says how many, and how much memory it took at most.

`python -m tests.enforcer.cluster.fatreader agent|bridge KUBECONFIG`: a process of its own, whose memory nobody else grows.
"""

import asyncio
import json
import sys
from pathlib import Path

from bridge.population import picture
from enforcer.cluster import view
from enforcer.cluster.watch import Cluster
from zones.kube import watch
from zones.kube.client import ApiServer, ClusterAccess
from zones.kube.objects import Source
from zones.zone import Zoning


def most():
    """The most memory that this process has ever had, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


async def as_agent(kubeconfig):
    cluster = await Cluster.connect(kubeconfig, view.selectors("n1", "panorama"))
    seen = view.View("panorama", (), "n1")
    try:
        async for change in cluster.changes(view.WatchedKind.PODS):
            seen.fold(change)
            if isinstance(change, view.ObjectPage) and change.last:
                return seen.count(view.WatchedKind.PODS)
    finally:
        await cluster.close()


async def as_bridge(kubeconfig):
    api, seen, pods = ApiServer(ClusterAccess("c", kubeconfig)), picture.Population(Zoning()), 0
    try:
        async for change in watch.follow(api, Source(picture.FollowedKind.PODS.value, "pods")):
            seen.fold(picture.FollowedKind.PODS, change)
            pods += len(change.objects)
            if change.last:
                return pods
    finally:
        await api.close()


if __name__ == "__main__":
    before = most()
    read = asyncio.run({"agent": as_agent, "bridge": as_bridge}[sys.argv[1]](Path(sys.argv[2])))
    print(json.dumps({"pods": read, "grown": most() - before}))
