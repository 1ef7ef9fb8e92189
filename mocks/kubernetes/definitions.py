"""CustomResourceDefinitions: their own faults, and the resources they bring. Pure; `catalog` keeps what comes out."""

from __future__ import annotations

from collections.abc import Iterator

from mocks.kubernetes.resources import AGE, Column, Resource
from mocks.kubernetes.status import Cause, Json

_ROOT_TYPES = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}


def with_defaults(definition: Json) -> Json:
    """The definition with the names that follow from others filled in."""
    spec = definition.get("spec", {})
    names = dict(spec.get("names", {}))
    kind = names.get("kind", "")
    names.setdefault("singular", kind.lower())
    names.setdefault("listKind", f"{kind}List")
    spec = spec | {"names": names, "conversion": spec.get("conversion") or {"strategy": "None"}}
    return definition | {"spec": spec}


def faults(definition: Json) -> list[Cause]:
    """What the API server would refuse of a definition (the part of it that a mistake of ours may meet)."""
    return list(_faults(definition))


def _faults(definition: Json) -> Iterator[Cause]:
    spec, name = definition.get("spec", {}), definition["metadata"]["name"]
    names, versions = spec.get("names", {}), spec.get("versions") or []
    for field, value in (("spec.group", spec.get("group")), ("spec.names.plural", names.get("plural"))):
        if not value:
            yield Cause("FieldValueRequired", "Required value", field)
    if not names.get("kind"):
        yield Cause("FieldValueRequired", "Required value", "spec.names.kind")
    wanted = f"{names.get('plural')}.{spec.get('group')}"
    if name != wanted:
        text = f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group'
        yield Cause("FieldValueInvalid", text, "metadata.name")
    if spec.get("scope") not in {"Cluster", "Namespaced"}:
        yield _scope_fault(spec.get("scope"))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        text = f"Invalid value: {len(versions)}: must have exactly one version marked as storage version"
        yield Cause("FieldValueInvalid", text, "spec.versions")
    for index, version in enumerate(versions):
        # a schema that all versions share is spoken of as one
        shared = all(each.get("schema") == version.get("schema") for each in versions)
        yield from _version_faults(version, "spec.validation" if shared else f"spec.versions[{index}].schema")
        if shared:
            return


def _scope_fault(scope: str | None) -> Cause:
    if not scope:
        return Cause("FieldValueRequired", "Required value", "spec.scope")
    text = f'Unsupported value: "{scope}": supported values: "Cluster", "Namespaced"'
    return Cause("FieldValueNotSupported", text, "spec.scope")


def _version_faults(version: Json, path: str) -> Iterator[Cause]:
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if schema is None:
        text = "Required value: schemas are required"
        yield Cause("FieldValueRequired", text, f"{path}.openAPIV3Schema")
        return
    yield from _schema_faults(schema, f"{path}.openAPIV3Schema")


def _schema_faults(schema: Json, path: str) -> Iterator[Cause]:
    free = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-int-or-string")
    if not schema.get("type") and not free:
        text = "Required value: must not be empty for specified object fields"
        yield Cause("FieldValueRequired", text, f"{path}.type")
    if schema.get("type") == "array" and "items" not in schema:
        yield Cause("FieldValueRequired", "Required value: must be specified", f"{path}.items")
    if schema.get("x-kubernetes-list-type") == "map" and not schema.get("x-kubernetes-list-map-keys"):
        text = "Required value: must not be empty if x-kubernetes-list-type is map"
        yield Cause("FieldValueRequired", text, f"{path}.x-kubernetes-list-map-keys")
    for name, below in schema.get("properties", {}).items():
        yield from _schema_faults(below, f"{path}.properties[{name}]")
    if "items" in schema:
        yield from _schema_faults(schema["items"], f"{path}.items")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _schema_faults(schema["additionalProperties"], f"{path}.additionalProperties")


def established(definition: Json, now: str) -> Json:
    """The definition with the status of one that is served."""
    spec = definition["spec"]
    conditions = [
        _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
        _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
    ]
    stored = [version["name"] for version in spec["versions"] if version.get("storage")]
    before = definition.get("status", {}).get("storedVersions", [])
    versions = [*before, *(name for name in stored if name not in before)]
    status = {"acceptedNames": spec["names"], "conditions": conditions, "storedVersions": versions}
    return definition | {"status": status}


def first_status(definition: Json, now: str) -> Json:
    status: Json = established(definition, now)["status"]
    return status


def _condition(kind: str, reason: str, message: str, now: str) -> Json:
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}


def resources(definition: Json) -> list[Resource]:
    """The kinds that a definition serves, one a version."""
    spec = definition["spec"]
    return [_resource(spec, version) for version in spec["versions"] if version.get("served")]


def _resource(spec: Json, version: Json) -> Resource:
    names = spec["names"]
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    status = "status" in (version.get("subresources") or {})
    return Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular", ""),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        status=status,
        fields=tuple(field["jsonPath"].strip(".") for field in version.get("selectableFields") or ()),
        columns=_columns(version),
        schema=_rooted(schema),
        custom=True,
        generation=True,
        unconditional=False,
    )


def _rooted(schema: Json) -> Json:
    return schema | {"x-mock-root": True, "properties": _ROOT_TYPES | schema.get("properties", {})}


def _columns(version: Json) -> tuple[Column, ...]:
    declared = version.get("additionalPrinterColumns")
    if not declared:
        return (AGE,)
    return tuple(
        Column(
            column["name"],
            column["type"],
            column["jsonPath"],
            column.get("description", ""),
            column.get("priority", 0),
            column.get("format", ""),
        )
        for column in declared
    )
