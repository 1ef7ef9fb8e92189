"""The whole agent as a process: from a Tier's new revision at the API server until the last packet that was judged by the old rules.

The cluster is the API server in small, with 1,000 pods of other nodes in slices. A process sends a datagram of a new connection and one of an old one
every 2 ms; that is how exact these figures are. Agent and API server come before everything else that the machine does, where that is permitted.
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
from contextlib import ExitStack, suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from mocks.kubernetes import KubernetesServer
from mocks.lab import Lab
from tests.bench.control import tiers
from tests.bench.control.probes import Change, Probes, lags
from tests.bench.enforcer import scale
from tests.bench.enforcer.stages import percentiles
from tests.bench.figures import Figure
from tests.enforcer import smallcluster as cluster
from zones.addresses.inventory import Pod
from zones.policy import Policy
from zones.tiers import native, slices

_SLICES, _A_SLICE = 10, 100
_EDITS, _IN_A_ROW = 20, 10
_PATIENCE, _REST, _SETTLES = 120.0, 0.6, 3.0
_HERTZ = os.sysconf("SC_CLK_TCK")


def figures() -> Iterator[Figure]:
    for name, edited in tiers.SCENES.items():
        port = tiers.LISTED_PORT if name.startswith("list") else tiers.PORT
        with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
            stage = _Stage(stack, Path(directory), edited, port)
            yield from stage.begin(f"edit.{name}")
            yield from stage.edits(f"edit.{name}", _EDITS, _REST)
            yield from stage.edits(f"edit.{name}.in_a_row", _IN_A_ROW, 0.05)
            yield from stage.weight(f"edit.{name}")


class _Stage:
    """One agent on one node, two of its pods, and a cluster in small."""

    def __init__(self, stack: ExitStack, directory: Path, edited: Callable[[int], Policy], port: int) -> None:
        self.stack = stack
        self.directory = directory
        self.edited = edited
        self.port = port
        self.server = stack.enter_context(KubernetesServer(directory))
        self.lab = stack.enter_context(Lab("edt"))
        self.node = self.lab.node(scale.NODE)
        self.lab.relay(int(self.server.url.rsplit(":", 1)[1]), where=self.node)
        self.client, self.pod = self.node.pod("client"), self.node.pod("server")
        self.agent: subprocess.Popen[bytes] | None = None
        stack.callback(self._end)
        self.rendered = native.render(self.edited(0), cluster.TIER, 1)
        self._fill()
        self.settings = directory / "enforcer.json"
        told = {"cluster": "bench", "nodeName": scale.NODE, "kubeconfig": str(self.server.kubeconfig)}
        self.settings.write_text(json.dumps(told | {"stateDir": str(directory / "state")}))

    def _fill(self) -> None:
        for definition in cluster.definitions():
            self.server.create(definition)
        annotations = {"zonebridge.io/zones": "*"}
        self.server.create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": annotations}}
        )
        self.server.create(cluster.node(scale.NODE, self.node.ip, self.node.pod_cidr))
        for pod, zone in ((self.client, tiers.CLIENT_ZONE), (self.pod, tiers.SERVER_ZONE)):
            cluster.add_pod(self.server, cluster.pod(pod.name, pod.ip, zone, node=scale.NODE))
        for number in range(1, _SLICES + 1):
            self.server.create(cluster.node(f"node-{number}", f"192.168.7.{number}", f"10.77.{number}.0/24"))
            self.server.create(_slice(number))
        cluster.publish(self.server, self.rendered)

    def begin(self, name: str) -> Iterator[Figure]:
        """From the process's start until what is allowed passes and what is denied doesn't."""
        command = self.node.command(
            [sys.executable, "-c", "from enforcer.cli import main; main()", "run", "-c", str(self.settings)]
        )
        with Probes(self.client, self.pod, self.port) as probes:
            started = time.monotonic()
            with (self.directory / "agent.log").open("ab") as log:
                self.agent = subprocess.Popen(command, stdout=log, stderr=log)
            self._until(self._enforces)
            time.sleep(_SETTLES)
            sent = probes.end()
        lost = [each for each in sent if not each.arrived]
        back = max((each.at for each in lost), default=started) - started
        yield Figure(f"{name}.start.enforced", round(self.enforced - started, 3), "s")
        yield Figure(f"{name}.start.last_lost", round(back, 3), "s")
        yield Figure(f"{name}.start.lost", len(lost), f"of {len(sent)} packets")
        self._prefer()

    def _enforces(self) -> bool:
        state = self.directory / "state" / "status.json"
        with suppress(OSError, ValueError):
            if '"revision": 1' in state.read_text() or '"revision":1' in state.read_text():
                self.enforced = time.monotonic()
                return True
        return b'"revision": 1' in self._log() and self._noted()

    def _noted(self) -> bool:
        self.enforced = time.monotonic()
        return True

    def _log(self) -> bytes:
        return (self.directory / "agent.log").read_bytes()

    def edits(self, name: str, many: int, rest: float) -> Iterator[Figure]:
        """Rules that go and come, by turns."""
        changes = list[Change]()
        with Probes(self.client, self.pod, self.port) as probes:
            time.sleep(_REST)
            for _ in range(many):
                made = self._next()
                changes.append(Change(time.monotonic(), made))
                cluster.replace_spec(self.server, self.rendered.tier)
                time.sleep(rest)
            time.sleep(_REST * 2)
            sent = probes.end()
        found: dict[str, list[float]] = {}
        for change, lives, lag in lags(sent, changes):
            what = ("allowed" if change.allows else "denied") + (".live" if lives else "")
            found.setdefault(what, []).append(lag)
        for what, seconds in found.items():
            yield from percentiles(f"{name}.{what}", seconds)

    def _next(self) -> bool:
        """Publish the parts of the next revision; whether it allows."""
        number = self.rendered.revision
        known = {part["metadata"]["name"] for part in self.rendered.parts}
        self.rendered = native.render(self.edited(number), cluster.TIER, number + 1, before=self.rendered)
        for part in self.rendered.parts:
            if part["metadata"]["name"] not in known:
                cluster.create_once(self.server, part)
        time.sleep(0.2)
        return number % 2 == 0

    def weight(self, name: str) -> Iterator[Figure]:
        assert self.agent is not None
        told = dict(line.split(":", 1) for line in Path(f"/proc/{self.agent.pid}/status").read_text().splitlines())
        for key, what in (("VmRSS", "rss"), ("VmHWM", "rss_peak")):
            yield Figure(f"{name}.{what}", round(int(told[key].split()[0]) / 1024, 1), "MB")

    def _prefer(self) -> None:
        assert self.agent is not None
        with suppress(PermissionError):
            for process in (self.agent.pid, os.getpid()):
                for task in Path(f"/proc/{process}/task").iterdir():
                    os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(40))

    def _until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not holds():
            if time.monotonic() > deadline or self.agent is None or self.agent.poll() is not None:
                raise RuntimeError(self._log()[-2000:].decode())
            time.sleep(0.005)

    def _end(self) -> None:
        if self.agent is not None and self.agent.poll() is None:
            self.agent.send_signal(signal.SIGKILL)
            self.agent.wait()


def _slice(number: int) -> dict[str, Any]:
    name = f"node-{number}"
    pods = [
        Pod(
            f"{number}-{n}", "shop", f"app-{number}-{n}", name, "Running", (IPv4Address(f"10.77.{number}.{n + 2}"),),
            {scale.LABEL: f"zone-{(number + n) % 40}"}, f"app-{n % 25}",
        )
        for n in range(_A_SLICE)
    ]  # fmt: skip
    return slices.render(cluster.TIER, slices.name_of(cluster.TIER, name, 0), name, pods, [scale.LABEL])
