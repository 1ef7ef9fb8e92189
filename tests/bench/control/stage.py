"""Nodes of a lab with agents on a real API server, pods of theirs and of others, and a tier: what the scenes of this benchmark have in common."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import yaml

from mocks.lab import Lab
from mocks.lab.kubelet import MERGE, Kubelet
from mocks.lab.machines import Node, Pod
from tests.bench.enforcer import scale
from tests.bench.figures import Figure
from tests.bridge.processes import PROGRAM, ROOT, TIER, install
from tests.realkube import RealKube, Unavailable, binaries
from zones.addresses import inventory
from zones.tiers import native, slices

NAMESPACE, ZONES, A_NODE = "shop", 40, 100
PATIENCE = 240.0
TICK = os.sysconf("SC_CLK_TCK")


class Stage:
    """Everything ends with the stack."""

    def __init__(self, stack: ExitStack, directory: Path, prefix: str, nodes: int = 1) -> None:
        programs = binaries(may_build=False)
        if isinstance(programs, Unavailable):
            raise SystemExit(f"no real kube-apiserver: {programs.reason}")
        self.directory = directory
        self.kube = stack.enter_context(RealKube(programs))
        install(self.kube)
        self.client: httpx.Client = stack.enter_context(self.kube.client())
        self.kubelet = Kubelet(self.client)
        self.lab = stack.enter_context(Lab(prefix))
        self.nodes = [self.lab.node(f"n{number}") for number in range(1, nodes + 1)]
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        stack.callback(self._end)
        self.kubelet.namespace(NAMESPACE, annotations={"zonebridge.io/zones": "*"})
        for node in self.nodes:
            self.lab.relay(self.kube.port, where=node)
            self.kubelet.register(node)

    # -- pods

    def pod(self, node: Node, name: str, zone: str) -> Pod:
        """A pod with a namespace and a link, that is known."""
        pod = node.pod(name)
        self.kubelet.report(pod, NAMESPACE, labels={scale.LABEL: zone})
        return pod

    def local(self, node: Node, many: int) -> None:
        """Pods that are known, with an address of their node, but nothing behind it."""
        pods = ip_network(node.pod_cidr)
        for number in range(many):
            address = str(pods[pods.num_addresses - 2 - number])
            self.bare_pod(f"{node.name}-{number}", node.name, address, f"zone-{number % ZONES}")

    def bare_pod(self, name: str, node: str, address: str, zone: str) -> None:
        spec = {"nodeName": node, "automountServiceAccountToken": False, "containers": [{"name": "c", "image": "i"}]}
        metadata = {"name": name, "namespace": NAMESPACE, "labels": {scale.LABEL: zone}}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        self._post(path, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        self._patch(f"{path}/{name}/status", {"status": status})

    def others(self, many: int) -> None:
        """So many pods of other nodes, a hundred on each, as those nodes' agents would tell of them."""
        for number in range(1, many // A_NODE + 1):
            self.other_node(number)
            self._post(f"{ROOT}/podslices", _slice(number))

    def other_node(self, number: int) -> str:
        name, pods = f"other-{number}", network(number)
        spec = {"podCIDR": pods, "podCIDRs": [pods]}
        self._post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec})
        address = {"type": "InternalIP", "address": f"192.168.{7 + number // 250}.{number % 250 + 1}"}
        self._patch(f"/api/v1/nodes/{name}/status", {"status": {"addresses": [address]}})
        return name

    def relabel(self, pod: str, zone: str) -> None:
        self._patch(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}", {"metadata": {"labels": {scale.LABEL: zone}}})

    # -- the tier

    def publish(self, rendered: native.Rendered) -> float:
        """As the bridge does it; the moment at which the Tier's new revision is sent."""
        for part in rendered.parts:
            self._post(f"{ROOT}/{native.PLURALS[part['kind']]}", part)
        at = time.monotonic()
        if self.client.get(f"{ROOT}/tiers/{TIER}").is_success:
            at = time.monotonic()
            self._patch(f"{ROOT}/tiers/{TIER}", {"spec": rendered.tier["spec"]})
        else:
            self._post(f"{ROOT}/tiers", rendered.tier)
        return at

    def in_force(self, revision: int) -> bool:
        """Whether each agent reports at least this revision."""
        return all(self.applied(node.name) >= revision for node in self.nodes)

    def applied(self, node: str) -> int:
        answer = self.client.get(f"{ROOT}/nodestates/{node}")
        return int(answer.json().get("status", {}).get("revision", 0)) if answer.is_success else 0

    def revision(self) -> int:
        answer = self.client.get(f"{ROOT}/tiers/{TIER}")
        return int(answer.json()["spec"]["revision"]) if answer.is_success else 0

    # -- the agents

    def start_agent(self, node: Node) -> subprocess.Popen[bytes]:
        settings = self.directory / f"{node.name}.yaml"
        state = self.directory / f"state-{node.name}"
        fields = {"cluster": "bench", "tier": TIER, "nodeName": node.name, "kubeconfig": str(self.kube.kubeconfig)}
        settings.write_text(yaml.safe_dump(fields | {"stateDir": str(state)}))
        command = node.command([str(PROGRAM.parent / "zone-enforcer"), "run", "-c", str(settings)])
        with self.log(node.name).open("ab") as log:
            self.agents[node.name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self.agents[node.name]

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def wait(self, holds: Callable[[], bool], what: str, seconds: float = PATIENCE) -> float:
        """The moment at which it holds. Raises RuntimeError with the ends of the logs."""
        deadline = time.monotonic() + seconds
        while not self._holds(holds):
            ended = [name for name, process in self.agents.items() if process.poll() is not None]
            if time.monotonic() > deadline or ended:
                logs = "\n".join(self.log(name).read_text()[-2000:] for name in self.agents)
                raise RuntimeError(f"{what}: not within {seconds:g} s; ended: {ended}\n{logs}")
            time.sleep(0.02)
        return time.monotonic()

    def _holds(self, holds: Callable[[], bool]) -> bool:
        with suppress(httpx.HTTPError):
            return holds()
        return False

    def weight(self, name: str, node: str, seconds: float = 10.0) -> Iterator[Figure]:
        """Memory of an agent, and what it takes of a core while nothing happens."""
        process = self.agents[node].pid
        before = busy(process)
        time.sleep(seconds)
        idle = (busy(process) - before) / seconds * 100
        yield Figure(f"{name}.agent.idle", round(idle, 2), "% of a core")
        for key, what in (("VmRSS", "rss"), ("VmHWM", "rss_peak")):
            yield Figure(f"{name}.agent.{what}", round(memory(process)[key], 1), "MB")

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        answer = self.client.post(path, json=body)
        if answer.status_code != httpx.codes.CONFLICT:
            answer.raise_for_status()

    def _patch(self, path: str, body: Mapping[str, Any]) -> None:
        self.client.patch(path, json=body, headers=MERGE).raise_for_status()

    def _end(self) -> None:
        for process in self.agents.values():
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()


def busy(process: int) -> float:
    """Seconds that all threads of a process have had of a processor."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory(process: int) -> dict[str, float]:
    """MB by the kernel's own word for it."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {
        key: int(text.split()[0]) / 1024
        for key, _, text in (line.partition(":") for line in lines)
        if text.endswith("kB")
    }


def load() -> Figure:
    return Figure("load", round(os.getloadavg()[0], 1), "processes that want a processor")


def network(number: int) -> str:
    return f"10.{77 + number // 256}.{number % 256}.0/24"


def _slice(number: int) -> dict[str, Any]:
    name, addresses = f"other-{number}", ip_network(network(number))
    pods = [
        inventory.Pod(
            f"{number}-{n}",
            NAMESPACE,
            f"app-{number}-{n}",
            name,
            "Running",
            (addresses[n + 2],),
            {scale.LABEL: f"zone-{(number + n) % ZONES}"},
            f"app-{n % 25}",
        )
        for n in range(A_NODE)
    ]
    return slices.render(TIER, slices.name_of(TIER, name, 0), name, pods, [scale.LABEL])
