"""The canonical form of a policy's parts: plain JSON values, the same for equal parts, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, time
from functools import lru_cache
from ipaddress import ip_network
from sys import intern
from typing import Any

from zones.net import ALL_PORTS, ANY_ADDRESS, AddressSet, Ranges, parse_ports, protocol_name, protocol_number
from zones.policy import ANY_TRAFFIC, NO_BLOCKLISTS, Blocklists, Entry, InfrastructureRule, Peer, Traffic, Verdict
from zones.rules import Log, Origin, RuleType
from zones.schedule import Absolute, Schedule, Weekly
from zones.zone import Entitlement, Zoning

Json = dict[str, Any]
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def text(value: object) -> str:
    """A JSON value's canonical text: sorted keys, no spaces."""
    return _encode(value)


def digest(value: object) -> str:
    """The SHA-256 of a JSON value's canonical text, in hexadecimal."""
    return digest_of_text(text(value))


def digest_of_text(canonical_text: str) -> str:
    return hashlib.sha256(canonical_text.encode()).hexdigest()


def _without_defaults(**fields: object) -> Json:
    return {name: value for name, value in fields.items() if value not in (None, False, "", [], {})}


def origin_json(origin: Origin) -> Json:
    return _without_defaults(
        name=origin.name, uuid=origin.uuid, rulebase=origin.rulebase, deviceGroup=origin.device_group
    )


def origin_of(value: Json) -> Origin:
    return Origin(value["name"], value.get("uuid"), intern(value["rulebase"]), intern(value.get("deviceGroup", "")))


def log_json(log: Log) -> Json:
    return _without_defaults(start=log.start, end=log.end, profile=log.profile)


def log_of(value: Json) -> Log:
    return _log(value.get("start", False), value.get("end", False), value.get("profile"))


def blocklists_json(blocklists: Blocklists) -> Json:
    return _without_defaults(
        sources=list(blocklists.sources), destinations=list(blocklists.destinations), mixed=blocklists.mixed
    )


def blocklists_of(value: Json) -> Blocklists:
    if not value:
        return NO_BLOCKLISTS
    return Blocklists(tuple(value.get("sources", ())), tuple(value.get("destinations", ())), value.get("mixed", False))


def traffic_json(traffic: Traffic) -> Json:
    return _without_defaults(
        protocol=None if traffic.protocol is None else protocol_name(traffic.protocol),
        ports=None if traffic.ports == ALL_PORTS else str(traffic.ports),
        sourcePorts=None if traffic.source_ports == ALL_PORTS else str(traffic.source_ports),
        sourceWorkload=traffic.source_workload,
        destinationWorkload=traffic.destination_workload,
    ) | ({} if traffic.icmp_type is None else {"icmpType": traffic.icmp_type})


def traffic_of(value: Json) -> Traffic:
    return Traffic(
        protocol=protocol_number(value["protocol"]) if "protocol" in value else None,
        ports=_ports(value.get("ports")),
        source_ports=_ports(value.get("sourcePorts")),
        icmp_type=value.get("icmpType"),
        source_workload=value.get("sourceWorkload"),
        destination_workload=value.get("destinationWorkload"),
    )


def _ports(ports: str | None) -> Ranges:
    return ALL_PORTS if ports is None else parse_ports(ports)


def _many_traffic_json(traffic: tuple[Traffic, ...]) -> list[Json]:
    return [] if traffic == ANY_TRAFFIC else [traffic_json(item) for item in traffic]


def _many_traffic_of(value: Iterable[Json] | None) -> tuple[Traffic, ...]:
    return ANY_TRAFFIC if not value else tuple(traffic_of(item) for item in value)


def schedule_json(schedule: Schedule) -> Json:
    return {
        "name": schedule.name,
        "timeZone": schedule.time_zone,
        "windows": [_window_json(window) for window in schedule.windows],
    }


def _window_json(window: Absolute | Weekly) -> Json:
    ends = {"start": window.start.isoformat(timespec="minutes"), "end": window.end.isoformat(timespec="minutes")}
    return ends | ({"day": window.day} if isinstance(window, Weekly) else {})


def schedule_of(value: Json) -> Schedule:
    return Schedule(value["name"], tuple(_window_of(window) for window in value["windows"]), value["timeZone"])


