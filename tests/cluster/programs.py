"""The programs of a whole cluster: built with Go at pinned versions into the user's cache, or the distribution's own.

`python -m tests.cluster build` builds them. Each module is kept by what its go.mod, go.sum and sources say.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.apiserver.gobuild import GoBuild, GoBuildError, cache_root, why_no_go
from tests.apiserver.programs import Unavailable, binaries, kubernetes

GO = Path(__file__).parent / "go"
PLUGINS = Path("/usr/lib/cni")
# What else a node runs, and the Debian package that has it.
DISTRIBUTION = {
    "runc": "runc",
    "conntrack": "conntrack",
    "ipset": "ipset",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ldd": "libc-bin",
}
CONTAINERD = "github.com/containerd/containerd/v2/cmd"


@dataclass(frozen=True, slots=True)
class Part:
    """A module that is built, and the name of its folder in the cache."""

    name: str
    build: GoBuild

    @property
    def folder(self) -> Path:
        return cache_root() / "cluster" / f"{self.name}-{self._digest()}"

    def _digest(self) -> str:
        digest = hashlib.sha256(repr((self.build.packages, self.build.tags, self.build.ldflags)).encode())
        for path in sorted((*self.build.module.glob("go.*"), *self.build.module.rglob("*.go"))):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:12]


PARTS = (
    Part("kubernetes", kubernetes("kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy")),
    Part(
        "containerd",
        GoBuild(
            GO / "containerd",
            (*(f"{CONTAINERD}/{each}" for each in ("containerd", "containerd-shim-runc-v2", "ctr")), "./pause"),
            tags="no_btrfs,no_zfs,no_aufs,no_devmapper,netgo,osusergo",
        ),
    ),
    Part("coredns", GoBuild(GO / "coredns", ("zonebridge.io/tests/cluster/coredns",))),
    Part("server", GoBuild(GO / "server", ("zonebridge.io/tests/cluster/server",))),
    Part("flannel", GoBuild(GO / "flannel", ("github.com/flannel-io/flannel",), cgo=True)),
    Part("kube-router", GoBuild(GO / "kuberouter", ("github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",))),
)


@dataclass(frozen=True, slots=True)
class Programs:
    """Every program of the cluster, as paths."""

    etcd: Path
    apiserver: Path
    kubectl: Path
    kubelet: Path
    controller_manager: Path
    scheduler: Path
    proxy: Path
    containerd: Path
    ctr: Path
    pause: Path
    coredns: Path
    server: Path
    flannel: Path
    kube_router: Path
    runc: Path

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where containerd looks for its shim and for runc."""
        return self.containerd.parent, self.runc.parent


def programs() -> Programs | Unavailable:
    """All of them, or what is missing. It builds nothing."""
    server = binaries(may_build=False)
    if isinstance(server, Unavailable):
        return server
    if missing := list(_missing_packages()):
        return Unavailable(f"packages are missing: install {', '.join(missing)}")
    if unbuilt := [part.name for part in PARTS if not part.build.complete(part.folder)]:
        return Unavailable(f"{', '.join(unbuilt)} not built yet: run python -m tests.cluster build")
    kube, containerd, coredns, answering, flannel, kube_router = (part.folder for part in PARTS)
    return Programs(
        etcd=server.etcd,
        apiserver=server.apiserver,
        kubectl=server.kubectl,
        kubelet=kube / "kubelet",
        controller_manager=kube / "kube-controller-manager",
        scheduler=kube / "kube-scheduler",
        proxy=kube / "kube-proxy",
        containerd=containerd / "containerd",
        ctr=containerd / "ctr",
        pause=containerd / "pause",
        coredns=coredns / "coredns",
        server=answering / "server",
        flannel=flannel / "flannel",
        kube_router=kube_router / "kube-router",
        runc=Path(str(shutil.which("runc", path=_path()))),
    )


def build() -> Iterator[Part]:
    """Build each part that is not there yet, and yield it when it is. Raises GoBuildError."""
    for part in PARTS:
        if not part.build.complete(part.folder):
            if reason := why_no_go():
                raise GoBuildError(f"{part.name} can't be built: {reason}; install Go")
            part.build.into(part.folder)
        yield part


def _missing_packages() -> Iterator[str]:
    absent = {package for program, package in DISTRIBUTION.items() if shutil.which(program, path=_path()) is None}
    if not (PLUGINS / "host-local").exists():
        absent.add("containernetworking-plugins")
    yield from sorted(absent)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
