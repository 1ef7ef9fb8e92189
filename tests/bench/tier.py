"""`make bench-tier`: publish, edit, idle, put back and fail over on a real API server, at full size.

Prints and writes JSON lines {"name", "value", "unit"}. The manager is in memory, so that reading Panorama is not
counted (`make bench-panorama` does); compiling, rendering and writing are.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import httpx
import structlog

from bridge.metrics import Metrics
from bridge.service import Work, run_until
from tests.bridge.processes import (
    LEASES,
    ROOT,
    TIER,
    Site,
    cluster_settings,
    eventually,
    install,
    kill,
    leader,
    tier_of,
)
from tests.bridge.running import made
from tests.bridge.world import FakeManager, RecordingSink, rule
from tests.realkube import RealKube, Unavailable, binaries
from zones.net import AddressSet, Ranges
from zones.rules import L4, Action, Addresses, AddressObject, Rule, Service

RESULTS = Path("build/bench/tier.jsonl")
RULES, SETS, PREFIXES = 10_000, 100, 10_000
ZONES = [f"zone-{number}" for number in range(40)]
TIMES = 5
MERGE = {"Content-Type": "application/merge-patch+json"}


def address_set(number: int, spoiled: int = 0) -> AddressSet:
    """Ten thousand prefixes, none beside another; `spoiled` moves one of them."""
    base = (20 + number) << 24
    spans = [(base + at * 8, base + at * 8 + (3 if at % 3 else 0)) for at in range(PREFIXES)]
    if spoiled:
        spans[PREFIXES // 2] = (base + PREFIXES // 2 * 8 + spoiled, base + PREFIXES // 2 * 8 + spoiled)
    return AddressSet(v4=Ranges(tuple(spans)))


def rules(sets: list[AddressSet], edited: str = "") -> list[Rule]:
    """Ten thousand; every hundredth draws on a large set."""
    chance = random.Random(1)
    objects = [AddressObject(f"set-{number}", space) for number, space in enumerate(sets)]
    return [_rule(number, objects, chance, edited) for number in range(RULES)]


def _rule(number: int, objects: list[AddressObject], chance: random.Random, edited: str) -> Rule:
    port = 1 + number % 60_000
    fields: dict[str, Any] = {
        "from_zones": frozenset({chance.choice(ZONES)}),
        "to_zones": frozenset({chance.choice(ZONES)}),
        "services": (Service(f"tcp-{port}", (L4(6, Ranges(((port, port),))),)),),
    }
    if number % (RULES // SETS) == 0:
        fields["sources"] = Addresses((objects[number * SETS // RULES],))
    made_rule = rule(f"rule {number}", chance.choice([Action.ALLOW, Action.ALLOW, Action.DENY]), **fields)
    if edited and number == RULES // 2 + 1:
        made_rule = replace(made_rule, to_zones=frozenset({edited}))
    return made_rule


class Bench:
    """One API server with the tier in it, and what was measured there."""

    def __init__(self, kube: RealKube, results: TextIO) -> None:
        self.kube = kube
        self.results = results
        self.sets = [address_set(number) for number in range(SETS)]
        self.manager = FakeManager()
        self.manager.commit(*rules(self.sets), zones=ZONES)
        self.sink = RecordingSink()

    def tell(self, name: str, value: float, unit: str) -> None:
        line = json.dumps({"name": name, "value": round(value, 3), "unit": unit})
        print(line, flush=True)
        self.results.write(line + "\n")

    async def run(self) -> None:
        work = made(self.kube.kubeconfig, self.manager, "panorama", (self.sink,), timeout=60.0)
        try:
            await self._passes(work)
        finally:
            await work.close()
        await self._with_watch()

    async def _passes(self, work: Work) -> None:
        """Passes by hand, each for one change."""
        counted = _counted(work)
        seconds = await _timed(work.sync.once)
        self.tell("publish 10,000 rules and 100 sets of 10,000 prefixes", seconds, "s")
        self.tell("publish: API writes", counted(), "calls")
        self.tell("publish: peak memory of the bridge", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB")
        self.tell("etcd: database", self._etcd_bytes() / 2**20, "MiB")
        self.tell("etcd: largest object", self._largest() / 1024, "KiB")
        await work.sync.once()

    async def _with_watch(self) -> None:
        """As the service does it: with a picture that a watch keeps."""
        work = made(self.kube.kubeconfig, self.manager, "panorama", (self.sink,), timeout=60.0)
        assert work.guard is not None
        watching = asyncio.create_task(work.guard.watch())
        try:
            started = time.monotonic()
            await work.sync.once()
            self.tell("first pass of a new process over an unchanged tier", time.monotonic() - started, "s")
            await self._edits(work)
            await self._idle(work)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await work.close()
        await self._put_back()

    async def _edits(self, work: Work) -> None:
        for name, edit in (("one rule", self._edit_rule), ("one prefix in one set", self._edit_prefix)):
            figures, touched = [], []
            for number in range(TIMES):
                edit(number)
                counted = _counted(work)
                figures.append(await _timed(work.sync.once))
                touched.append(counted())
                await work.sync.once()  # prunes
            self.tell(f"edit of {name}", statistics.median(figures), "s")
            self.tell(f"edit of {name}: slowest of {TIMES}", max(figures), "s")
            self.tell(f"edit of {name}: objects written", max(touched), "objects")

    def _edit_rule(self, number: int) -> None:
        self.manager.commit(*rules(self.sets, ZONES[number]), zones=ZONES)

    def _edit_prefix(self, number: int) -> None:
        self.sets[SETS // 2] = address_set(SETS // 2, 1 + number % 3)
        self.manager.commit(*rules(self.sets), zones=ZONES)

    async def _idle(self, work: Work) -> None:
        calls = _requests(work)
        busy = time.process_time()
        figures = [await _timed(work.sync.once) for _ in range(20)]
        self.tell("idle pass", statistics.median(figures) * 1000, "ms")
        self.tell("idle pass: CPU", (time.process_time() - busy) / 20 * 1000, "ms")
        self.tell("idle pass: API requests", calls() / 20, "calls")

    async def _put_back(self) -> None:
        stop = asyncio.Event()
        work = made(self.kube.kubeconfig, self.manager, "panorama", (self.sink,), timeout=60.0)
        serving = asyncio.create_task(run_until(stop, [work], 10.0, Metrics()))
        try:
            await self._tampering()
        finally:
            stop.set()
            await serving

    async def _tampering(self) -> None:
        with self.kube.client() as client:
            await asyncio.to_thread(eventually, lambda: self._led(client))
            await asyncio.sleep(5)  # so that it is at rest
            names = _names(client)
            for what, (act, undone) in self._attempts(client, names).items():
                figures = []
                for _ in range(3):
                    await asyncio.to_thread(act)
                    started = time.monotonic()
                    await asyncio.to_thread(eventually, undone, every=0.005)
                    figures.append(time.monotonic() - started)
                    await asyncio.sleep(1)
                self.tell(f"put back: {what}", statistics.median(figures), "s")
                self.tell(f"put back: {what}, slowest of 3", max(figures), "s")

    def _led(self, client: httpx.Client) -> bool:
        found = client.get("/apis/coordination.k8s.io/v1/namespaces/default/leases/zonebridge-panorama")
        return found.is_success and bool(found.json()["spec"]["holderIdentity"])

    def _attempts(
        self, client: httpx.Client, names: dict[str, list[str]]
    ) -> dict[str, tuple[Callable[[], object], Callable[[], bool]]]:
        def tier() -> dict[str, Any]:
            found = client.get(f"{ROOT}/tiers/panorama")
            return found.json()["spec"] if found.is_success else {}

        whole = len(tier()["policyChunks"])

        def spoil() -> None:
            spec = {"revision": tier()["revision"] + 1, "policyChunks": []}
            client.patch(f"{ROOT}/tiers/panorama", json={"spec": spec}, headers=MERGE).raise_for_status()

        def removal(path: str) -> tuple[Callable[[], object], Callable[[], bool]]:
            return lambda: client.delete(path).raise_for_status(), lambda: client.get(path).is_success

        return {
            "a changed Tier": (spoil, lambda: len(tier()["policyChunks"]) == whole),
            "a deleted PolicyChunk": removal(f"{ROOT}/policychunks/{names['policychunks'][3]}"),
            "a deleted AddressSet": removal(f"{ROOT}/addresssets/{names['addresssets'][7]}"),
        }

    def _etcd_bytes(self) -> int:
        return sum(file.stat().st_size for file in (self.kube.directory / "data").rglob("db"))

    def _largest(self) -> int:
        with self.kube.client() as client:
            sizes = [
                len(json.dumps(item, separators=(",", ":")))
                for plural in ("policychunks", "addresssets", "tiers")
                for item in client.get(f"{ROOT}/{plural}").json()["items"]
            ]
        return max(sizes)


def _names(client: httpx.Client) -> dict[str, list[str]]:
    return {
        plural: [item["metadata"]["name"] for item in client.get(f"{ROOT}/{plural}").json()["items"]]
        for plural in ("policychunks", "addresssets")
    }


def _counted(work: Work) -> Callable[[], int]:
    """How many objects are written from now on; the status of the Tier is not counted."""
    return _requests(work, lambda method, path: method != "GET" and not path.endswith("/status"))


def _requests(work: Work, counts: Callable[[str, str], bool] = lambda method, path: True) -> Callable[[], int]:
    api = work.sync._cluster._api  # type: ignore[attr-defined]
    ask, paths = type(api).ask, []

    async def counting(method: str, path: str, *args: object, **more: object) -> object:
        if counts(method, path):
            paths.append(path)
        return await ask(api, method, path, *args, **more)

    api.ask = counting
    return lambda: len(paths)


async def _timed(work: Callable[[], Any]) -> float:
    started = time.monotonic()
    await work()
    return time.monotonic() - started


def fail_overs(bench: Bench, folder: Path) -> None:
    """Kill the leader of two replicas; seconds until the other one holds the lease, and until it publishes a commit."""
    rules = {f"rule {number}": ("allow", f"zone-{number}", "any") for number in range(20)}
    with bench.kube.client() as client:
        for plural in ("tiers", "policychunks", "addresssets"):
            client.delete(f"{ROOT}/{plural}").raise_for_status()
        client.delete(f"{LEASES}/zonebridge-{TIER}")
        with Site(folder, [cluster_settings("c1", bench.kube.kubeconfig)], rules) as site:
            bridges = [site.start(), site.start()]
            figures = [_fail_over(client, site, bridges, number) for number in range(TIMES)]
    bench.tell("fail-over: kill -9 of the leader to the lease", statistics.median(lease for lease, _ in figures), "s")
    bench.tell("fail-over: kill -9 to the first write", statistics.median(write for _, write in figures), "s")
    bench.tell(f"fail-over: kill -9 to the first write, slowest of {TIMES}", max(write for _, write in figures), "s")


def _fail_over(client: httpx.Client, site: Site, bridges: list[Any], number: int) -> tuple[float, float]:
    def settled() -> bool:
        live = tier_of(client)
        return live is not None and live["spec"]["digest"] == site.expected().digest

    eventually(settled)
    time.sleep(random.uniform(2, 6))  # so that it falls anywhere between two renewals
    victim = eventually(lambda: leader(client, bridges))
    revision = (tier_of(client) or {})["spec"]["revision"]
    site.commit(site.rules | {f"commit {number}": ("deny", "any", "zone-1")})
    kill(victim)
    killed = time.monotonic()
    bridges.remove(victim)
    eventually(lambda: leader(client, bridges), every=0.01)
    leads = time.monotonic() - killed
    eventually(lambda: (tier_of(client) or {})["spec"]["revision"] > revision, every=0.01)
    writes = time.monotonic() - killed
    bridges.append(site.start())
    return leads, writes


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    found = binaries()
    if isinstance(found, Unavailable):
        raise SystemExit(f"no real kube-apiserver: {found.reason}")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w") as results, RealKube(found) as kube, tempfile.TemporaryDirectory() as folder:
        install(kube)
        bench = Bench(kube, results)
        asyncio.run(bench.run())
        fail_overs(bench, Path(folder))


if __name__ == "__main__":
    main()
