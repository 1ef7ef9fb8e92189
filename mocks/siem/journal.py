"""What has arrived, in order, and a way to wait for more. It never drops anything unless told how many to keep.

Receivers append from their threads; tests read and wait from theirs.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TextIO, TypeVar


class Entry(Protocol):
    def line(self) -> dict[str, Any]: ...


T = TypeVar("T", bound=Entry)


class Journal(Generic[T]):
    """A list with a condition. With `out`, each entry is also written as one JSON line."""

    def __init__(self, out: TextIO | None = None, keep: int | None = None) -> None:
        self.total = 0
        self._entries: list[T] = []
        self._out = out
        self._keep = keep
        self._changed = threading.Condition()

    def append(self, entries: Sequence[T]) -> None:
        with self._changed:
            self._entries.extend(entries)
            self.total += len(entries)
            if self._keep is not None:
                del self._entries[: max(0, len(self._entries) - self._keep)]
            self._write(entries)
            self._changed.notify_all()

    def _write(self, entries: Sequence[T]) -> None:
        if self._out is not None and entries:
            self._out.write("".join(json.dumps(entry.line(), default=str) + "\n" for entry in entries))
            self._out.flush()

    def entries(self) -> list[T]:
        with self._changed:
            return list(self._entries)

    def clear(self) -> None:
        with self._changed:
            self._entries.clear()

    def wait_for(self, predicate: Callable[[Sequence[T]], bool], timeout: float) -> list[T]:
        """The entries, once the predicate holds for them. Raises TimeoutError with the last few."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not predicate(self._entries):
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    if predicate(self._entries):
                        break
                    raise TimeoutError(
                        f"waited {timeout:g} s for what didn't arrive; {self.total} did, the last: {self._entries[-3:]}"
                    )
            return list(self._entries)
