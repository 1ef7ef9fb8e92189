"""A whole Kubernetes cluster on this machine, without Docker: two nodes, a control plane, and the world outside.

Everything of it lives in namespaces, cgroups and one folder of its own, and goes with the process that made it; what
only files can be left of a run that was killed is removed by the next one. It knows nothing of the product.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mocks.lab import Netns, wiring
from mocks.lab.leftovers import started
from tests.cluster import cgroups, system
from tests.cluster.addresses import LAN_LENGTH, LAN_LENGTH6, NODES, SWITCH, NodePlan
from tests.cluster.authority import ClusterAuthority
from tests.cluster.cgroups import Cgroups
from tests.cluster.controlplane import ControlPlane
from tests.cluster.images import NodeImages
from tests.cluster.node import ClusterError, Node
from tests.cluster.outside import Outside
from tests.cluster.programs import Programs

FOLDERS = Path("/var/tmp")
PREFIX = "zonebridge-cluster-"
OWNER = "owner.json"
LOCK = ".zonebridge-cluster.lock"
READY_SECONDS = 180.0  # others start beside it


class Cluster:
    """The cluster between `start` and `stop`; also a context manager. Start it in the main thread."""

    def __init__(self, programs: Programs, configuration: str, plans: Sequence[NodePlan] = NODES) -> None:
        self.plans = plans
        self._programs = programs
        self._stack = ExitStack()
        self.outside = Outside(configuration)
        self.timings: dict[str, float] = {}
        self.nodes: dict[str, Node] = {}
        self.authority: ClusterAuthority
        self.control: ControlPlane
        self.folder: Path
        self.switch: Netns

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        clock = time.monotonic()
        self.prepare()
        workers = self._stack.enter_context(ThreadPoolExecutor(len(self.nodes)))
        images = self._stack.enter_context(closing(NodeImages(self._programs, self.folder / "images")))
        loading = [workers.submit(images.load, node) for node in self.nodes.values()]
        self.control = ControlPlane(self.folder / "control-plane", self._programs, self.authority)
        self._stack.callback(self.control.stop)
        self.control.start(self.switch)
        self._route(self.control.netns)
        self.timings["control plane"] = time.monotonic() - clock
        self.apply(*map(system.node, self.plans), *system.coredns(), *system.flannel())
        self._start_nodes(loading)
        self.timings["kubelets"] = time.monotonic() - clock
        self.wait_ready()
        self.timings["ready"] = time.monotonic() - clock

    def prepare(self) -> None:
        """The LAN, the world outside and the nodes' first processes; who they all are."""
        purge()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=FOLDERS))
        self._stack.callback(shutil.rmtree, self.folder)
        self._lay_network()
        self.authority = ClusterAuthority(self.folder / "authority")
        self._make_nodes()

    # -- parts

    def _lay_network(self) -> None:
        self.switch = Netns.create("lan")
        self._stack.callback(self.switch.close)
        wiring.prepare(self.switch, "cluster:lan")
        wiring.make_switch(self.switch, SWITCH, LAN_LENGTH, LAN_LENGTH6)
        self.outside.start(self.switch)
        self._stack.callback(self.outside.stop)
        self._route(self.outside.netns)

    def _route(self, netns: Netns, but: str = "") -> None:
        """The ways to the nodes' pods."""
        for plan in self.plans:
            if plan.name != but:
                for cidr, gateway in zip(plan.pod_networks, (plan.place.ip, plan.place.ip6), strict=True):
                    wiring.route(netns, cidr, f"via {gateway}")

    def _make_nodes(self) -> None:
        owner = f"{os.getpid()}-{started(os.getpid())}"
        groups = {plan.name: Cgroups(f"{PREFIX}{owner}-{plan.name}") for plan in self.plans}
        mark = {
            "pid": os.getpid(),
            "started": started(os.getpid()),
            "cgroups": [str(folder) for each in groups.values() for folder in each.folders],
        }
        (self.folder / OWNER).write_text(json.dumps(mark))
        for plan in self.plans:
            node = Node(plan, self.folder / plan.name, self._programs, self.authority, groups[plan.name])
            self.nodes[plan.name] = node
            self._stack.callback(node.power_off, self.switch)
            self.power_on(node)

    def power_on(self, node: Node) -> None:
        """Its first process and its ways to the other nodes' pods."""
        node.power_on(self.switch)
        if not node.plan.is_flannel:
            self._route(node.netns, but=node.name)

    def _start_nodes(self, loading: Sequence[Future[None]]) -> None:
        for node in self.nodes.values():
            node.start_proxy()
            if node.plan.is_flannel:
                node.start_flannel()
        for done in loading:
            done.result()
        for node in self.nodes.values():
            node.start_kubelet()

    def wait_ready(self) -> None:
        self.wait(self._ready, "both nodes and CoreDNS are ready", READY_SECONDS)

    def _ready(self) -> bool:
        nodes = self.objects("nodes")
        dns = self.object("deployments", "coredns", "kube-system")
        ready = [
            condition["status"]
            for each in nodes
            for condition in each["status"].get("conditions", ())
            if condition["type"] == "Ready"
        ]
        wanted = len(self.plans)
        return ready == ["True"] * wanted and dns.get("status", {}).get("readyReplicas") == wanted

    # -- looking at a node

    def restarts(self, node: str) -> dict[str, int]:
        """How often the containers of each of its running pods were started again, by the pod's uid; -1: not ready."""
        counted = {}
        for pod in self.objects("pods"):
            statuses = pod["status"].get("containerStatuses", [])
            if pod["spec"].get("nodeName") == node:
                ready = bool(statuses) and all(status["ready"] for status in statuses)
                counted[pod["metadata"]["uid"]] = sum(each["restartCount"] for each in statuses) if ready else -1
        return counted

    def unhealthy(self, node: str, since: str) -> list[str]:
        """What a node's kubelet said of failed probes since a time, as `2026-11-28T12:00:00Z`."""
        return [
            event["message"]
            for event in self.objects("events")
            if event["reason"] == "Unhealthy"
            and node in {event.get("reportingInstance"), event.get("source", {}).get("host")}
            and (event.get("lastTimestamp") or "") >= since
        ]

    # -- the API

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints as the administrator. Raises ClusterError with its stderr."""
        return self.control.kubectl(*arguments, stdin=stdin)

    def apply(self, *objects: dict[str, Any]) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(listed))

    def objects(self, kind: str, namespace: str | None = None, selector: str = "") -> list[dict[str, Any]]:
        """All of a kind, in one namespace or in all; none where the kind isn't known."""
        return self.control.api.objects(kind, namespace, selector)

    def object(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        """One object; empty where there is none, or no such kind."""
        return self.control.api.object(kind, name, namespace)

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 30.0) -> float:
        """Seconds until a condition holds. Raises ClusterError, with what runs where, when it doesn't."""
        begun = time.monotonic()
        while not condition():
            if time.monotonic() - begun > seconds:
                raise ClusterError(f"not within {seconds:.0f} s: {what}\n{self._state()}")
            time.sleep(0.1)
        return time.monotonic() - begun

    def _state(self) -> str:
        commands: Sequence[tuple[str, ...]] = (
            ("get", "nodes,pods", "-A", "-o", "wide"),
            ("get", "events", "-A", "--sort-by=.lastTimestamp"),
        )
        shown = [self.control.try_kubectl(*each).stdout[-3000:] for each in commands]
        restarting = [
            each
            for each in self.objects("pods")
            if any(container.get("restartCount") for container in each["status"].get("containerStatuses", ()))
        ]
        for pod in restarting[:5]:
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            log = self.control.try_kubectl("logs", "-n", namespace, name, "--previous", "--tail=20").stdout
            shown.append(f"--- {namespace}/{name} ended with\n{log}")
        return "\n".join(shown)


def purge() -> None:
    """Remove what runs that are dead have left: cgroups and folders. Their processes died with them."""
    with (FOLDERS / LOCK).open("w") as lock:  # runs begin side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        for folder in FOLDERS.glob(f"{PREFIX}*"):
            try:
                mark = json.loads((folder / OWNER).read_text())
            except (OSError, ValueError):
                continue  # not yet marked: somebody begins
            if started(mark["pid"]) != mark["started"]:
                cgroups.remove([Path(path) for path in mark["cgroups"]])
                shutil.rmtree(folder)
