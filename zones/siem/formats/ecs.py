"""Elastic Common Schema 9.4: records as documents; what ECS has no field for is under `zonebridge`. Pure.

`docs/siem.md` has the mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zones.siem.values import (
    CONFIGURATION,
    PRODUCT,
    VENDOR,
    VERSION,
    dedotted,
    duration,
    end,
    flat,
    is_v6,
    nested,
    passes,
    protocol_number,
    severity,
    traffic,
)

Json = Mapping[str, Any]
SCHEMA = "9.4.0"
OWN = "zonebridge"
_LEVELS = {"informational": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
_NANOSECONDS = 1_000_000_000
# Fields that have a place in ECS, by their path in the record.
_MAPPED = {
    "time": "@timestamp",
    "id": "event.id",
    "sequence": "event.sequence",
    "cluster": "orchestrator.cluster.name",
    "node": "observer.hostname",
    "message": "message",
    "reason": "event.reason",
    "actor": "user.name",
    "end": "event.end",
    "since": "event.start",
    "bytes": "network.bytes",
    "packets": "network.packets",
    "source.port": "source.port",
    "destination.port": "destination.port",
    "source.zone": "observer.ingress.zone",
    "destination.zone": "observer.egress.zone",
    "rule.name": "rule.name",
    "rule.uuid": "rule.uuid",
    "rule.deviceGroup": "rule.ruleset",
    "rule.rulebase": "rule.category",
    "client.address": "client.ip",
    "client.port": "client.port",
}
# Fields that are told in other words.
_TOLD = frozenset(
    "kind protocol verdict enforced moment severity alert sent.bytes sent.packets received.bytes received.packets "
    "source.address source.natAddress source.natPort "
    "destination.address destination.natAddress destination.natPort".split()
)


def render(record: Json, product: str = PRODUCT) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for path, value in flat(record):
        if path in _MAPPED:
            fields[_MAPPED[path]] = value
        elif path not in _TOLD:
            fields[f"{OWN}.{path}"] = dedotted(value) if path.endswith(".labels") else value
    return nested(fields | _event(record) | _ends(record) | _network(record) | _observer(record, product))


def _event(record: Json) -> dict[str, Any]:
    kind, seconds = record["kind"], duration(record)
    event: dict[str, Any] = {
        "event.kind": "alert" if kind == "alert" else "event",
        "event.module": OWN,
        "event.dataset": f"{OWN}.{kind}",
        "event.code": record.get("alert", kind),
        "event.category": _category(record),
        "event.type": _types(record),
        "event.severity": _LEVELS[severity(record)],
        "log.level": severity(record),
    }
    if kind == "flow":
        event["event.start"] = record["time"]
        event["event.duration"] = None if seconds is None else round(seconds * _NANOSECONDS)
    if "verdict" in record:
        event["event.action"] = record["verdict"] if record.get("enforced", True) else f"would-{record['verdict']}"
        event["event.outcome"] = "success" if passes(record) else "failure"
    return event


def _category(record: Json) -> list[str]:
    if "verdict" in record:
        return ["network"]
    return ["configuration"] if _about_configuration(record) else ["host"]


def _types(record: Json) -> list[str]:
    if "verdict" in record:
        part = {"start": ["start"], "end": ["end"]}.get(record.get("moment", ""), [])
        return ["connection", *part, "allowed" if passes(record) else "denied"]
    return ["change"] if record.get("alert") in CONFIGURATION else ["info"]


def _about_configuration(record: Json) -> bool:
    """A checkpoint says which configuration is in force."""
    return record["kind"] == "checkpoint" or record["alert"] in CONFIGURATION


def _ends(record: Json) -> dict[str, Any]:
    """ECS, like a firewall, has the address that was dialled, and under `nat` what it was translated to."""
    source, destination, counts = end(record, "source"), end(record, "destination"), traffic(record)
    dialled = destination.get("natAddress", destination.get("address"))
    fields = {
        "source.ip": source.get("address"),
        "source.address": source.get("address"),
        "source.bytes": counts.get("bytesOut"),
        "source.packets": counts.get("packetsOut"),
        "source.nat.ip": source.get("natAddress"),
        "source.nat.port": source.get("natPort"),
        "destination.ip": dialled,
        "destination.address": dialled,
        "destination.bytes": counts.get("bytesIn"),
        "destination.packets": counts.get("packetsIn"),
        "related.ip": _addresses(record),
        "related.hosts": sorted({side["pod"] for side in (source, destination) if "pod" in side}),
    }
    if "natAddress" in destination:
        fields["destination.nat.ip"] = destination["address"]
        fields["destination.nat.port"] = destination.get("port")
        fields["destination.port"] = destination.get("natPort", destination.get("port"))
    return fields


def _addresses(record: Json) -> list[str]:
    sides = (end(record, "source"), end(record, "destination"), end(record, "client"))
    return sorted({side[name] for side in sides for name in ("address", "natAddress") if name in side})


def _network(record: Json) -> dict[str, Any]:
    if "protocol" not in record:
        return {}
    number, name = protocol_number(record), record["protocol"]
    return {
        "network.transport": {"icmp6": "ipv6-icmp"}.get(name, name),
        "network.iana_number": None if number is None else str(number),
        "network.type": "ipv6" if is_v6(end(record, "source").get("address", "")) else "ipv4",
        "network.direction": _direction(end(record, "source"), end(record, "destination")),
    }


def _direction(source: Json, destination: Json) -> str:
    """As the cluster's perimeter sees it."""
    inside = ("node" in source, "node" in destination)
    return {(True, True): "internal", (False, True): "inbound", (True, False): "outbound"}.get(inside, "external")


def _observer(record: Json, product: str) -> dict[str, Any]:
    return {
        "ecs.version": SCHEMA,
        "observer.name": record["node"],
        "observer.vendor": VENDOR,
        "observer.product": product,
        "observer.version": VERSION,
        "observer.type": "firewall",
        "orchestrator.type": "kubernetes",
    }
