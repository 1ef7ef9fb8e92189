"""The verbs of the API over the store: get, list, create, update, patch, delete. Knows no HTTP.

Each runs whole under the store's lock, and answers a value or raises an ApiError. `handlers` calls it.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

from mocks.kubernetes import definitions, lifecycle, managed
from mocks.kubernetes.bodies import check_applied, check_body, check_fixed
from mocks.kubernetes.calls import Call
from mocks.kubernetes.catalog import DEFINITIONS, Catalog
from mocks.kubernetes.declared import check_declared
from mocks.kubernetes.eventforms import presented, to_stored
from mocks.kubernetes.options import check_list, check_patch, check_write
from mocks.kubernetes.paging import moment, page
from mocks.kubernetes.patches import json_patch, merge_patch, strategic_merge_patch
from mocks.kubernetes.resources import Resource
from mocks.kubernetes.status import (
    EXPIRED_CONTINUE,
    ApiError,
    Cause,
    Json,
    Target,
    already_exists,
    bad_request,
    conflict,
    expired,
    invalid,
    method_not_allowed,
    not_found,
    success,
    unsupported_media,
)
from mocks.kubernetes.store import CompactedError, Key, Store

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
LARGEST_OBJECT = 1_572_864
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verb gives: a body, its HTTP status, and warnings for the client's user."""

    body: Json
    code: int = 200
    warnings: tuple[str, ...] = field(default=())


