"""An administrator's commit in Panorama (the mock) until the kernels of two nodes judge by it: the two programs as they are run, a real API server.

One rule is switched on and off. From the sending of the commit until the last packet, on either node, that was judged by the old rules; a commit's job
takes 0.2 s, and the bridge asks twice a second. Configurations have five objects a rule, and a thousand other device groups. Where the machine does other
work, the processor time of each program that has a part in it says more than the clock.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.commit import LEVEL, Administrator, bridge
from tests.bench.control import tiers
from tests.bench.control.probes import Change, Probes, Sent, lags
from tests.bench.control.scene import spread
from tests.bench.control.stage import Stage, busy, load, memory
from tests.bench.figures import Figure
from tests.bench.panorama import configuration, panorama
from tests.panorama_xml import entry, rule

SIZES = (45, 1_000, 10_000)
COMMITS, REST, STILL = 10, 3.0, 10.0
COMMIT_SECONDS = 0.2
RULE = "edited rule"


def figures(sizes: Sequence[int] = SIZES) -> Iterator[Figure]:
    for rules in sizes:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory, ExitStack() as stack:
            scene = _Scene(stack, Path(directory), rules)
            for figure in (*scene.first(), *scene.commits(), load()):
                yield Figure(f"commit.{rules}_rules.{figure.name}", figure.value, figure.unit)


class _Scene:
    """Two nodes with two pods each; the rule that is edited lets the one talk to the other."""

    def __init__(self, stack: ExitStack, directory: Path, rules: int) -> None:
        self.stack = stack
        self.stage = stage = Stage(stack, directory, "cmt", nodes=2)
        self.ends = [
            (
                stage.pod(node, f"client-{node.name}", tiers.CLIENT_ZONE),
                stage.pod(node, f"server-{node.name}", tiers.SERVER_ZONE),
            )
            for node in stage.nodes
        ]
        exported = directory / "running.xml"
        exported.write_text(configuration(rules))
        host, ca_file = stack.enter_context(panorama(exported, COMMIT_SECONDS))
        self.administrator = Administrator(host, ca_file)
        service = entry("edited", f"<protocol><udp><port>{tiers.PORT}</port></udp></protocol>")
        self.administrator.api.set(f"{LEVEL}/service", service)
        zones = {"from_": tiers.CLIENT_ZONE, "to": tiers.SERVER_ZONE}
        edited = rule(RULE, service="edited", extra="<disabled>no</disabled>", **zones)
        self.administrator.api.set(f"{LEVEL}/pre-rulebase/security/rules", edited)
        self.administrator.commit()
        self.started = time.monotonic()
        self.bridge = stack.enter_context(bridge(directory, host, ca_file, stage.kube)).pid

    def first(self) -> Iterator[Figure]:
        """The first revision; its agents start when it is there."""
        stage = self.stage
        published = stage.wait(lambda: stage.revision() > 0, "the first revision published")
        yield Figure("first.published", round(published - self.started, 2), "s from the start of the bridge")
        yield Figure("first.bridge", round(busy(self.bridge), 2), "s of a processor")
        for node in stage.nodes:
            stage.start_agent(node)
        stage.wait(lambda: stage.in_force(stage.revision()), "the first revision in force on both nodes")
        time.sleep(STILL)  # what it changes is still worked out

    def commits(self) -> Iterator[Figure]:
        """The rule goes and comes by turns."""
        probes = [self.stack.enter_context(Probes(client, server, tiers.PORT)) for client, server in self.ends]
        time.sleep(1.0)
        processes = self._processes()
        changes: list[Change] = []
        published: list[float] = []
        reported: list[float] = []
        spent: dict[str, list[float]] = {name: [] for name in ("bridge.until_published", *processes)}
        for number in range(COMMITS):
            self._switch(on=number % 2 == 1)
            revision, before = self.stage.revision() + 1, {name: busy(each) for name, each in processes.items()}
            at = time.monotonic()
            changes.append(Change(at, number % 2 == 1))
            self.administrator.commit()
            published.append(self._when_published(revision) - at)
            spent["bridge.until_published"].append(busy(self.bridge) - before["bridge"])
            reported.append(self._when_in_force(revision) - at)
            for name, each in processes.items():
                spent[name].append(busy(each) - before[name])
            time.sleep(REST)
        yield from _kernels([each.end() for each in probes], changes)
        yield from spread("published", published)
        yield from spread("reported_by_both_nodes", reported)
        for name, seconds in spent.items():
            yield Figure(f"spent.{name}", round(statistics.median(seconds), 3), "s of a processor until both report it")
        yield Figure("bridge.rss_peak", round(memory(self.bridge)["VmHWM"], 1), "MB")

    def _switch(self, *, on: bool) -> None:
        path = f"{LEVEL}/pre-rulebase/security/rules/entry[@name='{RULE}']"
        self.administrator.api.set(path, f"<disabled>{'no' if on else 'yes'}</disabled>")

    def _when_published(self, revision: int) -> float:
        return self.stage.wait(lambda: self.stage.revision() >= revision, "the commit published")

    def _when_in_force(self, revision: int) -> float:
        return self.stage.wait(lambda: self.stage.in_force(revision), "the commit in force")

    def _processes(self) -> dict[str, int]:
        """Those that have a part in a commit, by name."""
        processes = {"bridge": self.bridge}
        processes |= {f"agent.{name}": agent.pid for name, agent in self.stage.agents.items()}
        for task in Path("/proc/self/task").iterdir():
            for child in (task / "children").read_text().split():
                program = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                if program[1:4] == [b"-m", b"mocks", b"panorama"]:
                    processes["panorama"] = int(child)
                elif Path(program[0].decode()).name in {"kube-apiserver", "etcd"}:
                    processes[Path(program[0].decode()).name] = int(child)
        return processes


def _kernels(sent: Sequence[Sequence[Sent]], changes: Sequence[Change]) -> Iterator[Figure]:
    """Of each change, the later node's time."""
    took: dict[str, list[float]] = {"allowed": [], "denied": [], "denied.live": []}
    by_node = [lags(each, changes) for each in sent]
    for change, lives, lag in (max(same, key=lambda each: each[2]) for same in zip(*by_node, strict=True)):
        if not (lives and change.allows):
            took["allowed" if change.allows else "denied.live" if lives else "denied"].append(lag)
    for name, seconds in took.items():
        yield from spread(f"kernel.{name}", seconds)
    yield from spread("kernel.all", [*took["allowed"], *took["denied"]])
