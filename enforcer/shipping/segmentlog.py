"""The segments of the spool in their order, and where new records go: onto the disk, or into memory while that refuses.

It never drops a record, and knows of no reader: that is `enforcer.shipping.spool`, which alone calls it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from enforcer.errors import SpoolError
from enforcer.shipping.segments import MAGIC, Segment

_MEMORY_SEGMENT, _MEMORY_SEGMENTS = 1 << 20, 16
# What is wrong with the disk, not with the settings.
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


@dataclass(slots=True)
class SegmentLog:
    """`next_number` is that of the next record. `trouble`: why the disk takes nothing, while it doesn't."""

    directory: Path
    segment_bytes: int
    next_number: int = 0
    segments: list[Segment] = field(default_factory=list)
    trouble: str = ""
    _dirty: bool = False

    def load(self) -> None:
        """What is there, without a torn end; then a last segment to write to. Raises OSError."""
        self.segments = Segment.in_directory(self.directory)
        if self.segments:
            last = self.segments[-1]
            self.next_number = last.first + (0 if last.dropped else last.resume())
            if not last.dropped:
                self.tolerating(last.reopen)
        if not self._writable:
            self.tolerating(lambda: self._begin(Segment.on_disk(self.directory, self.next_number)))
        if not self._writable:
            self._begin(Segment.memory(self.next_number))
        else:
            self.trouble = ""

    def close(self) -> None:
        for segment in self.segments:
            segment.close()

    def tolerating(self, work: Callable[[], None]) -> None:
        """A disk that is full or read-only is trouble; any other OSError is raised."""
        try:
            work()
        except OSError as error:
            if error.errno not in _DISK:
                raise
            self._complain(error)

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self.segments)

    @property
    def refusing(self) -> bool:
        """Whether new records find no room: the disk takes nothing, and the memory for that is used up."""
        return bool(self.trouble) and self._memory_segments() >= _MEMORY_SEGMENTS

    def ends(self) -> Iterator[tuple[Segment, int]]:
        """Each segment with the number after its last record."""
        segments = [*self.segments]
        for at, segment in enumerate(segments):
            yield segment, segments[at + 1].first if at + 1 < len(segments) else self.next_number

    def append(self, data: bytes, count: int) -> bool:
        """`count` records, framed: all or none of them. False where neither the disk nor memory takes them."""
        if not (self._onto_disk(data) or self._into_memory(data)):
            return False
        self.next_number += count
        return True

    def sync(self) -> None:
        """Raises SpoolError."""
        if self._dirty:
            try:
                self.segments[-1].sync()
            except OSError as error:
                self._complain(error)
                raise SpoolError(f"{self.directory} can't be synced: {error.strerror}") from error
            self._dirty = False

    def heal(self) -> bool:
        """Back to the disk where that takes records again, with all that memory held; whether that was necessary."""
        if not self.trouble or not self._roomy() or not self._onto_disk(b""):
            return False
        try:
            for segment in self.segments:
                segment.settle(self.directory)
        except OSError as error:
            self._complain(error)
        return True

    @property
    def _writable(self) -> bool:
        return bool(self.segments) and self.segments[-1].usable

    def _complain(self, error: OSError) -> None:
        """Nothing more is written to a segment that has failed."""
        if self.segments:
            self.segments[-1].seal()
        self.trouble = error.strerror or str(error)

    def _onto_disk(self, data: bytes) -> bool:
        try:
            self._use_disk(len(data))
            self.segments[-1].append(data)
        except OSError as error:
            self._complain(error)
            return False
        self._dirty, self.trouble = True, ""
        return True

    def _use_disk(self, size: int) -> None:
        """Have a last segment on the disk that takes so much more. Raises OSError."""
        last = self.segments[-1]
        if last.in_memory and not self._roomy():
            raise OSError(errno.ENOSPC, self.trouble)
        full = last.size > len(MAGIC) and last.size + size > self.segment_bytes
        if last.in_memory or full or not last.usable:
            last.sync()
            self._begin(Segment.on_disk(self.directory, self.next_number))

    def _into_memory(self, data: bytes) -> bool:
        last = self.segments[-1]
        if not last.in_memory or last.size + len(data) > _MEMORY_SEGMENT:
            if self._memory_segments() >= _MEMORY_SEGMENTS:
                return False
            try:
                self._begin(Segment.memory(self.next_number))
            except OSError:
                return False
        self.segments[-1].append(data)
        return True

    def _memory_segments(self) -> int:
        return sum(segment.in_memory for segment in self.segments)

    def _begin(self, segment: Segment) -> None:
        """Make it the last one. One that never got a record only stands in its way."""
        if self.segments:
            last = self.segments[-1]
            last.seal()
            if last.first == segment.first:
                self.segments.pop()
                if last.path != segment.path:
                    with suppress(OSError):
                        last.remove()
        self.segments.append(segment)

    def _roomy(self) -> bool:
        """Whether the disk takes a good deal of a segment, so that we don't change over for every record."""
        try:
            volume = os.statvfs(self.directory)
        except OSError:
            return not self.directory.exists()
        wanted = min(self.segment_bytes // 2, volume.f_blocks * volume.f_frsize // 8)
        return not volume.f_flag & os.ST_RDONLY and volume.f_bavail * volume.f_frsize >= wanted
