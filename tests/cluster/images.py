"""The images that every node has: built and unpacked once, then the same files for all nodes of all clusters.

They stand in the user's cache as one containerd left them. A node has that containerd's databases as its own, and the
unpacked files mounted where they say: neither are thousands of files made for it, nor removed at its end. Only the
images of this tree are kept, and those that a cluster uses.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.apiserver.gobuild import cache_root
from tests.cluster import image
from tests.cluster.node import SNAPSHOTS, Node
from tests.cluster.node_files import PAUSE
from tests.cluster.programs import Programs
from tests.cluster.system import COREDNS_IMAGE

PRODUCT_IMAGE = "docker.io/library/zonebridge:0.1.0"
SERVER_IMAGE = "docker.io/library/server:1"
KEPT = "node-images-"


class NodeImages:
    """Of this tree and these programs; built in `folder` where nobody has yet. In use until it is closed."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        self._programs = {PAUSE: programs.pause, COREDNS_IMAGE: programs.coredns, SERVER_IMAGE: programs.server}
        self._folder = folder
        # a path names what it was built from
        made_of = (programs.containerd, *self._programs.values(), Path(__file__).read_text(), image.product_digest())
        digest = hashlib.sha256("\n".join(map(str, made_of)).encode()).hexdigest()[:12]
        self._cache = cache_root() / "cluster"
        self._kept = self._cache / f"{KEPT}{digest}"
        self._use = _lock_of(self._kept).open("w")
        fcntl.flock(self._use, fcntl.LOCK_SH)

    def close(self) -> None:
        self._use.close()

    def load(self, node: Node) -> None:
        """A node that has power gets its containerd, with all images in it."""
        with (self._cache / f".{KEPT}lock").open("w") as lock:  # clusters start side by side
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._kept.exists():
                _copy(self._kept, node.containerd_folder)
                node.mount_snapshots(self._kept)
            else:
                self._keep(node)
        node.start_containerd()

    def _keep(self, node: Node) -> None:
        node.start_containerd()
        node.import_images(self._build())
        node.kill("containerd", signal.SIGTERM)
        self._remove_unused()
        building = self._kept.with_name(f".{self._kept.name}")
        shutil.rmtree(building, ignore_errors=True)
        subprocess.run(["cp", "--archive", str(node.containerd_folder), str(building)], check=True)
        building.rename(self._kept)

    def _build(self) -> list[Path]:
        self._folder.mkdir()
        programs = [image.program(path, tag, self._folder) for tag, path in self._programs.items()]
        return [*programs, image.product(PRODUCT_IMAGE, self._folder)]

    def _remove_unused(self) -> None:
        for former in self._cache.glob(f"{KEPT}*"):
            if former.is_dir() and former != self._kept:
                with _lock_of(former).open("w") as use, suppress(BlockingIOError):
                    fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(former)
                    _lock_of(former).unlink()


def _lock_of(kept: Path) -> Path:
    return kept.with_name(f".{kept.name}.lock")


def _copy(kept: Path, target: Path) -> None:
    """All but what the snapshots hold."""
    snapshots = kept / SNAPSHOTS
    empty = shutil.ignore_patterns("*")
    shutil.copytree(
        kept,
        target,
        symlinks=True,
        ignore=lambda folder, names: empty(folder, names) if Path(folder).parent == snapshots else set(),
        copy_function=_link,
    )


def _link(source: str, target: str) -> str:
    """Content never changes and may be the same file; databases change."""
    if source.endswith(".db"):
        return str(shutil.copy2(source, target))
    try:
        os.link(source, target)
    except OSError:  # another filesystem
        shutil.copy2(source, target)
    return target
