"""The programs of a real API server: taken from KUBEBUILDER_ASSETS, or built once with Go into a cache outside the
tree, at the version that go.mod beside this file pins; with ZONEBRIDGE_KUBERNETES_VERSION=v1.34 at the one that go.mod
in the folder of that name pins. tests/realkube.py uses it.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.apiserver.gobuild import GoBuild, GoBuildError, cache_root, why_no_go

MODULE = Path(__file__).parent
VERSION_VARIABLE = "ZONEBRIDGE_KUBERNETES_VERSION"
# Those of Kubernetes' own release builds; without them kube-apiserver is a sixth larger.
TAGS = "notest,grpcnotrace"


class RealKubeError(Exception):
    """The server can't be built or doesn't come up. The message says what to look at."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs, as paths."""

    etcd: Path
    apiserver: Path
    kubectl: Path


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why there is no real API server here, and what would make one."""

    reason: str


def module() -> Path:
    """The folder whose go.mod counts. Raises RealKubeError where there is none for the version that is asked for."""
    wanted = os.environ.get(VERSION_VARIABLE, "")
    if not wanted:
        return MODULE
    known = sorted(path.parent.name for path in MODULE.glob("v*/go.mod"))
    if wanted not in known:
        raise RealKubeError(
            f"{VERSION_VARIABLE}={wanted}: no such version is pinned here; there are {', '.join(known)}"
        )
    return MODULE / wanted


def version() -> str:
    """The Kubernetes version that go.mod pins, as `v1.36.3`."""
    file = module() / "go.mod"
    found = re.search(r"^require k8s\.io/kubernetes (v\S+)", file.read_text(), re.MULTILINE)
    if found is None:
        raise RealKubeError(f"reading the Kubernetes version: {file} requires no k8s.io/kubernetes")
    return found[1]


def kubernetes(*programs: str) -> GoBuild:
    """How programs of Kubernetes are built, at the pinned version."""
    return GoBuild(module(), tuple(f"k8s.io/kubernetes/cmd/{each}" for each in programs), TAGS, _ldflags())


def binaries(*, may_build: bool = True) -> Binaries | Unavailable:
    """The programs, built now where they are not cached yet and that may be (about five minutes on two cores)."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        return _in(Path(assets), Path(assets) / "etcd")
    etcd = shutil.which("etcd")
    if etcd is None:
        return Unavailable("etcd is not installed: install Debian's etcd-server, or set KUBEBUILDER_ASSETS")
    folder = cache()
    if not kubernetes("kube-apiserver", "kubectl").complete(folder):
        if reason := why_no_go():
            return Unavailable(f"kube-apiserver is not built, and {reason}: install Go, or set KUBEBUILDER_ASSETS")
        if not may_build:
            return Unavailable("kube-apiserver is not built yet: run python -m tests.realkube build")
        build(folder)
    return _in(folder, Path(etcd))


def cache() -> Path:
    """Where built programs are kept, outside the tree."""
    return cache_root() / f"kubernetes-{version()}"


def build(folder: Path) -> None:
    """Build the programs into a folder, once even where two ask. Raises RealKubeError that names the log."""
    try:
        kubernetes("kube-apiserver", "kubectl").into(folder)
    except GoBuildError as error:
        raise RealKubeError(f"Kubernetes {version()}: {error}") from error


def _ldflags() -> str:
    major, minor, _ = version().removeprefix("v").split(".", 2)
    values = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(["-s -w", *(f"-X {place}.{name}={value}" for place in packages for name, value in values.items())])


def _in(folder: Path, etcd: Path) -> Binaries | Unavailable:
    found = Binaries(etcd, *(folder / program for program in ("kube-apiserver", "kubectl")))
    missing = [str(path) for path in (found.etcd, found.apiserver, found.kubectl) if not os.access(path, os.X_OK)]
    return Unavailable(f"not there or not executable: {', '.join(missing)}") if missing else found
