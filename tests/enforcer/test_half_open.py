"""Connections of the agent whose packets are dropped, not answered: each is left in time, and nothing is missed."""

import asyncio

import pytest

from mocks.kubernetes import KubernetesServer
from mocks.lab import unavailable
from mocks.siem import Siem, SyslogServer
from tests.enforcer import smallcluster as world
from tests.enforcer.cluster.test_silence import following, names
from tests.enforcer.shipping.test_delivery import SECRET, delivering, eventually, hec, records, syslog
from tests.halfopen import apart, cut, looked_after, pooled, quick

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

    async def run(server):
        async with following(server.kubeconfig) as (view, _):
            await eventually(lambda: server.watches == 1 and "web-1" in names(view))
            assert cut(int(server.url.rsplit(":", 1)[1])) >= 1
            world.add_pod(server, world.pod("late", "10.1.0.31", "web"))
            await eventually(lambda: "late" in names(view))

    with KubernetesServer(bookmark_seconds=3600) as server:
        world.fill(server)
        asyncio.run(run(server))


@pytest.mark.parametrize("acknowledge", [False, True])
def test_a_collector_gets_everything(tmp_path, acknowledge):
    async def run(siem):
        settings = hec(siem, acknowledge=acknowledge, timeout_seconds=1)
        async with delivering(tmp_path, settings) as (outbox, delivery):
            outbox.put(records(0, 50))
            await eventually(lambda: delivery.progress.sent == 50)
            assert all(map(looked_after, pooled(delivery.sender._https._made[1])))
            assert cut(int(siem.hec.url.rsplit(":", 1)[1])) >= 1
            outbox.put(records(50, 50))
            await eventually(lambda: outbox.backlog("siem") == 0 and delivery.progress.sent >= 100)
            assert {each.event["sequence"] for each in siem.hec.events} == set(range(100))

    with Siem(SECRET) as siem:
        asyncio.run(run(siem))


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("idle", [False, True])
def test_a_syslog_receiver_gets_everything(tmp_path, tls, idle):
    """`idle`: nothing is sent, and the kernel finds out."""

    async def run(server):
        async with delivering(tmp_path, syslog(server, timeout_seconds=1)) as (outbox, delivery):
            outbox.put(records(0, 50))
            await eventually(lambda: delivery.progress.sent == 50)
            assert cut(server.port) == 1
            if idle:
                reader = delivery.sender._streams[0]
                await eventually(lambda: reader.exception() is not None)
            outbox.put(records(50, 50))
            await eventually(lambda: outbox.backlog("siem") == 0 and delivery.progress.sent >= 100)
            assert delivery.progress.retries == (0 if idle else 1)

    with SyslogServer(tls=tls) as server:
        asyncio.run(run(server))
