"""Whether this machine can have a cluster in namespaces at all, whatever is installed on it."""

from __future__ import annotations

import os
from pathlib import Path

from mocks import lab
from tests.cluster import cgroups

NEEDED_FILESYSTEMS = ("overlay", "proc", "sysfs", "tmpfs")


def unavailable() -> str | None:
    """Why not, or None."""
    if os.geteuid() != 0:
        return "it takes root: nodes have cgroups and mounts of their own"
    known = Path("/proc/filesystems").read_text().split()
    if missing := [name for name in NEEDED_FILESYSTEMS if name not in known]:
        return f"the kernel has no {', '.join(missing)}, which containers are made of"
    return lab.unavailable() or cgroups.unavailable()
