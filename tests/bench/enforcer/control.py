"""The control path, as one thread of the agent walks it: loads, changes, restarts, and what others change.

`.cpu` figures are the processor's seconds for the same thing: they mean something on a machine that does other things too; `.queued` ones how
long it waited for a processor.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

from enforcer import memory
from enforcer.kernel.nft import Commands, Nftables
from enforcer.kernel.reconcile import Applied, Reconciler
from enforcer.rules.members.address_delta import AddressDelta
from mocks.lab import Lab
from mocks.lab.machines import Node
from tests.bench.enforcer import scale
from tests.bench.enforcer.stages import percentiles, scheduled
from tests.bench.figures import Figure
from zones.policy import Policy

RULES, ADDRESSES, ZONES = 10_000, 150_000, 40
_CHANGES = 300
_LOADS = 5
_GROWTH = (
    *((rules, ADDRESSES, ZONES) for rules in (10, 100, 1_000)),
    *((RULES, addresses, ZONES) for addresses in (1_000, 10_000)),
    *((RULES, ADDRESSES, zones) for zones in (2, 200)),
)
_DEEDS = {
    "element": "delete element inet zonebridge addresses4 { 10.64.0.2 }",
    "rule": "insert rule inet zonebridge police4 accept",
    "map": "flush map inet zonebridge pairs4",
    "chain": "add chain inet zonebridge mine",
    "addresses": "flush map inet zonebridge addresses4",
    "table": "delete table inet zonebridge",
}
_NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def figures() -> Iterator[Figure]:
    memory.tune_allocator()  # as the agent does
    with Lab("ctl") as lab, tempfile.TemporaryDirectory() as directory:
        node = lab.node(scale.NODE)
        yield from _whole(node, Path(directory))
        for rules, addresses, zones in _GROWTH:
            yield from _grown(node, rules, addresses, zones)


def _whole(node: Node, state: Path) -> Iterator[Figure]:
    policy, everybody = scale.policy(RULES), scale.feed(scale.population(ADDRESSES))
    gc.freeze()  # what is loaded is no part of the agent
    yield from _full_loads(node, policy, everybody)
    with _kernel(node, state) as kernel:
        kernel.apply(policy, everybody, _NOW, revision=1)
        yield from _one_pod("control.one_pod", kernel, policy)
        fewer = Policy(policy.zoning, policy.infrastructure, policy.entries[1:], policy.known_zones)
        yield from _timed("control.one_rule_less", lambda: kernel.apply(fewer, _nothing(), _NOW, revision=2))
        yield from _timed("control.quiet_pass", lambda: kernel.apply(fewer, _nothing(), _NOW, revision=2))
        node.nft("add table inet other")
        yield from _timed("control.foreign_table", lambda: kernel.apply(fewer, _nothing(), _NOW, revision=2))
        for what, deed in _DEEDS.items():
            node.nft(deed)
            yield from _timed(f"control.put_back.{what}", lambda: kernel.apply(fewer, _nothing(), _NOW, revision=2))
        kernel.settle()
    with _kernel(node, state) as kernel:
        yield from _timed("control.taken_over", lambda: kernel.apply(policy, everybody, _NOW, revision=3))
        kernel.settle()
    node.nft("delete table inet zonebridge")
    with _kernel(node, state) as kernel:
        yield from _timed("control.restored", kernel.restore)
    node.nft("delete table inet zonebridge")


def _full_loads(node: Node, policy: Policy, everybody: AddressDelta) -> Iterator[Figure]:
    """Some, each into an empty kernel: the best is nearest to a machine that does nothing else."""
    loads: dict[str, list[float]] = {}
    for _ in range(_LOADS):
        with _kernel(node, None) as kernel:
            for figure in _timed("control.full_load", lambda: kernel.apply(policy, everybody, _NOW, revision=1)):
                loads.setdefault(figure.name, []).append(figure.value)
        node.nft("delete table inet zonebridge")
    for name, found in loads.items():
        yield Figure(f"{name}.best", min(found), "s")
        yield Figure(f"{name}.p50", sorted(found)[_LOADS // 2], "s")


def _grown(node: Node, rules: int, addresses: int, zones: int) -> Iterator[Figure]:
    name = f"control.grown.{rules}_rules.{addresses}_addresses.{zones}_zones"
    policy, everybody = scale.policy(rules, zones), scale.feed(scale.population(addresses, zones))
    with _kernel(node, None) as kernel:
        yield from _timed(f"{name}.full_load", lambda: kernel.apply(policy, everybody, _NOW, revision=1))
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
    with _told_of_commits() as commits:
        started, used = time.perf_counter(), time.process_time()
        applied = work()
        ended = time.perf_counter(), time.process_time()
    if applied.problems:
        raise RuntimeError(f"{name}: {applied.problems}")
    for kind, (at, cpu) in [("", ended), *((".in_force", each) for each in commits[-1:])]:
        yield Figure(f"{name}{kind}", round(at - started, 4), "s")
        yield Figure(f"{name}{kind}.cpu", round(cpu - used, 4), "s")


@contextmanager
def _told_of_commits() -> Iterator[list[tuple[float, float]]]:
    """When the kernel had taken each transaction, by both clocks."""
    commit, ended = Nftables.commit, list[tuple[float, float]]()

    def noted(kernel: Nftables, commands: Commands) -> None:
        commit(kernel, commands)
        ended.append((time.perf_counter(), time.process_time()))

    with patch.object(Nftables, "commit", noted):
        yield ended


def _one_pod(name: str, kernel: Reconciler, policy: Policy, zones: int = ZONES) -> Iterator[Figure]:
    """A pod comes, changes its zone, or goes: each as a pass of its own, while nothing is saved."""
    kernel.settle()
    times, cpu, queued = [], [], []
    for number in range(_CHANGES):
        at = scale.address(ADDRESSES + number % 7)
        holder = None if number % 5 == 4 else scale.kind(f"zone-{number % zones}", "app-1")
        feed = scale.change(at, holder)
        started, before = time.perf_counter(), scheduled()
        applied = kernel.apply(policy, feed, _NOW, revision=1)
        times.append(time.perf_counter() - started)
        ran, waited = scheduled()
        cpu.append(ran - before[0])
        queued.append(waited - before[1])
        if applied.problems:
            raise RuntimeError(f"{name}: {applied.problems}")
    for kind, values in (("", times), (".cpu", cpu), (".queued", queued)):
        yield from percentiles(f"{name}{kind}", values)


def _nothing() -> AddressDelta:
    return scale.change(scale.address(0), scale.kind("zone-0", "app-0"))
