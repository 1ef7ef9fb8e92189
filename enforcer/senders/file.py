"""Lines appended to a file that is opened anew for each batch, so that it may be rotated; `-` is standard output."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from enforcer.destinations import FileSettings
from enforcer.siem.formats import FORMATS, fitting
from enforcer.siem.outcome import Delivered, Outcome, Retry

Json = Mapping[str, Any]


class FileSender:
    """One record a line, in the destination's format."""

    def __init__(self, settings: FileSettings) -> None:
        self._path = settings.path
        self._format = FORMATS[settings.format]

    async def send(self, records: Sequence[Json]) -> tuple[int, Outcome]:
        lines, unfit = await asyncio.to_thread(fitting, records, self._line)
        if not lines:
            return 1, unfit
        try:
            await asyncio.to_thread(self._append, b"".join(lines))
        except OSError as error:
            return len(lines), Retry(f"{self._path} can't be written: {error.strerror}")
        return len(lines), Delivered()

    def _line(self, record: Json) -> bytes:
        return f"{self._format.text(record)}\n".encode()

    def _append(self, data: bytes) -> None:
        if self._path == "-":
            _write_whole(sys.stdout.buffer, data)
            return
        with Path(self._path).open("ab") as file:
            _write_whole(file, data)

    async def close(self) -> None: ...


def _write_whole(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()
