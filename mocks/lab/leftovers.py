"""Finds and ends the processes that still live in the namespaces of a lab, by id.

It touches only namespaces it is given, or that bear the mark of a lab whose own process is gone.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from mocks.lab.netns import LabError, Netns

PATIENCE = 5.0
POLL = 0.01


def mark(prefix: str) -> str:
    """What a lab writes on the loopback of each of its namespaces: prefix, owner, the owner's start."""
    return f"lab:{prefix}:{os.getpid()}:{started(os.getpid())}"


def started(pid: int) -> str:
    """A process's start in clock ticks, which tells it from a later one of the same id; empty if gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def inhabitants() -> Iterator[tuple[int, int]]:
    """All other processes as (id, inode of the network namespace), as far as they may be seen."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                yield int(entry.name), (entry / "ns/net").stat().st_ino


def evict(inodes: set[int]) -> list[int]:
    """Kill whatever lives in these namespaces, and wait until it does no more."""
    killed: list[int] = []
    deadline = time.monotonic() + PATIENCE
    while still := [pid for pid, inode in inhabitants() if inode in inodes]:
        if time.monotonic() > deadline:
            raise LabError(f"processes {still} don't leave the lab's namespaces; end them by hand")
        for pid in set(still) - set(killed):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        time.sleep(POLL)
    return killed


def purge(prefix: str) -> list[int]:
    """End what dead labs of this prefix left behind; returns the processes' ids.

    Only processes can be left: the namespaces and links go when their last process does.
    """
    own = Path("/proc/self/ns/net").stat().st_ino
    found = {inode: pid for pid, inode in inhabitants() if inode != own}
    return evict({inode for inode, pid in found.items() if _is_orphan(pid, prefix)})


def _is_orphan(pid: int, prefix: str) -> bool:
    kind, _, rest = _read_mark(pid).partition(":")
    name, _, owner = rest.partition(":")
    owner_pid, _, since = owner.partition(":")
    return kind == "lab" and name == prefix and owner_pid.isdigit() and started(int(owner_pid)) != since


def _read_mark(pid: int) -> str:
    try:
        with closing(Netns(f"of process {pid}", os.open(f"/proc/{pid}/ns/net", os.O_RDONLY))) as netns:
            links = json.loads(netns.require(["ip", "-json", "link", "show", "lo"]))
    except (OSError, LabError):
        return ""
    return str(links[0].get("ifalias", ""))
