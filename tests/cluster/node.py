"""A node: namespaces and cgroups of its own on this machine's kernel, in them containerd, a kubelet and kube-proxy.

It dies with its first process, and that with the process that made it. The cluster makes nodes; tests harm them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from mocks.lab import Netns, wiring
from mocks.lab.netns import end
from tests.cluster import node_files
from tests.cluster.addresses import LAN_LENGTH, LAN_LENGTH6, OUTSIDE, SERVICE_CIDRS, NodePlan
from tests.cluster.authority import ClusterAuthority
from tests.cluster.cgroups import Cgroups
from tests.cluster.programs import PLUGINS, Programs
from tests.cluster.system import FLANNEL_USER
from tests.realkube import dies_with_us

INIT = Path(__file__).parent / "node_init.py"
NAMESPACES = ("--mount", "--uts", "--ipc", "--pid", "--cgroup")
UP_SECONDS = 30.0
POLL = 0.02
SNAPSHOTS = Path("io.containerd.snapshotter.v1.overlayfs", "snapshots")
MOUNT_EACH = 'for each in "$1"/*; do mount --bind "$each" "$2/${each##*/}" || exit 1; done'


class ClusterError(Exception):
    """A part of the cluster doesn't come up. The message says which, and has the end of its log."""


class Node:
    """One node between `start` and `stop`. `plan` says what it is; its files are in `folder`."""

    def __init__(
        self, plan: NodePlan, folder: Path, programs: Programs, authority: ClusterAuthority, cgroups: Cgroups
    ) -> None:
        self.plan = plan
        self.name = plan.name
        self.folder = folder
        self.cgroups = cgroups
        self._programs = programs
        self._authority = authority
        self._init: subprocess.Popen[str] | None = None
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._images: Path | None = None
        self.netns: Netns
        self._configure()

    def _configure(self) -> None:
        for part in ("", "cni", "logs"):
            (self.folder / part).mkdir(exist_ok=True)
        certificate = self._authority.issue(
            f"kubelet-{self.name}-serving", f"system:node:{self.name}", "system:nodes", (self.name, self.plan.place.ip)
        )
        settings = node_files.kubelet(self.folder, self._authority.ca_file, certificate.file, certificate.key)
        if self.plan.is_flannel:
            self._flannel_kubeconfig = self._authority.kubeconfig("flannel", FLANNEL_USER)
            (self.folder / "net-conf.json").write_text(json.dumps(node_files.flannel(self.plan)))
        else:
            self._network.write_text(node_files.network(self.plan))
        (self.folder / "kubelet.yaml").write_text(json.dumps(settings))
        self._proxy_kubeconfig = self._authority.kubeconfig("proxy", "system:kube-proxy")
        self.set_proxy_mode(self.plan.proxy)
        (self.folder / "resolv.conf").write_text(f"nameserver {OUTSIDE.ip}\n")
        (self.folder / "containerd.toml").write_text(
            node_files.containerd(self._programs.runc, PLUGINS, self._network.parent)
        )
        self._kubeconfig = self._authority.kubeconfig(
            f"kubelet-{self.name}", f"system:node:{self.name}", "system:nodes"
        )

    @property
    def _network(self) -> Path:
        return self.folder / "cni" / "10-pods.conflist"

    @property
    def containerd_folder(self) -> Path:
        """Where its containerd keeps images, once it has power."""
        return self.folder / "var-lib" / "containerd"

    # -- power

    def power_on(self, switch: Netns) -> None:
        """The node's first process, on the LAN. Nothing of Kubernetes runs yet."""
        self.cgroups.make()
        self.netns = Netns.create(self.name)
        wiring.prepare(self.netns, f"cluster:{self.name}")
        wiring.make_router(self.netns, conntrack=False)
        wiring.plug(self.netns, switch, self.plan.number)
        wiring.address(self.netns, self.plan.place, LAN_LENGTH, LAN_LENGTH6)
        wiring.configure(self.netns, f"route replace default via {OUTSIDE.ip}", f"route replace ::/0 via {OUTSIDE.ip6}")
        first = [sys.executable, "-I", "-S", str(INIT), str(self.folder), self.name]
        unshare = ["unshare", *NAMESPACES, "--fork", "--kill-child=KILL", *first]
        with self.log("node").open("ab") as log, self.netns.inside():
            self._init = subprocess.Popen(
                [*dies_with_us(), *self.cgroups.entering(unshare)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._init.stdout is not None
        if self._init.stdout.readline() != "ready\n":
            raise ClusterError(f"node {self.name} doesn't start:\n{self.log('node').read_text()[-2000:]}")
        if self._images:
            self.mount_snapshots(self._images)

    def power_off(self, switch: Netns) -> None:
        """As by the switch: all processes at once, and what was in memory only. Files stay."""
        if self._init is None:
            return
        end(self._init)
        self._init = None
        for process in self._running.values():
            process.wait()
        self._running.clear()
        self.cgroups.remove()
        with suppress(Exception):  # gone with the namespace where that went first
            wiring.unplug(switch, f"port{self.plan.number}")
        self.netns.close()

    def mount_snapshots(self, images: Path) -> None:
        """What another containerd unpacked stands in this one's folder, also after every loss of power."""
        self._images = images
        places = [str(images / SNAPSHOTS), str(Path("/var/lib/containerd", SNAPSHOTS))]
        self.require(["/bin/sh", "-c", MOUNT_EACH, "sh", *places])

    def import_images(self, archives: Sequence[Path]) -> None:
        for archive in archives:
            self.require([str(self._programs.ctr), "-n", "k8s.io", "images", "import", "--local", str(archive)])

    def tag_image(self, image: str, name: str) -> None:
        """Another name for an image that is here."""
        self.require([str(self._programs.ctr), "-n", "k8s.io", "images", "tag", "--force", image, name])

    # -- programs

    def start_containerd(self) -> None:
        path = ":".join(map(str, (*self._programs.folders, "/usr/sbin:/usr/bin:/sbin:/bin")))
        config = str(self.folder / "containerd.toml")
        self.spawn("containerd", ["/usr/bin/env", f"PATH={path}", str(self._programs.containerd), "-c", config])
        self._await(lambda: self.run([str(self._programs.ctr), "version"]).returncode == 0, "containerd")

    def start_kubelet(self) -> None:
        addresses = f"{self.plan.place.ip},{self.plan.place.ip6}"
        options = [f"--config={self.folder / 'kubelet.yaml'}", f"--kubeconfig={self._kubeconfig}"]
        command = [str(self._programs.kubelet), *options, f"--hostname-override={self.name}", f"--node-ip={addresses}"]
        self.spawn("kubelet", command)

    def start_proxy(self) -> None:
        self.spawn("kube-proxy", [str(self._programs.proxy), f"--config={self.folder / 'proxy.yaml'}"])

    def set_proxy_mode(self, mode: str) -> None:
        """How kube-proxy works from its next start."""
        settings = node_files.proxy(self.plan, self._proxy_kubeconfig) | {"mode": mode}
        (self.folder / "proxy.yaml").write_text(json.dumps(settings))

    def start_flannel(self) -> None:
        """flannel's own program; pods can be given a network when it has its subnet."""
        subnet_file = self.folder / "subnet.env"
        options = [
            f"--kubeconfig-file={self._flannel_kubeconfig}",
            f"--net-config-path={self.folder / 'net-conf.json'}",
        ]
        settings = ["--kube-subnet-mgr", "--ip-masq", "--iface=eth0", f"--subnet-file={subnet_file}"]
        command = ["/usr/bin/env", f"NODE_NAME={self.name}", str(self._programs.flannel), *options, *settings]
        self.spawn("flannel", command)
        self._await(subnet_file.exists, "flannel")
        self._network.write_text(node_files.flannel_network(subnet_file.read_text()))

    def start_kube_router(self, kubeconfig: Path) -> None:
        """kube-router as nothing but an engine of NetworkPolicies.

        For IPv4: version 2.1.0 names its IPv6 sets otherwise than its rules do, and then enforces nothing at all.
        """
        parts = ["--run-firewall=true", "--run-router=false", "--run-service-proxy=false", "--run-loadbalancer=false"]
        options = [f"--kubeconfig={kubeconfig}", f"--hostname-override={self.name}", "--enable-ipv6=false"]
        services = [f"--service-cluster-ip-range={SERVICE_CIDRS[0]}"]
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        command = ["/usr/bin/env", path, str(self._programs.kube_router), *parts, *options, *services]
        self.spawn("kube-router", [*command, "--health-port=0", "--metrics-port=0"])

    def restore(self, image: str) -> None:
        """What the unit zone-enforcer-restore does before the kubelet, from the enforcers' own image."""
        state = "type=bind,src=/var/lib/zonebridge,dst=/var/lib/zonebridge,options=rbind:ro"
        options = ["--rm", "--net-host", "--cap-add", "CAP_NET_ADMIN", "--mount", state]
        command = ["zone-enforcer", "restore", "--state-dir", "/var/lib/zonebridge"]
        path = f"PATH={':'.join(map(str, self._programs.folders))}:/usr/sbin:/usr/bin"
        ctr = ["/usr/bin/env", path, str(self._programs.ctr), "-n", "k8s.io", "run"]
        self.require([*ctr, *options, image, "zone-enforcer-restore", *command])

    def spawn(self, name: str, command: Sequence[str]) -> None:
        """Start a program in the node and go on; it ends with the node."""
        with self.log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                self.entering(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a program of `spawn`, and wait until it has ended."""
        entered = self._running.pop(name)
        for pid in _children(entered.pid):
            os.kill(pid, number)
        entered.wait(UP_SECONDS)

    def run(self, command: Sequence[str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run to the end in the node. The exit code is the caller's to judge."""
        return subprocess.run(
            self.entering(command), input=stdin, capture_output=True, text=True, timeout=120, check=False
        )

    def require(self, command: Sequence[str], stdin: str | None = None) -> str:
        """Run what must succeed, and return what it printed."""
        done = self.run(command, stdin)
        if done.returncode:
            raise ClusterError(f"{' '.join(command)} failed on {self.name}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def entering(self, command: Sequence[str]) -> list[str]:
        """What to start from outside to run a command in the node's namespaces and cgroups."""
        assert self._init is not None, f"{self.name} is off"
        (first,) = _children(self._init.pid)
        spaces = ["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--net"]
        return self.cgroups.entering(["nsenter", f"--target={first}", *spaces, "--wdns=/", "--", *command])

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def pod_processes(self, uid: str, word: str) -> list[int]:
        """A pod's processes with this word in their command, as this machine numbers them."""
        found = []
        for pid in self.cgroups.processes_of(f"pod{uid}"):
            with suppress(OSError):
                if word in Path(f"/proc/{pid}/cmdline").read_text():
                    found.append(pid)
        return found

    def pod_netns(self, uid: str, name: str) -> Netns:
        """The network namespace of a pod's containers. The caller closes it."""
        for pid in self.cgroups.processes_of(f"pod{uid}"):
            with suppress(FileNotFoundError):
                return Netns(name, os.open(f"/proc/{pid}/ns/net", os.O_RDONLY))
        raise ClusterError(f"pod {name} has no process on {self.name}")

    def _await(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + UP_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                end_of_log = self.log(what).read_text(errors="replace")[-2000:]
                raise ClusterError(f"{what} of {self.name} is not up within {UP_SECONDS:.0f} s:\n{end_of_log}")
            time.sleep(POLL)


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
