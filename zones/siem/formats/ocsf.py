"""OCSF 1.8, and older versions: flows are Network Activities (4001), alerts Detection Findings (2004). Pure.

A checkpoint is a Base Event (0): no class is about the configuration that a firewall has in force.

`docs/siem.md` has the mapping; what the schema has no place for is under `unmapped`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zones.siem.values import (
    PRODUCT,
    VENDOR,
    VERSION,
    dedotted,
    duration,
    end,
    flat,
    is_v6,
    millis,
    nested,
    protocol_number,
    severity,
    traffic,
)

Json = Mapping[str, Any]
SCHEMA = "1.8.0"
# Where things came to be in the schema, as its minor versions.
_ALERTS_POLICIES_AND_OBSERVING, _TOTALS = 4, 7
_UNCATEGORIZED, _FINDINGS, _NETWORK = 0, 2, 4
_BASE_EVENT, _DETECTION_FINDING, _NETWORK_ACTIVITY = 0, 2004, 4001
_SEVERITIES = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
_OPEN, _CLOSE, _RESET, _REFUSE = 1, 2, 3, 5
_ALLOWED, _DENIED, _OBSERVED, _OTHER, _NONE = 1, 2, 3, 99, 0
_DISPOSITIONS = {"allow": 1, "deny": 6, "reset": 25}
_LOGGED = 17
_STATES = {"raised": (1, 1), "counted": (2, 2), "resolved": (3, 4)}  # activity: create, update, close; status
_RULE_ANALYTIC, _SERVER, _VIRTUAL = 1, 1, 6
_INBOUND, _OUTBOUND, _LATERAL, _UNKNOWN = 1, 2, 3, 0
_ENDPOINT = frozenset({"address", "port", "zone", "pod", "workload", "natAddress", "natPort"})
_HOME = frozenset(
    "kind id time cluster node sequence protocol verdict rule.name rule.uuid rule.rulebase rule.deviceGroup "
    "tier revision packets bytes sent.packets sent.bytes received.packets received.bytes end moment alert severity "
    "message count since reason actor".split()
)


def render(record: Json, product: str = PRODUCT) -> dict[str, Any]:
    event = {"flow": _activity, "alert": _finding}.get(record["kind"], _base_event)(record)
    return nested(_common(record, product) | event | {"unmapped": _unmapped(record)})


def render_as(version: str, product: str = PRODUCT) -> Callable[[Json], dict[str, Any]]:
    """For consumers of an older schema, such as `1.1`: what it has no place for is under `unmapped`."""
    minor = int(version.removeprefix("1."))
    return lambda record: _as_of(minor, render(record, product))


def _as_of(minor: int, event: dict[str, Any]) -> dict[str, Any]:
    event["metadata"]["version"] = f"1.{minor}.0"
    if minor < _TOTALS and "cumulative_traffic" in event:
        event["traffic"] = event.pop("cumulative_traffic")
    if minor < _ALERTS_POLICIES_AND_OBSERVING:
        event.pop("is_alert", None)
        if "policy" in event:
            event["unmapped"] = event.get("unmapped", {}) | {"policy": event.pop("policy")}
        if event["class_uid"] == _BASE_EVENT:  # which has no device then
            event["unmapped"]["device"] = event.pop("device")
        elif event.setdefault("action_id", _NONE) == _OBSERVED:
            event |= {"action_id": _OTHER, "action": "Observed"}
    return event


def _common(record: Json, product: str) -> dict[str, Any]:
    """What all classes say."""
    return (
        {
            "metadata.version": SCHEMA,
            "metadata.profiles": ["host", "security_control"],
            "metadata.product.name": product,
            "metadata.product.vendor_name": VENDOR,
            "metadata.product.version": VERSION,
            "metadata.uid": record["id"],
            "metadata.sequence": record["sequence"],
            "metadata.original_time": record["time"],
            "metadata.log_provider": record["cluster"],
            "metadata.event_code": record.get("alert", record["kind"]),
            "time": millis(record),
            "severity_id": _SEVERITIES[severity(record)],
            "device.name": record["node"],
            "device.hostname": record["node"],
            "device.type_id": _SERVER,
            "message": record.get("message"),
            "status_detail": record.get("reason"),
            "firewall_rule.name": record.get("rule", {}).get("name"),
            "firewall_rule.uid": record.get("rule", {}).get("uuid"),
            "firewall_rule.category": record.get("rule", {}).get("rulebase"),
        }
        | _policy(record)
        | _control(record)
    )


def _policy(record: Json) -> dict[str, Any]:
    """The tier; without its name the schema wants nothing of it."""
    if "tier" not in record:
        return {}
    return {
        "policy.name": record["tier"],
        "policy.version": str(record["revision"]) if "revision" in record else None,
        "policy.group.name": record.get("rule", {}).get("deviceGroup"),
    }


def _control(record: Json) -> dict[str, Any]:
    """What the firewall did."""
    verdict = record.get("verdict")
    if verdict is None:
        return {}
    if not record.get("enforced", True):
        return {"action_id": _OBSERVED, "disposition_id": _LOGGED}
    return {"action_id": _ALLOWED if verdict == "allow" else _DENIED, "disposition_id": _DISPOSITIONS[verdict]}


def _activity(record: Json) -> dict[str, Any]:
    activity = _activity_id(record)
    seconds = duration(record)
    totals = "cumulative_traffic" if record.get("moment") == "end" else "traffic"
    counts = {f"{totals}.{_snake(name)}": count for name, count in traffic(record).items()}
    return {
        "category_uid": _NETWORK,
        "class_uid": _NETWORK_ACTIVITY,
        "activity_id": activity,
        "type_uid": _NETWORK_ACTIVITY * 100 + activity,
        "start_time": millis(record),
        "end_time": millis(record, "end"),
        "duration": None if seconds is None else round(seconds * 1000),
        "src_endpoint": _endpoint(end(record, "source")),
        "dst_endpoint": _endpoint(end(record, "destination")),
        "connection_info": _connection(record),
    } | counts


def _activity_id(record: Json) -> int:
    if record.get("verdict") == "allow" or not record.get("enforced", True):
        return _CLOSE if record.get("moment") == "end" else _OPEN
    return _RESET if record["verdict"] == "reset" else _REFUSE


def _finding(record: Json) -> dict[str, Any]:
    activity, status = _STATES[record["state"]]
    title = record["alert"].replace("-", " ").capitalize()
    return {
        "category_uid": _FINDINGS,
        "class_uid": _DETECTION_FINDING,
        "activity_id": activity,
        "type_uid": _DETECTION_FINDING * 100 + activity,
        "status_id": status,
        "is_alert": True,
        "count": record.get("count"),
        "start_time": millis(record, "since"),
        "finding_info.uid": _finding_uid(record),
        "finding_info.title": title,
        "finding_info.desc": record.get("message"),
        "finding_info.types": [record["alert"]],
        "finding_info.first_seen_time": millis(record, "since"),
        "finding_info.last_seen_time": millis(record),
        "finding_info.analytic.name": record["alert"],
        "finding_info.analytic.type_id": _RULE_ANALYTIC,
        "evidences": _evidences(record),
    }


def _base_event(record: Json) -> dict[str, Any]:
    return {
        "category_uid": _UNCATEGORIZED,
        "class_uid": _BASE_EVENT,
        "activity_id": _OTHER,
        "activity_name": record["kind"].capitalize(),
        "type_uid": _BASE_EVENT * 100 + _OTHER,
    }


def _finding_uid(record: Json) -> str:
    """The same while a finding is raised, counted and resolved."""
    parts = [record["cluster"], record["node"], record["alert"], record.get("subject")]
    for side in (end(record, "source"), end(record, "destination")):
        parts += [side.get("zone"), side.get("namespace"), side.get("workload") or side.get("address")]
    parts += [end(record, "destination").get("port"), record.get("protocol"), record.get("rule", {}).get("name")]
    return "/".join(str(part) for part in parts if part is not None)


def _evidences(record: Json) -> list[dict[str, Any]]:
    evidence = nested(
        {
            "src_endpoint": _endpoint(end(record, "source")),
            "dst_endpoint": _endpoint(end(record, "destination")),
            "connection_info": _connection(record) if "protocol" in record else None,
            "actor.user.name": record.get("actor"),
        }
    )
    return [evidence] if evidence else []


def _endpoint(side: Json) -> dict[str, Any] | None:
    """An end as the schema knows it. A zone alone names nobody: then the zone is the name too."""
    if not side:
        return None
    pod = side.get("pod")
    return nested(
        {
            "ip": side.get("address"),
            "port": side.get("port"),
            "zone": side.get("zone"),
            "name": pod or side.get("node") or (None if "address" in side else side.get("zone")),
            "svc_name": side.get("workload"),
            "type_id": _VIRTUAL if pod else None,
            "proxy_endpoint.ip": side.get("natAddress"),
            "proxy_endpoint.port": side.get("natPort"),
        }
    )


def _connection(record: Json) -> dict[str, Any]:
    address = end(record, "source").get("address", "")
    return nested(
        {
            "direction_id": _direction(end(record, "source"), end(record, "destination")),
            "protocol_num": protocol_number(record),
            "protocol_name": record.get("protocol"),
            "protocol_ver_id": None if not address else 6 if is_v6(address) else 4,
        }
    )


def _direction(source: Json, destination: Json) -> int:
    """As the cluster sees it: a node counts as inside."""
    inside = ("node" in source, "node" in destination)
    return {(True, True): _LATERAL, (False, True): _INBOUND, (True, False): _OUTBOUND}.get(inside, _UNKNOWN)


def _unmapped(record: Json) -> dict[str, Any]:
    return nested(
        {
            path: dedotted(value) if path.endswith(".labels") else value
            for path, value in flat(record)
            if not _has_place(record, path)
        }
    )


def _has_place(record: Json, path: str) -> bool:
    side, _, name = path.partition(".")
    if side in {"source", "destination"}:
        return name in _ENDPOINT or (name == "node" and "pod" not in end(record, side))
    if path == "moment":
        return _tells_moment(record)
    if path in {"rule.deviceGroup", "revision"}:
        return "tier" in record
    return path in _HOME


def _tells_moment(record: Json) -> bool:
    """Whether the activity says it already."""
    return record["kind"] == "flow" and _activity_id(record) in {_OPEN, _CLOSE}


def _snake(name: str) -> str:
    return {"bytesOut": "bytes_out", "bytesIn": "bytes_in", "packetsOut": "packets_out", "packetsIn": "packets_in"}.get(
        name, name
    )
