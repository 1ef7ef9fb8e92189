"""The objects in requests, held against the path they came by. Pure; `verbs` calls it before anything is written."""

from __future__ import annotations

from mocks.kubernetes.calls import Call
from mocks.kubernetes.resources import Resource
from mocks.kubernetes.status import Cause, Json, Target, bad_request, invalid


def check_body(call: Call, body: Json) -> Json:
    """The body with the name and namespace of the path. Raises the 400 or 422 of a body that is something else."""
    resource = call.resource
    if not resource.custom:
        # a built-in kind may go without saying what it is
        body = {"apiVersion": resource.api_version, "kind": resource.kind} | body
    _check_kind(resource, body)
    metadata = _placed(call, body)
    if call.name and metadata.setdefault("name", call.name) != call.name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({call.name})"
        )
    return body | {"metadata": metadata}


def check_applied(call: Call, config: Json) -> Json:
    """An applied configuration, which has to say kind and name itself."""
    if not isinstance(config, dict):
        raise bad_request("error decoding YAML: the configuration is no object")
    resource, metadata = call.resource, config.get("metadata") or {}
    if (config.get("apiVersion"), config.get("kind")) != (resource.api_version, resource.kind):
        said = f"{config.get('apiVersion', '/')}, Kind={config.get('kind', '')}"
        raise bad_request(f"invalid object type: {said}")
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if not metadata.get("name"):
        raise bad_request(
            f"the name of the object ({call.name} based on URL) was undeterminable: name must be provided"
        )
    return check_body(call, config)


def check_fixed(resource: Resource, live: Json, wanted: Json) -> None:
    """Raises the 422 of a patch that would change what an object is born with."""
    sent, held = wanted["metadata"].get("uid"), live["metadata"].get("uid")
    if sent not in {None, "", held}:
        cause = Cause("FieldValueInvalid", f'Invalid value: "{sent}": field is immutable', "metadata.uid")
        raise invalid(resource.kind_target(wanted["metadata"].get("name", "")), [cause])


def _check_kind(resource: Resource, body: Json) -> None:
    if not body.get("kind"):
        raise bad_request(f"Object 'Kind' is missing in '{str(body)[:200]}'")
    if resource.custom and body["kind"] != resource.kind and body.get("apiVersion") == resource.api_version:
        cause = Cause("FieldValueInvalid", f'Invalid value: "{body["kind"]}": must be {resource.kind}', "kind")
        target = Target(body["kind"], resource.group, (body.get("metadata") or {}).get("name", ""))
        raise invalid(target, [cause])
    if body.get("apiVersion") != resource.api_version or body["kind"] != resource.kind:
        raise bad_request(
            f"{body['kind']} in version {body.get('apiVersion')!r} cannot be handled as a {resource.kind}: "
            f"the API version in the data ({body.get('apiVersion')}) does not match the expected API version "
            f"({resource.api_version})"
        )


def _placed(call: Call, body: Json) -> Json:
    """The metadata with the path's namespace, or none where the kind has none."""
    metadata = dict(body.get("metadata") or {})
    for name in ("labels", "annotations"):
        if not all(isinstance(value, str) for value in (metadata.get(name) or {}).values()):
            kind = call.resource.kind
            raise bad_request(
                f'{kind} in version "{call.resource.version}" cannot be handled as a {kind}: '
                f"json: cannot unmarshal into Go struct field ObjectMeta.{name} of type string"
            )
    if not call.resource.namespaced:
        metadata.pop("namespace", None)
    elif metadata.setdefault("namespace", call.namespace) != call.namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    return metadata
