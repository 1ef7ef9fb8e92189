"""Lists and objects as the tables that `kubectl get` prints, and as metadata alone. Pure; `handlers` asks by Accept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mocks.kubernetes.resources import AGE, Column, Resource
from mocks.kubernetes.status import Json

META = "meta.k8s.io/v1"
_NAME = Column("Name", "string", ".metadata.name", "Name must be unique within a namespace.", format="name")
_STEP = re.compile(
    r"""
    \.(?P<field>(?:\\.|[^.\[\]])+)
    | \[\?\(@\.(?P<key>[\w.]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]
    | \[(?P<index>\d+|\*)\]
    | \[["'](?P<quoted>[^"']+)["']\]
    """,
    re.VERBOSE,
)
_UNITS = ((2 * 365 * 86400, 365 * 86400, "y"), (3 * 86400, 86400, "d"), (3 * 3600, 3600, "h"), (120, 60, "m"))


def find(item: Any, path: str) -> list[Any]:
    """What a JSONPath in small leads to: fields, [n], [*], [?(@.key=="value")]."""
    found = [item]
    for step in _STEP.finditer(path if path.startswith((".", "[")) else f".{path}"):
        found = [inner for each in found for inner in _take(each, step)]
    return found


def _take(value: Any, step: re.Match[str]) -> Iterator[Any]:
    name = step["field"] or step["quoted"]
    if name is not None:
        name = name.replace("\\", "")
        if isinstance(value, dict) and name in value:
            yield value[name]
    elif not isinstance(value, list):
        return
    elif step["key"]:
        yield from (inner for inner in value if find(inner, f".{step['key']}") == [step["value"]])
    elif step["index"] == "*":
        yield from value
    elif int(step["index"]) < len(value):
        yield value[int(step["index"])]


def cell(item: Json, column: Column, now: datetime) -> Any:
    found = find(item, column.path)
    if not found or found[0] is None:
        return None
    first = found[0]
    if column.type == "date":
        return _age(first, now)
    if column.type != "string":
        return first
    return first if isinstance(first, str) else json.dumps(first, separators=(",", ":"))


def _age(text: str, now: datetime) -> str:
    try:
        seconds = int((now - datetime.fromisoformat(text)).total_seconds())
    except (ValueError, TypeError):
        return "<unknown>"
    for least, unit, letter in _UNITS:
        if seconds >= least:
            return f"{seconds // unit}{letter}"
    return f"{max(seconds, 0)}s"


def table(resource: Resource, items: Sequence[Json], metadata: Json, include: str) -> Json:
    """A Table of objects; `include` says how much of each comes along: Metadata, Object or None."""
    columns = (_NAME, *(resource.columns or (AGE,)))
    now = datetime.now(UTC)
    return {
        "kind": "Table",
        "apiVersion": META,
        "metadata": metadata,
        "columnDefinitions": [_definition(column) for column in columns],
        "rows": [_row(item, columns, include, now) for item in items],
    }


def _definition(column: Column) -> Json:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _row(item: Json, columns: Sequence[Column], include: str, now: datetime) -> Json:
    row: Json = {"cells": [cell(item, column, now) for column in columns]}
    if include == "None":
        return row
    return row | {"object": item if include == "Object" else partial(item)}


def partial(item: Json) -> Json:
    return {"kind": "PartialObjectMetadata", "apiVersion": META, "metadata": item["metadata"]}


@dataclass(frozen=True, slots=True)
class Form:
    """The shape of answer that a client prefers: the object itself, a Table, or metadata alone."""

    wanted: str = ""
    include: str = "Metadata"

    @classmethod
    def of(cls, accept: str, query_include: str) -> Form:
        for choice in accept.split(","):
            parameters = dict(part.strip().split("=", 1) for part in choice.split(";")[1:] if "=" in part)
            if parameters.get("as") in {"Table", "PartialObjectMetadata", "PartialObjectMetadataList"}:
                return cls(parameters["as"], query_include or "Metadata")
            if choice.split(";")[0].strip() in {"application/json", "*/*"}:
                break
        return cls()

    def shape(self, resource: Resource, body: Json) -> Json:
        if not self.wanted or body.get("kind") == "Status":
            return body
        is_list = body.get("kind") == f"{resource.kind}List" and "items" in body
        items = body["items"] if is_list else [body]
        if self.wanted == "Table":
            version = {"resourceVersion": body["metadata"].get("resourceVersion", "")}
            return table(resource, items, body["metadata"] if is_list else version, self.include)
        if not is_list:
            return partial(body)
        parts = [partial(item) for item in items]
        return {
            "kind": "PartialObjectMetadataList",
            "apiVersion": META,
            "metadata": body["metadata"],
            "items": parts,
        }
