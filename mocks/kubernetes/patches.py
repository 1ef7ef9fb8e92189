"""JSON patch, merge patch and strategic merge patch over plain JSON. Pure; apply patches live in `managed`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from mocks.kubernetes.status import ApiError, Json
from mocks.kubernetes.topology import LIST_KEYS


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def json_patch(target: Json, operations: Sequence[Json]) -> Json:
    """RFC 6902."""
    document: Any = copy.deepcopy(target)
    for operation in operations:
        try:
            document = _operate(document, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            message = f"the server rejected our request due to an error in our request: {operation}: {error!r}"
            raise ApiError(422, "Invalid", message, {}) from error
    return document  # type: ignore[no-any-return]


def _operate(document: Any, operation: Json) -> Any:
    verb, path = operation["op"], _pointer(operation["path"])
    if verb == "test":
        if _read(document, path) != operation.get("value"):
            raise ValueError(f"testing value {operation['path']} failed")
        return document
    if verb == "remove":
        return _remove(document, path)
    if verb == "replace":
        return _write(_remove(document, path) if path else document, path, operation["value"])
    if verb == "add":
        return _write(document, path, operation["value"])
    if verb in {"move", "copy"}:
        source = _pointer(operation["from"])
        value = copy.deepcopy(_read(document, source))
        return _write(_remove(document, source) if verb == "move" else document, path, value)
    raise ValueError(f"unknown operation {verb}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f"pointer {text} does not start with a slash")
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]


def _read(document: Any, path: Sequence[str]) -> Any:
    for step in path:
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def _remove(document: Any, path: Sequence[str]) -> Any:
    parent = _read(document, path[:-1])
    if isinstance(parent, list):
        del parent[int(path[-1])]
    else:
        del parent[path[-1]]
    return document


def _write(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _read(document, path[:-1]), path[-1]
    if not isinstance(parent, list):
        parent[last] = value
        return document
    index = len(parent) if last == "-" else int(last)
    if index > len(parent):
        raise IndexError(f"index {index} out of bounds")
    parent.insert(index, value)
    return document


def strategic_merge_patch(target: Any, patch: Any, name: str = "") -> Any:
    """Merge, with the lists whose items are known by a key merged item by item."""
    if isinstance(patch, list):
        return _merge_list(target if isinstance(target, list) else [], patch, name)
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key == "$retainKeys":
            merged = {kept: merged[kept] for kept in merged if kept in value}
        elif key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            merged[field] = [item for item in merged.get(field, []) if item not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = strategic_merge_patch(merged.get(key), value, key)
    return merged


def _merge_list(target: list[Any], patch: list[Any], name: str) -> list[Any]:
    key = LIST_KEYS.get(name, ("",))[0]
    if name == "finalizers":
        return target + [item for item in patch if item not in target]
    if not key or not all(isinstance(item, dict) and (key in item or "$patch" in item) for item in patch):
        return patch
    if any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if item.get("$patch") != "replace"]
    return _merge_items(target, patch, key)


def _merge_items(target: list[Json], patch: list[Json], key: str) -> list[Json]:
    merged = {item.get(key): item for item in target}
    for item in patch:
        if item.get("$patch") == "delete":
            merged.pop(item.get(key), None)
        else:
            merged[item.get(key)] = strategic_merge_patch(merged.get(item.get(key), {}), item)
    return list(merged.values())
