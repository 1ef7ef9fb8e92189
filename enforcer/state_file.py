"""Files that say what this node enforces: written whole or not at all, and read only where nobody else could write.

Judges no content. `enforcer.restart.snapshot` and `enforcer.cluster.last_good` call it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TypeAlias

from enforcer.errors import StateError

Bytes: TypeAlias = bytes | memoryview
STATE_DIR = Path("/var/lib/zonebridge")
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_CAREFULLY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OURS = 0o600


def write_atomically(path: Path, *pieces: Bytes, mode: int = _OURS) -> None:
    """The file is the old one or the new one after any crash. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        os.fchmod(file.fileno(), mode)
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read(path: Path, most: int = -1) -> bytes | None:
    """At `most` so many bytes; None where there is no such file. Raises StateError where it may be somebody else's."""
    try:
        with os.fdopen(os.open(path, _CAREFULLY), "rb") as file:
            _require_ours(path.parent, path.parent.stat())
            _require_ours(path, os.fstat(file.fileno()))
            return file.read(most)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StateError(f"{path} is not used: it can't be read: {error.strerror}") from error


def _require_ours(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in {0, os.geteuid()}:
        raise StateError(f"{path} is not used: it belongs to the user {status.st_uid}; it must be root's")
    if status.st_mode & _OTHERS_WRITE:
        raise StateError(f"{path} is not used: others than its owner may write it; take that right away (chmod go-w)")
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise StateError(f"{path} is not used: it is no plain file")
