"""Cluster objects from files, for `zone-enforcer render` without a cluster. It reads; it never writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from enforcer.cluster.view import ObjectPage, View, WatchedKind
from zones.canonical import Json
from zones.runtime.errors import InputError

_KINDS = {
    "Pod": WatchedKind.PODS,
    "Node": WatchedKind.NODES,
    "Namespace": WatchedKind.NAMESPACES,
    "PodSlice": WatchedKind.SLICES,
    "Quarantine": WatchedKind.QUARANTINES,
    "Tier": WatchedKind.TIERS,
    "PolicyChunk": WatchedKind.CHUNKS,
    "AddressSet": WatchedKind.SETS,
}


def read_objects(path: Path) -> list[Json]:
    """All objects of a YAML or JSON file, multi-document or List. Raises InputError."""
    try:
        documents = list(_documents(path))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} is neither JSON nor YAML: {' '.join(str(error).split())}") from error
    return [object_ for document in documents if document is not None for object_ in _flattened(document, path)]


def tier_names(objects: list[Json]) -> list[str]:
    return [object_["metadata"]["name"] for object_ in objects if object_["kind"] == "Tier"]


def view_of(objects: list[Json], tier: str) -> View:
    """A view as if the API server had listed exactly these. Pods without a uid get their name for one."""
    view = View(tier)
    for kind in WatchedKind:
        view.fold(
            ObjectPage(kind, [_identified(object_) for object_ in objects if _KINDS.get(object_["kind"]) is kind])
        )
    return view


def _documents(path: Path) -> Iterator[Any]:
    text = path.read_text("utf-8")
    if text.lstrip().startswith(("{", "[")):
        yield json.loads(text)
    else:
        yield from yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _flattened(document: Any, path: Path) -> Iterator[Json]:  # noqa: ANN401 - whatever the file holds
    if isinstance(document, list):
        for item in document:
            yield from _flattened(item, path)
    elif not isinstance(document, dict) or "kind" not in document:
        raise InputError(f"{path} holds something that is no Kubernetes object; `kubectl get … -o yaml` writes them")
    elif document["kind"].endswith("List") or (document["kind"] == "List"):
        yield from _flattened(
            [{"kind": document["kind"].removesuffix("List"), **item} for item in document["items"]], path
        )
    elif not isinstance(document.get("metadata"), dict) or "name" not in document["metadata"]:
        raise InputError(f"{path} holds a {document['kind']} without metadata.name")
    else:
        yield document


def _identified(raw: Json) -> Json:
    metadata = raw["metadata"]
    uid = metadata.get("uid") or f"{metadata.get('namespace', '')}/{metadata['name']}"
    return raw | {"metadata": metadata | {"uid": uid}}
