"""Structural schemas at work on objects: what is unknown goes, what is missing gets its default. Pure.

Checking what remains is `validation`'s. Schemas are the openAPIV3Schema of a CustomResourceDefinition.
"""

from __future__ import annotations

import copy
from typing import Any

from mocks.kubernetes.status import Json

_OBJECT_FIELDS = {"apiVersion", "kind", "metadata"}


def prune(value: Any, schema: Json, path: str = "") -> tuple[Any, list[str]]:
    """The value without the fields that the schema doesn't know, and the paths of those."""
    unknown: list[str] = []
    return _prune(value, schema, path, unknown), unknown


def _prune(value: Any, schema: Json, path: str, unknown: list[str]) -> Any:
    if isinstance(value, list):
        below = schema.get("items", {})
        return [_prune(item, below, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, inner in value.items():
        here = f"{path}.{name}" if path else name
        below = _below(schema, name)
        if below is None:
            unknown.append(here)
        else:
            kept[name] = _prune(inner, below, here, unknown)
    return kept


def _below(schema: Json, name: str) -> Json | None:
    """The schema of a field, or None where it has no place."""
    if is_object_root(schema) and name in _OBJECT_FIELDS:
        return {"x-kubernetes-preserve-unknown-fields": True}
    properties: dict[str, Json] = schema.get("properties", {})
    if name in properties:
        return properties[name]
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        return extra
    if extra or schema.get("x-kubernetes-preserve-unknown-fields") or not schema:
        # what lies under a free field is free
        return {"x-kubernetes-preserve-unknown-fields": True}
    return None


def is_object_root(schema: Json) -> bool:
    return bool(schema.get("x-mock-root") or schema.get("x-kubernetes-embedded-resource"))


def default(value: Any, schema: Json, *, keep_nulls: bool = False) -> Any:
    """The value with defaults filled in, and (but for applied ones) without nulls that mean nothing."""
    if isinstance(value, list):
        return [default(item, schema.get("items", {}), keep_nulls=keep_nulls) for item in value]
    if not isinstance(value, dict):
        return value
    properties: dict[str, Json] = schema.get("properties", {})
    filled = {
        name: inner
        for name, inner in value.items()
        if inner is not None or keep_nulls or _may_be_null(properties.get(name))
    }
    for name, below in properties.items():
        if name not in filled and "default" in below:
            filled[name] = copy.deepcopy(below["default"])
    extra = schema.get("additionalProperties")
    free = extra if isinstance(extra, dict) else {}
    return {name: default(inner, properties.get(name, free), keep_nulls=keep_nulls) for name, inner in filled.items()}


def _may_be_null(schema: Json | None) -> bool:
    return schema is None or bool(schema.get("nullable"))
