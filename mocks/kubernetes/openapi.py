"""OpenAPI documents: the little that kubectl needs to validate, apply and explain. Pure.

Custom resources come with their schema; built-in kinds are free objects, since their schemas are not known here.
"""

from __future__ import annotations

from typing import Any

from mocks.kubernetes.catalog import Catalog
from mocks.kubernetes.resources import Resource
from mocks.kubernetes.status import Json, no_such_resource

_INFO = {"title": "Kubernetes", "version": "v1.36.0"}
_STANDARD = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
_GVK = "x-kubernetes-group-version-kind"


def v3_index(catalog: Catalog) -> Json:
    paths = {_prefix(resource) for resource in catalog.all()}
    served = {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={_hash(catalog, path)}"} for path in sorted(paths)}
    return {"paths": served}


def v3_document(catalog: Catalog, path: str) -> Json:
    served = [resource for resource in catalog.all() if _prefix(resource) == path]
    if not served:
        raise no_such_resource()
    paths = {url: operations for resource in served for url, operations in _paths(resource).items()}
    schemas = {_schema_name(resource): _schema(resource) for resource in served}
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": schemas}}


def v2_document(catalog: Catalog) -> Json:
    schemas = {_schema_name(resource): _schema(resource) for resource in catalog.all()}
    return {"swagger": "2.0", "info": _INFO, "paths": {}, "definitions": schemas}


def _prefix(resource: Resource) -> str:
    return f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}"


def _hash(catalog: Catalog, path: str) -> str:
    """Changes whenever the document does, for clients cache by it."""
    served = [repr(resource) for resource in catalog.all() if _prefix(resource) == path]
    return f"{hash(tuple(served)) & 0xFFFFFFFFFFFF:012X}"


def _schema_name(resource: Resource) -> str:
    group = ".".join(reversed((resource.group or "core.api.k8s.io").split(".")))
    return f"{group}.{resource.version}.{resource.kind}"


def _schema(resource: Resource) -> Json:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    if resource.schema is None:
        free: Json = {"type": "object", "properties": _STANDARD, "x-kubernetes-preserve-unknown-fields": True}
        return free | {_GVK: [kind]}
    schema = {key: value for key, value in resource.schema.items() if key != "x-mock-root"}
    return schema | {_GVK: [kind]}


def _paths(resource: Resource) -> dict[str, Json]:
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"/{_prefix(resource)}{scope}/{resource.plural}"
    return {
        collection: {"get": _operation(resource, "list"), "post": _operation(resource, "post", "fieldValidation")},
        f"{collection}/{{name}}": {
            "get": _operation(resource, "get"),
            "put": _operation(resource, "put", "fieldValidation"),
            "patch": _operation(resource, "patch", "fieldValidation", "fieldManager", "force"),
            "delete": _operation(resource, "delete"),
        },
    }


def _operation(resource: Resource, action: str, *parameters: str) -> Json:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    listed: list[Any] = [
        {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
        for name in ("dryRun", *parameters)
    ]
    reference = {"$ref": f"#/components/schemas/{_schema_name(resource)}"}
    content = {"application/json": {"schema": reference}}
    return {
        "operationId": f"{action}{resource.kind}",
        "x-kubernetes-action": action,
        _GVK: kind,
        "parameters": listed,
        "responses": {"200": {"description": "OK", "content": content}},
    }
