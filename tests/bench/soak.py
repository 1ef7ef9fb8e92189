"""`make soak-bridge SECONDS=600`: two bridges on a real API server, both killed at random, while an administrator commits in
Panorama and another one tampers with the tier; after each quiet moment the tier must be what Panorama says.

A judge reads every event as an enforcer does. Ends with 1 and the reason at the first thing that must not happen.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import structlog

from tests.bridge.processes import (
    ROOT,
    TIER,
    Site,
    cluster_settings,
    eventually,
    install,
    kill,
    parts_of,
    tier_of,
)
from tests.bridge.running import Judge
from tests.realkube import RealKube, Unavailable, binaries
from zones.tiers import native

MERGE = {"Content-Type": "application/merge-patch+json"}
ROUND_SECONDS = 20.0
# An object that is fought over is put back after half a minute at the latest; a bridge leads after ten seconds.
QUIET_SECONDS = 180.0
LEASE = {"duration": "4s", "renew": "1s"}


class Soak:
    """One run. `done` counts what was done; `whole_after` are the seconds from quiet to right."""

    def __init__(self, kube: RealKube, folder: Path, chance: random.Random) -> None:
        self.kube = kube
        self.chance = chance
        self.done: Counter[str] = Counter()
        self.whole_after: list[float] = []
        self.client: httpx.Client = kube.client()
        self.meant: list[Any] = []
        rules = {f"rule {number}": ("allow", f"zone-{number % 9}", "any") for number in range(120)}
        self.site = Site(folder, [cluster_settings("c1", kube.kubeconfig)], rules, lease=LEASE)
        self.bridges: list[Any] = []

    def run(self, seconds: float, round_seconds: float = ROUND_SECONDS) -> dict[str, object]:
        """Rounds of trouble, each with a quiet moment after it. The summary; raises AssertionError."""
        with self.client, self.site:
            self._mean()
            with Judge(self.kube.kubeconfig, TIER, self.meant) as judge:
                self.bridges = [self.site.start(), self.site.start()]
                self._quiet(judge)
                ends = time.monotonic() + seconds
                while time.monotonic() < ends:
                    self._trouble(min(round_seconds, max(ends - time.monotonic(), 1)))
                    self._quiet(judge)
                return self._summary(judge)

    def _trouble(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        acts: list[tuple[Callable[[], None], int]] = [
            (self._commit, 40),
            (self._tamper, 35),
            (self._kill_bridge, 15),
            (self._restart_apiserver, 5),
            (self._pause_etcd, 5),
        ]
        while time.monotonic() < ends:
            (act,) = self.chance.choices([act for act, _ in acts], [weight for _, weight in acts])
            act()
            time.sleep(self.chance.uniform(0.1, 1.5))

    def _commit(self) -> None:
        rules = dict(self.site.rules)
        for _ in range(self.chance.randint(1, 5)):
            name = f"rule {self.chance.randrange(160)}"
            if name in rules and len(rules) > 100 and self.chance.random() < 0.4:
                del rules[name]
            else:
                ends = self.chance.choice(["any", f"zone-{self.chance.randrange(9)}"])
                rules[name] = (self.chance.choice(["allow", "deny"]), f"zone-{self.chance.randrange(9)}", ends)
        self.site.commit(rules)
        self._mean()
        self.done["commits"] += 1

    def _mean(self) -> None:
        expected = self.site.expected()
        self.meant.append(native.parse(expected.tier, {part["metadata"]["name"]: part for part in expected.parts}))

    def _kill_bridge(self) -> None:
        victim = self.bridges.pop(self.chance.randrange(len(self.bridges)))
        kill(victim)
        time.sleep(self.chance.uniform(0, 1))
        self.bridges.append(self.site.start())
        self.done["bridges killed"] += 1

    def _restart_apiserver(self) -> None:
        self.kube.stop_apiserver(0.2)
        self.kube.start_apiserver()
        self.done["API server restarts"] += 1

    def _pause_etcd(self) -> None:
        self.kube.pause_etcd()
        time.sleep(self.chance.uniform(0.5, 3))
        self.kube.resume_etcd()
        self.done["etcd pauses"] += 1

    def _tamper(self) -> None:
        act = self.chance.choice(
            [
                self._delete_part,
                self._spoil_tier,
                self._delete_tier,
                self._forge_status,
                self._hold_part,
                self._add_part,
            ]
        )
        with suppress(httpx.HTTPError, IndexError, KeyError):  # what it was about is gone just now
            act()
            self.done[f"tampering: {act.__name__.strip('_').replace('_', ' ')}"] += 1

    def _some_part(self) -> tuple[str, dict[str, Any]]:
        name, part = self.chance.choice(sorted(parts_of(self.client).items()))
        return f"{ROOT}/{native.PLURALS[part['kind']]}/{name}", part

    def _delete_part(self) -> None:
        self.client.delete(self._some_part()[0]).raise_for_status()

    def _hold_part(self) -> None:
        path, _ = self._some_part()
        self.client.patch(path, json={"metadata": {"finalizers": ["x.example/stay"]}}, headers=MERGE).raise_for_status()
        self.client.delete(path).raise_for_status()

    def _add_part(self) -> None:
        path, part = self._some_part()
        labels = {native.TIER_LABEL: TIER}
        stranger = {
            "metadata": {"name": f"{TIER}-{self.chance.randrange(10**9)}", "labels": labels},
            "spec": part["spec"],
        }
        body = {"apiVersion": native.API_VERSION, "kind": part["kind"]} | stranger
        self.client.post(path.rsplit("/", 1)[0], json=body).raise_for_status()

    def _spoil_tier(self) -> None:
        spec = (tier_of(self.client) or {})["spec"]
        spec |= {"revision": spec["revision"] + self.chance.randint(1, 9), "policyChunks": spec["policyChunks"][1:]}
        self.client.patch(f"{ROOT}/tiers/{TIER}", json={"spec": spec}, headers=MERGE).raise_for_status()

    def _delete_tier(self) -> None:
        self.client.delete(f"{ROOT}/tiers/{TIER}").raise_for_status()

    def _forge_status(self) -> None:
        body = {"status": {"nodes": {"total": 9000, "inSync": 9000}}}
        self.client.patch(f"{ROOT}/tiers/{TIER}/status", json=body, headers=MERGE).raise_for_status()

    def _quiet(self, judge: Judge) -> None:
        """Everything comes to rest at what Panorama says: the objects, their number, the status, and what a reader has."""
        started = time.monotonic()
        expected = self.site.expected()

        def wrong() -> list[str]:
            return self._wrong(tier_of(self.client), parts_of(self.client), expected)

        eventually(lambda: not wrong(), QUIET_SECONDS, explain=lambda: f"{wrong()}\n{self.site.logs()}")
        eventually(lambda: judge.policy == self.meant[-1], QUIET_SECONDS, explain=lambda: str(judge.faults))
        self.whole_after.append(time.monotonic() - started)
        assert judge.faults == [], judge.faults
        assert all(bridge.poll() is None for bridge in self.bridges), self.site.logs()
        self.done["quiet moments"] += 1

    def _wrong(self, tier: dict[str, Any] | None, parts: dict[str, Any], expected: native.Rendered) -> list[str]:
        """What is not as it must be."""
        if tier is None:
            return ["there is no Tier"]
        wanted = {part["metadata"]["name"]: part["spec"] for part in expected.parts}
        status = tier.get("status", {})
        told = (status.get("digest"), status.get("revision"), status.get("nodes", {}).get("total"))
        faults = {
            f"parts missing: {wanted.keys() - parts.keys()}": not wanted.keys() - parts.keys(),
            f"parts left over: {parts.keys() - wanted.keys()}": not parts.keys() - wanted.keys(),
            "parts with other content": all(wanted.get(name) == part["spec"] for name, part in parts.items()),
            "parts that are held": not any(part["metadata"].get("finalizers") for part in parts.values()),
            "another digest": tier["spec"]["digest"] == expected.digest,
            f"a status of {told}": told == (expected.digest, tier["spec"]["revision"], 0),
        }
        return [fault for fault, good in faults.items() if not good]

    def _summary(self, judge: Judge) -> dict[str, object]:
        live = tier_of(self.client)
        assert live is not None
        return {
            **dict(sorted(self.done.items())),
            "alerts of tampering": self.site.count('"alert": "TierTampered"'),
            "events judged": judge.events,
            "revisions applied by the judge": len(judge.applied),
            "mixtures or steps back": len(judge.faults),
            "last revision": live["spec"]["revision"],
            "seconds from quiet to right, median": round(sorted(self.whole_after)[len(self.whole_after) // 2], 2),
            "seconds from quiet to right, longest": round(max(self.whole_after), 2),
        }


def main() -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    found = binaries()
    if isinstance(found, Unavailable):
        print(f"no real kube-apiserver: {found.reason}", file=sys.stderr)
        return 1
    seconds = float(os.environ.get("SECONDS", "600"))
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    print(f"soaking for {seconds:.0f} s, SEED={seed}", flush=True)
    with RealKube(found) as kube, tempfile.TemporaryDirectory() as folder:
        install(kube)
        soak = Soak(kube, Path(folder), random.Random(seed))
        try:
            print(json.dumps(soak.run(seconds), indent=2))
        except AssertionError as error:
            print(f"{error}\nafter {dict(soak.done)}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
