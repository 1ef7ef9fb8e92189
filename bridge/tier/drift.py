"""What others did to a tier's objects since the bridge left them: which, what of them, and by whom as far as is known.

Pure. `bridge.tier.sync` compares and puts back; `bridge.tier.repair_backoff` says how soon.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bridge.tier.plan import Live, Plan
from zones.tiers.native import TIER

Json = dict[str, Any]
FIELD_MANAGER = "zonebridge"
NAMED = 5
# What makes an object go away, or not go away.
_HOLDS = ("finalizers", "ownerReferences", "deletionTimestamp")
_ABSENT = object()


class What(StrEnum):
    """What became of an object."""

    CHANGED = "changed"
    DELETED = "deleted"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class FieldOwner:
    """Who wrote, as the object's own managedFields tell; the API server's audit log has the user's name."""

    manager: str
    operation: str
    time: str

    def __str__(self) -> str:
        return f"{self.manager} ({self.operation} at {self.time or 'an unknown time'})"


@dataclass(frozen=True, slots=True)
class ObjectDrift:
    """One object that isn't as the bridge left it."""

    kind: str
    name: str
    what: What
    fields: tuple[str, ...] = ()
    hands: tuple[FieldOwner, ...] = ()

    @property
    def of_status_alone(self) -> bool:
        return bool(self.fields) and all(name.startswith("status") for name in self.fields)

    def __str__(self) -> str:
        about = f"{self.kind} '{self.name}' was {self.what}"
        if self.what is What.DELETED:
            return f"{about}, by whom only the API server's audit log tells"
        if self.fields:
            more = f" and {len(self.fields) - NAMED} more" if len(self.fields) > NAMED else ""
            about += f" in {', '.join(self.fields[:NAMED])}{more}"
        return f"{about} by {', '.join(map(str, self.hands)) or 'somebody who left no name'}"


@dataclass(frozen=True, slots=True)
class LastApplied:
    """What the bridge left behind: the Tier, every part by name, and the Tier's status.

    More than one status where the last write of it may have come through or not; none where it isn't known.
    """

    tier: Json | None = None
    parts: Mapping[str, Json] = field(default_factory=dict)
    statuses: tuple[Json, ...] = ()

    @property
    def revision(self) -> int:
        return 0 if self.tier is None else int(self.tier["spec"]["revision"])

    @property
    def digest(self) -> str:
        return "" if self.tier is None else str(self.tier["spec"]["digest"])


def with_attempts(left: LastApplied, attempts: Iterable[Plan], live: Live) -> LastApplied:
    """What the bridge left, counting in as much of what it tried as came through, although it heard nothing of it."""
    tier, parts = left.tier, dict(left.parts)
    for attempt in attempts:
        for part in attempt.create:
            if _name(part) in live.parts:
                parts.setdefault(_name(part), part)
        for gone in (*attempt.remove, *attempt.prune):
            if gone.name not in live.parts:
                parts.pop(gone.name, None)
        if _came_through(attempt.pointer, left, live.tier):
            tier = attempt.pointer
    return LastApplied(tier, parts, left.statuses)


def _came_through(pointer: Json | None, left: LastApplied, live: Json | None) -> bool:
    if pointer is None or live is None or pointer["spec"]["revision"] <= left.revision:
        return False
    return bool(live.get("spec") == pointer["spec"])


def differences(left: LastApplied, live: Live) -> tuple[ObjectDrift, ...]:
    """The Tier first, then its parts by name."""
    return (*_of_tier(left, live.tier), *_of_parts(left.parts, live.parts))


def written_by_others(tier: Json) -> tuple[FieldOwner, ...]:
    """Who else wrote the spec of a Tier last, while no bridge was there to see it."""
    return hands(tier, ("spec",))


def hands(raw: Json, fields: Iterable[str]) -> tuple[FieldOwner, ...]:
    """Who wrote these fields besides the bridge, the last one first."""
    heads = {name.split(".")[0].split("[")[0] for name in fields}
    entries = [
        managed_field for managed_field in raw["metadata"].get("managedFields", ()) if heads & _heads(managed_field)
    ]
    others = [entry for entry in entries if entry.get("manager") != FIELD_MANAGER]
    newest = sorted(others, key=lambda managed: str(managed.get("time", "")), reverse=True)
    return tuple(
        FieldOwner(str(managed.get("manager", "")), str(managed.get("operation", "")), str(managed.get("time", "")))
        for managed in newest
    )


def changed_fields(before: object, after: object, path: str = "") -> tuple[str, ...]:
    """The paths at which two JSON values differ, as deep as they are alike in shape."""
    return tuple(_changed(before, after, path))


def _of_tier(left: LastApplied, live: Json | None) -> Iterator[ObjectDrift]:
    if left.tier is None:
        return
    name = str(left.tier["metadata"]["name"])
    if live is None:
        yield ObjectDrift(TIER, name, What.DELETED)
        return
    fields = (*changed_fields(left.tier["spec"], live.get("spec"), "spec"), *_held_by(live))
    lasting = _lasting(live.get("status", {}))
    if left.statuses and all(_lasting(status) != lasting for status in left.statuses):
        fields += changed_fields(_lasting(left.statuses[0]), lasting, "status")
    if fields:
        yield ObjectDrift(TIER, name, What.CHANGED, fields, hands(live, fields))


def _of_parts(left: Mapping[str, Json], live: Mapping[str, Json]) -> Iterator[ObjectDrift]:
    for name in sorted(left.keys() | live.keys()):
        if name not in live:
            yield ObjectDrift(left[name]["kind"], name, What.DELETED)
        elif name not in left:
            part = live[name]
            yield ObjectDrift(part["kind"], name, What.ADDED, (), hands(part, ("spec", "metadata")))
        elif fields := _changes_of_part(left[name], live[name]):
            part = live[name]
            yield ObjectDrift(part["kind"], name, What.CHANGED, fields, hands(part, fields))


def _changes_of_part(left: Json, live: Json) -> tuple[str, ...]:
    if left["spec"] is live.get("spec") and not _held_by(live):
        return ()
    return (*changed_fields(left["spec"], live.get("spec"), "spec"), *_held_by(live))


def _held_by(live: Json) -> tuple[str, ...]:
    return tuple(f"metadata.{name}" for name in _HOLDS if live["metadata"].get(name))


def _changed(before: object, after: object, path: str) -> Iterator[str]:
    if before is after or before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted(before.keys() | after.keys()):
            yield from _changed(before.get(name, _ABSENT), after.get(name, _ABSENT), f"{path}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for at, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _changed(old, new, f"{path}[{at}]")
    else:
        yield path


def _lasting(status: Json) -> Json:
    """Without the time, which heartbeats move, and without conditions that others may add."""
    ours = {"Compiled", "Stale", "Ready"}
    conditions = {
        condition["type"]: condition for condition in status.get("conditions", ()) if condition.get("type") in ours
    }
    return {name: value for name, value in status.items() if name != "lastSyncTime"} | {"conditions": conditions}


def _heads(entry: Json) -> set[str]:
    return {name.removeprefix("f:") for name in entry.get("fieldsV1", {})}


def _name(raw: Json) -> str:
    return str(raw["metadata"]["name"])