class Verbs:
    """The API server without its network."""

    def __init__(self, store: Store, catalog: Catalog, clock: Callable[[], datetime] | None = None) -> None:
        self.store = store
        self.catalog = catalog
        self._clock = clock or (lambda: datetime.now(UTC))

    def get(self, call: Call) -> Answer:
        with self.store.lock:
            return Answer(presented(call.resource, self._live(call)))

    def list(self, call: Call) -> Answer:
        check_list(call.query)
        chosen, filtered = call.selects(), "labelSelector" in call.query or "fieldSelector" in call.query
        with self.store.lock:
            asked = moment(call, self.store.revision)
            try:
                stored = self.store.items(call.resource.bucket, call.namespace, asked.revision)
            except CompactedError as error:
                raise expired(EXPIRED_CONTINUE) from error
            revision = self.store.revision if asked.revision is None else asked.revision
        shown, metadata = page(stored, chosen, asked, call.number("limit"), revision, counted=not filtered)
        return Answer(list_of(call.resource, shown, metadata))

    def create(self, call: Call, body: Json) -> Answer:
        check_write(call.query, "CreateOptions")
        if call.subresource == "binding":
            return self._bind(call, body)
        if call.name and not call.resource.custom:
            raise method_not_allowed()
        with self.store.lock:
            item = _named(check_body(call, body))
            if item["metadata"].get("resourceVersion"):
                raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
            warnings = self._unknown_fields(call, item)
            return self._insert(call, item, warnings)

    def update(self, call: Call, body: Json) -> Answer:
        check_write(call.query, "UpdateOptions")
        with self.store.lock:
            wanted = check_body(call, body)
            live = presented(call.resource, self._live(call))
            fault = lifecycle.require_version(call.resource, wanted)
            if fault:
                raise fault
            if wanted["metadata"].get("uid") not in {None, "", live["metadata"].get("uid")}:
                raise _uid_conflict(call, wanted["metadata"]["uid"], live["metadata"].get("uid", ""))
            return self._replace(call, live, wanted, self._unknown_fields(call, wanted))

    def patch(self, call: Call, content_type: str, body: bytes) -> Answer:
        check_patch(call.query, apply=content_type == APPLY_PATCH)
        with self.store.lock:
            if content_type == APPLY_PATCH:
                return self._apply(call, _parse(body))
            change = _patcher(call.resource, content_type)
            live = presented(call.resource, self._live(call))
            read = _parse(body)
            if not isinstance(read, list if content_type == JSON_PATCH else dict):
                raise bad_request(f"error decoding patch: cannot unmarshal {type(read).__name__}")
            wanted = check_body(call, change(live, read))
            check_fixed(call.resource, live, wanted)
            return self._replace(call, live, wanted, self._unknown_fields(call, wanted))

    def delete(self, call: Call, options: Json) -> Answer:
        with self.store.lock:
            live = self._live(call)
            _check_preconditions(call, live, options.get("preconditions") or {})
            if options.get("dryRun") == ["All"] or call.dry_run:
                return Answer(self._deleted(call, live))
            left = self._delete(call.resource, live)
            if left is not None:
                return Answer(presented(call.resource, left))
            return Answer(self._deleted(call, live))

    def delete_collection(self, call: Call, options: Json) -> Answer:
        chosen = call.selects()
        with self.store.lock:
            items = [item for item in self.store.items(call.resource.bucket, call.namespace) if chosen(item)]
            if not (options.get("dryRun") == ["All"] or call.dry_run):
                for item in items:
                    self._delete(call.resource, item)
            return Answer(list_of(call.resource, items, {"resourceVersion": str(self.store.revision)}))

    def _live(self, call: Call) -> Json:
        live = self.store.get(call.resource.bucket, _key(call))
        if live is None:
            raise not_found(call.resource.target(call.name))
        return live

    def _unknown_fields(self, call: Call, item: Json) -> tuple[str, ...]:
        """The warnings about fields that the schema doesn't know, or the 400 where the client asked for one."""
        wish = call.query.get("fieldValidation", "Warn")
        unknown = [f'unknown field "{path}"' for path in lifecycle.shape(call.resource, item).unknown]
        if not unknown or wish == "Ignore":
            return ()
        if wish == "Strict" and call.patching:
            text = f'Invalid value: "{json.dumps(item)}": strict decoding error: {", ".join(unknown)}'
            raise invalid(Target(""), [Cause("FieldValueInvalid", text, "patch")])
        if wish == "Strict":
            resource = call.resource
            raise bad_request(
                f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
                f"strict decoding error: {', '.join(unknown)}"
            )
        return tuple(unknown)

    def _insert(self, call: Call, item: Json, warnings: tuple[str, ...], *, owned: bool = False) -> Answer:
        """Store a new object. `owned`: its managedFields are made already; else its fields are the sender's."""
        resource, metadata = call.resource, item["metadata"]
        self._require_namespace(resource, metadata.get("namespace", ""))
        shaped = lifecycle.shape(resource, item, applied=owned).item
        made = lifecycle.for_create(resource, shaped, str(uuid.uuid4()), self._now())
        lifecycle.check(resource, made)
        if self.store.get(resource.bucket, _key_of(resource, made)) is not None:
            raise already_exists(resource.target(metadata["name"]))
        if not owned:
            # of a built-in kind the server's own types have these fields even when empty
            blank: Json = {} if resource.custom else {"spec": {}, "status": {}}
            made = managed.updated(blank, made, call.updater(), call.scope(), self._now())
        return Answer(self._write(call, made), 201, warnings)

    def _replace(self, call: Call, live: Json, wanted: Json, warnings: tuple[str, ...]) -> Answer:
        _check_version(call, live, wanted)
        item = self._prepared(call, live, lifecycle.shape(call.resource, wanted).item)
        item = managed.updated(live, item, call.updater(), call.scope(), self._now())
        return self._settle(call, live, item, warnings)

    def _prepared(self, call: Call, live: Json, wanted: Json) -> Json:
        prepare = lifecycle.for_status if call.subresource == "status" else lifecycle.for_update
        return prepare(call.resource, live, wanted)

    def _settle(self, call: Call, live: Json, item: Json, warnings: tuple[str, ...]) -> Answer:
        """Check and store a changed object; one that didn't change keeps its resourceVersion."""
        lifecycle.check(call.resource, item, live)
        if lifecycle.same(live, item):
            return Answer(live, 200, warnings)
        if item["metadata"].get("deletionTimestamp") and not item["metadata"].get("finalizers"):
            if not call.dry_run:
                self._remove(call.resource, item)
            return Answer(item, 200, warnings)
        return Answer(self._write(call, item), 200, warnings)

    def _apply(self, call: Call, config: Json) -> Answer:
        config = check_applied(call, config)
        check_declared(call.resource, config)
        stored = self.store.get(call.resource.bucket, _key(call))
        force = call.query.get("force", "").lower() in {"1", "true"}
        request = managed.Apply(config, call.applier(), force)
        if stored is None:
            if call.subresource:
                raise not_found(call.resource.target(call.name))
            return self._apply_new(call, request)
        live = presented(call.resource, stored)
        _check_version(call, live, config)
        check_fixed(call.resource, live, config)
        merged = managed.applied(live, request, call.scope(), self._now())
        item = self._prepared(call, live, lifecycle.shape(call.resource, merged, applied=True).item)
        return self._settle(call, live, item, ())

    def _apply_new(self, call: Call, request: managed.Apply) -> Answer:
        check_fixed(call.resource, {"metadata": {}}, request.config)
        empty = {"apiVersion": call.resource.api_version, "kind": call.resource.kind, "metadata": {}}
        item = managed.applied(empty, request, call.scope(), self._now())
        return self._insert(call, item, (), owned=True)

    def _write(self, call: Call, item: Json) -> Json:
        """Put an object into the store (unless this is a dry run); what comes back is what the client sees."""
        resource = call.resource
        if resource.bucket == DEFINITIONS and not call.subresource:
            item = definitions.established(item, self._now())
        _check_size(item)
        if call.dry_run:
            return item
        stored = self.store.put(resource.bucket, to_stored(resource, item))
        self._after(resource)
        return presented(resource, stored)

    def _delete(self, resource: Resource, live: Json) -> Json | None:
        """Delete an object, or mark it where finalizers hold it: then it comes back."""
        if not live["metadata"].get("finalizers"):
            self._remove(resource, live)
            return None
        if live["metadata"].get("deletionTimestamp"):
            return live
        marks: Json = {"deletionTimestamp": self._now(), "deletionGracePeriodSeconds": 0}
        if "generation" in live["metadata"]:
            marks["generation"] = live["metadata"]["generation"] + 1
        return self.store.put(resource.bucket, live | {"metadata": live["metadata"] | marks})

    def _remove(self, resource: Resource, live: Json) -> None:
        metadata = live["metadata"]
        if resource.kind == "Namespace" and not resource.group:
            self._empty(lambda each: each.namespaced, metadata["name"])
        if resource.kind == "CustomResourceDefinition":
            spec = live["spec"]
            bucket = f"{spec['group']}/{spec['names']['plural']}"
            self._empty(lambda each: each.bucket == bucket, "")
        self.store.remove(resource.bucket, _key_of(resource, live))
        self._after(resource)

    def _empty(self, chosen: Callable[[Resource], bool], namespace: str) -> None:
        for bucket in {each.bucket for each in self.catalog.all() if chosen(each)}:
            for item in self.store.items(bucket, namespace):
                metadata = item["metadata"]
                self.store.remove(bucket, (metadata.get("namespace", ""), metadata["name"]))

    def _deleted(self, call: Call, live: Json) -> Json:
        if call.resource.returns_deleted:
            return presented(call.resource, live)
        target = Target(call.resource.plural, call.resource.group, call.name)
        return success(target, live["metadata"].get("uid", ""))

    def _after(self, resource: Resource) -> None:
        if resource.bucket == DEFINITIONS:
            self.catalog.learn(self.store.items(DEFINITIONS))

    def _bind(self, call: Call, body: Json) -> Answer:
        with self.store.lock:
            live = self._live(call)
            spec = live["spec"] | {"nodeName": body["target"]["name"]}
            if not call.dry_run:
                self.store.put(call.resource.bucket, live | {"spec": spec})
            return Answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)

    def _require_namespace(self, resource: Resource, namespace: str) -> None:
        if resource.namespaced and self.store.get("/namespaces", ("", namespace)) is None:
            raise not_found(Target("namespaces", "", namespace))

    def _now(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")


def list_of(resource: Resource, items: list[Json], metadata: Json) -> Json:
    shown = [presented(resource, item) for item in items]
    if resource.custom:
        # as the real server does, for kinds whose types it doesn't know
        metadata = {"continue": ""} | metadata
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": metadata,
        "items": shown,
    }


