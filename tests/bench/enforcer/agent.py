"""The whole agent as a process: from an event at the API server to the kernel, its memory, its idle load, its restart.

The cluster is the mock API server in this process, with as many pods as the figures say, in slices of 1,500 nodes. Each
change is told by its steps (see `stages`), by the agent's own processor time, and by how long it waited for a processor.
Both have real-time priority meanwhile: what else the machine does is not what is measured.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path
from statistics import median

from enforcer.kernel import elements
from enforcer.netlink.messages import ERROR, INET, NFTABLES, REQUEST, attribute, netfilter, text
from enforcer.netlink.sockets import NETFILTER, answers, open_socket
from enforcer.rules.ruleset import TABLE
from mocks.kubernetes import KubernetesServer
from mocks.lab import Lab
from tests.bench.enforcer import scale
from tests.bench.enforcer.stages import STEPS, Trace, percentiles
from tests.bench.figures import Figure
from tests.enforcer import smallcluster as cluster
from zones.addresses.inventory import Pod
from zones.canonical import Json
from zones.tiers import native, slices

RULES, ADDRESSES = 10_000, 150_000
_A_NODE, _OWN = 100, 20
_CHANGES = 150
_CHURN_SECONDS = 0.1  # between two slices that change elsewhere
_SETTLED, _QUIET_SECONDS = 10.0, 20.0
_RESTARTS = 7
_TAKEN_APART = 1.0  # seconds in which the kernel takes the deleted table apart; a node that restarts has none
_PATIENCE = 300.0
_GET_ELEMENTS = NFTABLES << 8 | 13
_HERTZ = os.sysconf("SC_CLK_TCK")


def figures() -> Iterator[Figure]:
    with ExitStack() as stack, tempfile.TemporaryDirectory() as directory:
        stage = _Stage(stack, Path(directory))
        yield Figure("agent.started", stage.start(traced=True), "s")
        time.sleep(_SETTLED)
        yield from stage.weight("agent")
        with stage.preferred():
            yield from stage.changes("agent.pod_change")
            with stage.churn():
                yield from stage.changes("agent.pod_change_amid_churn")
        yield from stage.quiet()
        yield from stage.weight("agent.later")
        yield from stage.restarts()


class _Stage:
    """One agent on one node, and a cluster in small."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self.directory = directory
        self.server = stack.enter_context(KubernetesServer(directory))
        self.lab = stack.enter_context(Lab("agt"))
        self.node = self.lab.node(scale.NODE)
        self.lab.relay(int(self.server.url.rsplit(":", 1)[1]), where=self.node)
        self.agent: subprocess.Popen[bytes] | None = None
        self.trace = Trace(directory / "trace.jsonl")
        stack.callback(self.trace.close)
        with self.node.netns.inside():
            self.nftables = stack.enter_context(open_socket(NETFILTER))  # to close one holds up all others' changes
        stack.callback(self._end)
        self._fill()
        gc.freeze()  # a look through this cluster for garbage would take longer than what is measured
        settings = {
            "cluster": "bench",
            "nodeName": scale.NODE,
            "kubeconfig": str(self.server.kubeconfig),
            "stateDir": str(directory / "state"),
        }
        self.settings = directory / "enforcer.json"
        self.settings.write_text(json.dumps(settings))

    def _fill(self) -> None:
        for definition in cluster.definitions():
            self.server.create(definition)
        annotations = {"zonebridge.io/zones": "*"}
        self.server.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": annotations}}
        )
        for number in range(ADDRESSES // _A_NODE + 1):
            self._add_node(number)
        cluster.publish(self.server, native.render(scale.policy(RULES), cluster.TIER, 1))

    def _add_node(self, number: int) -> None:
        first = self._first(number)
        name = scale.NODE if number == 0 else f"node-{number}"
        self.server.create(cluster.node(name, f"192.168.{number >> 8}.{number & 255}", f"{IPv4Address(first)}/25"))
        if number:
            self.server.create(self._slice(number))
            return
        for pod in self._pods(name, number, _OWN):
            self._add_pod(pod.name, str(pod.addresses[0]), pod.labels[scale.LABEL])

    def _slice(self, number: int, leave_out: int | None = None) -> Json:
        name = f"node-{number}"
        pods = [pod for at, pod in enumerate(self._pods(name, number, _A_NODE)) if at != leave_out]
        return slices.render(cluster.TIER, slices.name_of(cluster.TIER, name, 0), name, pods, [scale.LABEL])

    def _pods(self, node: str, number: int, many: int) -> list[Pod]:
        first, zones = self._first(number), scale.zones()
        return [
            Pod(
                f"{number}-{n}", "shop", f"app-{n % 25}-{number}-{n}", node, "Running", (IPv4Address(first + 2 + n),),
                {scale.LABEL: zones[(number + n) % len(zones)]}, f"app-{n % 25}",
            )
            for n in range(many)
        ]  # fmt: skip

    def _first(self, number: int) -> int:
        return int(scale.PODS.network_address) + number * 128

    def _add_pod(self, name: str, address: str, zone: str) -> dict[str, object]:
        raw: dict[str, object] = cluster.pod(name, address, zone, node=scale.NODE)
        cluster.add_pod(self.server, raw)
        return raw

    def start(self, *, traced: bool = False) -> float:
        """Until a pod of the last slice is known to the kernel."""
        started = time.perf_counter()
        program = ["-c", "from enforcer.cli import main; main()"]
        if traced:
            program = ["-m", "tests.bench.enforcer.traced", str(self.directory / "trace.jsonl")]
        command = self.node.command([sys.executable, *program, "run", "-c", str(self.settings)])
        with (self.directory / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(command, stdout=log, stderr=log)
        last = int(scale.PODS.network_address) + ADDRESSES // _A_NODE * 128 + 2
        self._until(lambda: self._holds(IPv4Address(last)))
        return round(time.perf_counter() - started, 2)

    def weight(self, name: str) -> Iterator[Figure]:
        told = dict(line.split(":", 1) for line in Path(f"/proc/{self._pid}/status").read_text().splitlines())
        for key, what in (("VmRSS", "rss"), ("VmHWM", "rss_peak")):
            yield Figure(f"{name}.{what}", round(int(told[key].split()[0]) / 1024, 1), "MB")

    def changes(self, title: str) -> Iterator[Figure]:
        """A pod of this node comes; how long until the kernel knows it."""
        began, taken = time.perf_counter(), []
        used, waited = [], []
        for number in range(_CHANGES):
            address, name = scale.address(40 + number % 60), f"{title.replace('_', '-')}-{number}"
            cpu, queued = self._scheduled()
            since = time.perf_counter()
            raw = self._add_pod(name, str(address), f"zone-{number % 40}")
            taken.append(self._steps(name, since))
            if not self._holds(address):
                raise RuntimeError(f"{name} was committed, but {address} is not in the kernel")
            time.sleep(0.05)
            after = self._scheduled()
            used.append(after[0] - cpu)
            waited.append(after[1] - queued)
            self.server.delete(raw)
            self._until(lambda at=address: not self._holds(at))  # type: ignore[misc]
            time.sleep(0.1)
        for step in taken[0]:
            yield from percentiles(f"{title}.{step}", [each[step] for each in taken])
        yield from percentiles(f"{title}.in_agent", [sum(each[step] for step in STEPS[1:]) for each in taken])
        yield from percentiles(title, [sum(each[step] for step in STEPS) for each in taken])
        yield from percentiles(f"{title}.cpu", used)
        yield from percentiles(f"{title}.waited_for_a_processor", waited)
        pauses = [seconds for _, seconds in self.trace.of("garbage", began)]  # type: ignore[misc,attr-defined]
        held = [seconds for seconds, _ in self.trace.of("busy", began)]  # type: ignore[misc,attr-defined]
        yield Figure(f"{title}.longest_in_the_loop", round(max(held, default=0.0) * 1000, 2), "ms")
        yield Figure(f"{title}.longest_garbage_collection", round(max(pauses, default=0.0) * 1000, 2), "ms")

    def _steps(self, name: str, since: float) -> dict[str, float]:
        found: dict[str, float] = {}

        def passed() -> bool:
            self.trace.read()
            found.update(self.trace.steps(name, since) or {})
            return bool(found)

        self._until(passed)
        return found

    def _scheduled(self) -> tuple[float, float]:
        """Seconds that the agent's threads have run, and have waited for a processor."""
        ran = waited = 0
        for task in Path(f"/proc/{self._pid}/task").iterdir():
            one, other, _ = (task / "schedstat").read_text().split()
            ran, waited = ran + int(one), waited + int(other)
        return ran / 1e9, waited / 1e9

    @contextmanager
    def preferred(self) -> Iterator[None]:
        """The agent and this cluster come before everything else that the machine does, where that is permitted."""
        with suppress(PermissionError):
            self._schedule(os.SCHED_RR, 50)
        try:
            yield
        finally:
            with suppress(PermissionError):
                self._schedule(os.SCHED_OTHER, 0)

    def _schedule(self, policy: int, priority: int) -> None:
        for process in (self._pid, os.getpid()):
            for task in Path(f"/proc/{process}/task").iterdir():
                os.sched_setscheduler(int(task.name), policy, os.sched_param(priority))

    @contextmanager
    def churn(self) -> Iterator[None]:
        """Pods of other nodes come and go all the time: a slice changes so often."""
        over = threading.Event()

        def change() -> None:
            number = 0
            while not over.wait(_CHURN_SECONDS):
                number += 1
                cluster.replace_spec(self.server, self._slice(1 + number % 500, leave_out=number % _A_NODE))

        thread = threading.Thread(target=change, name="churn")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def quiet(self) -> Iterator[Figure]:
        time.sleep(2)
        before, began = self._used(), time.perf_counter()
        time.sleep(_QUIET_SECONDS)
        share = (self._used() - before) / (time.perf_counter() - began)
        yield Figure("agent.quiet", round(share * 100, 2), "% of a core")

    def restarts(self) -> Iterator[Figure]:
        """After crashes of the node: from the process's start until the old rules are there, with all their addresses.

        The best of several is nearest to what a machine that does nothing else would show.
        """
        times, cpu = [], []
        for _ in range(_RESTARTS):
            self._end()
            self.node.nft(f"delete table inet {TABLE}")
            time.sleep(_TAKEN_APART)
            times.append(self.start())
            cpu.append(self._used())
        for name, values in (("agent.restored", times), ("agent.restored.cpu", cpu)):
            yield Figure(f"{name}.best", round(min(values), 2), "s")
            yield Figure(f"{name}.p50", round(median(values), 2), "s")

    def _used(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _HERTZ

    @property
    def _pid(self) -> int:
        assert self.agent is not None
        return self.agent.pid

    def _holds(self, address: IPv4Address) -> bool:
        wanted = attribute(3, elements.record(elements.key(address.packed)))
        self.nftables.send(netfilter(_GET_ELEMENTS, REQUEST, 1, INET, 0, text(1, TABLE), text(2, "addresses4"), wanted))
        return next(answers(self.nftables)).kind != ERROR

    def _until(self, holds: Callable[[], bool], every: float = 0.01) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not holds():
            if time.monotonic() > deadline or self.agent is None or self.agent.poll() is not None:
                raise RuntimeError((self.directory / "agent.log").read_text()[-2000:])
            time.sleep(every)

    def _end(self) -> None:
        if self.agent is not None and self.agent.poll() is None:
            self.agent.send_signal(signal.SIGKILL)
            self.agent.wait()
