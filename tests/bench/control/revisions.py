"""What a revision costs the enforcer's one thread, stage by stage, in processor time: from its objects to the kernel.

In this process, without an API server: `edits` has the whole way. Every edit takes one rule out of the middle or puts it back, or changes ten
addresses of a list of 50,000.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from enforcer import memory
from enforcer.cluster.tier import Revision
from enforcer.cluster.view import View, WatchedKind, WatchedObject
from enforcer.enforcement import judged
from enforcer.kernel.nft import Nftables
from enforcer.kernel.reconcile import Reconciler
from enforcer.kernel.table import KernelTable
from mocks.lab import Lab
from mocks.lab.machines import Node
from tests.bench.control import tiers
from tests.bench.enforcer import scale
from tests.bench.enforcer.stages import percentiles
from tests.bench.figures import Figure
from zones.policy import Policy
from zones.tiers import native
from zones.tiers.reading import TierReader

PODS = 1_000
_EDITS = 20
_NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
_KINDS = {native.POLICY_CHUNK: WatchedKind.CHUNKS, native.ADDRESS_SET: WatchedKind.SETS}
_INSIDE = {  # stages of the pass, by what does them
    "looked": (KernelTable, "audit"),
    "table": (KernelTable, "change"),
    "transactions": (Nftables, "commit"),
    "read_back": (KernelTable, "_learn"),
}


def figures() -> Iterator[Figure]:
    memory.tune_allocator()
    with Lab("rev") as lab:
        node = lab.node(scale.NODE)
        for name, edited in tiers.SCENES.items():
            yield from _scene(node, f"revision.{name}", edited)


def _scene(node: Node, name: str, edited: Callable[[int], Policy]) -> Iterator[Figure]:
    with ExitStack() as stack:
        stack.enter_context(node.netns.inside())
        kernel = Reconciler(scale.NODE)
        stack.callback(kernel.stop)
        agent = _Agent(kernel)
        first = agent.revise(edited(0))
        yield Figure(f"{name}.first", round(first["all"] * 1000, 2), "ms of a processor")
        taken = [agent.revise(edited(number)) for number in range(1, _EDITS + 1)]
        for stage in taken[0]:
            for figure in percentiles(f"{name}.{stage}", [each[stage] for each in taken]):
                yield Figure(figure.name, figure.value, "ms of a processor")
        kernel.flush()


@dataclass(slots=True)
class _Agent:
    """What of the agent has a part in a revision."""

    kernel: Reconciler
    view: View = field(default_factory=lambda: View(tiers.TIER, node=scale.NODE))
    reader: TierReader = field(default_factory=TierReader)
    held: Revision | None = None
    rendered: native.Rendered | None = None
    published: set[str] = field(default_factory=set)

    def revise(self, policy: Policy) -> dict[str, float]:
        """Seconds by stage."""
        number = 1 if self.rendered is None else self.rendered.revision + 1
        made = self.rendered = native.render(policy, tiers.TIER, number, before=self.rendered)
        spent = _Spent()
        with spent.on("folded"):
            self._fold(made)
        with spent.on("judged"):
            _, _, judgement = judged(self.held, self.view.tier_text(), self.reader)
        self.held = revision = judgement.revision
        if revision is None or revision.number != number:
            raise RuntimeError(judgement.why)
        feed = (
            scale.feed(scale.population(PODS))
            if number == 1
            else scale.change(scale.address(0), scale.kind("zone-0", "app-0"))
        )
        with spent.inside(), spent.on("pass"):
            applied = self.kernel.apply(revision.policy, feed, _NOW, revision=number)
        if applied.problems:
            raise RuntimeError(str(applied.problems))
        took = spent.took
        return took | {
            "worked_out": took["pass"] - took.get("table", 0.0) - took.get("looked", 0.0),
            "all": took["folded"] + took["judged"] + took["pass"],
        }

    def _fold(self, made: native.Rendered) -> None:
        for part in made.parts:
            name = part["metadata"]["name"]
            if name not in self.published:
                self.view.fold(WatchedObject(_KINDS[part["kind"]], part))
                self.published.add(name)
        metadata = made.tier["metadata"] | {"uid": "1"}
        self.view.fold(WatchedObject(WatchedKind.TIERS, made.tier | {"metadata": metadata}))


@dataclass(slots=True)
class _Spent:
    """Processor time of this process by stage; a stage may be within another."""

    took: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def on(self, stage: str) -> Iterator[None]:
        before = time.process_time()
        try:
            yield
        finally:
            self.took[stage] = self.took.get(stage, 0.0) + time.process_time() - before

    @contextmanager
    def inside(self) -> Iterator[None]:
        with ExitStack() as stack:
            for stage, (where, name) in _INSIDE.items():
                self.took[stage] = 0.0
                stack.enter_context(patch.object(where, name, self._timed(stage, getattr(where, name))))
            yield

    def _timed(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            with self.on(stage):
                return work(*arguments, **options)

        return timed
