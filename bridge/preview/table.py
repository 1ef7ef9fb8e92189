"""A preview as lines for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network

from bridge.compilation.report import refusal_lines
from bridge.preview.gate import counted
from bridge.preview.model import (
    LoggedEnd,
    ObjectChange,
    Preview,
    RuleChange,
    SeenChange,
    SeenEffect,
    Violation,
    Workload,
    WorkloadChange,
)
from bridge.preview.wording import ANY_OTHER_ZONE, destination_text, source_text, traffic_text, when_text
from zones.difference import Piece, ScheduleMoment, ZoneChange
from zones.net import protocol_name
from zones.problems import RuleReport
from zones.runtime.output import printable, table_lines

RULE_COLUMNS = ("CHANGE", "RULE", "BEFORE", "AFTER")
OBJECT_COLUMNS = ("OBJECT", "KIND", "GAINS", "LOSES", "RULES")
FLOW_COLUMNS = ("FROM", "TO", "SOURCE", "DESTINATION", "TRAFFIC", "BEFORE", "AFTER")
WORKLOAD_COLUMNS = ("FROM", "TO", "WORKLOADS", "TO WORKLOADS", "TRAFFIC", "BEFORE", "AFTER")
SEEN_COLUMNS = ("CONNECTIONS", "FROM", "TO", "TRAFFIC", "LAST SEEN", "BEFORE", "AFTER")
POD_COLUMNS = ("POD", "ZONE", "NEW ZONE")
VIOLATION_COLUMNS = ("GUARD RAIL", "RULE", "SOURCE", "DESTINATION", "TRAFFIC", "SINCE")
_MOST_NAMES = 3


def preview_lines(preview: Preview, most: int) -> Iterator[str]:
    """A headline, then what changes from the most urgent on, at most `most` rows of each table."""
    yield headline_text(preview)
    if preview.refused:
        yield from refusal_lines(preview.candidate.compiled)
    yield from editor_lines(preview)
    moments = () if preview.flows is None else preview.flows.moments
    yield from _table(
        VIOLATION_COLUMNS,
        [
            (*violation_cells(violation), "already so" if violation.existing else "NEW")
            for violation in preview.violations
        ],
        most,
    )
    yield from _seen_lines(preview, moments, most)
    yield from _table(RULE_COLUMNS, [_rule_row(change) for change in preview.rules], None)
    yield from _table(OBJECT_COLUMNS, [_object_row(change) for change in preview.objects], most)
    if preview.projection is not None:
        yield from _table(
            POD_COLUMNS, [(f"{m.namespace}/{m.pod}", m.old_zone, m.new_zone) for m in preview.projection.moves], most
        )
        yield from _table(WORKLOAD_COLUMNS, [_workload_row(item, moments) for item in preview.projection.changes], most)
    yield from _flow_lines(preview, moments, most)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], most: int | None) -> Iterator[str]:
    if not rows:
        return
    yield ""
    yield from table_lines(columns, rows[:most])
    if most is not None and len(rows) > most:
        yield f"{len(rows) - most} more; --most {len(rows)} or -o json has them all"


def headline_text(preview: Preview) -> str:
    if preview.refused:
        count = len(preview.candidate.compiled.refusals)
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


def editor_lines(preview: Preview) -> Iterator[str]:
    for editor in preview.candidate.editors:
        changes = f"{editor.changes} uncommitted changes" if editor.changes else "no uncommitted change"
        locks = f"; holds the {' and the '.join(editor.locks)} lock" if editor.locks else ""
        yield printable(f"Edited by {editor.admin}: {changes}{locks}")


def _seen_lines(preview: Preview, moments: Sequence[ScheduleMoment], most: int) -> Iterator[str]:
    seen = preview.seen
    if seen is None:
        return
    yield ""
    yield from coverage_text(seen)
    rows = [_seen_row(change, moments) for change in seen.changes]
    yield from _table(SEEN_COLUMNS, rows, most)


def coverage_text(seen: SeenEffect) -> Iterator[str]:
    """Since when connections were seen, how many, and what nobody knows."""
    denied = sum(flow.connections for flow in seen.denied)
    if seen.since is None:
        yield "Nothing was seen: the records hold no flow"
    else:
        since = seen.since.isoformat(timespec="seconds")
        unknown = "of earlier days" if seen.counted else "of rules that don't log, or of earlier days"
        yield (
            f"Seen since {since} on {len(seen.nodes)} nodes: {seen.connections} connections, "
            f"of which {denied or 'none'} would be denied; nothing is known {unknown}"
        )
    if seen.missing:
        yield f"{seen.missing} connections are known to be missing in the counts"
    if seen.unread:
        yield f"{seen.unread} lines of the records could not be read as flows"


def _flow_lines(preview: Preview, moments: Sequence[ScheduleMoment], most: int) -> Iterator[str]:
    if preview.flows is None:
        return
    zones = preview.flows.zones
    rows = [_flow_row(change, piece, moments) for change in zones for piece in change.pieces]
    yield from _table(FLOW_COLUMNS, rows, most)
    unless = {rule.origin.name for change in zones for piece in change.pieces for rule in piece.unless}
    if unless:
        yield f"What these allow stays as it is: {', '.join(sorted(unless))}"


def _rule_row(change: RuleChange) -> tuple[str, ...]:
    return change.change.value, change.origin.name, _report_text(change.old), _report_text(change.new)


def _report_text(report: RuleReport | None) -> str:
    return "-" if report is None else f"{report.action}, {report.status.value}"


def _object_row(change: ObjectChange) -> tuple[str, ...]:
    rules = [origin.name for origin in change.rules]
    return change.name, change.kind, _few(change.gained), _few(change.lost), _few(rules)


def _flow_row(change: ZoneChange, piece: Piece, moments: Sequence[ScheduleMoment]) -> tuple[str, ...]:
    return (
        change.from_zone or ANY_OTHER_ZONE,
        change.to_zone or ("itself" if change.intrazone else ANY_OTHER_ZONE),
        source_text(piece.box),
        destination_text(piece.box),
        *_verdicts(piece, moments),
    )


def _workload_row(change: WorkloadChange, moments: Sequence[ScheduleMoment]) -> tuple[str, ...]:
    box = change.piece.box
    return (
        change.from_zone,
        change.to_zone,
        _few([workload_text(source) or source_text(box) for source in change.sources]),
        _few([workload_text(destination) or destination_text(box) for destination in change.destinations]),
        *_verdicts(change.piece, moments),
    )


def workload_text(workload: Workload) -> str:
    return f"{workload.namespace}/{workload.name}" if workload.is_pods else ""


def _seen_row(change: SeenChange, moments: Sequence[ScheduleMoment]) -> tuple[str, ...]:
    flow = change.flow
    port = f"/{flow.port}" if flow.port is not None else ""
    _, *verdicts = _verdicts(change.piece, moments)
    return (
        str(flow.connections),
        seen_end_text(flow.source),
        seen_end_text(flow.destination),
        protocol_name(flow.protocol) + port + when_text(change.piece.box, moments) + depends_text(change),
        flow.last.isoformat(timespec="seconds"),
        *verdicts,
    )


def seen_end_text(end: LoggedEnd) -> str:
    if end.workload:
        return f"{end.zone} {end.namespace}/{end.workload}"
    if end.address is None:
        return f"{end.zone}"
    single = isinstance(end.address, IPv4Network | IPv6Network) and end.address.num_addresses == 1
    return f"{end.zone} {str(end.address).partition('/')[0] if single else end.address}"


def depends_text(change: SeenChange) -> str:
    """What a count doesn't tell, so that only some of its connections may change."""
    return f", depends on {' and '.join(change.depends)}" if change.depends else ""


def violation_cells(violation: Violation) -> tuple[str, ...]:
    """Under VIOLATION_COLUMNS but the last."""
    return (
        f"{violation.rail.from_zone} to {violation.rail.to_zone}",
        violation.rule.name,
        source_text(violation.box),
        destination_text(violation.box),
        traffic_text(violation.box),
    )


def _verdicts(piece: Piece, moments: Sequence[ScheduleMoment]) -> tuple[str, str, str]:
    return (
        traffic_text(piece.box) + when_text(piece.box, moments),
        f"{piece.old.verdict} ({piece.old.origin.name})",
        f"{piece.new.verdict} ({piece.new.origin.name})",
    )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more or "-"
