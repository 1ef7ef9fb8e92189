"""The kubectl plugin as one file that needs Python alone, packed for krew with its manifest. Reproducible."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import yaml

from tools.version import ROOT, version

NAME = "kubectl-zonebridge"
MANIFEST = "zonebridge.yaml"
HOME = "https://zonebridge.io"
MAIN = """\
import sys

if sys.version_info < (3, 11):
    sys.exit("kubectl zonebridge: needs Python 3.11 or newer as python3; this is %d.%d" % sys.version_info[:2])

from bridge.kubectl.cli import main

main()
"""
# Without site-packages, so that it ends with an error where more than Python were needed.
_CLOSURE = """\
import sys
sys.path.insert(0, sys.argv[1])
import bridge.kubectl.cli
print(*sorted(name for name in sys.modules if name.partition(".")[0] in ("bridge", "zones")))
"""
_FIRST_YEAR = 315532800  # a zip knows none before 1980


def modules() -> list[str]:
    """Ours that the plugin imports, by name."""
    command = [sys.executable, "-I", "-S", "-c", _CLOSURE, str(ROOT)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def zipapp(epoch: int) -> bytes:
    """Stored and not compressed: it begins sooner, and no library's version makes other bytes."""
    sources = {"__main__.py": MAIN.encode()}
    for name in modules():
        path = Path(*name.split("."))
        path = path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")
        sources[path.as_posix()] = (ROOT / path).read_bytes()
    packed = io.BytesIO()
    packed.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in sorted(sources.items()):
            entry = zipfile.ZipInfo(name, time.gmtime(max(epoch, _FIRST_YEAR))[:6])
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return packed.getvalue()


def archive(epoch: int) -> bytes:
    """What krew unpacks: the plugin and the licence."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, mode in (
            ("LICENSE", (ROOT / "LICENSE").read_bytes(), 0o644),
            (NAME, zipapp(epoch), 0o755),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), epoch, mode
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=epoch)


def manifest(content: bytes, url: str) -> dict[str, Any]:
    """Krew's, for an archive that will be found under `url`."""
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "zonebridge"},
        "spec": {
            "version": f"v{version()}",
            "homepage": HOME,
            "shortDescription": "Ask which firewall rule decides a connection",
            "description": (
                "Says which zone rule of Panorama decides a connection of a pod and why, which connections "
                "were refused, which zones there are, and whether all nodes enforce what is committed; puts pods in "
                "quarantine. "
                "For clusters with zonebridge."
            ),
            "caveats": (
                "Needs Python 3.11 or newer as python3. For completion put what `kubectl zonebridge completion` prints "
                "on the PATH as kubectl_complete-zonebridge."
            ),
            "platforms": [
                {
                    "selector": {"matchExpressions": [{"key": "os", "operator": "In", "values": ["darwin", "linux"]}]},
                    "uri": f"{url.rstrip('/')}/{archive_name()}",
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "bin": NAME,
                }
            ],
        },
    }


def archive_name() -> str:
    return f"{NAME}-{version()}.tar.gz"


def write(target: Path, epoch: int, url: str) -> None:
    """The archive and its manifest."""
    content = archive(epoch)
    (target / archive_name()).write_bytes(content)
    (target / MANIFEST).write_text(yaml.safe_dump(manifest(content, url), sort_keys=False, width=100))
