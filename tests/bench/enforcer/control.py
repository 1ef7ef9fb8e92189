"""The control path, as one thread of the agent walks it: loads, changes, restarts, and what others change.

`.cpu` figures are the processor's seconds for the same thing: they mean something on a machine that does other things too.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles

from enforcer.feed import Feed
from enforcer.reconcile import Applied, Reconciler
from mocks.lab import Lab
from mocks.lab.machines import Node
from tests.bench.enforcer import scale
from tests.bench.enforcer.figures import Figure
from zones.policy import Policy

RULES, ADDRESSES, ZONES = 10_000, 150_000, 40
_CHANGES = 300
_GROWTH = (
    *((rules, ADDRESSES, ZONES) for rules in (10, 100, 1_000)),
    *((RULES, addresses, ZONES) for addresses in (1_000, 10_000)),
    *((RULES, ADDRESSES, zones) for zones in (2, 200)),
)
_NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def figures() -> Iterator[Figure]:
    gc.set_threshold(50_000, 20, 50)  # as the agent does
    with Lab("ctl") as lab, tempfile.TemporaryDirectory() as directory:
        node = lab.node(scale.NODE)
        yield from _whole(node, Path(directory))
        for rules, addresses, zones in _GROWTH:
            yield from _grown(node, rules, addresses, zones)


def _whole(node: Node, state: Path) -> Iterator[Figure]:
    policy, held = scale.policy(RULES), scale.population(ADDRESSES)
    with _kernel(node, state) as kernel:
        yield from _timed("control.full_load", lambda: kernel.apply(policy, scale.feed(held), _NOW, revision=1))
        yield from _one_pod("control.one_pod", kernel, policy)
        fewer = Policy(policy.zoning, policy.infrastructure, policy.entries[1:], policy.known_zones)
        yield from _timed("control.one_rule_less", lambda: kernel.apply(fewer, _nothing(), _NOW, revision=2))
        yield from _timed("control.quiet_pass", lambda: kernel.apply(fewer, _nothing(), _NOW, revision=2))
        node.nft("add table inet other")
        yield from _timed("control.foreign_table", lambda: kernel.apply(fewer, _nothing(), _NOW, revision=2))
        node.nft("delete element inet zonebridge addresses4 { 10.64.0.2 }")
        yield from _timed("control.put_back", lambda: kernel.apply(fewer, _nothing(), _NOW, revision=2))
        kernel.settle()
    node.nft("delete table inet zonebridge")
    with _kernel(node, state) as kernel:
        yield from _timed("control.restored", kernel.restore)
    node.nft("delete table inet zonebridge")


def _grown(node: Node, rules: int, addresses: int, zones: int) -> Iterator[Figure]:
    name = f"control.grown.{rules}_rules.{addresses}_addresses.{zones}_zones"
    policy, held = scale.policy(rules, zones), scale.population(addresses, zones)
    with _kernel(node, None) as kernel:
        yield from _timed(f"{name}.full_load", lambda: kernel.apply(policy, scale.feed(held), _NOW, revision=1))
        yield from _one_pod(f"{name}.one_pod", kernel, policy, zones)
    node.nft("delete table inet zonebridge")


@contextmanager
def _kernel(node: Node, state: Path | None) -> Iterator[Reconciler]:
    with node.netns.inside():
        kernel = Reconciler(scale.NODE, state_dir=state)
        try:
            yield kernel
        finally:
            kernel.stop()


def _timed(name: str, work: Callable[[], Applied]) -> Iterator[Figure]:
    started, used = time.perf_counter(), time.process_time()
    applied = work()
    took, cpu = time.perf_counter() - started, time.process_time() - used
    if applied.problems:
        raise RuntimeError(f"{name}: {applied.problems}")
    yield Figure(name, round(took, 4), "s")
    yield Figure(f"{name}.cpu", round(cpu, 4), "s")


def _one_pod(name: str, kernel: Reconciler, policy: Policy, zones: int = ZONES) -> Iterator[Figure]:
    """A pod comes, changes its zone, or goes: each as a pass of its own."""
    times, cpu = [], []
    for number in range(_CHANGES):
        at = scale.address(ADDRESSES + number % 7)
        holder = None if number % 5 == 4 else scale.kind(f"zone-{number % zones}", "app-1")
        feed = scale.change(at, holder)
        started, used = time.perf_counter(), time.process_time()
        applied = kernel.apply(policy, feed, _NOW, revision=1)
        times.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
        if applied.problems:
            raise RuntimeError(f"{name}: {applied.problems}")
    for kind, values in (("", times), (".cpu", cpu)):
        cuts = quantiles(values, n=100)
        yield Figure(f"{name}{kind}.p50", round(cuts[49] * 1000, 3), "ms")
        yield Figure(f"{name}{kind}.p99", round(cuts[98] * 1000, 3), "ms")


def _nothing() -> Feed:
    return scale.change(scale.address(0), scale.kind("zone-0", "app-0"))
