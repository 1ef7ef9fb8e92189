"""A bridge at work in a thread, on any API server; and a judge that follows the tier as an enforcer does."""

import asyncio
import threading
from concurrent.futures import Future
from contextlib import ExitStack, aclosing
from pathlib import Path

import structlog

from bridge.alerts import Alerts
from bridge.feeds import Feeds
from bridge.feeds.fetch import FeedError
from bridge.metrics import Metrics
from bridge.service import Work, run_until
from bridge.tier.cluster import TierApi
from bridge.tier.lease import Leadership, LeaseTerms
from bridge.tier.sync import CompileTarget, Sync
from bridge.tier.watcher import TierWatcher
from tests.bridge.world import RecordingSink, run_here
from zones.kube.client import ApiServer, ClusterAccess
from zones.kube.errors import ClusterError
from zones.kube.watch import Listed
from zones.tiers import native
from zones.zone import Zoning

CRDS = Path(__file__).parents[2] / "config" / "crd"


async def no_feed(feed):
    raise FeedError("there are no feeds here")


def access(kubeconfig, timeout=10.0):
    return ClusterAccess("c1", kubeconfig, timeout=timeout)


def made(kubeconfig, manager, tier, sinks=(), *, watched=True, timeout=10.0, interval_lease=(8.0, 0.5), **target):
    """One cluster's work, as bridge.wiring.clusters makes it, but for the manager."""
    cluster = TierApi(ApiServer(access(kubeconfig, timeout)), ApiServer(access(kubeconfig, timeout)))
    feeds = Feeds(no_feed, lambda: None)
    sync = Sync(
        CompileTarget("c1", tier, "dg", Zoning(), **target),
        manager,
        cluster,
        Alerts("c1", tier, sinks),
        feeds,
        run_blocking=run_here,
    )
    duration, renew = interval_lease
    terms = LeaseTerms("default", f"zonebridge-{tier}", f"me-{id(sync)}", duration, renew)
    guard = TierWatcher(sync, lambda kind: cluster.follow(kind, tier)) if watched else None
    return Work("c1", sync, Leadership(cluster, terms), feeds, cluster.close, guard)


async def hang_up():
    """End what is left of connections whose request was cancelled: a polite end of TLS would outlive the loop."""
    for key in list(asyncio.get_running_loop()._selector.get_map().values()):
        for handle in key.data or ():
            transport = getattr(getattr(handle, "_callback", None), "__self__", None)
            if hasattr(transport, "abort"):
                transport.abort()
    for _ in range(3):
        await asyncio.sleep(0)


class InThread:
    """A coroutine in a loop of its own, from entering to leaving. `stop` is set at the end, and what it raised raised."""

    def __init__(self, work):
        self._work = work
        self._ready = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._error = None

    def __enter__(self):
        self._thread.start()
        self._loop, self._stop = self._ready.result(30)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive(), "it did not end"
        if self._error is not None:
            raise self._error

    async def _run(self):
        stop = asyncio.Event()
        self._ready.set_result((asyncio.get_running_loop(), stop))
        try:
            await self._work(stop)
        except Exception as error:  # noqa: BLE001 - told by __exit__
            self._error = error
        finally:
            await hang_up()


class Bridge:
    """The service for one tier, with a manager in memory."""

    def __init__(self, kubeconfig, manager, tier, interval=0.2, **how):
        self.manager = manager
        self.metrics = Metrics()
        self.sink = RecordingSink()
        self.listed = []
        """The paths of the lists that it asked for."""
        self._how = (kubeconfig, manager, tier, (self.sink,))
        self._more = how
        self._interval = interval
        self._stack = ExitStack()

    def __enter__(self):
        self._stack.enter_context(InThread(self._serve))
        return self

    def __exit__(self, *_):
        self._stack.close()

    async def _serve(self, stop):
        self.work = made(*self._how, **self._more)
        cluster = self.work.sync._cluster
        for api in (cluster._api, cluster._watches):
            api.ask = self._counting(api.ask)
        await run_until(stop, [self.work], self._interval, self.metrics)

    def _counting(self, ask):
        async def counted(method, path, doing, **options):
            if doing.startswith("listing "):  # a look at a list's version alone isn't one
                self.listed.append(path)
            return await ask(method, path, doing, **options)

        return counted

    def told(self, kind):
        return [alert for alert in self.sink.alerts if alert.kind.reason == kind and not alert.over]


class Judge:
    """Follows one tier with watches of its own, and after every event does what an enforcer would.

    `applied` are the policies in the order in which they came to hold; `faults` is what must never happen.
    """

    def __init__(self, kubeconfig, tier, allowed=None):
        self._kubeconfig = kubeconfig
        self._tier = tier
        self._allowed = allowed
        self._parts = {}
        self._object = None
        self._held = (None, 0)
        self.events = 0
        self.applied = []
        self.faults = []
        self._stack = ExitStack()

    def __enter__(self):
        self._stack.enter_context(InThread(self._follow_all))
        return self

    def __exit__(self, *_):
        self._stack.close()

    @property
    def policy(self):
        return self.applied[-1] if self.applied else None

    async def _follow_all(self, stop):
        cluster = TierApi(ApiServer(access(self._kubeconfig)))
        tasks = [
            asyncio.create_task(self._follow(cluster, kind))
            for kind in (native.TIER, native.POLICY_CHUNK, native.ADDRESS_SET)
        ]
        try:
            await stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await cluster.close()
        self.faults += [repr(each) for each in results if not isinstance(each, asyncio.CancelledError)]

    async def _follow(self, cluster, kind):
        while True:
            try:
                async with aclosing(cluster.follow(kind, self._tier)) as changes:
                    async for change in changes:
                        self._fold(kind, change)
                        self._judge()
            except ClusterError as error:
                structlog.get_logger().info("the judge waits", error=str(error))
                await asyncio.sleep(0.2)

    def _fold(self, kind, change):
        self.events += 1
        if isinstance(change, Listed):
            if change.first:
                self._parts = {name: part for name, part in self._parts.items() if part["kind"] != kind}
                if kind == native.TIER:
                    self._object = None
            for raw in change.objects:
                self._keep(kind, raw)
        elif not change.gone:
            self._keep(kind, change.raw)
        elif kind == native.TIER:
            self._object = None
        else:
            self._parts.pop(change.raw["metadata"]["name"], None)

    def _keep(self, kind, raw):
        if kind == native.TIER:
            self._object = raw
        else:
            self._parts[raw["metadata"]["name"]] = raw | {"kind": kind}

    def _judge(self):
        """A complete and newer revision holds from now on; everything else leaves the last one."""
        if self._object is None:
            return
        uid, revision = self._object["metadata"]["uid"], self._object["spec"]["revision"]
        held_uid, held = self._held
        if uid == held_uid and revision < held:
            self.faults.append(f"revision {revision} after {held}")
        if uid == held_uid and revision == held:
            return
        try:
            policy = native.parse(self._object, self._parts)
        except native.TierError:
            return
        self._held = uid, revision
        self.applied.append(policy)
        if self._allowed is not None and policy not in self._allowed:
            self.faults.append(f"revision {revision} is a policy that nobody wrote: {len(policy.entries)} entries")
