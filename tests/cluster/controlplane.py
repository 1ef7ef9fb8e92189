"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler in a network namespace of their own: no node has them.

Also the machine that an administrator works at: kubectl runs here.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mocks.lab import Netns, wiring
from mocks.lab.netns import end
from tests.cluster.addresses import (
    CONTROL_PLANE,
    DOMAIN,
    KUBERNETES_SERVICE,
    LAN_LENGTH,
    LAN_LENGTH6,
    OUTSIDE,
    SERVICE_CIDRS,
)
from tests.cluster.api import Api
from tests.cluster.authority import ClusterAuthority
from tests.cluster.node import ClusterError
from tests.cluster.programs import Programs
from tests.realkube import dies_with_us

PORT = 10  # on the switch; nodes have the numbers from 1
UP_SECONDS = 60.0
ADMINISTRATOR = "kubernetes-admin", "system:masters"
NAMES = ("localhost", "127.0.0.1", CONTROL_PLANE.ip, CONTROL_PLANE.ip6, *KUBERNETES_SERVICE)
SERVICE_NAMES = tuple(f"kubernetes{rest}" for rest in ("", ".default", ".default.svc", f".default.svc.{DOMAIN}"))


class ControlPlane:
    """The control plane between `start` and `stop`."""

    def __init__(self, folder: Path, programs: Programs, authority: ClusterAuthority) -> None:
        self.folder = folder
        self._programs = programs
        self._authority = authority
        self._running: dict[str, subprocess.Popen[str]] = {}
        self.kubeconfig = authority.kubeconfig("admin", *ADMINISTRATOR)
        self.api: Api
        self.netns: Netns
        folder.mkdir()

    def start(self, switch: Netns) -> None:
        """All four, ready to be asked. Raises ClusterError."""
        self.netns = Netns.create("control-plane")
        wiring.prepare(self.netns, "cluster:control-plane")
        wiring.plug(self.netns, switch, PORT)
        wiring.address(self.netns, CONTROL_PLANE, LAN_LENGTH, LAN_LENGTH6)
        wiring.configure(self.netns, f"route replace default via {OUTSIDE.ip}", f"route replace ::/0 via {OUTSIDE.ip6}")
        self.api = Api(self.netns, self._authority.ca_file, self._authority.issue("api", *ADMINISTRATOR))
        self._run("etcd", self._etcd())
        self._run("kube-apiserver", self._apiserver())
        self._await(self.api.is_ready, "kube-apiserver")
        self._run("kube-controller-manager", self._controller_manager())
        self._run("kube-scheduler", self._scheduler())

    def stop(self) -> None:
        for process in self._running.values():
            end(process)
        self._running.clear()
        if hasattr(self, "netns"):
            self.api.close()
            self.netns.close()

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints as the administrator. Raises ClusterError with its stderr."""
        done = self.try_kubectl(*arguments, stdin=stdin)
        if done.returncode:
            raise ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()[-3000:]}")
        return done.stdout

    def try_kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        cache = f"--cache-dir={self.folder / 'kubectl-cache'}"
        return self.run([str(self._programs.kubectl), f"--kubeconfig={self.kubeconfig}", cache, *arguments], stdin)

    def require(self, command: Sequence[str]) -> str:
        """Run what must succeed, and return what it printed. Raises ClusterError."""
        done = self.run(command)
        if done.returncode:
            raise ClusterError(f"{' '.join(command)} failed: {done.stderr.strip()[-3000:]}")
        return done.stdout

    def run(self, command: Sequence[str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run to the end on the administrator's machine. The exit code is the caller's to judge."""
        with self.netns.inside():
            return subprocess.run(
                command,
                input=stdin,
                env=os.environ | {"KUBERC": "off"},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _etcd(self) -> list[str]:
        return [
            str(self._programs.etcd),
            f"--data-dir={self.folder / 'etcd'}",
            "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--heartbeat-interval=20",
            "--election-timeout=100",  # it elects itself; the default waits a second for others
            "--unsafe-no-fsync",
            "--logger=zap",
            "--log-level=error",
        ]

    def _apiserver(self) -> list[str]:
        served = self._authority.issue("apiserver", "kube-apiserver", hosts=(*NAMES, *SERVICE_NAMES))
        client = self._authority.issue("apiserver-kubelet", "kube-apiserver-kubelet-client", "system:masters")
        return [
            str(self._programs.apiserver),
            "--etcd-servers=http://127.0.0.1:2379",
            "--bind-address=0.0.0.0",
            f"--advertise-address={CONTROL_PLANE.ip}",
            "--secure-port=6443",
            f"--tls-cert-file={served.file}",
            f"--tls-private-key-file={served.key}",
            f"--client-ca-file={self._authority.ca_file}",
            f"--kubelet-client-certificate={client.file}",
            f"--kubelet-client-key={client.key}",
            f"--kubelet-certificate-authority={self._authority.ca_file}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--enable-aggregator-routing=true",  # it has no kube-proxy: webhooks' pods are asked by their own addresses
            f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
            f"--service-account-key-file={self._authority.service_accounts}",
            f"--service-account-signing-key-file={self._authority.service_accounts}",
            f"--service-cluster-ip-range={','.join(SERVICE_CIDRS)}",
            "--allow-privileged=true",
            "--profiling=false",
        ]

    def _controller_manager(self) -> list[str]:
        config = self._authority.kubeconfig("controller-manager", "system:kube-controller-manager")
        return [
            str(self._programs.controller_manager),
            *(f"--{each}kubeconfig={config}" for each in ("", "authentication-", "authorization-")),
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self._authority.service_accounts}",
            f"--root-ca-file={self._authority.ca_file}",
            "--allocate-node-cidrs=false",  # each Node has its podCIDRs from the start, or none ever
            f"--service-cluster-ip-range={','.join(SERVICE_CIDRS)}",
            "--leader-elect=false",
            "--node-monitor-grace-period=20s",
        ]

    def _scheduler(self) -> list[str]:
        config = self._authority.kubeconfig("scheduler", "system:kube-scheduler")
        options = [f"--{each}kubeconfig={config}" for each in ("", "authentication-", "authorization-")]
        return [str(self._programs.scheduler), *options, "--leader-elect=false"]

    def _run(self, name: str, command: Sequence[str]) -> None:
        with self.log(name).open("a") as log:
            self._running[name] = self.netns.popen([*dies_with_us(), *command], output=log)

    def _await(self, condition: Callable[[], bool], name: str) -> None:
        deadline = time.monotonic() + UP_SECONDS
        while not condition():
            if time.monotonic() > deadline or self._running[name].poll() is not None:
                raise ClusterError(f"{name} is not ready:\n{self.log(name).read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
