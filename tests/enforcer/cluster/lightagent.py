"""Agents without a kernel: who watches the API server, knows who is where, and tells of its own node's pods."""

import asyncio
from contextlib import asynccontextmanager
from ipaddress import ip_address

from enforcer.cluster.slice_writer import SliceWriter
from enforcer.cluster.view import View, WatchedKind, selectors
from enforcer.cluster.watch import Cluster
from zones.addresses.inventory import Pod
from zones.runtime.backoff import Backoff

TIER = "panorama"
KEY = "zonebridge.io/zone"


class Machine:
    """The addresses of a machine, as netlink tells them."""

    def __init__(self, *addresses):
        self.addresses = tuple(map(ip_address, addresses))

    def __call__(self):
        return self.addresses

    def close(self):
        pass


class LightAgent:
    """What it knows, and its writer."""

    def __init__(self, node, cluster, machine, labels):
        self.view = View(TIER, node=node)
        self.told = asyncio.Event()
        self.cluster = cluster
        self.writer = SliceWriter(self.view, cluster, lambda: (KEY, *labels), machine, Backoff(0.05, 0.2))

    async def follow(self, kind):
        async for change in self.cluster.changes(kind):
            self.view.fold(change)
            self.told.set()
            if kind is WatchedKind.PODS or self.view.own_slices.changed:
                self.writer.look()

    def knows(self, address):
        """The pod that has an address, as (name, zone label); or what else is known of it."""
        holder = self.view.holders.of(ip_address(address))
        return (holder.name, holder.labels.get(KEY)) if isinstance(holder, Pod) else holder


@asynccontextmanager
async def agent(kubeconfig, node, machine=None, labels=(), *, speaks=True):
    """An agent for the block; one that doesn't speak only listens."""
    cluster = await Cluster.connect(kubeconfig, selectors(node, TIER))
    cluster._backoff = Backoff(0.01, 0.1)
    made = LightAgent(node, cluster, machine or Machine(), labels)
    tasks = [asyncio.create_task(made.follow(kind)) for kind in WatchedKind]
    tasks += [asyncio.create_task(made.writer.run())] if speaks else []
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await cluster.close()
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
