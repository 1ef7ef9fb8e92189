"""A node's cgroups: one of its own in every v1 hierarchy of this machine, below the one that the tests run in.

A kubelet in a cgroup namespace takes them for the machine's roots. Only folders made here are ever removed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

NEEDED = {"cpu", "cpuacct", "cpuset", "memory", "pids"}
PATIENCE = 10.0
# Moves itself into every cgroup before `--`, then becomes what comes after it.
ENTER = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 125; shift; done; shift; exec "$@"'


def hierarchies() -> dict[str, Path]:
    """The v1 controllers of this machine (and the unnamed v2 hierarchy as ""), each with our own cgroup in it."""
    mounts = dict(_mounts())
    own: dict[str, Path] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if names in mounts:
            own[names] = mounts[names] / path.lstrip("/")
    return own


def _mounts() -> Iterator[tuple[str, Path]]:
    """Where each hierarchy is mounted, by what /proc/self/cgroup calls it."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if kind == "cgroup2":
            yield "", Path(point)
        elif kind == "cgroup":
            words = options.split(",")
            names = [word for word in words if word.startswith("name=") or word in _controllers()]
            yield ",".join(names), Path(point)


def _controllers() -> set[str]:
    lines = Path("/proc/cgroups").read_text().splitlines()
    return {line.split()[0] for line in lines if not line.startswith("#")}


def unavailable() -> str | None:
    """Why no node can have cgroups here, or None."""
    there = {name for names in hierarchies() for name in names.split(",")}
    if missing := NEEDED - there:
        return (
            f"cgroup v1 has no {', '.join(sorted(missing))} here; nodes on cgroup v2 are not supported by these tests"
        )
    trial = Cgroups("zonebridge-cluster-trial")
    try:
        trial.make()
    except OSError as error:
        return f"cgroups can't be made here: {error}"
    finally:
        trial.remove()
    return None


class Cgroups:
    """One cgroup of a name in every hierarchy."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folders = [path / name for path in hierarchies().values()]

    def make(self) -> None:
        for folder in self.folders:
            folder.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):  # empty in a new one, and then nothing may enter
                with suppress(FileNotFoundError):
                    (folder / setting).write_text((folder.parent / setting).read_text())

    def entering(self, command: Sequence[str]) -> list[str]:
        """The command, run in these cgroups."""
        return ["/bin/sh", "-c", ENTER, "sh", *(str(each / "cgroup.procs") for each in self.folders), "--", *command]

    def processes_of(self, name: str) -> list[int]:
        """Processes in the cgroup of this name below ours and in those below that, as this machine numbers them."""
        found: set[int] = set()
        for top in self.folders[0].rglob(name):
            for file in (top / "cgroup.procs", *top.rglob("cgroup.procs")):
                with suppress(OSError):
                    found.update(map(int, file.read_text().split()))
        return sorted(found)

    def remove(self) -> None:
        remove(self.folders)


def remove(folders: Sequence[Path]) -> None:
    """End what is still in these cgroups, and remove them with those below."""
    deadline = time.monotonic() + PATIENCE
    while remaining := [folder for folder in folders if folder.exists()]:
        for folder in remaining:
            for below, _, _ in os.walk(folder, topdown=False):
                _clear(Path(below))
        if time.monotonic() > deadline:
            raise OSError(f"cgroups don't go away: {', '.join(map(str, remaining))}")
        time.sleep(0.02)


def _clear(folder: Path) -> None:
    with suppress(OSError):
        for pid in map(int, (folder / "cgroup.procs").read_text().split()):
            os.kill(pid, signal.SIGKILL)
    with suppress(OSError):
        folder.rmdir()
