"""Two custom kinds for the contract: Gate (cluster-scoped, with status and columns) and Key (namespaced, bare)."""

from __future__ import annotations

from typing import Any

GROUP = "contract.example"
GATE_PATH = f"/apis/{GROUP}/v1/gates"


def key_path(namespace: str) -> str:
    return f"/apis/{GROUP}/v1/namespaces/{namespace}/keys"


_STRING = {"type": "string"}

_GATE_SPEC: dict[str, Any] = {
    "type": "object",
    "required": ["side"],
    "properties": {
        "side": {"type": "string", "enum": ["north", "south"]},
        "height": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
        "motto": {"type": "string", "pattern": "^[a-z ]+$", "maxLength": 20, "minLength": 2},
        "wide": {"type": "boolean"},
        "since": {"type": "string", "format": "date-time"},
        "tags": {"type": "object", "additionalProperties": _STRING},
        "guards": {"type": "array", "maxItems": 3, "items": _STRING},
        "seals": {"type": "array", "x-kubernetes-list-type": "set", "items": _STRING},
        "doors": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": _STRING, "colour": _STRING, "lock": {"type": "string", "default": "open"}},
            },
        },
        "notes": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "port": {"x-kubernetes-int-or-string": True},
        "blob": {"type": "array", "items": _STRING},
        "inner": {"type": "object", "properties": {"a": _STRING, "b": _STRING}},
    },
}

_GATE_STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "phase": _STRING,
        "seen": {"type": "integer"},
        "conditions": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {
                "type": "object",
                "required": ["type", "status"],
                "properties": {"type": _STRING, "status": _STRING},
            },
        },
    },
}


def _definition(kind: str, plural: str, scope: str, version: dict[str, Any]) -> dict[str, Any]:
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "shortNames": [f"ct{kind.lower()}"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": names,
            "versions": [{"name": "v1", "served": True, "storage": True} | version],
        },
    }


GATES = _definition(
    "Gate",
    "gates",
    "Cluster",
    {
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "required": ["spec"],
                "properties": {"spec": _GATE_SPEC, "status": _GATE_STATUS},
            }
        },
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": "Side", "type": "string", "jsonPath": ".spec.side"},
            {"name": "Height", "type": "integer", "jsonPath": ".spec.height"},
            {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
            {"name": "Guards", "type": "string", "jsonPath": ".spec.guards", "priority": 1},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
    },
)

KEYS = _definition(
    "Key",
    "keys",
    "Namespaced",
    {
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        },
    },
)


def gate(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": f"{GROUP}/v1", "kind": "Gate", "metadata": metadata, "spec": {"side": "north"} | spec}


def key(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": f"{GROUP}/v1", "kind": "Key", "metadata": metadata, "spec": spec}


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
