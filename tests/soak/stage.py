"""The example company on a real API server, with two bridges, an agent on each node and a balanced SIEM; each program
has a wall clock of its own. It sets the stage and keeps count of processes; faults.py breaks things, truth.py judges.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from mocks.lab import Lab
from mocks.lab.kubelet import MERGE, Kubelet, Owner
from mocks.lab.machines import Machine, Node
from mocks.panorama import Panorama, PanoramaServer
from tests.apiserver.restorable import ADMINISTRATORS, Restorable
from tests.bridge.processes import ROOT as OBJECTS
from tests.bridge.processes import install
from tests.demo.company import NODES, Company
from tests.demo.world import PASSWORD, TIER, USER, World
from tests.realkube import Binaries
from tests.soak.receivers import Receivers
from tests.soak.wallclock import WallClock, build
from zones.zone import ENTITLEMENT_ANNOTATION

BRIDGES = ("bridge-1", "bridge-2")
AGENTS = tuple(f"zone-enforcer-{name}" for name in NODES)
# A renewal that takes longer than two seconds is no renewal with the default, and here everything takes long at times.
LEASE = {"duration": "30s", "renew": "5s"}
# Without an answer of the API server for so long, a node says so.
STALE_SECONDS = 100.0
START_SECONDS = 300.0


class Stage(World):
    """`truth_file`: Panorama's running configuration. `starts`: how often each program was started."""

    def __init__(self, company: Company, programs: Binaries) -> None:
        super().__init__(company)
        self._programs = programs
        self.starts: Counter[str] = Counter()
        self._begun: dict[str, float] = {}
        self._sent_before: Counter[str] = Counter()
        self._sent_now: Counter[str] = Counter()
        self._counting = threading.Lock()

    def _set_stage(self) -> None:
        enter = self._stack.enter_context
        self.directory = Path(enter(tempfile.TemporaryDirectory(prefix="zonebridge-soak-")))
        panorama = Panorama(self.company.panorama, users={"admin": "admin", USER: PASSWORD}, commit_seconds=0)
        self.panorama = enter(PanoramaServer(panorama))
        self.kube = Restorable(self._programs)
        self.kube.ready_seconds = START_SECONDS
        enter(self.kube)
        install(self.kube)
        self.receivers = enter(Receivers(self.directory))
        library = build(self.directory)
        self.clocks = {name: WallClock(self.directory, library, name) for name in (*BRIDGES, *AGENTS)}
        self.lab = enter(Lab("soak"))
        self.nodes = [self.lab.node(name) for name in NODES]
        for machine in (*self.nodes, self.lab.control):
            self.lab.relay(self.kube.port, where=machine)
        for node in self.nodes:
            self.lab.relay(self.siem_port, where=node)
        self.lab.relay(self.panorama.port, where=self.lab.control)
        self.truth_file = self.directory / "running.xml"
        self.truth_file.write_bytes(self.company.panorama.read_bytes())
        self.meet_again()
        self._populate(Kubelet(self._client))
        self._stack.callback(self._close_client)

    def _close_client(self) -> None:
        self._client.close()

    @property
    def siem_port(self) -> int:
        port = urlsplit(self.receivers.url).port
        assert port is not None
        return port

    def meet_again(self) -> None:
        """The administrator's own connection, with the authority and the token of now."""
        self._client = self.kube.client()
        self.kubelet = Kubelet(self._client)

    @property
    def client(self) -> Any:
        return self._client

    def machine_of(self, program: str) -> Machine:
        """Where a program runs."""
        return self.nodes[AGENTS.index(program)] if program in AGENTS else self.lab.control

    # -- the product

    def start_product(self) -> None:
        for name in BRIDGES:
            self.start(name)
        pods = len(self.company.pods)
        self.wait(lambda: self.told() == pods, "every pod is told of in a PodSlice", START_SECONDS)
        for name in AGENTS:
            self.start(name)
        self.wait(self.in_sync, "the tier is in force on every node", START_SECONDS)

    def start(self, name: str) -> None:
        """One of the four programs, the first time or again."""
        self.starts[name] += 1
        if name in BRIDGES:
            command = ["zonebridge", "sync", "-c", str(self._bridge_settings())]
        else:
            node = self.nodes[AGENTS.index(name)]
            command = ["zone-enforcer", "run", "-c", str(self._enforcer_settings(node))]
        program, *arguments = command
        clock = [f"{key}={value}" for key, value in self.clocks[name].environment.items()]
        wanted = ["env", *clock, str(Path(sys.executable).parent / program), *arguments]
        self._begun[name] = time.time()
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                self.machine_of(name).command(wanted), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._processes[name] = process

    def kill(self, name: str) -> None:
        """As the kernel does when memory runs out. What it had told is settled before another life begins."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()
        if name in AGENTS:
            with self._counting:
                self._count()
                self._sent_before[name] += self._sent_now.pop(name, 0)
                self._begun[name] = math.inf

    def end_all(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._processes.clear()

    def ended(self) -> list[str]:
        """Programs that ended of themselves."""
        return [name for name, process in list(self._processes.items()) if process.poll() is not None]

    @property
    def _kubeconfig(self) -> Path:
        return self.kube.kubeconfig

    def _bridge_settings(self) -> Path:
        path = super()._bridge_settings()
        settings = yaml.safe_load(path.read_text())
        settings["infrastructure"]["apiServer"] = False
        settings["lease"] = LEASE
        return self._write("zonebridge.yaml", settings)

    def _enforcer_settings(self, node: Node) -> Path:
        by_certificate = node is self.nodes[1]
        kubeconfig = self.kube.kubeconfig_for(node.name, ADMINISTRATORS) if by_certificate else self.kube.kubeconfig
        destination = {
            "name": "siem",
            "type": "hec",
            "url": self.receivers.url,
            "tokenFile": str(self.receivers.token_file),
            "acknowledge": True,
            "timeout": "10s",
        }
        return self._write(
            f"zone-enforcer-{node.name}.yaml",
            {
                "cluster": "soak",
                "tier": TIER,
                "nodeName": node.name,
                "kubeconfig": str(kubeconfig),
                "stateDir": str(self.state_of(f"zone-enforcer-{node.name}")),
                "alerts": {"staleAfter": STALE_SECONDS},
                "destinations": [destination],
            },
        )

    # -- what the programs say

    def state_of(self, agent: str) -> Path:
        return self.directory / f"state-{agent.removeprefix('zone-enforcer-')}"

    def status(self, agent: str) -> tuple[dict[str, Any], float]:
        """What the agent that runs now has written of itself, {} before it has, and how many seconds ago that was."""
        path = self.state_of(agent) / "status.json"
        try:
            with path.open("rb") as file:
                written = os.fstat(file.fileno()).st_mtime  # the kernel's clock, which nobody sets
                if written < self._begun.get(agent, 0.0):
                    return {}, 0.0
                return json.loads(file.read()), time.time() - written
        except (FileNotFoundError, ValueError):
            return {}, 0.0

    def count_sent(self) -> dict[str, int]:
        """How many records each node has said to be acknowledged, over all lives."""
        with self._counting:
            self._count()
            return {
                node: self._sent_before[name] + self._sent_now[name] for node, name in zip(NODES, AGENTS, strict=True)
            }

    def _count(self) -> None:
        for agent in AGENTS:
            status, _ = self.status(agent)
            sent = sum(each["sent"] for each in status.get("destinations", ()))
            self._sent_now[agent] = max(self._sent_now[agent], sent)

    def logs(self, lines: int = 12) -> str:
        """The ends of all logs."""
        texts = {name: self.log(name).read_text(errors="replace") for name in self.starts}
        return "\n".join(f"--- {name}\n" + "\n".join(text.splitlines()[-lines:]) for name, text in texts.items())

    # -- what the company changes

    def relabel(self, name: str, zone: str | None) -> None:
        """Another zone's label on a pod."""
        (pod,) = (each for each in self.company.pods if each.name == name)
        machine = self._pod(name)
        self.kubelet.label(machine, {self.company.site().zones.label_key: zone}, pod.namespace)
        pods = tuple(replace(each, zone=zone) if each.name == name else each for each in self.company.pods)
        self.company = replace(self.company, pods=pods)

    def entitle(self, namespace: str, zones: str) -> None:
        """Other zones that a namespace may use."""
        body = {"metadata": {"annotations": {ENTITLEMENT_ANNOTATION: zones}}}
        self._client.patch(f"/api/v1/namespaces/{namespace}", json=body, headers=MERGE).raise_for_status()
        self._entitled(namespace, zones)

    def _entitled(self, namespace: str, zones: str) -> None:
        annotations = {**self.company.annotations, namespace: {ENTITLEMENT_ANNOTATION: zones}}
        self.company = replace(self.company, annotations=annotations)

    def remake_namespace(self, namespace: str, zones: str) -> None:
        """Delete it with all its pods, and make both again under their names."""
        path = f"/api/v1/namespaces/{namespace}"
        pods = [each for each in self.company.pods if each.namespace == namespace]
        for pod in pods:
            self.kubelet.forget(self._pod(pod.name), namespace)
        answer = self._client.delete(path)
        answer.raise_for_status()
        # What the namespace controller does once all is gone; there is none here.
        found = self._client.get(path).json()
        found["spec"]["finalizers"] = []
        self._client.put(f"{path}/finalize", json=found).raise_for_status()
        self.kubelet.namespace(namespace, annotations={ENTITLEMENT_ANNOTATION: zones})
        self._entitled(namespace, zones)
        label = self.company.site().zones.label_key
        for pod in pods:
            owner = Owner(pod.owner_kind, pod.owner_name) if pod.owner_kind else None
            labels = {label: pod.zone} if pod.zone else {}
            self.kubelet.report(self._pod(pod.name), namespace, labels=labels, owner=owner)

    def remake_node(self, node: Node) -> None:
        """Delete the Node object and register it again."""
        self._client.delete(f"/api/v1/nodes/{node.name}").raise_for_status()
        self.kubelet.register(node)

    def _pod(self, name: str) -> Any:
        return self.machines[name]

    def parts(self, kind: str) -> list[str]:
        """Names of the tier's objects of a kind."""
        items = self._client.get(f"{OBJECTS}/{kind}").raise_for_status().json()["items"]
        return [each["metadata"]["name"] for each in items]
