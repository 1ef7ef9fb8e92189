"""Disks that are full, fill up, or turn read-only: a small tmpfs. Mounting takes root, or a user namespace."""

import errno
import subprocess
from contextlib import contextmanager

_CHUNK = 4096


@contextmanager
def small(directory, size):
    """A disk of `size` octets at `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    _call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory)
    try:
        yield directory
    finally:
        _call("umount", "-l", directory)


@contextmanager
def read_only(directory):
    """Nothing can be opened for writing there any more; what is open stays so, since the kernel insists on that."""
    _call("mount", "--bind", directory, directory)
    try:
        _call("mount", "-o", "remount,bind,ro", directory)
        yield
    finally:
        _call("umount", "-l", directory)


def fill(directory, *, but=0):
    """Take all the room but so many octets; the file that does it."""
    path = directory / "filler"
    with path.open("wb", buffering=0) as file:
        while _written(file):
            pass
        file.truncate(max(file.tell() - but, 0))
    return path


def _written(file):
    try:
        return file.write(bytes(_CHUNK))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return 0


def _call(*command):
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=30)
