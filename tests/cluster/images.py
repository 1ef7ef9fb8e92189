"""The images that every node has: built and unpacked once, then the same files for all nodes of all clusters.

They stand in the user's cache as one containerd left them, and are linked into a node's folder before its own starts.
What a containerd writes in place, its databases, is copied. Only what this tree's images are is kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import signal
import subprocess
from pathlib import Path

from tests.apiserver.gobuild import cache_root
from tests.cluster import image
from tests.cluster.node import Node
from tests.cluster.node_files import PAUSE
from tests.cluster.programs import Programs
from tests.cluster.system import COREDNS_IMAGE

PRODUCT_IMAGE = "docker.io/library/zonebridge:0.1.0"
SERVER_IMAGE = "docker.io/library/server:1"
KEPT = "node-images-"
DATABASES = "*/*.db"


class NodeImages:
    """Of this tree and these programs; built in `folder` where nobody has yet."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        self._programs = {PAUSE: programs.pause, COREDNS_IMAGE: programs.coredns, SERVER_IMAGE: programs.server}
        self._folder = folder
        # a path names what it was built from
        made_of = (programs.containerd, *self._programs.values(), Path(__file__).read_text(), image.product_digest())
        digest = hashlib.sha256("\n".join(map(str, made_of)).encode()).hexdigest()[:12]
        self._kept = cache_root() / "cluster" / f"{KEPT}{digest}"

    def load(self, node: Node) -> None:
        """A node that has power gets its containerd, with all images in it."""
        with (self._kept.parent / f".{KEPT}lock").open("w") as lock:  # clusters start side by side
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._kept.exists():
                _lay(self._kept, node.containerd_folder)
            else:
                self._keep(node)
        node.start_containerd()

    def _keep(self, node: Node) -> None:
        node.start_containerd()
        node.import_images(self._build())
        node.kill("containerd", signal.SIGTERM)
        for former in self._kept.parent.glob(f"{KEPT}*"):
            shutil.rmtree(former)
        building = self._kept.with_name(f".{self._kept.name}")
        shutil.rmtree(building, ignore_errors=True)
        _lay(node.containerd_folder, building)
        building.rename(self._kept)

    def _build(self) -> list[Path]:
        self._folder.mkdir()
        programs = [image.program(path, tag, self._folder) for tag, path in self._programs.items()]
        return [*programs, image.product(PRODUCT_IMAGE, self._folder)]


def _lay(source: Path, target: Path) -> None:
    """The same files where both are on one filesystem; copies of the databases."""
    target.parent.mkdir(exist_ok=True)
    same = source.stat().st_dev == target.parent.stat().st_dev
    how = "--link" if same else "--reflink=auto"
    subprocess.run(["cp", "--archive", how, str(source), str(target)], check=True)
    for database in source.glob(DATABASES):
        copy = target / database.relative_to(source)
        copy.unlink()
        shutil.copy2(database, copy)
