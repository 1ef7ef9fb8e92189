"""What waits in a netlink socket, as the kernel counts it. In the network namespace of the thread that asks."""

from __future__ import annotations

import os
from pathlib import Path

_TABLE = Path("/proc/thread-self/net/netlink")


def waiting_bytes(descriptor: int, table: Path = _TABLE) -> int:
    """The kernel's memory for what isn't read yet; 0 where the socket isn't known there."""
    try:
        inode = str(os.fstat(descriptor).st_ino)
        names, *lines = (line.split() for line in table.read_text("ascii").splitlines())
        rows = [dict(zip(names, fields, strict=False)) for fields in lines if fields[-1] == inode]
        return int(rows[0]["Rmem"]) if rows else 0
    except (OSError, ValueError, KeyError):
        return 0
