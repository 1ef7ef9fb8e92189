"""A watch: what a client sees of one kind from a resourceVersion on, as events. It writes to nobody; `handlers` does.

Changes are read again from the store's history at every step, so a slow reader misses nothing that is still known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mocks.kubernetes.calls import Call
from mocks.kubernetes.eventforms import presented
from mocks.kubernetes.selectors import Predicate
from mocks.kubernetes.status import Json
from mocks.kubernetes.store import Change, Store, stamped

_INITIAL_END = "k8s.io/initial-events-end"


def wants_initial(call: Call) -> bool:
    asked = call.query.get("sendInitialEvents", "").lower()
    if asked:
        return asked in {"1", "true"}
    return call.query.get("resourceVersion", "") in {"", "0"}


@dataclass(slots=True)
class Watching:
    """One watch's place in the history."""

    store: Store
    call: Call
    chosen: Predicate = field(init=False)
    seen: int = field(init=False)
    marked: int = field(init=False)

    def __post_init__(self) -> None:
        self.chosen = self.call.selects()
        self.seen = self.call.number("resourceVersion")
        self.marked = max(self.seen, self.store.revision)

    @property
    def moved(self) -> bool:
        """Whether there is anything to tell by a bookmark."""
        return self.seen > self.marked

    def start(self) -> list[Json]:
        """The events before any change: what exists already, where the client wants it."""
        if not wants_initial(self.call):
            return []
        resource = self.call.resource
        with self.store.lock:
            self.seen = self.store.revision
            items = [item for item in self.store.items(resource.bucket, self.call.namespace) if self.chosen(item)]
        events = [self._event("ADDED", item) for item in items]
        if self.call.query.get("sendInitialEvents"):
            events.append(self.bookmark({"annotations": {_INITIAL_END: "true"}}))
        return events

    def changes(self) -> list[Json]:
        """The events since the last call. Raises CompactedError where history no longer reaches back."""
        with self.store.lock:
            changes = self.store.since(self.call.resource.bucket, self.seen)
            self.seen = max(self.seen, self.store.revision)
        return [event for change in changes if self._covers(change) for event in self._events(change)]

    def bookmark(self, metadata: Json | None = None) -> Json:
        resource = self.call.resource
        body = {"kind": resource.kind, "apiVersion": resource.api_version}
        self.marked = self.seen
        seen = {"resourceVersion": str(self.seen), "creationTimestamp": None}
        return {"type": "BOOKMARK", "object": body | {"metadata": seen | (metadata or {})}}

    def _covers(self, change: Change) -> bool:
        return not self.call.namespace or change.key[0] == self.call.namespace

    def _events(self, change: Change) -> Iterator[Json]:
        """An object that comes to fit the selectors is added, one that no longer does is deleted."""
        before = change.previous is not None and self.chosen(change.previous)
        after = change.kind != "DELETED" and self.chosen(change.object)
        if after:
            yield self._event("MODIFIED" if before else "ADDED", change.object)
        elif before and change.previous is not None:
            yield self._event("DELETED", stamped(change.previous, change.revision))

    def _event(self, kind: str, item: Json) -> Json:
        return {"type": kind, "object": presented(self.call.resource, item)}
