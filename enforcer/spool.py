"""A bounded queue on disk with one reading position per destination: segment files of length, CRC and payload.

It survives kill -9 at any byte, drops the oldest when full, and counts all that it drops. It never waits for a reader.
Not thread-safe: `enforcer.ship` calls it from one thread of its own.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from enforcer.errors import SpoolError, SpoolUnusableError

MAGIC = b"ZBSPOOL1"
_HEADER = struct.Struct(">II")
_SUFFIX, _POSITION = ".segment", ".position"
_READ_AHEAD = 1 << 20


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it lies in the spool; `segment` and `end` say where the next one begins."""

    number: int
    payload: bytes
    segment: int
    end: int


@dataclass(slots=True)
class _Segment:
    """A file of consecutive records; `first` is the number of its first one and its name."""

    first: int
    path: Path
    size: int


@dataclass(slots=True)
class _Position:
    """The next record that a destination has not acknowledged."""

    number: int
    segment: int
    offset: int
    lost: int = 0


@dataclass(slots=True)
class Spool:
    """See `Spool.open`. `lost` in the positions counts what a destination will never get."""

    directory: Path
    max_bytes: int
    segment_bytes: int
    next_number: int = 0
    segments: list[_Segment] = field(default_factory=list)
    positions: dict[str, _Position] = field(default_factory=dict)
    _tail: int = -1
    _lock: int = -1
    _dirty: bool = False

    @classmethod
    def open(cls, directory: Path, destinations: Iterable[str], max_bytes: int, segment_bytes: int) -> Spool:
        """Open or create it; a torn tail is cut off. A destination not seen before starts at the present."""
        spool = cls(directory, max_bytes, segment_bytes)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            spool._lock = _exclusive(directory)
            spool._load_segments()
            spool._load_positions(list(destinations))
        except OSError as error:
            spool.close()
            raise SpoolUnusableError(
                f"the spool directory {directory} can't be used: {error.strerror or error}; "
                "make it writable for this user, or name another one in spool.dir"
            ) from error
        return spool

    def close(self) -> None:
        for descriptor in (self._tail, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._tail = self._lock = -1

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self.segments)

    def backlog(self, destination: str) -> int:
        """How many records the destination has not acknowledged."""
        return self.next_number - self.positions[destination].number

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write all or nothing; then drop the oldest segments where the spool has become too big.

        Raises SpoolError where the disk refuses.
        """
        data = b"".join(_framed(payload) for payload in payloads)
        try:
            self._make_room(len(data))
            self._write(data)
        except OSError as error:
            raise SpoolError(
                f"{len(payloads)} records can't be written to {self.directory}: {error.strerror}"
            ) from error
        self.next_number += len(payloads)
        self._trim()

    def sync(self) -> None:
        """Force to the disk what was written; a power failure then costs nothing of it."""
        if self._dirty:
            try:
                os.fdatasync(self._tail)
            except OSError as error:
                raise SpoolError(f"{self.directory} can't be synced: {error.strerror}") from error
            self._dirty = False

    def read(self, destination: str, max_records: int, max_bytes: int = _READ_AHEAD) -> list[Stored]:
        """The destination's next records, the same ones until they are acknowledged. At least one if there is any."""
        position = self.positions[destination]
        while position.number < self.next_number:
            segment, end = self._segment_of(position)
            try:
                found = list(_records(segment, position, end, max_records, max_bytes))
            except OSError as error:
                raise SpoolError(f"{segment.path} can't be read: {error.strerror}") from error
            if found:
                return found
            self._skip(position, end)
        return []

    def acknowledge(self, destination: str, last: Stored) -> None:
        """The destination has everything up to and including `last`."""
        position = self.positions[destination]
        position.number, position.segment, position.offset = last.number + 1, last.segment, last.end
        self._trim()
        with suppress(OSError):  # costs duplicates after a crash, never a record
            self._save(destination)

    def take_lost(self) -> dict[str, int]:
        """How many records each destination lost since the last call; destinations that lost none are left out."""
        lost = {name: position.lost for name, position in self.positions.items() if position.lost}
        for position in self.positions.values():
            position.lost = 0
        return lost

    def _load_segments(self) -> None:
        paths = sorted(self.directory.glob(f"*{_SUFFIX}"))
        self.segments = [_Segment(int(path.stem), path, path.stat().st_size) for path in paths]
        if not self.segments:
            self._begin_segment()
            return
        last = self.segments[-1]
        content = last.path.read_bytes()
        count, end = _sound(content)
        self._tail = os.open(last.path, os.O_RDWR | os.O_APPEND)
        os.ftruncate(self._tail, end)
        if end == 0:
            os.write(self._tail, MAGIC)
        last.size = max(end, len(MAGIC))
        self.next_number = last.first + count

    def _load_positions(self, destinations: list[str]) -> None:
        for stale in self.directory.glob(f"*{_POSITION}"):
            if stale.stem not in destinations:
                stale.unlink()
        for name in destinations:
            self.positions[name] = self._stored_position(name)
            self._save(name)

    def _stored_position(self, name: str) -> _Position:
        last, oldest = self.segments[-1], self.segments[0]
        try:
            number, segment, offset = map(int, (self.directory / f"{name}{_POSITION}").read_text("ascii").split())
        except FileNotFoundError:
            return _Position(self.next_number, last.first, last.size)
        except ValueError:
            return _Position(oldest.first, oldest.first, len(MAGIC))
        position = _Position(min(number, self.next_number), segment, offset)
        if segment not in {held.first for held in self.segments} or position.number == self.next_number:
            self._move_to_held(position)
        return position

    def _move_to_held(self, position: _Position) -> None:
        """Away from a segment that is gone, or from the cut-off end of the last one."""
        oldest, last = self.segments[0], self.segments[-1]
        if position.number >= self.next_number:
            position.segment, position.offset = last.first, last.size
        elif position.number < oldest.first:
            position.lost += oldest.first - position.number
            position.number, position.segment, position.offset = oldest.first, oldest.first, len(MAGIC)

    def _save(self, destination: str) -> None:
        position = self.positions[destination]
        path = self.directory / f"{destination}{_POSITION}"
        fresh = path.with_suffix(".new")
        fresh.write_text(f"{position.number} {position.segment} {position.offset}\n", "ascii")
        fresh.replace(path)

    def _begin_segment(self) -> None:
        path = self.directory / f"{self.next_number:020d}{_SUFFIX}"
        tail = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(tail, MAGIC)
        except OSError:
            os.close(tail)
            path.unlink(missing_ok=True)
            raise
        if self._tail >= 0:
            os.fdatasync(self._tail)
            os.close(self._tail)
        self._tail = tail
        self.segments.append(_Segment(self.next_number, path, len(MAGIC)))

    def _make_room(self, size: int) -> None:
        last = self.segments[-1]
        if last.size > len(MAGIC) and last.size + size > self.segment_bytes:
            self._begin_segment()

    def _write(self, data: bytes) -> None:
        last = self.segments[-1]
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._tail, view) :]
        except OSError:
            os.ftruncate(self._tail, last.size)
            raise
        last.size += len(data)
        self._dirty = True

    def _trim(self) -> None:
        """Remove what everyone has, then what is too much."""
        unread = min((position.number for position in self.positions.values()), default=self.next_number)
        while len(self.segments) > 1 and (self.segments[1].first <= unread or self.size > self.max_bytes):
            try:
                self.segments[0].path.unlink(missing_ok=True)
            except OSError:  # read-only by now, so it can't grow either
                return
            self.segments.pop(0)
            for position in self.positions.values():
                if position.number < self.segments[0].first:
                    self._move_to_held(position)

    def _segment_of(self, position: _Position) -> tuple[_Segment, int]:
        """The segment to read from, and the number after its last record."""
        for at, segment in enumerate(self.segments):
            end = self.segments[at + 1].first if at + 1 < len(self.segments) else self.next_number
            if position.number < end:
                if segment.first != position.segment:
                    position.number, position.segment, position.offset = segment.first, segment.first, len(MAGIC)
                return segment, end
        raise SpoolError(f"record {position.number} is in no segment of {self.directory}")

    def _skip(self, position: _Position, end: int) -> None:
        """Nothing readable up to `end`: the segment is damaged there."""
        position.lost += end - position.number
        position.number = end


def _exclusive(directory: Path) -> int:
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise OSError(error.errno, "another process is using it") from error
    return descriptor


def _framed(payload: bytes) -> bytes:
    return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def _sound(content: bytes) -> tuple[int, int]:
    """How many whole records a segment's content begins with, and where they end."""
    if not content.startswith(MAGIC):
        return 0, 0
    ends = [end for _, end in _payloads(content, len(MAGIC))]
    return len(ends), ends[-1] if ends else len(MAGIC)


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


def _records(segment: _Segment, position: _Position, end: int, max_records: int, max_bytes: int) -> Iterator[Stored]:
    number, base = position.number, position.offset
    with segment.path.open("rb", buffering=0) as file:
        size = min(max(max_bytes, _next_size(file.fileno(), base)), segment.size)
        content = os.pread(file.fileno(), size, base)
    for payload, at in _payloads(content, 0):
        if number >= end or number >= position.number + max_records:
            return
        yield Stored(number, payload, segment.first, base + at)
        number += 1


def _next_size(descriptor: int, at: int) -> int:
    header = os.pread(descriptor, _HEADER.size, at)
    return _HEADER.size + _HEADER.unpack(header)[0] if len(header) == _HEADER.size else 0
