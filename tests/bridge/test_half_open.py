"""Connections of the bridge whose packets are dropped, not answered: each is left in time, and nothing is missed."""

import asyncio
from contextlib import aclosing

import dns.asyncresolver
import httpx
import pytest
from aiohttp import web

from bridge.feeds.fetch import FeedLimits, Fetcher
from mocks.kubernetes import KubernetesServer
from mocks.lab import unavailable
from mocks.siem import Siem, SyslogServer
from tests.bridge.siem.senders import syslog_sender
from tests.bridge.siem.test_shipping import TOKEN, Desk, alert, hec
from tests.bridge.test_service import reached
from tests.enforcer import smallcluster as world
from tests.halfopen import apart, cut, looked_after, pooled, quick
from zones.kube.client import ApiServer, ClusterAccess
from zones.kube.objects import Source
from zones.kube.watch import Listed, follow
from zones.rules import Feed, FeedKind
from zones.siem.transports.hec import HecSender

pytestmark = pytest.mark.kernel


@pytest.fixture(autouse=True)
def lossy(monkeypatch):
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    quick(monkeypatch, "zones.runtime.sockets")
    with apart():
        yield


def test_a_watch_is_left_by_the_kernels_word_alone(monkeypatch):
    monkeypatch.setattr("zones.kube.client.SILENCE_SECONDS", 600)

    async def lose(server):
        await reached(lambda: server.watches == 1)
        assert cut(int(server.url.rsplit(":", 1)[1])) >= 1
        world.add_pod(server, world.pod("late", "10.1.0.31", "web"))

    async def run(server):
        api = ApiServer(ClusterAccess("c1", server.kubeconfig))
        try:
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                group.create_task(lose(server))
                async with aclosing(follow(api, Source("/api/v1/pods", "pods"))) as changes:
                    async for change in changes:
                        raws = change.objects if isinstance(change, Listed) else [change.raw]
                        if any(raw["metadata"]["name"] == "late" for raw in raws):
                            return
        finally:
            await api.close()

    with KubernetesServer(bookmark_seconds=3600) as server:
        world.fill(server)
        asyncio.run(run(server))


def sends_through_a_cut(sender, port):
    async def run():
        desk = Desk(sender)
        async with desk.shipping():
            await desk.sink.send(alert("before"))
            await desk.until(lambda: len(desk.fates) == 1)
            assert all(map(looked_after, pooled(sender._https._made[1]) if isinstance(sender, HecSender) else []))
            cut(port)
            await desk.sink.send(alert("after"))
            await desk.until(lambda: len(desk.fates) == 2)

    asyncio.run(run())


def test_a_collector_gets_every_alert():
    with Siem(TOKEN) as siem:
        sends_through_a_cut(hec(siem, timeout=1.0), int(siem.hec.url.rsplit(":", 1)[1]))
        assert len(siem.hec.events) == 2


def test_a_syslog_receiver_gets_every_alert():
    with SyslogServer(tls=True) as server:
        sender = syslog_sender(("127.0.0.1", server.port), ca_file=server.ca_file, timeout=1.0, outlived=0.1)
        sends_through_a_cut(sender, server.port)
        assert len(server.messages) == 2


def test_connections_to_lists_are_looked_after():
    made = []

    async def run():
        async def answer(_):
            return web.Response(text="192.0.2.1\n")

        app = web.Application()
        app.router.add_get("/list", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        feed = Feed("bad", FeedKind.IP_LIST, f"http://127.0.0.1:{port}/list")
        async with httpx.AsyncClient() as client:
            fetcher = Fetcher(client, dns.asyncresolver.Resolver(configure=False), FeedLimits(timeout=1.0))
            assert (await fetcher.fetch(feed)).space
            made.extend(map(looked_after, pooled(client)))
            assert cut(port) == 1
            assert (await fetcher.fetch(feed)).space
        await runner.cleanup()

    asyncio.run(run())
    assert made == [True]
