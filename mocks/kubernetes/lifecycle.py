"""What the API server does to an object between request and storage: defaults, generation, status, validation. Pure.

`verbs` calls it with the live object and the wanted one; the result is what gets stored.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from mocks.kubernetes import builtin
from mocks.kubernetes.resources import Resource
from mocks.kubernetes.status import ApiError, Cause, Json, invalid
from mocks.kubernetes.structure import default, prune
from mocks.kubernetes.validation import validate

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_LABEL_LENGTH = 63
_NAME_LENGTH = 253
_RBAC = "rbac.authorization.k8s.io"
_OMITTED_EMPTY = {"labels", "annotations", "finalizers", "ownerReferences"}
_FIXED = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


@dataclass(slots=True)
class Prepared:
    """An object ready to be stored, and what its sender should know."""

    item: Json
    unknown: list[str] = field(default_factory=list)


def shape(resource: Resource, item: Json, *, applied: bool = False) -> Prepared:
    """The object as the schema has it: unknown fields dropped, defaults filled in, empty metadata left out."""
    bare = {key: value for key, value in item["metadata"].items() if value or key not in _OMITTED_EMPTY}
    item = item | {"metadata": bare}
    if resource.schema is not None:
        pruned, unknown = prune(item, resource.schema)
        return Prepared(default(pruned, resource.schema, keep_nulls=applied), unknown)
    return Prepared(builtin.fill(resource, item))


def check(resource: Resource, item: Json, live: Json | None = None) -> None:
    """Raises the 422 with every fault of the object, or of its change."""
    metadata = item["metadata"]
    causes = [*_metadata_faults(resource, metadata)]
    if resource.schema is not None:
        causes += validate(item, resource.schema)
    causes += builtin.faults(resource, item)
    if live is not None:
        causes += builtin.changed_faults(resource, live, item)
    if causes:
        raise invalid(resource.kind_target(metadata.get("name", "")), causes)


def _metadata_faults(resource: Resource, metadata: Json) -> list[Cause]:
    name: str = metadata.get("name", "")
    if not name:
        text = "Required value: name or generateName is required"
        return [Cause("FieldValueRequired", text, "metadata.name")]
    causes = []
    if resource.group != _RBAC and not (_SUBDOMAIN.fullmatch(name) and len(name) <= _NAME_LENGTH):
        text = (
            f"Invalid value: {json.dumps(name)}: a lowercase RFC 1123 subdomain must consist of lower case "
            "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
        )
        causes.append(Cause("FieldValueInvalid", text, "metadata.name"))
    for key, value in (metadata.get("labels") or {}).items():
        causes += _label_faults(key, value)
    return causes


def _label_faults(key: str, value: str) -> list[Cause]:
    causes = []
    if not _LABEL_KEY.fullmatch(key):
        text = f"Invalid value: {json.dumps(key)}: name part must consist of alphanumeric characters, '-', '_' or '.'"
        causes.append(Cause("FieldValueInvalid", text, "metadata.labels"))
    if not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value) or len(value) > _LABEL_LENGTH:
        text = f"Invalid value: {json.dumps(value)}: a valid label must be an empty string or consist of alphanumerics"
        causes.append(Cause("FieldValueInvalid", text, "metadata.labels"))
    return causes


def for_create(resource: Resource, item: Json, uid: str, now: str) -> Json:
    """A new object with what the server gives it."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in {"resourceVersion", "selfLink"}}
    metadata |= {"uid": uid, "creationTimestamp": now}
    metadata.pop("generation", None)
    if resource.generation:
        metadata["generation"] = 1
    item = item | {"metadata": metadata}
    if resource.status and resource.kind not in _KEEP_STATUS:
        item = {key: value for key, value in item.items() if key != "status"}
    return builtin.with_first_status(resource, item, now)


_KEEP_STATUS = {"Node"}


def for_update(resource: Resource, live: Json, wanted: Json) -> Json:
    """The wanted object with what a client can't change, and the generation that its change makes."""
    kept = {key: live["metadata"][key] for key in _FIXED if key in live["metadata"]}
    metadata = {key: value for key, value in wanted["metadata"].items() if key not in (*_FIXED, "selfLink")} | kept
    metadata["resourceVersion"] = live["metadata"]["resourceVersion"]
    item = {key: value for key, value in wanted.items() if key != "status" or not resource.status}
    item["metadata"] = metadata
    if resource.status and "status" in live:
        item["status"] = live["status"]
    metadata.pop("generation", None)
    if "generation" in live["metadata"]:
        metadata["generation"] = live["metadata"]["generation"] + int(_specified(live) != _specified(item))
    return item


def for_status(resource: Resource, live: Json, wanted: Json) -> Json:
    """The live object with the wanted one's status. Of a built-in kind, labels and annotations come along."""
    item = {key: value for key, value in live.items() if key != "status"}
    if "status" in wanted:
        item["status"] = wanted["status"]
    metadata = dict(live["metadata"])
    if not resource.custom:
        sent = {key: wanted["metadata"][key] for key in ("labels", "annotations") if key in wanted["metadata"]}
        metadata = {key: value for key, value in metadata.items() if key not in {"labels", "annotations"}} | sent
    if "managedFields" in wanted["metadata"]:
        metadata["managedFields"] = wanted["metadata"]["managedFields"]
    return item | {"metadata": metadata}


def _specified(item: Json) -> Json:
    return {key: value for key, value in item.items() if key not in {"metadata", "status"}}


def same(live: Json, item: Json) -> bool:
    """Whether a write would change nothing; the time of a manager's last write alone is nothing."""
    return _timeless(live) == _timeless(item)


def _timeless(item: Json) -> Json:
    metadata = {key: value for key, value in item["metadata"].items() if key != "resourceVersion"}
    entries = metadata.get("managedFields") or []
    metadata["managedFields"] = [{key: value for key, value in entry.items() if key != "time"} for entry in entries]
    return item | {"metadata": metadata}


def require_version(resource: Resource, wanted: Json) -> ApiError | None:
    """The fault of a PUT without a resourceVersion, where the kind demands one."""
    if resource.unconditional or wanted["metadata"].get("resourceVersion"):
        return None
    text = "Invalid value: 0: must be specified for an update"
    cause = Cause("FieldValueInvalid", text, "metadata.resourceVersion")
    name = wanted["metadata"].get("name", "")
    return invalid(resource.kind_target(name) if resource.custom else resource.target(name), [cause])
