"""A preview as JSON values. Pure; docs/preview.md tells the shape, keys of which are only ever added."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bridge.compilation.report import origin_json, refusal_lines
from bridge.managers import Editor
from bridge.preview.gate import counted
from bridge.preview.model import (
    Configuration,
    LoggedEnd,
    LoggedFlow,
    ObjectChange,
    Preview,
    RuleChange,
    SeenChange,
    Violation,
    Workload,
    WorkloadChange,
)
from bridge.preview.wording import schedules_in, traffic_text, windows_text
from zones.difference import (
    EVERY_ICMP_TYPE,
    EVERY_NAME,
    EVERY_PROTOCOL,
    Box,
    FlowJudgement,
    NameSet,
    Piece,
    ScheduleMoment,
    ZoneChange,
)
from zones.net import ALL_PORTS, protocol_name
from zones.problems import RuleReport
from zones.rule_wording import l4_text
from zones.schedule import Schedule

Json = dict[str, Any]


def preview_json(preview: Preview, most: int | None = None) -> Json:
    """The whole preview, or at most so many rows of each list; `truncated` says how many are left out of which."""
    flows = preview.flows
    moments = () if flows is None else flows.moments
    zones = () if flows is None else flows.zones
    lists: dict[str, Sequence[Any]] = {
        "rules": preview.rules,
        "objects": preview.objects,
        "changes": [(change, piece) for change in zones for piece in change.pieces],
        "violations": preview.violations,
    }
    if preview.projection is not None:
        lists |= {"workloads": preview.projection.changes, "pods": preview.projection.moves}
    if preview.seen is not None:
        lists["seen"] = preview.seen.changes
    shown = {name: rows[:most] for name, rows in lists.items()}
    closed, opened = counted(preview)
    return {
        "running": _configuration_json(preview.running),
        "candidate": _configuration_json(preview.candidate) | {"admins": list(map(_editor, preview.candidate.editors))},
        "at": _time(preview.at),
        "refused": preview.refused,
        "refusals": list(refusal_lines(preview.candidate.compiled)),
        "running_refused": preview.running_refused,
        "summary": {"rules": len(preview.rules), "zone_pairs_closed": closed, "zone_pairs_opened": opened}
        | _figures(preview),
        "rules": [_rule_json(change) for change in shown["rules"]],
        "objects": [_object_json(change) for change in shown["objects"]],
        "zones": {"known": list(preview.known), "unknown": list(preview.unknown)},
        "changes": [_piece_json(change, piece, moments) for change, piece in shown["changes"]],
        "workloads": [_workload_json(change, moments) for change in shown.get("workloads", ())],
        "pods": [
            {"namespace": move.namespace, "pod": move.pod, "old_zone": move.old_zone, "new_zone": move.new_zone}
            for move in shown.get("pods", ())
        ],
        "seen": [_seen_json(change, moments) for change in shown.get("seen", ())],
        "violations": [violation_json(violation) for violation in shown["violations"]],
        "coverage": _coverage(preview),
        "truncated": {
            name: len(rows) - len(shown[name]) for name, rows in lists.items() if len(shown[name]) < len(rows)
        },
    }


def _configuration_json(configuration: Configuration) -> Json:
    return {"version": configuration.version or None}


def _editor(editor: Editor) -> Json:
    return {
        "admin": editor.admin,
        "changes": editor.changes,
        "locks": list(editor.locks),
    }


def _figures(preview: Preview) -> Json:
    """Null where it was not asked for."""
    projection, seen = preview.projection, preview.seen
    return {
        "objects": len(preview.objects),
        "workload_pairs": None if projection is None else sum(change.pairs for change in projection.changes),
        "seen_denied": None if seen is None else sum(flow.connections for flow in seen.denied),
        "violations": len(preview.violations),
        "new_violations": sum(not violation.existing for violation in preview.violations),
    }


def _coverage(preview: Preview) -> Json:
    projection, seen = preview.projection, preview.seen
    return {
        "pods": None if projection is None else projection.pods,
        "workloads": None if projection is None else projection.workloads,
        "flows": None if seen is None else seen.flows,
        "connections": None if seen is None else seen.connections,
        "since": None if seen is None or seen.since is None else _time(seen.since),
        "until": None if seen is None or seen.until is None else _time(seen.until),
        "nodes": None if seen is None else list(seen.nodes),
        "unread": None if seen is None else seen.unread,
        "missing": None if seen is None else seen.missing,
    }


def _rule_json(change: RuleChange) -> Json:
    return {**origin_json(change.origin), "change": change.change.value, "old": _of(change.old), "new": _of(change.new)}


def _of(report: RuleReport | None) -> Json | None:
    if report is None:
        return None
    return {"action": report.action, "status": report.status.value, "reasons": list(report.reasons)}


def _object_json(change: ObjectChange) -> Json:
    return {
        "kind": change.kind,
        "name": change.name,
        "gained": list(change.gained),
        "lost": list(change.lost),
        "rules": [origin_json(origin) for origin in change.rules],
    }


def _piece_json(change: ZoneChange, piece: Piece, moments: Sequence[ScheduleMoment]) -> Json:
    return {
        "from": change.from_zone,
        "to": change.to_zone,
        "intrazone": change.intrazone,
        **_box_json(piece.box),
        "when": _when(piece.box, moments),
        "old": _judgement_json(piece.old),
        "new": _judgement_json(piece.new),
        "unless": [rule.origin.name for rule in piece.unless],
    }


def _box_json(box: Box) -> Json:
    return {
        "source": list(box.sources.prefixes),
        "destination": list(box.destinations.prefixes),
        "source_workload": _names_json(box.source_workloads),
        "workload": _names_json(box.destination_workloads),
        "source_namespace": _names_json(box.source_namespaces),
        "namespace": _names_json(box.destination_namespaces),
        "traffic": traffic_text(box),
        "protocols": None if box.protocols == EVERY_PROTOCOL else str(box.protocols),
        "ports": None if box.ports == ALL_PORTS else str(box.ports),
        "source_ports": None if box.source_ports == ALL_PORTS else str(box.source_ports),
        "icmp_types": None if box.icmp_types == EVERY_ICMP_TYPE else str(box.icmp_types),
    }


def _workload_json(change: WorkloadChange, moments: Sequence[ScheduleMoment]) -> Json:
    piece = change.piece
    return {
        "from": change.from_zone,
        "to": change.to_zone,
        "sources": list(map(_workload, change.sources)),
        "destinations": list(map(_workload, change.destinations)),
        "pairs": change.pairs,
        **_box_json(piece.box),
        "when": _when(piece.box, moments),
        "old": _judgement_json(piece.old),
        "new": _judgement_json(piece.new),
        "unless": [rule.origin.name for rule in piece.unless],
    }


def _workload(workload: Workload) -> Json:
    return {"namespace": workload.namespace or None, "workload": workload.name or None, "pods": workload.pods}


def _seen_json(change: SeenChange, moments: Sequence[ScheduleMoment]) -> Json:
    flow = change.flow
    return {
        "from": _end_json(flow.source),
        "to": _end_json(flow.destination),
        "protocol": protocol_name(flow.protocol),
        "port": flow.port,
        "icmp_type": flow.icmp_type,
        "connections": flow.connections,
        "first": _time(flow.first),
        "last": _time(flow.last),
        "when": _when(change.piece.box, moments),
        "old": _judgement_json(change.piece.old),
        "new": _judgement_json(change.piece.new),
        "depends": list(change.depends),
    }


def seen_flow_json(flow: LoggedFlow) -> Json:
    """One flow that was seen, without what becomes of it."""
    return {
        "from": _end_json(flow.source),
        "to": _end_json(flow.destination),
        "protocol": protocol_name(flow.protocol),
        "port": flow.port,
        "connections": flow.connections,
    }


def _end_json(end: LoggedEnd) -> Json:
    return {
        "zone": end.zone,
        "namespace": end.namespace or None,
        "workload": end.workload or None,
        "address": None if end.address is None else str(end.address),
    }


def violation_json(violation: Violation) -> Json:
    rail = violation.rail
    return {
        "from": rail.from_zone,
        "to": rail.to_zone,
        "allow": list(map(l4_text, rail.allowed)) or "never",
        "rule": origin_json(violation.rule),
        "existing": violation.existing,
        **_box_json(violation.box),
    }


def _names_json(names: NameSet) -> Json | None:
    if names == EVERY_NAME:
        return None
    return {"all_but" if names.all_but else "in": sorted(names.names)}


def _when(box: Box, moments: Sequence[ScheduleMoment]) -> list[Json]:
    if len(box.moments) == len(moments):
        return []
    schedules = schedules_in(moments)
    return [_moment_json(moments[at], schedules) for at in sorted(box.moments)]


def _moment_json(moment: ScheduleMoment, schedules: Sequence[Schedule]) -> Json:
    return {
        "active": sorted(schedule.name for schedule in moment.active),
        "first": moment.at.isoformat(),
        "schedules": [
            {"name": schedule.name, "windows": windows_text(schedule), "active": schedule in moment.active}
            for schedule in schedules
        ],
    }


def _judgement_json(judgement: FlowJudgement) -> Json:
    return {"verdict": judgement.verdict.value, "rule": origin_json(judgement.origin)}


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
