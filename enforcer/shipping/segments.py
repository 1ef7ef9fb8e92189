"""One segment of the spool: consecutive records, each with its length and CRC, in a file or, for a while, in memory.

A file is named after the number of its first record. `enforcer.shipping.spool` decides what is written, read and
removed.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MAGIC, _DROPPED = b"ZBSPOOL1", b"ZBDROP_1"
_HEADER = struct.Struct(">II")
_SUFFIX, _DIGITS = ".segment", 20
_UNOPENED = -1


@dataclass(slots=True)
class Segment:
    """`descriptor` is open while it is written to, and as long as it is `in_memory`.

    `dropped`: its records, and those up to the next segment, were removed to make room; the file only keeps the place.
    """

    first: int
    path: Path
    size: int = len(MAGIC)
    descriptor: int = _UNOPENED
    in_memory: bool = False
    dropped: bool = False

    @classmethod
    def on_disk(cls, directory: Path, first: int) -> Self:
        """A new one. Raises OSError, and leaves nothing behind then."""
        directory.mkdir(parents=True, exist_ok=True)
        segment = cls(first, directory / f"{first:0{_DIGITS}d}{_SUFFIX}")
        segment._create(MAGIC)
        return segment

    def _create(self, content: bytes) -> None:
        """The file. Raises OSError, and leaves nothing behind then."""
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            write_whole(self.descriptor, content)
            sync_directory(self.path.parent)
        except OSError:
            self.remove()
            raise

    @classmethod
    def memory(cls, first: int) -> Self:
        """For while the disk refuses. Raises OSError."""
        descriptor = os.memfd_create("spool")
        os.write(descriptor, MAGIC)
        return cls(first, Path(f"/proc/self/fd/{descriptor}"), descriptor=descriptor, in_memory=True)

    @classmethod
    def in_directory(cls, directory: Path) -> list[Self]:
        """Those of an earlier run, in their order; a file that is none is left alone. Raises OSError."""
        paths = [path for path in directory.glob(f"*{_SUFFIX}") if _is_number(path.stem)]
        return sorted(map(cls._held, paths), key=lambda segment: segment.first)

    @classmethod
    def _held(cls, path: Path) -> Self:
        segment = cls(int(path.stem), path, path.stat().st_size)
        segment.dropped = segment.size == len(_DROPPED) and path.read_bytes() == _DROPPED
        return segment

    @property
    def usable(self) -> bool:
        """Whether it can be appended to: nobody has removed the file from under us."""
        return self.descriptor != _UNOPENED and (self.in_memory or os.fstat(self.descriptor).st_nlink > 0)

    def resume(self) -> int:
        """How many whole records it has; a torn end is cut off. The last one is then appended to. Raises OSError."""
        ends = [end for _, end in _payloads(self._content(), len(MAGIC))]
        self.size = ends[-1] if ends else len(MAGIC)
        return len(ends)

    def reopen(self) -> None:
        """To append to it again, from its last whole record on. Raises OSError."""
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND)
        try:
            os.ftruncate(self.descriptor, self.size)
            if os.pread(self.descriptor, len(MAGIC), 0) != MAGIC:
                os.ftruncate(self.descriptor, 0)
                write_whole(self.descriptor, MAGIC)
        except OSError:
            self.close()
            raise

    def _content(self) -> bytes:
        content = self.path.read_bytes()
        return content if content.startswith(MAGIC) else b""

    def append(self, data: bytes) -> None:
        """All or nothing. Raises OSError; what was half written is cut off, or never looked at."""
        try:
            write_whole(self.descriptor, data)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self.descriptor, self.size)
            raise
        self.size += len(data)

    def sync(self) -> None:
        """Raises OSError."""
        if not self.in_memory and self.descriptor != _UNOPENED:
            os.fdatasync(self.descriptor)

    def settle(self, directory: Path) -> None:
        """From memory onto the disk, not to be appended to any more. Raises OSError."""
        if self.in_memory and not self.dropped:
            settled = Segment(self.first, directory / f"{self.first:0{_DIGITS}d}{_SUFFIX}", self.size)
            settled._create(os.pread(self.descriptor, self.size, 0))
            settled.close()
            self.close()
            self.path, self.in_memory = settled.path, False

    def seal(self) -> None:
        """Nothing more is appended."""
        if not self.in_memory:
            self.close()

    def close(self) -> None:
        if self.descriptor != _UNOPENED:
            os.close(self.descriptor)
            self.descriptor = _UNOPENED

    def remove(self) -> None:
        """With everything in it. Raises OSError."""
        self.close()
        if not self.in_memory:
            self.path.unlink(missing_ok=True)

    def hollow(self) -> None:
        """Without its records, but with its place. Raises OSError."""
        self.close()
        if not self.in_memory:
            self.path.write_bytes(_DROPPED)
        self.size, self.dropped = 0, True

    def records(self, at: int, most: int, max_bytes: int) -> Iterator[tuple[bytes, int]]:
        """Up to `most` payloads from the octet `at` on, each with its end. Raises OSError."""
        with self.path.open("rb", buffering=0) as file:
            octets = min(max(max_bytes, _next_size(file.fileno(), at)), max(self.size - at, 0))
            content = os.pread(file.fileno(), octets, at)
        for count, (payload, end) in enumerate(_payloads(content, 0)):
            if count >= most:
                return
            yield payload, at + end


def framed(payloads: Iterable[bytes]) -> bytes:
    return b"".join(_HEADER.pack(len(payload), zlib.crc32(payload)) + payload for payload in payloads)


def write_whole(descriptor: int, data: bytes) -> None:
    """Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """So that a new file is still there after a power failure. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _payloads(content: bytes, at: int) -> Iterator[tuple[bytes, int]]:
    """Whole records from `at` on, each with its end. An empty record is never written: zeros are a torn tail."""
    while at + _HEADER.size <= len(content):
        length, checksum = _HEADER.unpack_from(content, at)
        end = at + _HEADER.size + length
        payload = content[at + _HEADER.size : end]
        if not length or end > len(content) or zlib.crc32(payload) != checksum:
            return
        yield payload, end
        at = end


def _next_size(descriptor: int, at: int) -> int:
    header = os.pread(descriptor, _HEADER.size, at)
    return _HEADER.size + _HEADER.unpack(header)[0] if len(header) == _HEADER.size else 0
