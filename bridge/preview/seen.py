"""Connections that were really seen, under a candidate: out of the enforcers' records (docs/records.md). Pure.

Records of one pair of ends, protocol and server's port are one flow. A connection has one record of its start and one
of its end, as far as its rule logs them, so the more frequent of both says how many there were.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from bridge.preview.model import LoggedEnd, LoggedFlow, SeenChange, SeenEffect
from zones.difference import Difference
from zones.net import ICMP, ICMP6, PROTOCOLS_WITH_PORTS, protocol_number
from zones.runtime.errors import InputError
from zones.seen import COUNTING, SEEN
from zones.verdict import Endpoint, Flow
from zones.workload import normalise

Json = Mapping[str, Any]
MOST_FLOWS = 1_000_000
_PROTOCOL_LAST = 255
_Key = tuple[LoggedEnd, LoggedEnd, int, int | None, int | None]


@dataclass(frozen=True, slots=True)
class LoggedFlows:
    """What was seen. `unread`: lines that are no record of a flow that can be judged; `nodes`: those that told."""

    flows: tuple[LoggedFlow, ...]
    unread: int = 0
    nodes: tuple[str, ...] = ()


@dataclass(slots=True)
class _CountedFlow:
    source_port: int | None
    first: datetime
    last: datetime
    starts: int = 0
    ends: int = 0


@dataclass(slots=True)
class _RecordReading:
    flows: dict[_Key, _CountedFlow] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)
    unread: int = 0


def read_records(lines: Iterable[str], nodes_zone: str, option: str) -> LoggedFlows:
    """The flows in JSON lines; alerts are passed over, and so are records of packets of the reply.

    `nodes_zone`: the zone of nodes. Raises InputError where there are too many flows to compare.
    """
    reading = _RecordReading()
    for line in lines:
        if line.strip():
            _read(line, nodes_zone, reading)
            if len(reading.flows) > MOST_FLOWS:
                raise InputError(f"{option}: it has more than {MOST_FLOWS} different flows; give a part of it")
    flows = tuple(
        LoggedFlow(*key, max(flow.starts, flow.ends), flow.first, flow.last, flow.source_port)
        for key, flow in reading.flows.items()
    )
    return LoggedFlows(flows, reading.unread, tuple(sorted(reading.nodes)))


def are_counted(lines: Iterable[str]) -> bool:
    """Whether records are those of what nodes counted, and not of single connections: as the first one of both says."""
    for line in lines:
        try:
            record = json.loads(line)
            kind = record.get("event", record).get("kind")
        except (ValueError, AttributeError, RecursionError):
            continue
        if kind in {SEEN, COUNTING, "flow"}:
            return bool(kind != "flow")
    return False


def effect(flows: Difference, seen: LoggedFlows) -> SeenEffect:
    """What the candidate does to what was seen, most connections first."""
    changes = [
        SeenChange(flow, piece)
        for flow in seen.flows
        for piece in flows.between(flow.source.zone, flow.destination.zone)
        if any(piece.holds(_flow(flow), moment) for moment in piece.box.moments)
    ]
    changes.sort(key=lambda change: (-change.flow.connections, change.flow.source.zone, change.flow.destination.zone))
    return SeenEffect(
        flows=len(seen.flows),
        connections=sum(flow.connections for flow in seen.flows),
        since=min((flow.first for flow in seen.flows), default=None),
        until=max((flow.last for flow in seen.flows), default=None),
        changes=tuple(changes),
        unread=seen.unread,
        nodes=seen.nodes,
    )


def _flow(seen: LoggedFlow) -> Flow:
    ends = _endpoint(seen.source), _endpoint(seen.destination)
    return Flow(*ends, seen.protocol, seen.port, seen.source_port, seen.icmp_type)


def _endpoint(end: LoggedEnd) -> Endpoint:
    address = end.address if isinstance(end.address, IPv4Address | IPv6Address) else None
    return Endpoint(end.zone, address, end.workload, end.namespace, end.node, is_node=end.is_node)


def _read(line: str, nodes_zone: str, reading: _RecordReading) -> None:
    try:
        record = json.loads(line)
        if record.get("kind") == "alert" or record.get("direction") == "reply":
            return
        key, counted = _record(record, nodes_zone)
        node = record.get("node")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        reading.unread += 1
        return
    before = reading.flows.setdefault(key, counted)
    before.first, before.last = min(before.first, counted.first), max(before.last, counted.last)
    if record.get("moment") == "end":
        before.ends += 1
    else:
        before.starts += 1
    if isinstance(node, str):
        reading.nodes.add(node)


def _record(record: Json, nodes_zone: str) -> tuple[_Key, _CountedFlow]:
    """Raises ValueError, KeyError and TypeError where it is no flow record."""
    protocol = protocol_number(str(record["protocol"]))
    if not 0 <= protocol <= _PROTOCOL_LAST:
        raise ValueError("it is no protocol of IP")
    source, destination = record["source"], record["destination"]
    has_ports = protocol in PROTOCOLS_WITH_PORTS
    kind = record.get("icmpType") if protocol in {ICMP, ICMP6} else None
    first, last = _time(record["time"]), _time(record.get("end") or record["time"])
    ends = _end(source, nodes_zone), _end(destination, nodes_zone)
    key = *ends, protocol, int(destination["port"]) if has_ports else None, None if kind is None else int(kind)
    return key, _CountedFlow(int(source["port"]) if has_ports else None, first, max(first, last))


def _end(end: Json, nodes_zone: str) -> LoggedEnd:
    zone, namespace = str(end["zone"]), str(end.get("namespace") or "")
    return LoggedEnd(
        zone,
        ip_address(end["address"]),
        namespace,
        normalise(str(end.get("workload") or "")),
        str(end.get("node") or ""),
        is_node=not namespace and zone == nodes_zone,
    )


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time
