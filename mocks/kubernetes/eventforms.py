"""An Event has two faces, v1 and events.k8s.io/v1, over one stored object; these turn one into the other. Pure."""

from __future__ import annotations

from mocks.kubernetes.resources import Resource
from mocks.kubernetes.status import Json

# core name -> events.k8s.io name
_RENAMED = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_BACK = {new: old for old, new in _RENAMED.items()}


def to_stored(resource: Resource, item: Json) -> Json:
    return _renamed(item, _BACK) if resource.stored_as else item


def stored_paths(resource: Resource) -> dict[str, str]:
    """The paths that a field selector may name, by the resource's names for them -> where they are stored."""
    names = _RENAMED if resource.stored_as else {}
    return {_path_in(path, names): path for path in resource.fields}


def presented(resource: Resource, item: Json) -> Json:
    """A stored object as the resource's kind and version."""
    item = _renamed(item, _RENAMED) if resource.stored_as else item
    return item | {"apiVersion": resource.api_version, "kind": resource.kind}


def _path_in(path: str, names: dict[str, str]) -> str:
    first, *rest = path.split(".")
    return ".".join((names.get(first, first), *rest))


def _renamed(item: Json, names: dict[str, str]) -> Json:
    return {names.get(key, key): value for key, value in item.items()}
