"""Everything the product needs around it, on this machine: Panorama, Kubernetes and SIEM served on loopback, nodes and
pods as network namespaces, and the product's own two programs as the processes that a user would run.
"""

from __future__ import annotations

import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from xml.etree.ElementTree import tostring

import httpx
import yaml

from mocks.kubernetes import KubernetesServer
from mocks.lab import Lab
from mocks.lab.kubelet import Kubelet, Owner
from mocks.lab.machines import Machine, Node
from mocks.panorama import Panorama, PanoramaServer
from mocks.siem import Siem
from tests.demo.company import NODES, Company, PodSpec

ROOT = Path(__file__).parents[2]
USER, PASSWORD = "zonebridge", "demo-password"
TOKEN = "6f1f4c1e-3c0a-4a3e-9a51-1f0f3f6f2f5b"
TIER = "panorama"
STARTED_SECONDS = 30.0


class WorldError(Exception):
    """The stage could not be set, or one of the product's programs ended. The message has the end of its log."""


class World:
    """A company at work; also a context manager. Everything it started ends with it."""

    def __init__(self, company: Company, panorama_key: str = PASSWORD) -> None:
        self.company = company
        self.machines: dict[str, Machine] = {}
        self._stack = ExitStack()
        self._password = panorama_key
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self._set_stage()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _set_stage(self) -> None:
        enter = self._stack.enter_context
        self.directory = Path(enter(tempfile.TemporaryDirectory(prefix="zonebridge-demo-")))
        panorama = Panorama(self.company.panorama, users={"admin": "admin", USER: PASSWORD}, commit_seconds=0.2)
        self.panorama = enter(PanoramaServer(panorama))
        self.kubernetes = enter(KubernetesServer())
        self.kubernetes.install(sorted((ROOT / "config" / "crd").glob("zonebridge.io_*.yaml")))
        self.siem = enter(Siem(TOKEN))
        self.lab = enter(Lab("demo"))
        self.nodes = [self._node(name) for name in NODES]
        trust = ssl.create_default_context(cafile=str(self.kubernetes.ca_file))
        headers = {"Authorization": f"Bearer {self.kubernetes.token}"}
        self._client = enter(httpx.Client(base_url=self.kubernetes.url, headers=headers, verify=trust, trust_env=False))
        self._populate(Kubelet(self._client))

    def _node(self, name: str) -> Node:
        node = self.lab.node(name)
        for url in (self.kubernetes.url, self.siem.hec.url):
            self.lab.relay(_port(url), where=node)
        return node

    def _populate(self, kubelet: Kubelet) -> None:
        self.kubelet = kubelet
        nodes = {node.name: node for node in self.nodes}
        for node in self.nodes:
            kubelet.register(node)
        for namespace in dict.fromkeys(["zonebridge-system", *(spec.namespace for spec in self.company.pods)]):
            kubelet.namespace(namespace, annotations=self.company.annotations.get(namespace))
        for spec in self.company.pods:
            self._start_pod(nodes[spec.node], spec)
        for host in self.company.hosts:
            self.machines[host.name] = self.lab.host(host.name, host.ip, host.ip6)

    def _start_pod(self, node: Node, spec: PodSpec) -> None:
        pod = node.pod(spec.name)
        self.machines[spec.name] = pod
        self.lab.listen(pod, *self.company.ports)
        labels = {self.company.site().zones.label_key: spec.zone} if spec.zone else {}
        owner = Owner(spec.owner_kind, spec.owner_name) if spec.owner_kind else None
        self.kubelet.report(pod, spec.namespace, labels=labels, owner=owner)

    # -- the product

    def start_product(self) -> None:
        """The sync service beside Panorama, an enforcer on each node; ready when the tier is in force on both.

        The enforcers find every pod told when they start, so that being in sync means to know them all.
        """
        self._run("zonebridge", ["zonebridge", "sync", "-c", str(self._bridge_settings())])
        self.wait(lambda: self.told() == len(self.company.pods), "every pod is told of in a PodSlice", STARTED_SECONDS)
        for node in self.nodes:
            self.restart_enforcer(node)
        self.wait(self.in_sync, "the tier is in force on every node", STARTED_SECONDS)

    def restart_enforcer(self, node: Node) -> None:
        """Start a node's enforcer, the first time or again."""
        settings = self._enforcer_settings(node)
        self._run(f"zone-enforcer-{node.name}", node.command(["zone-enforcer", "run", "-c", str(settings)]))

    def _run(self, name: str, command: list[str]) -> None:
        program = next(at for at, word in enumerate(command) if word in {"zonebridge", "zone-enforcer"})
        command[program] = str(Path(sys.executable).parent / command[program])
        with self.log(name).open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._processes[name] = process
        self._stack.callback(_end, process)

    def log(self, name: str) -> Path:
        """Where a program's own log is."""
        return self.directory / f"{name}.log"

    @property
    def _kubeconfig(self) -> Path:
        return self.kubernetes.kubeconfig

    def _bridge_settings(self) -> Path:
        secret = self.directory / "panorama-password"
        secret.write_text(self._password)
        secret.chmod(0o600)
        site = yaml.safe_load(self.company.settings.read_text()) or {}
        return self._write(
            "zonebridge.yaml",
            site
            | {
                "panorama": {
                    "hosts": [f"127.0.0.1:{self.panorama.port}"],
                    "username": USER,
                    "passwordFile": str(secret),
                    "caFile": str(self.panorama.ca_file),
                    "pollInterval": "500ms",
                },
                "clusters": [
                    {
                        "name": "demo",
                        "deviceGroup": self.company.device_group,
                        "kubeconfig": str(self._kubeconfig),
                        "tier": TIER,
                    }
                ],
                "metrics": {"address": None},
                "guards": {"allowEmpty": True},  # an export without rules is shown too
            },
        )

    def _enforcer_settings(self, node: Node) -> Path:
        token = self.directory / "hec-token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        destination = {
            "name": "siem",
            "type": "hec",
            "url": self.siem.hec.url,
            "tokenFile": str(token),
            "caFile": str(self.siem.ca_file),
        }
        return self._write(
            f"zone-enforcer-{node.name}.yaml",
            {
                "cluster": "demo",
                "tier": TIER,
                "nodeName": node.name,
                "kubeconfig": str(self._kubeconfig),
                "stateDir": str(self.directory / f"state-{node.name}"),
                "destinations": [destination],
            },
        )

    def _write(self, name: str, content: dict[str, Any]) -> Path:
        path = self.directory / name
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    # -- Panorama's administrator

    def candidate_file(self) -> Path:
        """Panorama's candidate configuration, exported."""
        path = self.directory / "candidate.xml"
        path.write_bytes(tostring(self.panorama.panorama.candidate))
        return path

    # -- looking

    def object(self, path: str) -> dict[str, Any]:
        """An object of our API group, as the API server has it."""
        answer = self._client.get(f"/apis/zonebridge.io/v1alpha1/{path}")
        found: dict[str, Any] = answer.json() if answer.is_success else {}
        return found

    def revision(self) -> int:
        """The tier's target revision; 0 before there is one."""
        return int(self.object(f"tiers/{TIER}").get("spec", {}).get("revision", 0))

    def told(self) -> int:
        """How many pods the bridge tells the nodes of."""
        return sum(len(each["spec"]["pods"]) for each in self.object("podslices").get("items", ()))

    def in_sync(self) -> bool:
        """Whether every node reports the tier's target revision as applied."""
        target = self.revision()
        applied = [self.object(f"nodestates/{node.name}").get("status", {}).get("revision") for node in self.nodes]
        return target > 0 and all(revision == target for revision in applied)

    def events(self) -> list[dict[str, Any]]:
        """What the SIEM received, oldest first: the records themselves."""
        return [event.event for event in self.siem.hec.events if isinstance(event.event, dict)]

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 10.0) -> float:
        """Seconds until a condition holds. Raises WorldError when it doesn't, or when a program ends meanwhile."""
        started = time.monotonic()
        while not condition():
            self._check_processes()
            if time.monotonic() - started > seconds:
                raise WorldError(f"not within {seconds:.0f} s: {what}\n{self._logs()}")
            time.sleep(0.01)
        return time.monotonic() - started

    def _check_processes(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise WorldError(f"{name} ended with {process.returncode}\n{self._logs()}")

    def _logs(self) -> str:
        texts = {name: self.log(name).read_text(errors="replace") for name in self._processes}
        return "\n".join(f"--- {name}\n{text[-1500:]}" for name, text in texts.items())


def _port(url: str) -> int:
    port = urlsplit(url).port
    if port is None:
        raise WorldError(f"{url} has no port")
    return port


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
