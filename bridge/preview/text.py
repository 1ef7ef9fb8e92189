"""A preview as JSON values, and as lines for a terminal. Pure; docs/preview.md tells the JSON's shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bridge.output import table_text
from bridge.preview.comparison import Preview, RuleChange
from bridge.preview.gate import counted
from bridge.report import origin_json, refusal_lines
from zones.difference import (
    EVERY_ICMP_TYPE,
    EVERY_NAME,
    EVERY_PROTOCOL,
    Box,
    Judgement,
    Moment,
    Names,
    Piece,
    ZoneChange,
)
from zones.net import ALL_PORTS, ANY_ADDRESS, ICMP, ICMP6, PROTOCOLS_WITH_PORTS, AddressSet, protocol_name
from zones.problems import RuleReport
from zones.rules import L4
from zones.wording import l4_text

Json = dict[str, Any]
RULE_COLUMNS = ("CHANGE", "RULE", "BEFORE", "AFTER")
FLOW_COLUMNS = ("FROM", "TO", "SOURCE", "DESTINATION", "TRAFFIC", "BEFORE", "AFTER")
ANY_OTHER_ZONE = "any other zone"
_MOST_PREFIXES = 5


def preview_json(preview: Preview) -> Json:
    """The whole preview. Keys are only ever added."""
    flows = preview.flows
    closed, opened = counted(preview)
    return {
        "refused": preview.refused,
        "refusals": list(refusal_lines(preview.candidate)),
        "running_refused": preview.running.policy is None,
        "summary": {"rules": len(preview.rules), "zone_pairs_closed": closed, "zone_pairs_opened": opened},
        "rules": [_rule_json(change) for change in preview.rules],
        "changes": []
        if flows is None
        else [_piece_json(change, piece, flows.moments) for change in flows.zones for piece in change.pieces],
    }


def _rule_json(change: RuleChange) -> Json:
    return {**origin_json(change.origin), "change": change.change.value, "old": _of(change.old), "new": _of(change.new)}


def _of(report: RuleReport | None) -> Json | None:
    if report is None:
        return None
    return {"action": report.action, "status": report.status.value, "reasons": list(report.reasons)}


def _piece_json(change: ZoneChange, piece: Piece, moments: Sequence[Moment]) -> Json:
    box = piece.box
    return {
        "from": change.from_zone,
        "to": change.to_zone,
        "intrazone": change.intrazone,
        "source": list(box.sources.prefixes),
        "destination": list(box.destinations.prefixes),
        "source_workload": _names_json(box.source_workloads),
        "workload": _names_json(box.destination_workloads),
        "source_namespace": _names_json(box.source_namespaces),
        "namespace": _names_json(box.destination_namespaces),
        "traffic": traffic(box),
        "protocols": None if box.protocols == EVERY_PROTOCOL else str(box.protocols),
        "ports": None if box.ports == ALL_PORTS else str(box.ports),
        "source_ports": None if box.source_ports == ALL_PORTS else str(box.source_ports),
        "icmp_types": None if box.icmp_types == EVERY_ICMP_TYPE else str(box.icmp_types),
        "when": [] if len(box.moments) == len(moments) else [_moment_json(moments[at]) for at in sorted(box.moments)],
        "old": _judgement_json(piece.old),
        "new": _judgement_json(piece.new),
        "unless": [rule.origin.name for rule in piece.unless],
    }


def _names_json(names: Names) -> Json | None:
    if names == EVERY_NAME:
        return None
    return {"all_but" if names.all_but else "in": sorted(names.names)}


def _moment_json(moment: Moment) -> Json:
    return {"active": sorted(schedule.name for schedule in moment.active), "first": moment.at.isoformat()}


def _judgement_json(judgement: Judgement) -> Json:
    return {"verdict": judgement.verdict.value, "rule": origin_json(judgement.origin)}


def preview_lines(preview: Preview, most: int) -> Iterator[str]:
    """A headline, the rules, then what changes for flows, `most` rows of it."""
    yield _headline(preview)
    if preview.refused:
        yield from refusal_lines(preview.candidate)
    if preview.rules:
        yield ""
        yield table_text(RULE_COLUMNS, [_rule_row(change) for change in preview.rules])
    if preview.flows is not None and preview.flows.zones:
        moments = preview.flows.moments
        rows = [_flow_row(change, piece, moments) for change in preview.flows.zones for piece in change.pieces]
        yield ""
        yield table_text(FLOW_COLUMNS, rows[:most])
        if len(rows) > most:
            yield f"{len(rows) - most} more; --most {len(rows)} or -o json has them all"
        unless = {
            rule.origin.name for change in preview.flows.zones for piece in change.pieces for rule in piece.unless
        }
        if unless:
            yield f"What these allow stays as it is: {', '.join(sorted(unless))}"


def _headline(preview: Preview) -> str:
    if preview.refused:
        count = len(preview.candidate.refusals)
        return f"WOULD BE REFUSED: {count} rules can't be expressed; the last good revision would stay"
    if preview.flows is None:
        return "The running configuration is refused as it is: there are no verdicts to compare the candidate's with"
    closed, opened = counted(preview)
    if not (closed or opened or preview.flows.zones):
        return f"No flow changes its verdict; {len(preview.rules) or 'no'} rules change"
    return (
        f"{len(preview.rules)} rules change; {closed} zone pairs lose something allowed today, "
        f"{opened} get something denied today"
    )


def _rule_row(change: RuleChange) -> tuple[str, ...]:
    return change.change.value, change.origin.name, _report_text(change.old), _report_text(change.new)


def _report_text(report: RuleReport | None) -> str:
    return "-" if report is None else f"{report.action}, {report.status.value}"


def _flow_row(change: ZoneChange, piece: Piece, moments: Sequence[Moment]) -> tuple[str, ...]:
    box = piece.box
    return (
        change.from_zone or ANY_OTHER_ZONE,
        change.to_zone or ("itself" if change.intrazone else ANY_OTHER_ZONE),
        _end(box.sources, box.source_workloads, box.source_namespaces),
        _end(box.destinations, box.destination_workloads, box.destination_namespaces),
        traffic(box) + _when(box, moments),
        f"{piece.old.verdict} ({piece.old.origin.name})",
        f"{piece.new.verdict} ({piece.new.origin.name})",
    )


def _end(addresses: AddressSet, workloads: Names, namespaces: Names) -> str:
    named = "" if workloads == EVERY_NAME else f"app {workloads}"
    placed = "" if namespaces == EVERY_NAME else f"namespace {namespaces}"
    return " ".join(filter(None, (named, placed, _addresses_text(addresses)))) or "any"


def _addresses_text(addresses: AddressSet) -> str:
    """The shorter of what is in the set and what isn't; the JSON has all of it."""
    if addresses == ANY_ADDRESS:
        return ""
    inside, outside = addresses.prefixes, addresses.complement().prefixes
    prefixes, before = (outside, "all but ") if len(outside) < len(inside) else (inside, "")
    more = f" and {len(prefixes) - _MOST_PREFIXES} more" if len(prefixes) > _MOST_PREFIXES else ""
    return before + ",".join(prefixes[:_MOST_PREFIXES]) + more


def traffic(box: Box) -> str:
    """`tcp/80,443`, `icmp type 8`, `any`."""
    if box.protocols == EVERY_PROTOCOL:
        return "any"
    numbers = [number for first, last in box.protocols.spans for number in range(first, last + 1)]
    if len(numbers) > len(PROTOCOLS_WITH_PORTS):
        return f"protocols {box.protocols}"
    return " and ".join(_protocol(number, box) for number in numbers)


def _protocol(number: int, box: Box) -> str:
    if number in {ICMP, ICMP6} and box.icmp_types != EVERY_ICMP_TYPE:
        return f"{protocol_name(number)} type {box.icmp_types}"
    return l4_text(L4(number, box.ports, box.source_ports))


def _when(box: Box, moments: Sequence[Moment]) -> str:
    if len(box.moments) == len(moments):
        return ""
    return " while " + " or ".join(
        " and ".join(sorted(schedule.name for schedule in moments[at].active)) or "no schedule"
        for at in sorted(box.moments)
    )
