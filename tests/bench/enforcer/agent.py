"""The whole agent as a process: from an event at the API server to the kernel, its memory, its idle load, its restart.

The cluster is the mock API server in this process, with as many pods as the figures say, in slices of 1,500 nodes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from statistics import quantiles

from enforcer import elements
from enforcer.messages import ERROR, INET, NFTABLES, REQUEST, attribute, netfilter, text
from enforcer.netlink import NETFILTER, answers, open_socket
from enforcer.ruleset import TABLE
from mocks.kubernetes import KubernetesServer
from mocks.lab import Lab
from tests.bench.enforcer import scale
from tests.bench.enforcer.figures import Figure
from tests.enforcer import cluster
from zones.inventory import Pod
from zones.tiers import native, slices

RULES, ADDRESSES = 10_000, 150_000
_A_NODE, _OWN = 100, 20
_CHANGES = 150
_SETTLED, _QUIET_SECONDS = 10.0, 20.0
_PATIENCE = 300.0
_GET_ELEMENTS = NFTABLES << 8 | 13
_HERTZ = os.sysconf("SC_CLK_TCK")


def figures() -> Iterator[Figure]:
    with ExitStack() as stack, tempfile.TemporaryDirectory() as directory:
        stage = _Stage(stack, Path(directory))
        yield Figure("agent.started", stage.start(), "s")
        time.sleep(_SETTLED)
        yield from stage.weight("agent")
        yield from stage.changes()
        yield from stage.quiet()
        yield from stage.weight("agent.later")
        yield Figure("agent.restarted_without_a_table", stage.restart(), "s")


class _Stage:
    """One agent on one node, and a cluster in small."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self.directory = directory
        self.server = stack.enter_context(KubernetesServer(directory))
        self.lab = stack.enter_context(Lab("agt"))
        self.node = self.lab.node(scale.NODE)
        self.lab.relay(int(self.server.url.rsplit(":", 1)[1]), where=self.node)
        self.agent: subprocess.Popen[bytes] | None = None
        stack.callback(self._end)
        self._fill()
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
        first = int(scale.PODS.network_address) + number * 128
        name = scale.NODE if number == 0 else f"node-{number}"
        self.server.create(cluster.node(name, f"192.168.{number >> 8}.{number & 255}", f"{IPv4Address(first)}/25"))
        zones = scale.zones()
        pods = [
            Pod(
                f"{number}-{n}", "shop", f"app-{n % 25}-{number}-{n}", name, "Running", (IPv4Address(first + 2 + n),),
                {scale.LABEL: zones[(number + n) % len(zones)]}, f"app-{n % 25}",
            )
            for n in range(_OWN if number == 0 else _A_NODE)
        ]  # fmt: skip
        if number:
            title = slices.name_of(cluster.TIER, name, 0)
            self.server.create(slices.render(cluster.TIER, title, name, pods, [scale.LABEL]))
            return
        for pod in pods:
            self._add_pod(pod.name, str(pod.addresses[0]), pod.labels[scale.LABEL])

    def _add_pod(self, name: str, address: str, zone: str) -> dict[str, object]:
        raw: dict[str, object] = cluster.pod(name, address, zone, node=scale.NODE)
        cluster.add_pod(self.server, raw)
        return raw

    def start(self) -> float:
        """Until a pod of the last slice is known to the kernel."""
        started = time.perf_counter()
        code = "from enforcer.cli import main; main()"
        command = self.node.command([sys.executable, "-c", code, "run", "-c", str(self.settings)])
        with (self.directory / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(command, stdout=log, stderr=log)
        last = int(scale.PODS.network_address) + ADDRESSES // _A_NODE * 128 + 2
        self._until(lambda: self._holds(IPv4Address(last)))
        return round(time.perf_counter() - started, 2)

    def weight(self, name: str) -> Iterator[Figure]:
        told = dict(line.split(":", 1) for line in Path(f"/proc/{self._pid}/status").read_text().splitlines())
        for key, what in (("VmRSS", "rss"), ("VmHWM", "rss_peak")):
            yield Figure(f"{name}.{what}", round(int(told[key].split()[0]) / 1024, 1), "MB")

    def changes(self) -> Iterator[Figure]:
        """A pod of this node comes; how long until the kernel knows it."""
        times: list[float] = []
        for number in range(_CHANGES):
            address = scale.address(40 + number % 60)
            began = time.perf_counter()
            raw = self._add_pod(f"new-{number}", str(address), f"zone-{number % 40}")
            self._until(lambda at=address: self._holds(at), every=0.0005)  # type: ignore[misc]
            times.append(time.perf_counter() - began)
            self.server.delete(raw)
            self._until(lambda at=address: not self._holds(at), every=0.0005)  # type: ignore[misc]
            time.sleep(0.1)
        cuts = quantiles(times, n=100)
        yield Figure("agent.pod_change.p50", round(cuts[49] * 1000, 2), "ms")
        yield Figure("agent.pod_change.p99", round(cuts[98] * 1000, 2), "ms")

    def quiet(self) -> Iterator[Figure]:
        time.sleep(2)
        before, began = self._used(), time.perf_counter()
        time.sleep(_QUIET_SECONDS)
        share = (self._used() - before) / (time.perf_counter() - began)
        yield Figure("agent.quiet", round(share * 100, 2), "% of a core")

    def restart(self) -> float:
        """After a crash of the node: until the table is there again, with the addresses that it had."""
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait()
        self.node.nft(f"delete table inet {TABLE}")
        return self.start()

    def _used(self) -> float:
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _HERTZ

    @property
    def _pid(self) -> int:
        assert self.agent is not None
        return self.agent.pid

    def _holds(self, address: IPv4Address) -> bool:
        wanted = attribute(3, elements.record(elements.key(address.packed)))
        with self.node.netns.inside(), open_socket(NETFILTER) as channel:
            channel.send(netfilter(_GET_ELEMENTS, REQUEST, 1, INET, 0, text(1, TABLE), text(2, "addresses4"), wanted))
            return next(answers(channel)).kind != ERROR

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