def _window_of(value: Json) -> Absolute | Weekly:
    if "day" in value:
        return Weekly(value["day"], time.fromisoformat(value["start"]), time.fromisoformat(value["end"]))
    return Absolute(datetime.fromisoformat(value["start"]), datetime.fromisoformat(value["end"]))


def entry_json(entry: Entry, sources: Json | None, destinations: Json | None) -> Json:
    """An entry; how its address sets are told is the caller's, as they may stand elsewhere. None is any."""
    return _without_defaults(
        rule=origin_json(entry.origin),
        verdict=entry.verdict.value,
        pairing=None if entry.pairing is RuleType.UNIVERSAL else entry.pairing.value,
        sources=sources,
        destinations=destinations,
        traffic=_many_traffic_json(entry.traffic),
        schedule=None if entry.schedule is None else schedule_json(entry.schedule),
        log=log_json(entry.log),
        feeds=list(entry.feeds),
        blocklists=blocklists_json(entry.blocklists),
        expected=entry.expected,
    ) | _zones_json({"from": entry.from_zones, "to": entry.to_zones})


def _zones_json(sides: Mapping[str, frozenset[str] | None]) -> Json:
    """No key is any zone, so an empty list must stay: it is no zone."""
    return {name: sorted(zones) for name, zones in sides.items() if zones is not None}


def entry_of(value: Json, sources: AddressSet = ANY_ADDRESS, destinations: AddressSet = ANY_ADDRESS) -> Entry:
    return Entry(
        origin=origin_of(value["rule"]),
        verdict=Verdict(value["verdict"]),
        pairing=RuleType(value.get("pairing", RuleType.UNIVERSAL)),
        from_zones=_names(value.get("from")),
        to_zones=_names(value.get("to")),
        sources=sources,
        destinations=destinations,
        traffic=_many_traffic_of(value.get("traffic")),
        schedule=schedule_of(value["schedule"]) if "schedule" in value else None,
        log=log_of(value.get("log", {})),
        feeds=tuple(value.get("feeds", ())),
        blocklists=blocklists_of(value.get("blocklists", {})),
        expected=value.get("expected", False),
    )


def _names(value: list[str] | None) -> frozenset[str] | None:
    return None if value is None else _shared(tuple(value))


# One object for all rules that say the same: together they would take more room than all else that rules say.
_shared = lru_cache(4096)(frozenset[str])
_log = lru_cache(4096)(Log)


def infrastructure_json(rule: InfrastructureRule) -> Json:
    return _without_defaults(
        name=rule.name,
        source=_peer_json(rule.source),
        destination=_peer_json(rule.destination),
        traffic=_many_traffic_json(rule.traffic),
        ownNode=rule.own_node,
        log=log_json(rule.log),
    )


def infrastructure_of(value: Json) -> InfrastructureRule:
    return InfrastructureRule(
        name=value["name"],
        source=_peer_of(value.get("source", {})),
        destination=_peer_of(value.get("destination", {})),
        traffic=_many_traffic_of(value.get("traffic")),
        own_node=value.get("ownNode", False),
        log=log_of(value.get("log", {})),
    )


def _peer_json(peer: Peer) -> Json:
    who = _without_defaults(nodes=peer.nodes) | _zones_json(
        {"nodeNames": peer.node_names, "namespaces": peer.namespaces, "workloads": peer.workloads}
    )
    return who if peer.addresses == ANY_ADDRESS else who | {"addresses": list(peer.addresses.prefixes)}


def _peer_of(value: Json) -> Peer:
    return Peer(
        value.get("nodes", False),
        _names(value.get("namespaces")),
        _names(value.get("workloads")),
        AddressSet.parse(value["addresses"]) if "addresses" in value else ANY_ADDRESS,
        _names(value.get("nodeNames")),
    )


def zoning_json(zoning: Zoning) -> Json:
    return {
        "labelKey": zoning.label_key,
        "default": zoning.default,
        "nodes": zoning.nodes,
        "outside": zoning.outside,
        "networks": [{"cidr": str(network), "zone": zone} for network, zone in zoning.networks],
        "entitlement": zoning.entitlement.value,
    }


def zoning_of(value: Json) -> Zoning:
    networks = tuple((ip_network(network["cidr"]), network["zone"]) for network in value.get("networks", ()))
    entitlement = Entitlement(value["entitlement"])
    return Zoning(value["labelKey"], value["default"], value["nodes"], value["outside"], networks, entitlement)
