"""Who owns which field: managedFields, their upkeep on every write, and server-side apply. Pure, but for the time.

It knows no store; `verbs` hands it the live object and what the client sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mocks.kubernetes.fieldsets import (
    FieldSet,
    Path,
    compare,
    decode,
    encode,
    fields_of,
    merge,
    remove,
    spoken,
    with_structs,
)
from mocks.kubernetes.status import ApiError, Cause, Json, apply_conflict
from mocks.kubernetes.topology import Topology

Operation = Literal["Apply", "Update"]

_IDENTITY = {"apiVersion", "kind"}
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

_UNOWNED: set[Path] = {
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata",),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "generation",
            "managedFields",
            "resourceVersion",
        )
    ),
}


@dataclass(frozen=True, slots=True)
class Manager:
    """Who wrote. An applier is one whatever the version; an updater is one for each version."""

    name: str
    operation: Operation
    api_version: str
    subresource: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        version = "" if self.operation == "Apply" else self.api_version
        return self.name, self.operation, version, self.subresource

    def spoken(self) -> str:
        text = f'"{self.name}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return text if self.operation == "Apply" else f"{text} using {self.api_version}"


@dataclass(frozen=True, slots=True)
class Ownership:
    """What one manager owns, and since when."""

    manager: Manager
    fields: FieldSet
    time: str


_Key = tuple[str, str, str, str]
Owners = dict[_Key, Ownership]


@dataclass(frozen=True, slots=True)
class Scope:
    """How to read an object: its merge topology, and the top-level fields that this endpoint writes.

    `reset` are those it leaves alone; `only`, where given, are the only ones it doesn't.
    """

    topology: Topology
    reset: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()

    def writes(self, name: str) -> bool:
        return name not in self.reset and (not self.only or name in self.only)

    def owned(self, fields: FieldSet) -> FieldSet:
        return frozenset(path for path in fields if path not in _UNOWNED and self.writes(path[0][2:]))


def read_owners(item: Json) -> Owners:
    owners = (_read(entry) for entry in item.get("metadata", {}).get("managedFields") or [] if entry)
    return {owner.manager.key: owner for owner in owners}


def _read(entry: Json) -> Ownership:
    manager = Manager(
        entry.get("manager", ""), entry["operation"], entry.get("apiVersion", ""), entry.get("subresource", "")
    )
    return Ownership(manager, decode(entry.get("fieldsV1") or {}), entry.get("time", ""))


def write_owners(item: Json, owners: Owners) -> Json:
    """The object with its managedFields: appliers first, each sort by time and name."""
    metadata = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    held = [owner for owner in owners.values() if owner.fields]
    held.sort(key=lambda owner: (owner.manager.operation, owner.time, owner.manager.name))
    if held:
        metadata["managedFields"] = [_entry(owner) for owner in held]
    return item | {"metadata": metadata}


def _entry(owner: Ownership) -> Json:
    manager = owner.manager
    entry = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": manager.api_version,
        "time": owner.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": encode(owner.fields),
    }
    return entry | ({"subresource": manager.subresource} if manager.subresource else {})


def updated(live: Json, new: Json, manager: Manager, scope: Scope, now: str) -> Json:
    """The new object, its differences from the live one owned by its writer. An empty live object means a creation."""
    owners = _owners_sent(live, new)
    difference = compare(_bare(live), _bare(new), scope.topology)
    written, removed = scope.owned(difference.written), frozenset(difference.removed)
    kept = {
        key: replace(owner, fields=owner.fields - removed - (written if key != manager.key else frozenset()))
        for key, owner in owners.items()
    }
    if written or manager.key in kept:
        kept[manager.key] = _extend(kept.get(manager.key), owners.get(manager.key), manager, written, now)
    return write_owners(new, kept)


def _extend(
    owner: Ownership | None, before: Ownership | None, manager: Manager, written: FieldSet, now: str
) -> Ownership:
    fields = (owner.fields if owner else frozenset()) | written
    unchanged = before is not None and before.fields == fields
    return Ownership(manager, fields, before.time if before and unchanged else now)


def _owners_sent(live: Json, new: Json) -> Owners:
    """A client may rewrite managedFields; leaving them out changes nothing, a single empty entry clears them."""
    sent = new.get("metadata", {}).get("managedFields")
    return read_owners(new) if sent else read_owners(live)


def _bare(item: Json) -> Json:
    metadata = {key: value for key, value in item.get("metadata", {}).items() if key not in _META_IGNORED}
    return item | {"metadata": metadata}


_META_IGNORED = {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"}


@dataclass(frozen=True, slots=True)
class Apply:
    """One apply request."""

    config: Json
    manager: Manager
    force: bool = False


def applied(live: Json, request: Apply, scope: Scope, now: str) -> Json:
    """The object after a server-side apply. Raises the 409 of the field managers it would overrule without force."""
    owners = read_owners(live) or _first_owner(live, scope, now)
    before = owners.get(request.manager.key)
    fields = scope.owned(fields_of(request.config, scope.topology))
    owners[request.manager.key] = _renewed(before, request.manager, fields, now)
    config = {name: value for name, value in request.config.items() if scope.writes(name) or name in _IDENTITY}
    merged = merge(_bare(live), config, scope.topology)
    if before:
        merged = _prune(merged, owners, before.fields, scope.topology)
    owners = _overrule(_bare(live), merged, owners, request, scope)
    kept = {key: live["metadata"][key] for key in _META_IGNORED & set(live["metadata"])}
    return write_owners(merged | {"metadata": merged.get("metadata", {}) | kept}, owners)


def _renewed(before: Ownership | None, manager: Manager, fields: FieldSet, now: str) -> Ownership:
    if before and before.fields == fields and before.manager == manager:
        return before
    return Ownership(manager, fields, now)


def _first_owner(live: Json, scope: Scope, now: str) -> Owners:
    """An object nobody is known to have written belongs to a manager of that name, unless it is only now made."""
    if not live.get("metadata", {}).get("uid"):
        return {}
    manager = Manager("before-first-apply", "Update", live["apiVersion"])
    return {manager.key: Ownership(manager, scope.owned(fields_of(_bare(live), scope.topology)), now)}


def _prune(merged: Json, owners: Owners, last: FieldSet, topology: Topology) -> Json:
    """Without what this manager had applied, no longer applies, and nobody else owns."""
    if not last:
        return merged
    last = with_structs(last, topology)
    wanted = with_structs(frozenset().union(*(owner.fields for owner in owners.values())), topology)
    whole = _all_fields(merged, topology)
    pruned = remove(merged, last, topology)
    pruned = remove(merged, whole - _all_fields(pruned, topology) - wanted, topology)
    result: Json = remove(merged, (whole - _all_fields(pruned, topology)) & last, topology)
    return result


def _all_fields(value: Json, topology: Topology) -> FieldSet:
    return with_structs(fields_of(value, topology), topology)


def _overrule(live: Json, merged: Json, owners: Owners, request: Apply, scope: Scope) -> Owners:
    difference = compare(live, merged, scope.topology)
    others = {key: owner for key, owner in owners.items() if key != request.manager.key}
    conflicts = {key: owner.fields & difference.written for key, owner in others.items()}
    conflicts = {key: fields for key, fields in conflicts.items() if fields}
    if conflicts and not request.force and not _was_applied_by_hand(live, conflicts, request, scope):
        raise conflict_error({owners[key].manager: fields for key, fields in conflicts.items()})
    lost = frozenset(difference.removed)
    left = {
        key: replace(owner, fields=owner.fields - conflicts.get(key, frozenset()) - lost)
        for key, owner in others.items()
    }
    return left | {request.manager.key: owners[request.manager.key]}


def _was_applied_by_hand(live: Json, conflicts: Mapping[_Key, FieldSet], request: Apply, scope: Scope) -> bool:
    """Whether kubectl meets only what it applied itself before, from the client's side: then it takes over."""
    last = live["metadata"].get("annotations", {}).get(_LAST_APPLIED)
    if last is None or request.manager.name != "kubectl":
        return False
    mine = fields_of(json.loads(last), scope.topology)
    return all(fields <= mine for fields in conflicts.values())


def conflict_error(conflicts: Mapping[Manager, FieldSet]) -> ApiError:
    causes = [
        Cause("FieldManagerConflict", f"conflict with {manager.spoken()}", spoken(path))
        for manager, fields in sorted(conflicts.items(), key=lambda pair: pair[0].name)
        for path in sorted(fields)
    ]
    return apply_conflict(causes, _summary(causes))


def _summary(causes: Sequence[Cause]) -> str:
    if len(causes) == 1:
        return f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
    by_message: dict[str, list[str]] = {}
    for cause in causes:
        by_message.setdefault(cause.message.removeprefix("conflict with "), []).append(cause.field)
    listed = "\n".join(f"{who}:\n" + "\n".join(f"- {field}" for field in fields) for who, fields in by_message.items())
    return f"Apply failed with {len(causes)} conflicts: conflicts with {listed}"
