"""Every object by bucket, namespace and name, and the history of their changes: etcd in small.

It knows no kinds and no rules; a revision is one write. Stored objects are never altered: whoever wants another object
puts another one. Tests may write here directly, from any thread; watches see it.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mocks.kubernetes.status import Json

Key = tuple[str, str]
"""Namespace ('' for none) and name."""

ChangeKind = Literal["ADDED", "MODIFIED", "DELETED"]
FIRST_REVISION = 100
"""A cluster is never at revision 1: what lies before this is compacted."""


class CompactedError(Exception):
    """The history since `asked` is gone; it starts after `floor`."""

    def __init__(self, asked: int, floor: int) -> None:
        super().__init__(f"too old resource version: {asked} ({floor})")
        self.asked = asked
        self.floor = floor


@dataclass(frozen=True, slots=True)
class Change:
    """One write. `previous` is None for an addition; a deletion holds the object's last state at its own revision."""

    revision: int
    kind: ChangeKind
    key: Key
    object: Json
    previous: Json | None


def key_of(item: Json) -> Key:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def stamped(item: Json, revision: int) -> Json:
    return item | {"metadata": item["metadata"] | {"resourceVersion": str(revision)}}


class Store:
    """The cluster's state. `history` is how many changes are kept for each bucket."""

    def __init__(self, history: int = 10_000) -> None:
        self.lock = threading.RLock()
        self.revision = FIRST_REVISION
        self._history = history
        self._floor = FIRST_REVISION
        self._floors: dict[str, int] = {}
        self._buckets: dict[str, dict[Key, Json]] = {}
        self._changes: dict[str, list[Change]] = {}
        self._listeners: list[Callable[[], None]] = []

    def get(self, bucket: str, key: Key) -> Json | None:
        return self._buckets.get(bucket, {}).get(key)

    def items(self, bucket: str, namespace: str = "", at: int | None = None) -> list[Json]:
        """The objects of a bucket by key, as they are or as they were at a revision. No namespace means all."""
        with self.lock:
            held = self._buckets.get(bucket, {})
            held = held if at is None else self._as_of(bucket, held, at)
            return [item for key, item in sorted(held.items()) if not namespace or key[0] == namespace]

    def put(self, bucket: str, item: Json) -> Json:
        """Add or replace an object; what comes back carries its new resourceVersion."""
        with self.lock:
            held = self._buckets.setdefault(bucket, {})
            previous = held.get(key_of(item))
            self.revision += 1
            stored = stamped(item, self.revision)
            held[key_of(item)] = stored
            kind: ChangeKind = "ADDED" if previous is None else "MODIFIED"
            self._record(bucket, Change(self.revision, kind, key_of(item), stored, previous))
            return stored

    def remove(self, bucket: str, key: Key) -> Json | None:
        with self.lock:
            previous = self._buckets.get(bucket, {}).pop(key, None)
            if previous is None:
                return None
            self.revision += 1
            last = stamped(previous, self.revision)
            self._record(bucket, Change(self.revision, "DELETED", key, last, previous))
            return last

    def since(self, bucket: str, revision: int) -> list[Change]:
        """The changes after a revision. Raises CompactedError where they are no longer known."""
        with self.lock:
            floor = self.floor(bucket)
            if revision < floor:
                raise CompactedError(revision, floor)
            changes = self._changes.get(bucket, [])
            return changes[bisect_right(changes, revision, key=lambda change: change.revision) :]

    def floor(self, bucket: str) -> int:
        return max(self._floor, self._floors.get(bucket, 0))

    def compact(self) -> None:
        """Forget the history: every older resourceVersion is gone."""
        with self.lock:
            self._floor = self.revision
            self._changes.clear()

    def advance(self, revisions: int = 1) -> None:
        """Let time pass elsewhere in the cluster."""
        with self.lock:
            self.revision += revisions
        self._tell()

    def listen(self, listener: Callable[[], None]) -> None:
        with self.lock:
            self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        with self.lock:
            self._listeners.remove(listener)

    def _as_of(self, bucket: str, held: dict[Key, Json], revision: int) -> dict[Key, Json]:
        past = dict(held)
        for change in reversed(self.since(bucket, revision)):
            if change.previous is None:
                past.pop(change.key, None)
            else:
                past[change.key] = change.previous
        return past

    def _record(self, bucket: str, change: Change) -> None:
        changes = self._changes.setdefault(bucket, [])
        changes.append(change)
        # trimmed by halves, so that a long history costs nothing on each write
        if len(changes) > 2 * self._history:
            self._floors[bucket] = changes[-self._history - 1].revision
            del changes[: -self._history]
        self._tell()

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()
