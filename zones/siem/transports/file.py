"""Lines appended to a file that is opened anew for each batch, so that it may be rotated; `-` is standard output."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from zones.siem.destinations import FileSettings
from zones.siem.formats.registry import FORMATS, fitting
from zones.siem.outcome import Arrival, Delivered, Outcome, Retry


class FileSender:
    """One record a line, in the destination's format."""

    def __init__(self, settings: FileSettings) -> None:
        self._path = settings.path
        self._format = FORMATS[settings.format]

    arrival = Arrival.WRITTEN

    async def send(self, payloads: Sequence[bytes]) -> tuple[int, Outcome]:
        lines, unfit = await asyncio.to_thread(fitting, payloads, self._line)
        if not lines:
            return 1, unfit
        try:
            await asyncio.to_thread(self._append, b"".join(lines))
        except OSError as error:
            return len(lines), Retry(f"{self._path} can't be written: {error.strerror}")
        return len(lines), Delivered()

    async def probe(self) -> str:
        return "" if await asyncio.to_thread(self._may_write) else f"{self._path} can't be written"

    def _may_write(self) -> bool:
        path = Path(self._path)
        return self._path == "-" or os.access(path if path.exists() else path.parent, os.W_OK)

    def _line(self, payload: bytes) -> bytes:
        return f"{self._format.text(json.loads(payload))}\n".encode()

    def _append(self, data: bytes) -> None:
        if self._path == "-":
            _write_whole(sys.stdout.buffer, data)
            return
        with Path(self._path).open("ab", buffering=0) as file:
            _append_whole(file, data)

    async def close(self) -> None: ...


def _write_whole(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()


def _append_whole(file: FileIO, data: bytes) -> None:
    """All or nothing, where it is a file: half a line would spoil the one that is written after it."""
    before, view = file.seek(0, os.SEEK_END) if file.seekable() else None, memoryview(data)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError:
        if before is not None:
            with suppress(OSError):  # why it couldn't be written is what is told
                file.truncate(before)
        raise
