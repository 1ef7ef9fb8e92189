"""Helm 3, Helm 4, promtool and krew: built once with Go into a cache outside the tree, at the versions that go/*/go.mod pin."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.apiserver.programs import RealKubeError, Unavailable

MODULES = Path(__file__).parent / "go"
# Folder under go/ (which is also the program's name in the cache) and the package that is built there.
PACKAGES = {
    "helm3": "helm.sh/helm/v3/cmd/helm",
    "helm4": "helm.sh/helm/v4/cmd/helm",
    "krew": "sigs.k8s.io/krew/cmd/krew",
    "promtool": "github.com/prometheus/prometheus/cmd/promtool",
}


def program(name: str, *, may_build: bool = True) -> Path | Unavailable:
    """The path of a program, built now where it isn't cached yet and that may be (one to four minutes on two cores)."""
    path = _cached(name)
    if os.access(path, os.X_OK):
        return path
    if shutil.which("go") is None:
        return Unavailable(f"{name} is not built, and there is no Go: install Go 1.21 or newer")
    if not may_build:
        return Unavailable(f"{name} is not built yet: run python -m tests.chart.programs")
    _build(name, path)
    return path


def _cached(name: str) -> Path:
    """One file for each set of pinned modules, so that another pin is built anew."""
    pins = hashlib.sha256()
    for file in ("go.mod", "go.sum"):
        pins.update((MODULES / name / file).read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "zonebridge" / f"{name}-{pins.hexdigest()[:16]}"


def _build(name: str, path: Path) -> None:
    """Build once, even where two ask at the same time. Raises RealKubeError that ends with Go's own words."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        built = Path(folder) / name
        command = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(built), PACKAGES[name]]
        environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
        ended = subprocess.run(
            command, cwd=MODULES / name, env=environment, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise RealKubeError(f"building {name} with Go failed:\n{ended.stderr[-1000:]}")
        built.rename(path)


def main() -> int:
    """`python -m tests.chart.programs` builds them all."""
    for name in PACKAGES:
        found = program(name)
        if isinstance(found, Unavailable):
            print(found.reason, file=sys.stderr)
            return 1
        print(f"{name} is at {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