def _key(call: Call) -> Key:
    return (call.namespace if call.resource.namespaced else "", call.name)


def _key_of(resource: Resource, item: Json) -> Key:
    metadata = item["metadata"]
    return (metadata.get("namespace", "") if resource.namespaced else "", metadata["name"])


def _named(item: Json) -> Json:
    metadata = item["metadata"]
    stem = metadata.get("generateName")
    if metadata.get("name") or not stem:
        return item
    name = stem + "".join(secrets.choice(_SUFFIX) for _ in range(5))
    return item | {"metadata": metadata | {"name": name}}


def _parse(body: bytes) -> Any:
    try:
        text = body.decode()
        return json.loads(text) if text.lstrip()[:1] in {"{", "["} else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise bad_request(f"error decoding patch: {error}") from error


def _patcher(resource: Resource, content_type: str) -> Callable[[Any, Any], Any]:
    patchers: dict[str, Callable[[Any, Any], Any]] = {JSON_PATCH: json_patch, MERGE_PATCH: merge_patch}
    if not resource.custom:
        patchers[STRATEGIC_PATCH] = strategic_merge_patch
    if content_type not in patchers:
        raise unsupported_media([*patchers, APPLY_PATCH])
    return patchers[content_type]


def _check_version(call: Call, live: Json, wanted: Json) -> None:
    sent, held = wanted["metadata"], live["metadata"]
    if sent.get("resourceVersion") not in {None, "", held["resourceVersion"]}:
        raise conflict(call.resource.target(call.name))


def _uid_conflict(call: Call, asked: str, held: str) -> ApiError:
    why = f"Precondition failed: UID in precondition: {asked}, UID in object meta: {held}"
    return conflict(call.resource.target(call.name), why)


def _check_preconditions(call: Call, live: Json, wanted: Json) -> None:
    metadata, target = live["metadata"], call.resource.kind_target(call.name)
    asked, held = wanted.get("uid"), metadata.get("uid")
    if asked not in {None, held}:
        why = f"the UID in the precondition ({asked}) does not match the UID in record ({held})."
        raise conflict(target, f"{why} The object might have been deleted and then recreated")
    asked, held = wanted.get("resourceVersion"), metadata["resourceVersion"]
    if asked not in {None, held}:
        why = (
            f"the ResourceVersion in the precondition ({asked}) does not match the ResourceVersion in record ({held})."
        )
        raise conflict(target, f"{why} The object might have been modified")


def _check_size(item: Json) -> None:
    if len(json.dumps(item)) > LARGEST_OBJECT:
        raise ApiError(500, "", "etcdserver: request is too large")
