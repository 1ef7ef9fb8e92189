"""One node with an agent as a process, a cluster in small, a collector that counts, and a line to send packets in by.

The agent has a core of its own; whoever sends, and the collector, have the other. On a machine that does other work
PRIORITY=10 puts all of them before it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import trustme

from mocks.kubernetes import KubernetesServer
from mocks.lab import Lab
from mocks.lab.netns import Netns
from tests.bench.enforcer import scale
from tests.bench.enforcer.wire import MAC
from tests.enforcer import smallcluster as cluster
from zones.addresses.inventory import Pod
from zones.tiers import native, slices

PODS_A_NODE, RULES, PORT = 100, 100, 62_000
UNLIMITED = 1_000_000
PRIORITY = os.environ.get("PRIORITY", "")
_COLLECTOR_PORT = 8088  # in a network namespace of its own
_PATIENCE = 120.0
_HERTZ = os.sysconf("SC_CLK_TCK")


class Stage(ExitStack):
    def __init__(self, directory: Path, name: str = "siem", **settings: Any) -> None:
        super().__init__()
        self.directory = directory
        self.agent_core, self.other_core = _cores()
        self.server = self.enter_context(KubernetesServer(directory))
        self.lab = self.enter_context(Lab(name))
        self.node = self.lab.node(scale.NODE)
        self.lab.relay(int(self.server.url.rsplit(":", 1)[1]), where=self.node)
        self.line = self._line(name)
        self._fill()
        self._collect()
        self.agent = self._run(settings)
        self.until(self._enforced)

    def pairs(self, many: int, apart: int = 1) -> list[tuple[IPv4Address, IPv4Address]]:
        """Pods of another node, each with one of this node: in another zone, so denied and logged; or in its own."""
        return [(_address(1, number), _address(0, number + apart)) for number in range(many)]

    def told(self) -> dict[str, int]:
        """What the collector has."""
        found: dict[str, int] = json.loads(self._inside(_ASK))
        return found

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "state" / "status.json").read_text())
        return found

    def denied(self) -> int:
        """How many packets the kernel has denied: the rule's own counter."""
        listed = json.loads(self.node.netns.require(["nft", "-j", "list", "table", "inet", "zonebridge"]))
        rules = [each["rule"] for each in listed["nftables"] if "rule" in each]
        return sum(
            part["counter"]["packets"]
            for rule in rules
            if rule["chain"].startswith("deny-")
            for part in rule["expr"]
            if isinstance(part.get("counter"), dict)
        )

    def used(self) -> float:
        """Processor seconds of the agent."""
        fields = Path(f"/proc/{self.agent.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _HERTZ

    def memory(self) -> tuple[float, float]:
        """Now and at most, MB."""
        told = dict(line.split(":", 1) for line in Path(f"/proc/{self.agent.pid}/status").read_text().splitlines())
        return int(told["VmRSS"].split()[0]) / 1024, int(told["VmHWM"].split()[0]) / 1024

    def until(self, holds: Callable[[], bool], seconds: float = _PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if self.agent.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.directory / "agent.log").read_text()[-3000:])
            time.sleep(0.2)

    def _line(self, name: str) -> socket.socket:
        """What comes in here is routed; what goes to pods leaves the node and is lost."""
        client, node = Netns.create(f"{name}-line"), self.node.netns
        self.callback(client.close)
        link = ["ip", "link", "add", "line", "address", MAC, "type", "veth", "peer", "name", "uplink", "address", MAC]
        node.require([*link, "netns", client.path])
        node.require(["ip", "link", "add", "sink", "type", "veth", "peer", "name", "lost"])
        for space, device in ((node, "line"), (client, "uplink"), (node, "sink")):
            space.require(["ip", "link", "set", device, "up", "arp", "off"])
        node.require(["ip", "route", "add", str(scale.PODS), "dev", "sink"])
        node.write_sysctl("net/ipv4/ip_forward", 1)
        for device in ("all", "line", "sink"):
            node.write_sysctl(f"net/ipv4/conf/{device}/rp_filter", 0)
        with client.inside():
            line = self.enter_context(closing(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)))
        line.bind(("uplink", 0))
        return line

    def _fill(self) -> None:
        for definition in cluster.definitions():
            self.server.create(definition)
        about = {"name": "shop", "annotations": {"zonebridge.io/zones": "*"}}
        self.server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": about})
        for number, name in enumerate((scale.NODE, scale.OTHERS)):
            first = _address(number, 0)
            self.server.create(cluster.node(name, f"192.168.0.{number + 1}", f"{first - 2}/25"))
        pods = [_pod(1, number, scale.OTHERS) for number in range(PODS_A_NODE)]
        title = slices.name_of(cluster.TIER, scale.OTHERS, 0)
        self.server.create(slices.render(cluster.TIER, title, scale.OTHERS, pods, [scale.LABEL]))
        for number in range(PODS_A_NODE):
            pod = _pod(0, number, scale.NODE)
            cluster.add_pod(self.server, cluster.pod(pod.name, str(pod.addresses[0]), pod.labels[scale.LABEL]))
        cluster.publish(self.server, native.render(scale.policy(RULES), cluster.TIER, 1))

    def _collect(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.directory / "siem.pem"))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            str(self.directory / "collector.pem")
        )
        arguments = [str(_COLLECTOR_PORT), str(self.directory / "collector.pem"), "1.0"]
        command = self.node.command([sys.executable, "-m", "tests.bench.siem.collector", *arguments])
        collector = subprocess.Popen(_pinned(self.other_core, command), stdout=subprocess.PIPE, text=True)
        self.callback(_end, collector)
        if collector.stdout is None or collector.stdout.readline() != "ready\n":
            raise RuntimeError("the collector did not start")

    def _run(self, more: dict[str, Any]) -> subprocess.Popen[bytes]:
        destination = {
            "name": "siem", "type": "hec", "url": f"https://127.0.0.1:{_COLLECTOR_PORT}", "tokenEnv": "TOKEN",
            "caFile": str(self.directory / "siem.pem"), "acknowledge": True,
        }  # fmt: skip
        settings = {
            "cluster": "bench", "nodeName": scale.NODE, "kubeconfig": str(self.server.kubeconfig),
            "stateDir": str(self.directory / "state"), "nflog": {"rate": UNLIMITED, "burst": UNLIMITED},
            "destinations": [destination],
        } | more  # fmt: skip
        file = self.directory / "enforcer.json"
        file.write_text(json.dumps(settings))
        code = "from enforcer.cli import main; main()"
        command = self.node.command([sys.executable, "-c", code, "run", "-c", str(file)])
        with (self.directory / "agent.log").open("ab") as log:
            agent = subprocess.Popen(
                _pinned(self.agent_core, command), stdout=log, stderr=log, env=os.environ | {"TOKEN": "any"}
            )
        self.callback(_end, agent)
        return agent

    def _enforced(self) -> bool:
        try:
            return self.status()["revision"] == 1
        except FileNotFoundError:
            return False

    def _inside(self, code: str) -> str:
        return self.node.netns.require([sys.executable, "-c", code])


_ASK = f"""
import ssl, urllib.request
context = ssl._create_unverified_context()
print(urllib.request.urlopen("https://127.0.0.1:{_COLLECTOR_PORT}/told", context=context).read().decode())
"""


def _address(node: int, number: int) -> IPv4Address:
    return IPv4Address(int(scale.PODS.network_address) + node * 128 + 2 + number % PODS_A_NODE)


def _pod(node: int, number: int, name: str) -> Pod:
    zone = f"zone-{number % 40}"
    return Pod(
        f"{node}-{number}", "shop", f"app-{number % 25}-{node}-{number}", name, "Running", (_address(node, number),),
        {scale.LABEL: zone}, f"app-{number % 25}",
    )  # fmt: skip


def _cores() -> tuple[int, int]:
    """For the agent, and for all else."""
    first, *rest = sorted(os.sched_getaffinity(0))
    return first, rest[0] if rest else first


def _pinned(core: int, command: list[str]) -> list[str]:
    return [*(["chrt", "-r", PRIORITY] if PRIORITY else []), "taskset", "-c", str(core), *command]


def take_place(core: int) -> None:
    """For whoever sends."""
    os.sched_setaffinity(0, {core})
    if PRIORITY:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(int(PRIORITY)))


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
