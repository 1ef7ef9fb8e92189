"""The programs of a real API server: taken from KUBEBUILDER_ASSETS, or built once with Go into a cache outside the
tree, at the version that go.mod beside this file pins. It runs nothing but Go; tests/realkube.py uses it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

MODULE = Path(__file__).parent
BUILT = ("kube-apiserver", "kubectl")
OLDEST_GO = (1, 21)  # the first that fetches by itself the newer Go that go.mod asks for


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


def version() -> str:
    """The Kubernetes version that go.mod pins, as `v1.36.3`."""
    found = re.search(r"^require k8s\.io/kubernetes (v\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise RealKubeError(f"reading the Kubernetes version: {MODULE / 'go.mod'} requires no k8s.io/kubernetes")
    return found[1]


def binaries(*, may_build: bool = True) -> Binaries | Unavailable:
    """The programs, built now where they are not cached yet and that may be (about five minutes on two cores)."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        return _in(Path(assets), Path(assets) / "etcd")
    etcd = shutil.which("etcd")
    if etcd is None:
        return Unavailable("etcd is not installed: install Debian's etcd-server, or set KUBEBUILDER_ASSETS")
    folder = cache()
    if not _complete(folder):
        if reason := _no_go():
            return Unavailable(f"kube-apiserver is not built, and {reason}: install Go, or set KUBEBUILDER_ASSETS")
        if not may_build:
            return Unavailable("kube-apiserver is not built yet: run python -m tests.realkube build")
        build(folder)
    return _in(folder, Path(etcd))


def cache() -> Path:
    """Where built programs are kept, outside the tree."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "zonebridge" / f"kubernetes-{version()}"


def build(folder: Path) -> None:
    """Build the programs into a folder, once even where two ask. Raises RealKubeError that names the log."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _complete(folder):
            return
        with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as made:
            _run_go(Path(made), folder / "build.log")
            for program in BUILT:
                (Path(made) / program).rename(folder / program)


def _run_go(target: Path, log: Path) -> None:
    packages = [f"k8s.io/kubernetes/cmd/{program}" for program in BUILT]
    # The tags are those of Kubernetes' own release builds; without them kube-apiserver is a sixth larger.
    command = ["go", "build", "-trimpath", "-tags=notest,grpcnotrace", "-ldflags", _ldflags(), "-o", f"{target}/"]
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
    with log.open("w") as output:
        ended = subprocess.run(
            [*command, *packages], cwd=MODULE, env=environment, stdout=output, stderr=output, check=False
        )
    if ended.returncode:
        end = log.read_text(errors="replace").strip()[-1000:]
        raise RealKubeError(f"building Kubernetes {version()} failed; the whole log is {log}, its end:\n{end}")


def _ldflags() -> str:
    major, minor, _ = version().removeprefix("v").split(".", 2)
    values = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(["-s -w", *(f"-X {place}.{name}={value}" for place in packages for name, value in values.items())])


def _complete(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in BUILT)


def _no_go() -> str | None:
    """Why Go can't build it here, if it can't."""
    if shutil.which("go") is None:
        return "there is no Go"
    shown = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout.strip()
    found = re.match(r"go(\d+)\.(\d+)", shown)
    if found is not None and (int(found[1]), int(found[2])) < OLDEST_GO:
        return f"{shown} is too old to build it"
    return None


def _in(folder: Path, etcd: Path) -> Binaries | Unavailable:
    found = Binaries(etcd, *(folder / program for program in BUILT))
    missing = [str(path) for path in (found.etcd, found.apiserver, found.kubectl) if not os.access(path, os.X_OK)]
    return Unavailable(f"not there or not executable: {', '.join(missing)}") if missing else found
