"""How far a destination has got in the spool, in a file of its own that is written in place: a full disk can't stop it.

A torn or foreign file is no position; `enforcer.shipping.spool` then begins at the oldest record: duplicates, never a
loss.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from enforcer.shipping.segments import write_whole

SUFFIX = ".position"


@dataclass(slots=True)
class Position:
    """The next record that is not acknowledged and where it lies. `lost`: never delivered, and not told yet."""

    number: int
    segment: int
    offset: int
    lost: int = 0


def load(directory: Path, destination: str) -> Position | None:
    """None where the file says nothing that holds. Raises FileNotFoundError where there is none, and OSError."""
    line = _path(directory, destination).read_bytes()
    words, _, checksum = line.rpartition(b" ")
    if checksum != b"%08x\n" % zlib.crc32(words):
        return None
    return Position(*map(int, words.split()))


def save(directory: Path, destination: str, position: Position) -> None:
    """Raises OSError. Always as long, so that it fits where it was."""
    numbers = (position.number, position.segment, position.offset, position.lost)
    words = b" ".join(b"%020d" % number for number in numbers)
    descriptor = os.open(_path(directory, destination), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        write_whole(descriptor, b"%s %08x\n" % (words, zlib.crc32(words)))
    finally:
        os.close(descriptor)


def forget_others(directory: Path, destinations: list[str]) -> None:
    """Those of destinations that are gone from the settings. Raises OSError."""
    for stale in directory.glob(f"*{SUFFIX}"):
        if stale.name.removesuffix(SUFFIX) not in destinations:
            stale.unlink()


def _path(directory: Path, destination: str) -> Path:
    return directory / f"{destination}{SUFFIX}"
