"""A client that is closed leaves no socket open, though a request was given up and the server says no goodbye."""

import asyncio
import gc
import threading

import pytest

from enforcer.cluster import watch
from enforcer.cluster.view import WatchedKind
from mocks.kubernetes import KubernetesServer
from mocks.serving import Fault
from tests.enforcer import smallcluster as world


@pytest.fixture
def server():
    with KubernetesServer() as running:
        world.fill(running)
        yield running


def test_a_request_that_was_given_up_leaves_nothing_open(server, recwarn):
    """What is left open is told when the garbage is collected, at the latest at the end of this test."""
    silent = threading.Event()

    async def run():
        cluster = await watch.Cluster.connect(server.kubeconfig)
        server.faults.add(Fault("slow", path="/api/v1/pods", seconds=30))
        listing = asyncio.create_task(anext(cluster.changes(WatchedKind.PODS)))
        await world.eventually(lambda: not server.faults.queue)
        server._server._loop.call_soon_threadsafe(silent.wait, 30)
        listing.cancel()
        await asyncio.gather(listing, return_exceptions=True)
        await cluster.close()

    asyncio.run(run())
    silent.set()
    gc.collect()
    assert [str(each.message) for each in recwarn if issubclass(each.category, ResourceWarning)] == []
