"""The tables of a preview's page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bridge.pages.changed_pairs import mark_of, piece_traffic_text, zone_groups
from bridge.pages.parts import Cell, Column, Mark, PageTable, Row, Tone
from bridge.pages.wording import listed
from bridge.preview.model import Preview, Projection, SeenEffect, Violation
from bridge.preview.table import coverage_text, depends_text, seen_end_text, workload_text
from bridge.preview.wording import destination_text, source_text, traffic_text, when_text
from zones.difference import FlowJudgement, Piece, ScheduleMoment
from zones.net import protocol_name
from zones.policy import Verdict
from zones.problems import RuleReport

# Of so many rows at most a table is made; the JSON form has all.
MOST_ROWS = 2000
MOST_LISTED = 12
MOST_ZONES = 60
_OPENED, _CLOSED, _OTHERWISE = "opened", "closed", "otherwise"
_CHOICES = {Mark.OPENS: _OPENED, Mark.CLOSES: _CLOSED, Mark.BOTH: _CLOSED, Mark.OTHER: _OTHERWISE}
_VERDICTS = (Column("Before", 13), Column("After", 13))


def preview_tables(preview: Preview) -> Iterator[PageTable]:
    """The most urgent first. What was not asked for has no table."""
    moments = () if preview.flows is None else preview.flows.moments
    if preview.violations:
        yield _violations(preview.violations)
    if preview.seen is not None:
        yield _seen(preview.seen, moments)
    yield _rules(preview)
    if preview.objects:
        yield _objects(preview)
    if preview.projection is not None:
        yield _workloads(preview.projection, moments)
        if preview.projection.moves:
            yield _pods(preview.projection)
    if preview.flows is not None:
        yield _flows(preview, moments)


def _table(key: str, title: str, columns: Sequence[Column], rows: Sequence[Row], empty: str, *notes: str) -> PageTable:
    """With the choices that its rows have, and no more rows than a browser shows with ease."""
    shown = rows[:MOST_ROWS]
    more = len(rows) - len(shown)
    choices = dict.fromkeys(choice for row in shown for choice in row.choices)
    left_out = (f"{more} more rows are left out; -o json has them all.",) if more else ()
    return PageTable(key, title, columns, shown, tuple(choices), empty, (*notes, *left_out))


def _judged(judgement: FlowJudgement) -> Cell:
    tone = Tone.GOOD if judgement.verdict is Verdict.ALLOW else Tone.BAD
    return Cell(judgement.verdict.value, judgement.origin.name, tone)


def _changed(piece: Piece) -> tuple[Cell, Cell]:
    return _judged(piece.old), _judged(piece.new)


def _choice(piece: Piece) -> tuple[str]:
    return (_CHOICES[mark_of([piece])],)


def _violations(violations: Sequence[Violation]) -> PageTable:
    columns = (
        *(Column("Guard rail", 18), Column("Broken by", 20), Column("Source", 18), Column("Destination", 18)),
        *(Column("Traffic", 14), Column("Since", 12)),
    )
    rows = [
        Row(
            (
                Cell(f"{violation.rail.from_zone} → {violation.rail.to_zone}"),
                *(Cell(violation.rule.name, violation.rule.device_group), Cell(source_text(violation.box))),
                *(Cell(destination_text(violation.box)), Cell(traffic_text(violation.box))),
                Cell("already so", tone=Tone.CAUTION) if violation.existing else Cell("new", tone=Tone.BAD),
            )
        )
        for violation in violations
    ]
    return _table("violations", "Guard rails that are broken", columns, rows, "None.")


def _seen(seen: SeenEffect, moments: Sequence[ScheduleMoment]) -> PageTable:
    columns = (
        *(Column("Connections", 9, number=True), Column("From", 20), Column("To", 20), Column("Traffic", 11)),
        *(Column("Last seen", 14), *_VERDICTS),
    )
    rows = []
    for change in seen.changes:
        flow = change.flow
        port = f"/{flow.port}" if flow.port is not None else ""
        cells = (
            *(Cell(str(flow.connections)), Cell(seen_end_text(flow.source)), Cell(seen_end_text(flow.destination))),
            Cell(protocol_name(flow.protocol) + port + when_text(change.piece.box, moments) + depends_text(change)),
            Cell(flow.last.isoformat(sep=" ", timespec="seconds")),
            *_changed(change.piece),
        )
        rows.append(Row(cells, choices=_choice(change.piece)))
    title = "Connections that were seen and would be judged otherwise"
    return _table("seen", title, columns, rows, "None of those that were seen.", *coverage_text(seen))


def _rules(preview: Preview) -> PageTable:
    columns = (
        *(Column("Change", 8), Column("Rule", 24), Column("Before", 17), Column("After", 17)),
        Column("To look at", 34),
    )
    rows = [
        Row(
            (
                Cell(change.change.value),
                Cell(change.origin.name, f"{change.origin.rulebase} of {change.origin.device_group}"),
                *(_became(change.old), _became(change.new)),
                Cell("; ".join(change.new.reasons if change.new else ())),
            ),
            f"change-{place}",
            (change.change.value,),
        )
        for place, change in enumerate(preview.rules)
    ]
    return _table("rules", "Rules that change", columns, rows, "No rule changes.")


def _became(report: RuleReport | None) -> Cell:
    return Cell("-") if report is None else Cell(report.action, report.status.value)


def _objects(preview: Preview) -> PageTable:
    columns = (Column("Object", 24), Column("Gains", 26), Column("Loses", 26), Column("Used by", 24))
    rows = [
        Row(
            (
                *(Cell(change.name, change.kind), Cell(listed(change.gained, MOST_LISTED))),
                *(
                    Cell(listed(change.lost, MOST_LISTED)),
                    Cell(listed([rule.name for rule in change.rules], MOST_LISTED)),
                ),
            ),
            choices=(change.kind,),
        )
        for change in preview.objects
    ]
    return _table("objects", "Objects that change", columns, rows, "None.")


def _workloads(projection: Projection, moments: Sequence[ScheduleMoment]) -> PageTable:
    columns = (
        *(
            Column("From", 10),
            Column("Workloads", 22),
            Column("To", 10),
            Column("Workloads", 22),
            Column("Traffic", 12),
        ),
        *(Column("Before", 12), Column("After", 12)),
    )
    rows = []
    for change in projection.changes:
        box = change.piece.box
        sources = [workload_text(source) or source_text(box) for source in change.sources]
        destinations = [workload_text(destination) or destination_text(box) for destination in change.destinations]
        cells = (
            *(Cell(change.from_zone), Cell(listed(sources, MOST_LISTED))),
            *(Cell(change.to_zone), Cell(listed(destinations, MOST_LISTED))),
            Cell(piece_traffic_text(change.piece, moments)),
            *_changed(change.piece),
        )
        rows.append(Row(cells, choices=_choice(change.piece)))
    note = f"{projection.pods} pods of {projection.workloads} workloads were looked at."
    return _table(
        "workloads", "Workloads for which something changes", columns, rows, "None of those that are there.", note
    )


def _pods(projection: Projection) -> PageTable:
    columns = (Column("Pod", 50), Column("Zone", 25), Column("New zone", 25))
    rows = [
        Row((Cell(f"{move.namespace}/{move.pod}"), Cell(move.old_zone), Cell(move.new_zone)))
        for move in projection.moves
    ]
    return _table("pods", "Pods that change their zone", columns, rows, "None.")


def _flows(preview: Preview, moments: Sequence[ScheduleMoment]) -> PageTable:
    columns = (
        *(Column("From", 14), Column("To", 14), Column("Source", 17), Column("Destination", 17), Column("Traffic", 12)),
        *_VERDICTS,
    )
    flows = preview.flows
    groups = () if flows is None else zone_groups(flows)
    rows = [
        Row(
            (
                *(Cell(listed(group.from_zones, MOST_ZONES)), Cell(listed(group.to_zones, MOST_ZONES))),
                *(Cell(source_text(piece.box)), Cell(destination_text(piece.box))),
                Cell(piece_traffic_text(piece, moments)),
                *_changed(piece),
            ),
            choices=_choice(piece),
        )
        for group in groups
        for piece in group.pieces
    ]
    unless = dict.fromkeys(rule.origin.name for group in groups for piece in group.pieces for rule in piece.unless)
    note = (f"What these allow stays as it is: {', '.join(sorted(unless))}.",) if unless else ()
    title = "Flows whose verdict changes: the exact set"
    return _table("flows", title, columns, rows, "No flow changes its verdict.", *note)
