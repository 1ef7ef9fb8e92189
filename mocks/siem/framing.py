"""Cuts a TCP stream into syslog frames: octet counting or newlines (RFC 6587), told apart by the first octet.

It does no I/O; the receiver feeds it. A stream that breaks its framing can't be read on: FramingError.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

Framing = Literal["auto", "octet", "newline"]
NEWLINE = b"\n"
SPACE = b" "


class FramingError(ValueError):
    """The stream can't be cut any further. `rest` is what remained."""

    def __init__(self, why: str, rest: bytes) -> None:
        super().__init__(why)
        self.rest = rest


class Framer:
    """One connection's frames. A sender must keep the framing that it began with."""

    def __init__(self, framing: Framing = "auto", longest: int = 65536) -> None:
        self.framing: Framing = framing
        self.longest = longest
        self._buffer = bytearray()

    def feed(self, octets: bytes) -> Iterator[bytes]:
        """The frames that are whole now; then, perhaps, FramingError."""
        self._buffer += octets
        if self.framing == "auto" and self._buffer:
            self.framing = self._detect()
        cut = self._cut_counted if self.framing == "octet" else self._cut_line
        while self._buffer and (frame := cut()) is not None:
            yield frame

    def finish(self) -> None:
        """The sender has closed; an unfinished frame is an error."""
        if self._buffer:
            raise FramingError("the connection ended inside a frame", bytes(self._buffer))

    def _detect(self) -> Framing:
        first = self._buffer[:1]
        if first.isdigit() and first != b"0":
            return "octet"
        if first == b"<":
            return "newline"
        raise FramingError(f"a stream begins with a length or with <, not with {bytes(first)!r}", bytes(self._buffer))

    def _cut_counted(self) -> bytes | None:
        digits = len(str(self.longest))
        head, space, _ = bytes(self._buffer[: digits + 1]).partition(SPACE)
        if not head.isdigit() or head.startswith(b"0"):
            raise FramingError(f"MSG-LEN {head!r} isn't a number", bytes(self._buffer))
        if (not space and len(head) > digits) or int(head) > self.longest:
            raise FramingError(f"a frame of {head.decode()} octets is above {self.longest}", bytes(self._buffer))
        if not space or len(self._buffer) < len(head) + 1 + int(head):
            return None
        return self._take(len(head) + 1, int(head), 0)

    def _cut_line(self) -> bytes | None:
        length = self._buffer.find(NEWLINE)
        if length > self.longest or (length < 0 and len(self._buffer) > self.longest):
            raise FramingError(f"a line is above {self.longest} octets", bytes(self._buffer))
        return None if length < 0 else self._take(0, length, 1)

    def _take(self, skip: int, length: int, trailer: int) -> bytes:
        frame = bytes(self._buffer[skip : skip + length])
        del self._buffer[: skip + length + trailer]
        return frame
