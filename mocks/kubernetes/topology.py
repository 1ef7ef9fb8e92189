"""How a kind's fields merge: which maps and lists are atomic, and by what keys list items are known. Pure.

A custom resource says so in its schema. Built-in kinds have no schema here: a table of their list names has to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from mocks.kubernetes.status import Json

ListType = Literal["atomic", "set", "map"]

LIST_KEYS: dict[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "containers": ("name",),
    "containerStatuses": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "podIPs": ("ip",),
    "hostIPs": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "validations": (),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
"""The built-in kinds' lists that merge by key, known by the name of the field."""

# `ports` means different things: a container's are known by containerPort, a service's by port.
_PORT_KEYS = {"spec": ("port", "protocol"), "containers": ("containerPort", "protocol")}
_SETS = {"finalizers"}
_ATOMIC_MAPS = {"selector", "matchLabels", "nodeSelector", "labelSelector", "podSelector", "namespaceSelector"}


@dataclass(frozen=True, slots=True)
class Topology:
    """One place in an object. Without a schema, `name` and `parent` (the fields that led here) decide, if `hinted`."""

    schema: Json | None = None
    name: str = ""
    parent: str = ""
    hinted: bool = True

    @classmethod
    def of(cls, schema: Json | None) -> Topology:
        return cls(schema or None)

    def field(self, name: str) -> Topology:
        if self.schema is None:
            return Topology(None, name, self.name, self.hinted)
        properties = self.schema.get("properties", {})
        if self._is_metadata(name):
            return Topology(None, name)
        if name in properties:
            return Topology(properties[name])
        extra = self.schema.get("additionalProperties")
        return Topology(extra if isinstance(extra, dict) else None, hinted=False)

    def item(self) -> Topology:
        if self.schema is None:
            return Topology(None, self.name, self.parent, self.hinted)
        return Topology(self.schema.get("items"), hinted=False)

    def declares(self, name: str) -> bool:
        """Whether a field is one of a struct, rather than a key of a map."""
        if self.schema is None:
            return self.hinted
        return self._is_metadata(name) or name in self.schema.get("properties", {})

    @property
    def atomic_map(self) -> bool:
        if self.schema is None:
            return self.hinted and self.name in _ATOMIC_MAPS
        return self.schema.get("x-kubernetes-map-type") == "atomic"

    @property
    def list_type(self) -> ListType:
        if self.schema is None:
            if self.hinted and self.name in _SETS:
                return "set"
            return "map" if self.list_keys else "atomic"
        declared: ListType = self.schema.get("x-kubernetes-list-type", "atomic")
        return declared

    @property
    def list_keys(self) -> tuple[str, ...]:
        if self.schema is not None:
            return tuple(self.schema.get("x-kubernetes-list-map-keys", ()))
        if not self.hinted:
            return ()
        if self.name == "ports":
            return _PORT_KEYS.get(self.parent, ())
        return LIST_KEYS.get(self.name, ())

    def key_defaults(self) -> Json:
        """Values of the list's keys that an item may leave out."""
        if self.schema is None:
            return {"protocol": "TCP"} if "protocol" in self.list_keys else {}
        properties: dict[str, Any] = self.schema.get("items", {}).get("properties", {})
        return {key: properties[key]["default"] for key in self.list_keys if "default" in properties.get(key, {})}

    def _is_metadata(self, name: str) -> bool:
        schema = self.schema or {}
        top = schema.get("x-mock-root") or schema.get("x-kubernetes-embedded-resource")
        return bool(top) and name in {"metadata", "apiVersion", "kind"}
