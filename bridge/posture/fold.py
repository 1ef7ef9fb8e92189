"""A cluster's lists as changes make them, and the snapshot of this moment. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bridge.posture.decode import UnreadableObjectError
from bridge.posture.gather import READINGS, ListReading, snapshot_of
from bridge.posture.snapshot import UNASKED, Input, InputList, PostureSnapshot, PostureTerms
from zones.canonical import Json

Key = tuple[str, str]


class _FoldedList:
    """One list. An object that can't be read hides the list for as long as it is there."""

    def __init__(self, reading: ListReading) -> None:
        self._reading = reading
        self._items: dict[Key, Any] = {}
        self._unreadable: dict[Key, str] = {}
        self._pending: dict[Key, Any] | None = None
        self.current: InputList[Any] = InputList(problem=UNASKED)

    def list_page(self, raws: Sequence[Json], *, first: bool, last: bool) -> None:
        if first:
            self._pending = {}
        for raw in raws:
            if self._pending is not None:
                self._pending[_key(raw)] = raw
        if last and self._pending is not None:
            self._items, self._unreadable = {}, {}
            for raw in self._pending.values():
                self._keep(raw)
            self._pending = None
            self._renew()

    def change(self, raw: Json, *, gone: bool) -> None:
        key = _key(raw)
        self._items.pop(key, None)
        self._unreadable.pop(key, None)
        if not gone:
            self._keep(raw)
        self._renew()

    def hide(self, problem: str) -> None:
        self.current = InputList(problem=problem)

    def _keep(self, raw: Json) -> None:
        try:
            self._items[_key(raw)] = self._reading.decode(raw)
        except UnreadableObjectError as error:
            self._unreadable[_key(raw)] = str(error)

    def _renew(self) -> None:
        problem = next(iter(self._unreadable.values()), "")
        self.current = InputList(problem=problem) if problem else InputList(tuple(self._items.values()))


class PostureFold:
    """All lists of one cluster."""

    def __init__(self, terms: PostureTerms) -> None:
        self._terms = terms
        self._lists = {kind: _FoldedList(reading) for kind, reading in READINGS.items()}

    def of(self, kind: Input) -> _FoldedList:
        return self._lists[kind]

    @property
    def unasked(self) -> list[Input]:
        """Lists of which nothing has been heard yet."""
        return [kind for kind, folded in self._lists.items() if folded.current.problem == UNASKED]

    def snapshot(self) -> PostureSnapshot:
        """Lists that haven't changed are the same objects as in the snapshot before."""
        return snapshot_of({kind: folded.current for kind, folded in self._lists.items()}, self._terms)


def _key(raw: Json) -> Key:
    metadata = raw["metadata"]
    return str(metadata.get("namespace") or ""), str(metadata["name"])
