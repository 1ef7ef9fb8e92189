"""A wall clock of its own for each program, which may be set while it runs. The kernel has one for all namespaces.

A small library, built with the C compiler, is preloaded into the program; see wallclock.c. libfaketime (0.9.10) was
tried: Python's `time.sleep` fails under it with EINVAL.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
_NANOS = 1_000_000_000
_STEP = struct.Struct("=q")


class NoCompilerError(Exception):
    """There is no C compiler here."""


def build(folder: Path) -> Path:
    """The library, in that folder. Raises NoCompilerError."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompilerError("there is no C compiler to build the wall clock with: install Debian's gcc and libc6-dev")
    library = folder / "wallclock.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


class WallClock:
    """One program's clock; it survives the program's restarts, as a machine's does."""

    def __init__(self, folder: Path, library: Path, name: str) -> None:
        self.file = folder / f"{name}.clock"
        self.file.write_bytes(_STEP.pack(0))
        with self.file.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _STEP.size)
        self.environment = {"LD_PRELOAD": str(library), "WALLCLOCK_FILE": str(self.file)}

    @property
    def ahead(self) -> float:
        """How many seconds it is before the machine's clock."""
        (nanos,) = _STEP.unpack(self._map[:])
        return float(nanos / _NANOS)

    def set(self, seconds: float) -> None:
        """To so many seconds before the machine's clock, or behind it where they are negative."""
        self._map[:] = _STEP.pack(round(seconds * _NANOS))

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)
