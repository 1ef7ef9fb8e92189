"""Whether an applied configuration fits the types of its schema, as server-side apply demands first of all. Pure.

The real server answers 500 here, not 422: a client has to take that for its own fault.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from mocks.kubernetes.fieldsets import element, spoken
from mocks.kubernetes.resources import Resource
from mocks.kubernetes.status import ApiError, Json
from mocks.kubernetes.structure import is_object_root
from mocks.kubernetes.topology import Topology

_OBJECT_META = {
    "type": "object",
    "properties": {
        **{
            name: {"type": "string"}
            for name in (
                "name",
                "namespace",
                "generateName",
                "uid",
                "resourceVersion",
                "selfLink",
                "creationTimestamp",
                "deletionTimestamp",
            )
        },
        "generation": {"type": "integer"},
        "deletionGracePeriodSeconds": {"type": "integer"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        "finalizers": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "ownerReferences": {"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": True}},
        "managedFields": {"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": True}},
    },
}
_WORDS = {"integer": "numeric (int or float)", "number": "numeric (int or float)", "array": "list", "object": "map"}
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int, float),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


def check_declared(resource: Resource, config: Json) -> None:
    """Raises the 500 of a configuration with fields or types that the schema doesn't have."""
    if resource.schema is None:
        return
    found = list(_misfits(config, resource.schema, ""))
    if not found:
        return
    metadata = config["metadata"]
    who = f"({metadata.get('namespace', '')}/{metadata['name']}; {resource.api_version}, Kind={resource.kind})"
    listed = found[0] if len(found) == 1 else "errors:" + "".join(f"\n  {each}" for each in found)
    raise ApiError(500, "", f"failed to create typed patch object {who}: {listed}")


def _misfits(value: Any, schema: Json, path: str) -> Iterator[str]:
    if value is None or schema.get("x-kubernetes-int-or-string"):
        return
    kind = schema.get("type", "")
    if kind and not _is(value, kind):
        yield f"{path}: expected {_WORDS.get(kind, kind)}, got {_go(value, kind)}"
    elif isinstance(value, dict):
        yield from _map_misfits(value, schema, path)
    elif isinstance(value, list):
        yield from _list_misfits(value, schema, path)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS[kind])


def _go(value: Any, kind: str) -> str:
    if kind in {"integer", "number"}:
        return {str: "string", bool: "boolean", list: "list", dict: "map"}.get(type(value), "null")
    return f"&{{{json.dumps(value)}}}"


def _map_misfits(value: Json, schema: Json, path: str) -> Iterator[str]:
    properties: dict[str, Json] = schema.get("properties", {})
    extra = schema.get("additionalProperties")
    free = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or extra is True or not schema
    for name, inner in value.items():
        here = f"{path}.{name}"
        if is_object_root(schema) and name == "metadata":
            yield from _misfits(inner, _OBJECT_META, here)
        elif name in properties:
            yield from _misfits(inner, properties[name], here)
        elif isinstance(extra, dict):
            yield from _misfits(inner, extra, here)
        elif not free:
            yield f"{here}: field not declared in schema"


def _list_misfits(value: list[Any], schema: Json, path: str) -> Iterator[str]:
    topology = Topology(schema)
    below: Json = schema.get("items", {})
    seen: set[str] = set()
    for index, item in enumerate(value):
        if topology.list_type == "atomic":
            yield from _misfits(item, below, f"{path}[{index}]")
            continue
        if topology.list_type == "map" and _omits_keys(item, topology):
            keys = json.dumps(list(topology.list_keys))
            yield (
                f"{path}: element {index}: associative list with keys has an element that omits all key fields "
                f"{keys} (and doesn't have default values for any key fields)"
            )
            continue
        step = element(item, topology)
        if step in seen:
            yield f"{path}: duplicate entries for key {spoken((step,))}"
        seen.add(step)
        yield from _misfits(item, below, path + spoken((step,)))


def _omits_keys(item: Any, topology: Topology) -> bool:
    return isinstance(item, dict) and not any(key in item for key in topology.list_keys) and not topology.key_defaults()
