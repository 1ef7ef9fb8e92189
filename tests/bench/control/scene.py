"""The scene in which peers were measured (docs/performance.md), for our own agent: one node, 100 pods, others on other nodes, packets every 2 ms.

Times are from the sending of an API request until the last packet that was judged as before. Bystanders are connections that a rule allows, and others that
none does, all the time: of these nothing may be lost, of those nothing may pass. Two pods of the hundred (and those that are made) have a link.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.control import tiers
from tests.bench.control.probes import Change, Probes, Sent, lags
from tests.bench.control.stage import NAMESPACE, Stage, load
from tests.bench.enforcer import scale
from tests.bench.figures import Figure
from tests.bridge.processes import TIER
from zones.policy import Policy
from zones.tiers import native

SIZES = ((100, 1_000), (1_000, 1_000), (10_000, 1_000), (1_000, 10_000))
LOCAL = 100
STEADY, DENIED = 7002, 7003
# A zone that no rule lets to the server's.
ELSEWHERE = "zone-elsewhere"
TIMES, CREATED, REST = 10, 5, 1.0
SETTLES, AWAY = 3.0, 2.0


def figures(sizes: Sequence[tuple[int, int]] = SIZES) -> Iterator[Figure]:
    for rules, others in sizes:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory, ExitStack() as stack:
            stage = Stage(stack, Path(directory), "scn")
            scene = Scene(stage, rules, others)
            name = f"scene.{rules}_rules.{others}_remote"
            for part in (scene.start, scene.labels, scene.creations, scene.rules, scene.restart):
                for figure in part():
                    yield Figure(f"{name}.{figure.name}", figure.value, figure.unit)
            yield from stage.weight(name, stage.nodes[0].name)
            yield Figure(f"{name}.{load().name}", load().value, load().unit)


@dataclass(slots=True)
class Bystanders:
    """Connections that nothing that happens concerns."""

    allowed: Probes
    denied: Probes

    def figures(self, what: str) -> Iterator[Figure]:
        allowed, denied = self.allowed.end(), self.denied.end()
        yield Figure(f"{what}.lost", sum(not each.arrived for each in allowed), f"of {len(allowed)} allowed packets")
        yield Figure(f"{what}.passed", sum(each.arrived for each in denied), f"of {len(denied)} denied packets")


class Scene:
    def __init__(self, stage: Stage, rules: int, others: int) -> None:
        self.stage = stage
        self.number = 0
        self.node = stage.nodes[0]
        self._rules = rules
        self.client = stage.pod(self.node, "client", tiers.CLIENT_ZONE)
        self.server = stage.pod(self.node, "server", tiers.SERVER_ZONE)
        self.fickle = stage.pod(self.node, "fickle", ELSEWHERE)
        stage.local(self.node, LOCAL - 3)
        stage.others(others)
        self.rendered = native.render(self.policy(), TIER, 1)
        stage.publish(self.rendered)

    def policy(self) -> Policy:
        """With the edited rule where the number is even."""
        policy = tiers.one_rule(self._rules, self.number)
        steady = tiers.allow("steady", STEADY)
        return Policy(policy.zoning, policy.infrastructure, (steady, *policy.entries), policy.known_zones)

    def bystanders(self, stack: ExitStack) -> Bystanders:
        allowed, denied = (stack.enter_context(Probes(self.client, self.server, port)) for port in (STEADY, DENIED))
        return Bystanders(allowed, denied)

    def start(self) -> Iterator[Figure]:
        """The first start of an agent on a node in use, without saved state."""
        with ExitStack() as stack:
            bystanders = self.bystanders(stack)
            time.sleep(REST)
            started = time.monotonic()
            self.stage.start_agent(self.node)
            self.stage.wait(lambda: self.stage.in_force(1), "the first revision in force")
            time.sleep(SETTLES)
            allowed, denied = bystanders.allowed.end(), bystanders.denied.end()
        last = max((each.at for each in denied if each.arrived), default=started)
        lost = [each for each in allowed if not each.arrived and each.at >= started]
        passed = max((each.at for each in allowed if each.arrived), default=started)
        if passed < denied[-1].at - SETTLES / 2:
            raise RuntimeError("what the tier allows doesn't pass")
        yield Figure("start.last_denied_passed", round(last - started, 3), "s")
        yield Figure(
            "start.last_allowed_lost", round(max((each.at for each in lost), default=started) - started, 3), "s"
        )
        yield Figure("start.lost", len(lost), f"of {len(allowed)} allowed packets")

    def labels(self) -> Iterator[Figure]:
        """A pod comes into the client's zone, and leaves it."""
        yield from self._changes(
            "label",
            Probes(self.fickle, self.server, STEADY),
            lambda allows: self.stage.relabel(self.fickle.name, tiers.CLIENT_ZONE if allows else ELSEWHERE),
        )

    def rules(self) -> Iterator[Figure]:
        """A rule goes, and comes: parts first, then the Tier, from whose sending it counts."""
        moments: list[float] = []

        def edit(_: bool) -> None:
            self.number += 1
            revision = self.rendered.revision + 1
            self.rendered = native.render(self.policy(), TIER, revision, before=self.rendered)
            moments.append(self.stage.publish(self.rendered))

        yield from self._changes(
            "rule", Probes(self.client, self.server, tiers.PORT), edit, first=False, moments=moments
        )

    def _changes(
        self,
        what: str,
        probes: Probes,
        change: Callable[[bool], None],
        *,
        first: bool = True,
        moments: list[float] | None = None,
    ) -> Iterator[Figure]:
        with ExitStack() as stack:
            bystanders = self.bystanders(stack) if probes.port != STEADY else None
            stack.enter_context(probes)
            time.sleep(REST)
            changes = []
            for number in range(2 * TIMES):
                allows = first is (number % 2 == 0)
                at = time.monotonic()
                change(allows)
                changes.append(Change(moments[-1] if moments else at, allows))
                time.sleep(REST)
            time.sleep(REST)
            sent = probes.end()
            if bystanders is not None:
                yield from bystanders.figures(what)
        yield from by_kind(what, sent, changes)

    def creations(self) -> Iterator[Figure]:
        """A pod is made that a rule allows: closed until it is known."""
        took = []
        for number in range(CREATED):
            pod = self.node.pod(f"new-{number}")
            with Probes(pod, self.server, STEADY) as probes:
                time.sleep(REST)
                at = time.monotonic()
                self.stage.kubelet.report(pod, NAMESPACE, labels={scale.LABEL: tiers.CLIENT_ZONE})
                time.sleep(REST * 2)
                sent = probes.end()
            early = sum(each.arrived for each in sent if each.at < at)
            if early:
                raise RuntimeError(f"{early} packets of a pod passed before it was known")
            took += [lag for _, lives, lag in lags([each for each in sent if each.at >= at], [Change(at, allows=True)]) if not lives]  # fmt: skip
            self.stage.kubelet.forget(pod, NAMESPACE)
            pod.delete()
        yield from spread("pod_created", took)

    def restart(self) -> Iterator[Figure]:
        """The agent is killed, away for two seconds, and there again."""
        with ExitStack() as stack:
            bystanders = self.bystanders(stack)
            time.sleep(REST)
            agent = self.stage.agents[self.node.name]
            agent.kill()
            agent.wait()
            time.sleep(AWAY)
            self.stage.start_agent(self.node)
            time.sleep(SETTLES * 2)
            yield from bystanders.figures("restart")


def by_kind(what: str, sent: Sequence[Sent], changes: Sequence[Change]) -> Iterator[Figure]:
    """What was allowed, what was denied, and how long after that the connection that lived was cut."""
    lags_by_kind: dict[str, list[float]] = {}
    for change, lives, lag in lags(sent, changes):
        if not (lives and change.allows):
            kind = "allowed" if change.allows else "denied.live" if lives else "denied"
            lags_by_kind.setdefault(f"{what}.{kind}", []).append(lag)
    for name, took in lags_by_kind.items():
        yield from spread(name, took)


def spread(name: str, took: Sequence[float]) -> Iterator[Figure]:
    """Median and the longest of some seconds, as milliseconds."""
    missed = sum(map(math.isinf, took))
    if missed:
        yield Figure(f"{name}.never", missed, f"of {len(took)}")
    seconds = [each for each in took if not math.isinf(each)]
    if seconds:
        yield Figure(f"{name}.p50", round(statistics.median(seconds) * 1000, 1), f"ms of {len(seconds)}")
        yield Figure(f"{name}.longest", round(max(seconds) * 1000, 1), f"ms of {len(seconds)}")
