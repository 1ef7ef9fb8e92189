"""A bounded queue on disk with one reading position per destination; in memory for a while where the disk refuses.

It survives kill -9 at any byte, drops what is too much, and counts all that it drops. It never waits for a reader.
Not thread-safe: `enforcer.shipping.outbox` calls it from one thread of its own.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from enforcer.errors import SpoolError, SpoolUnusableError
from enforcer.shipping import positions, segments
from enforcer.shipping.positions import Position
from enforcer.shipping.segmentlog import SegmentLog
from enforcer.shipping.segments import MAGIC, Segment

_READ_AHEAD = 1 << 20


class Drop(StrEnum):
    """Which records go when the spool is full."""

    OLDEST = "oldest"
    NEWEST = "newest"


class Stored(NamedTuple):
    """A record as it lies in the spool; `segment` and `end` say where the next one begins."""

    number: int
    payload: bytes
    segment: int
    end: int


@dataclass(slots=True)
class Spool:
    """See `Spool.open`. `lost` in the positions counts what a destination will never get."""

    directory: Path
    max_bytes: int
    log: SegmentLog
    drop: Drop = Drop.OLDEST
    positions: dict[str, Position] = field(default_factory=dict)
    _lock: int = -1

    @classmethod
    def open(
        cls,
        directory: Path,
        destinations: Iterable[str],
        max_bytes: int,
        segment_bytes: int,
        drop: Drop = Drop.OLDEST,
    ) -> Spool:
        """Open or create it; a torn tail is cut off. A destination not seen before starts at the present.

        A disk that is full or read-only is no reason not to: what comes is then kept in memory.
        """
        spool = cls(directory, max_bytes, SegmentLog(directory, segment_bytes), drop)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            spool.log.tolerating(spool._take_lock)
            spool.log.load()
            spool._load_positions(list(destinations))
        except OSError as error:
            spool.close()
            raise SpoolUnusableError(
                f"the spool directory {directory} can't be used: {error.strerror or error}; "
                "make it writable for this user, or name another one in spool.dir"
            ) from error
        return spool

    def close(self) -> None:
        self.log.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    @property
    def segments(self) -> list[Segment]:
        return self.log.segments

    @property
    def next_number(self) -> int:
        return self.log.next_number

    @property
    def size(self) -> int:
        return self.log.size

    @property
    def trouble(self) -> str:
        """Why the disk takes nothing, while it doesn't."""
        return self.log.trouble

    @property
    def refusing(self) -> bool:
        """Whether new records are lost at present."""
        return self.log.refusing

    def backlog(self, destination: str) -> int:
        """How many records the destination has yet to get."""
        number = self.positions[destination].number
        holes = (end - max(at.first, number) for at, end in self.log.ends() if at.dropped and end > number)
        return self.next_number - number - sum(holes)

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write all or nothing; then drop what has become too much.

        Raises SpoolError where neither the disk nor memory takes them.
        """
        data = segments.framed(payloads)
        while not self.log.append(data, len(payloads)):
            if self.drop is Drop.NEWEST or not self._drop_first():
                raise SpoolError(f"{len(payloads)} records can't be written to {self.directory}: {self.trouble}")
        self._trim()

    def sync(self) -> None:
        """Force to the disk what was written; a power failure then costs nothing of it."""
        self.log.sync()

    def heal(self) -> None:
        """Back to the disk, where that takes records again, with all that was kept in memory meanwhile."""
        if self.log.heal():
            for name in self.positions:
                self._save(name)

    def read(
        self, destination: str, max_records: int, max_bytes: int = _READ_AHEAD, after: Stored | None = None
    ) -> list[Stored]:
        """The destination's next records, the same ones until they are acknowledged. At least one if there is any.

        `after` a record that is under way: those that follow it. What is damaged there is for when it has arrived.
        """
        position = self._place(destination, after)
        while position.number < self.next_number:
            segment, end = self._segment_of(position)
            try:
                most = min(max_records, end - position.number)
                payloads = [] if segment.dropped else list(segment.records(position.offset, most, max_bytes))
            except FileNotFoundError:
                payloads = []
            except OSError as error:
                raise SpoolError(f"{segment.path} can't be read: {error.strerror}") from error
            if payloads:
                numbers = range(position.number, position.number + len(payloads))
                return [
                    Stored(number, payload, segment.first, at)
                    for number, (payload, at) in zip(numbers, payloads, strict=True)
                ]
            if after is not None and not segment.dropped:
                return []
            self._skip(position, end, counted=segment.dropped)
        return []

    def _place(self, destination: str, after: Stored | None) -> Position:
        position = self.positions[destination]
        if after is None or after.number < position.number:
            return position
        return Position(after.number + 1, after.segment, after.end)

    def acknowledge(self, destination: str, last: Stored) -> None:
        """The destination has everything up to and including `last`."""
        position = self.positions[destination]
        if last.number >= position.number:  # else it was dropped while it was under way
            position.number, position.segment, position.offset = last.number + 1, last.segment, last.end
        self._trim()
        self._save(destination)

    def take_lost(self) -> dict[str, int]:
        """How many records each destination lost since the last call; destinations that lost none are left out."""
        lost = {name: position.lost for name, position in self.positions.items() if position.lost}
        for name in lost:
            self.positions[name].lost = 0
            self._save(name)
        return lost

    def _take_lock(self) -> None:
        path = self.directory / "lock"
        try:
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            if not path.exists():
                raise
            self._lock = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(error.errno, "another process is using it") from error

    def _load_positions(self, destinations: list[str]) -> None:
        self.log.tolerating(lambda: positions.forget_others(self.directory, destinations))
        for name in destinations:
            self.positions[name] = self._stored_position(name)
            self._save(name)
        self.log.tolerating(lambda: segments.sync_directory(self.directory))

    def _stored_position(self, name: str) -> Position:
        last, oldest = self.segments[-1], self.segments[0]
        try:
            position = positions.load(self.directory, name)
        except FileNotFoundError:
            return Position(self.next_number, last.first, last.size)
        if position is None:
            return Position(oldest.first, oldest.first, len(MAGIC))
        if position.number >= self.next_number:
            position.number, position.segment, position.offset = self.next_number, last.first, last.size
        self._move_to_held(position)
        if position.segment not in {segment.first for segment in self.segments}:
            self._find(position)
        return position

    def _find(self, position: Position) -> None:
        """Its place by its number: the segment that it names was in memory, or is gone."""
        segment, end = next((candidate, end) for candidate, end in self.log.ends() if position.number < end)
        before = list(segment.records(len(MAGIC), position.number - segment.first, segment.size))
        position.segment, position.offset = segment.first, before[-1][1] if before else len(MAGIC)
        if len(before) < position.number - segment.first:
            self._skip(position, end, counted=segment.dropped)

    def _move_to_held(self, position: Position) -> None:
        """Away from what is gone from the beginning."""
        oldest = self.segments[0]
        if position.number < oldest.first:
            position.lost += oldest.first - position.number
            position.number, position.segment, position.offset = oldest.first, oldest.first, len(MAGIC)

    def _save(self, destination: str) -> None:
        with suppress(OSError):  # costs duplicates after a crash, never a record
            positions.save(self.directory, destination, self.positions[destination])

    def _trim(self) -> None:
        """Remove what everyone has, then what is too much."""
        unread = min((position.number for position in self.positions.values()), default=self.next_number)
        while len(self.segments) > 1 and self.segments[1].first <= unread:
            if not self._remove_first():
                return
        while self.size > self.max_bytes and len(self.segments) > 1:
            if not (self._drop_first() if self.drop is Drop.OLDEST else self._drop_last()):
                return

    def _remove_first(self) -> bool:
        try:
            self.segments[0].remove()
        except OSError:  # read-only by now, so it can't grow either
            return False
        self.segments.pop(0)
        return True

    def _drop_first(self) -> bool:
        if len(self.segments) == 1 or not self._remove_first():
            return False
        for name, position in self.positions.items():
            if position.number < self.segments[0].first:
                self._move_to_held(position)
                self._save(name)
        return True

    def _drop_last(self) -> bool:
        """The newest segment that is no longer written to, and that nobody is reading if there is such a one."""
        places = {position.segment for position in self.positions.values()}
        droppable = [at for at, segment in enumerate(self.segments[:-1]) if not segment.dropped]
        if not droppable:
            return False
        at = next((at for at in reversed(droppable) if self.segments[at].first not in places), droppable[-1])
        segment, end = self.segments[at], self.segments[at + 1].first
        merged = at > 0 and self.segments[at - 1].dropped
        try:
            segment.remove() if merged else segment.hollow()
        except OSError:
            return False
        if merged:
            self.segments.pop(at)
        for name, position in self.positions.items():
            if position.number < end:
                position.lost += end - max(position.number, segment.first)
                position.number = end if position.number >= segment.first else position.number
                self._save(name)
        return True

    def _segment_of(self, position: Position) -> tuple[Segment, int]:
        """The segment to read from, and the number after its last record."""
        for segment, end in self.log.ends():
            if position.number < end:
                if segment.first != position.segment:
                    position.number, position.segment, position.offset = segment.first, segment.first, len(MAGIC)
                return segment, end
        raise SpoolError(f"record {position.number} is in no segment of {self.directory}")

    def _skip(self, position: Position, end: int, *, counted: bool) -> None:
        """Nothing readable up to `end`: it was dropped, or the segment is damaged or gone."""
        position.lost += 0 if counted else end - position.number
        position.number = end
