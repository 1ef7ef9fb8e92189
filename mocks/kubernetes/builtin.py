"""What the built-in kinds do of their own: defaults, first status, and the faults that a client of ours may make. Pure.

Only those rules of the real server are here that change what a client sees. `lifecycle` asks.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from mocks.kubernetes import definitions
from mocks.kubernetes.resources import Resource
from mocks.kubernetes.status import Cause, Json, bad_request

_MICRO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_EVENT_LENGTHS = {"reportingInstance": 128, "action": 128, "reason": 128}
_NOTE_LENGTH = 1024
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_LOOSE_POD_FIELDS = {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"}
_ANYWHERE = {"default", "kube-system"}


def fill(resource: Resource, item: Json) -> Json:
    """The object with its kind's defaults. Raises the 400 of a time that the real server can't read."""
    filler = _FILLERS.get((resource.group, resource.kind))
    return filler(item) if filler else item


def faults(resource: Resource, item: Json) -> list[Cause]:
    judge = _JUDGES.get((resource.group, resource.kind))
    return list(judge(item)) if judge else []


def with_first_status(resource: Resource, item: Json, now: str) -> Json:
    start = _FIRST_STATUS.get((resource.group, resource.kind))
    return item | {"status": start(item, now)} if start else item


def _fill_namespace(item: Json) -> Json:
    metadata = item["metadata"]
    labels = (metadata.get("labels") or {}) | {"kubernetes.io/metadata.name": metadata.get("name", "")}
    spec = item.get("spec") or {"finalizers": ["kubernetes"]}
    return item | {"metadata": metadata | {"labels": labels}, "spec": spec}


def _fill_pod(item: Json) -> Json:
    filled: Json = {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
    filled |= {"terminationGracePeriodSeconds": 30, "securityContext": {}, "enableServiceLinks": True}
    return item | {"spec": filled | (item.get("spec") or {})}


def _fill_secret(item: Json) -> Json:
    plain = item.get("stringData") or {}
    data = (item.get("data") or {}) | {name: base64.b64encode(text.encode()).decode() for name, text in plain.items()}
    rest = {key: value for key, value in item.items() if key not in {"stringData", "data"}}
    return {"type": "Opaque"} | rest | ({"data": data} if data else {})


def _fill_service(item: Json) -> Json:
    spec = {"type": "ClusterIP", "sessionAffinity": "None"} | (item.get("spec") or {})
    ports = [{"protocol": "TCP", "targetPort": port["port"]} | port for port in spec.get("ports") or []]
    return item | {"spec": spec | ({"ports": ports} if ports else {})}


def _lease_faults(item: Json) -> Iterator[Cause]:
    spec = item.get("spec") or {}
    if spec.get("leaseDurationSeconds", 1) <= 0:
        value = spec["leaseDurationSeconds"]
        yield Cause("FieldValueInvalid", f"Invalid value: {value}: must be greater than 0", "spec.leaseDurationSeconds")
    if spec.get("leaseTransitions", 0) < 0:
        value = spec["leaseTransitions"]
        text = f"Invalid value: {value}: must be greater than or equal to 0"
        yield Cause("FieldValueInvalid", text, "spec.leaseTransitions")


def _config_map_faults(item: Json) -> Iterator[Cause]:
    for name in item.get("data") or {}:
        if not _DATA_KEY.fullmatch(name):
            text = f'Invalid value: "{name}": a valid config key must consist of alphanumeric characters'
            yield Cause("FieldValueInvalid", text, f"data[{name}]")


def changed_faults(resource: Resource, live: Json, item: Json) -> list[Cause]:
    """What a change of this kind may not touch."""
    if (resource.group, resource.kind) != ("", "Pod") or _fixed_spec(live) == _fixed_spec(item):
        return []
    text = "Forbidden: pod updates may not change fields other than `spec.containers[*].image` and a few more"
    return [Cause("FieldValueForbidden", text, "spec")]


def _fixed_spec(pod: Json) -> Json:
    spec = {key: value for key, value in (pod.get("spec") or {}).items() if key not in _LOOSE_POD_FIELDS}
    for name in ("containers", "initContainers"):
        spec[name] = [{key: value for key, value in each.items() if key != "image"} for each in spec.get(name) or []]
    return spec


def _fill_config_map(item: Json) -> Json:
    if not all(isinstance(value, str) for value in (item.get("data") or {}).values()):
        raise bad_request(
            'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal into Go struct '
            "field ConfigMap.data of type string"
        )
    return item


def _fill_lease(item: Json) -> Json:
    spec = item.get("spec") or {}
    times = {name: _micro(spec[name], "Lease") for name in ("acquireTime", "renewTime") if spec.get(name)}
    return item | {"spec": spec | times}


def _fill_event(item: Json) -> Json:
    if not item.get("eventTime"):
        return item
    return item | {"eventTime": _micro(item["eventTime"], "Event")}


def _micro(text: str, kind: str) -> str:
    """A time with microseconds, all six digits: without them the real server refuses the whole object."""
    if not _MICRO.fullmatch(text):
        raise bad_request(
            f'{kind} in version "v1" cannot be handled as a {kind}: parsing time "{text}" as '
            '"2006-01-02T15:04:05.000000Z07:00": cannot parse it'
        )
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _core_event_faults(item: Json) -> Iterator[Cause]:
    regarding = (item.get("involvedObject") or {}).get("namespace", "")
    yield from _event_faults(item, regarding, "reportingComponent")


def _new_event_faults(item: Json) -> Iterator[Cause]:
    regarding = (item.get("regarding") or {}).get("namespace", "")
    if not item.get("eventTime"):
        yield Cause("FieldValueRequired", "Required value", "eventTime")
    if item.get("type") not in {"Normal", "Warning"}:
        text = f'Invalid value: "": has invalid value: {item.get("type", "")}'
        yield Cause("FieldValueInvalid", text, "type")
    yield from _event_faults(item, regarding, "reportingController")


def _event_faults(item: Json, regarding: str, controller: str) -> Iterator[Cause]:
    namespace = item["metadata"].get("namespace", "")
    dated = bool(item.get("eventTime"))
    misplaced = namespace not in (_ANYWHERE if dated else {"default"}) if not regarding else not dated
    if misplaced and regarding != namespace:
        text = f'Invalid value: "{regarding}": does not match event.namespace'
        yield Cause("FieldValueInvalid", text, "involvedObject.namespace")
    if not dated:
        return
    for name in (controller, *_EVENT_LENGTHS):
        if not item.get(name):
            yield Cause("FieldValueRequired", "Required value", name)
    for name, most in {**_EVENT_LENGTHS, "note": _NOTE_LENGTH, "message": _NOTE_LENGTH}.items():
        if len(item.get(name, "")) > most:
            field = "message" if name == "note" else name
            yield Cause("FieldValueInvalid", f'Invalid value: "": can have at most {most} characters', field)


_FILLERS: dict[tuple[str, str], Callable[[Json], Json]] = {
    ("", "ConfigMap"): _fill_config_map,
    ("", "Event"): _fill_event,
    ("", "Namespace"): _fill_namespace,
    ("", "Pod"): _fill_pod,
    ("", "Secret"): _fill_secret,
    ("", "Service"): _fill_service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): definitions.with_defaults,
    ("coordination.k8s.io", "Lease"): _fill_lease,
    ("events.k8s.io", "Event"): _fill_event,
}

_JUDGES: dict[tuple[str, str], Callable[[Json], Iterator[Cause]]] = {
    ("", "ConfigMap"): _config_map_faults,
    ("", "Event"): _core_event_faults,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): lambda item: iter(definitions.faults(item)),
    ("coordination.k8s.io", "Lease"): _lease_faults,
    ("events.k8s.io", "Event"): _new_event_faults,
}

_FIRST_STATUS: dict[tuple[str, str], Callable[[Json, str], Json]] = {
    ("", "Namespace"): lambda _item, _now: {"phase": "Active"},
    ("", "Pod"): lambda _item, _now: {"phase": "Pending", "qosClass": "BestEffort"},
    ("", "Service"): lambda _item, _now: {"loadBalancer": {}},
    ("apiextensions.k8s.io", "CustomResourceDefinition"): definitions.first_status,
}
