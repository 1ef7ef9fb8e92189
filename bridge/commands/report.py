"""`zonebridge report` and `zonebridge review`: proof of what was in force, and that somebody looked at it."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.commands.options import OutputShape, ScopeOption, SettingsFile, zones_of
from bridge.explain.flow_options import instant
from bridge.history.archive import Archive
from bridge.settings.file import Purpose, cluster_named, load
from bridge.settings.models import BridgeSettings, ClusterSettings, EvidenceSettings
from bridge.tier.cluster import TierApi
from bridge.wiring.clusters import cluster_access
from zones.kube.client import ApiServer
from zones.runtime.errors import ExitCode, InputError
from zones.runtime.output import json_text, lines_text, printable, table_lines, table_text
from zones.runtime.types import duration

if TYPE_CHECKING:
    from bridge.history.copies import RevisionCopies
    from bridge.intervals.seals import Seals
    from bridge.intervals.store import IntervalStore
    from bridge.reports.model import Report, ReportPeriod, ReportScope
    from bridge.segmentation.store import Measurements

# Six months, as PCI DSS 1.2.7 asks for.
NEXT_REVIEW = timedelta(days=182)
REVIEW_COLUMNS = ("WHEN", "WHO", "OF", "REVISION", "NEXT DUE", "NOTE")
ClusterName = Annotated[str | None, typer.Option(help="Which one, where the settings name several.")]


class ReportOutput(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"
    OSCAL = "oscal"
    BUNDLE = "bundle"


def report(
    *,
    config: SettingsFile = None,
    cluster: ClusterName = None,
    at: Annotated[str | None, typer.Option(help="At an instant, as RFC 3339.", metavar="TIME")] = None,
    begin: Annotated[str | None, typer.Option("--from", help="Over a range, from then …", metavar="TIME")] = None,
    end: Annotated[str | None, typer.Option("--to", help="… up to then.", metavar="TIME")] = None,
    scope: ScopeOption = None,
    section: Annotated[str | None, typer.Option(help="Of -o csv: which section.", metavar="KEY")] = None,
    write: Annotated[Path | None, typer.Option(help="Into a file; -o bundle needs it.", metavar="FILE")] = None,
    output: Annotated[ReportOutput, typer.Option("--output", "-o")] = ReportOutput.TABLE,
) -> None:
    """Say who was where, what was allowed and why, who changed it, what was enforced, and what isn't known.

    Ends with 1 where the evidence isn't whole; the report is made all the same and says where.
    """
    from bridge.pages.html import page_html  # noqa: PLC0415
    from bridge.reports import controls, forms, gather, oscal, page  # noqa: PLC0415 - libraries of 20 MB that others need not load

    _fitting(output, section, write)
    asked = [None if text is None else instant(text) for text in (at, begin, end)]
    period = gather.period_of(asked[0], asked[1], asked[2], datetime.now(UTC))
    report = _made(load(config, os.environ, Purpose.OFFLINE), cluster, period, scope or [])
    match output:
        case ReportOutput.TABLE:
            content = "\n".join(_lines(report)).encode() + b"\n"
        case ReportOutput.JSON:
            content = f"{json_text(forms.report_json(report))}\n".encode()
        case ReportOutput.CSV:
            chosen = next((part for part in report.sections if part.key == section), None)
            if chosen is None:
                raise InputError(f"report: --section: one of {', '.join(part.key for part in report.sections)}")
            content = forms.section_csv(chosen).encode()
        case ReportOutput.HTML:
            content = page_html(page.report_page(report)).encode()
        case ReportOutput.OSCAL:
            content = f"{json_text(oscal.oscal_json(report, controls.frameworks()))}\n".encode()
        case ReportOutput.BUNDLE:
            results = {"assessment-results.json": oscal.oscal_json(report, controls.frameworks())}
            about = {"generator": "zonebridge report", "cluster": report.scope.cluster}
            content = forms.bundle(report, command_of(report), about, results)
    if write is None:
        typer.echo(content.decode(), nl=False)
    else:
        _write(write, content)
    if report.doubts:
        raise typer.Exit(ExitCode.TROUBLE)


def review(
    *,
    config: SettingsFile = None,
    cluster: ClusterName = None,
    record: Annotated[bool, typer.Option("--record", help="Record one, of what is in force now.")] = False,
    reviewer: Annotated[str | None, typer.Option(help="Who has reviewed.", metavar="NAME")] = None,
    note: Annotated[str, typer.Option(help="What came of it.", metavar="TEXT")] = "",
    due_in: Annotated[
        str | None, typer.Option("--next", help="When the next one is due: 4368h.", metavar="TIME")
    ] = None,
    scope: ScopeOption = None,
    output: Annotated[OutputShape, typer.Option("--output", "-o")] = OutputShape.TEXT,
) -> None:
    """List reviews of the rules, or record one. Ends with 1 where none of this scope is in date."""
    from bridge.reports import gather, recorded  # noqa: PLC0415 - libraries of 20 MB that others need not load
    from bridge.reports.model import ReportScope  # noqa: PLC0415

    settings, now = load(config, os.environ, Purpose.OFFLINE), datetime.now(UTC)
    with opened(settings, cluster) as where:
        asked = ReportScope(where.cluster.name, zones_of(scope or []))
        if record:
            if not (reviewer or "").strip():
                raise InputError("review: --record needs --reviewer NAME: who has reviewed")
            later = NEXT_REVIEW if due_in is None else _length(due_in)
            period = gather.last_look(where.store, where.cluster.name, now)
            seen = asyncio.run(_report(where, period, asked))
            where.store.add_review(where.cluster.name, recorded.review_of(seen, reviewer or "", note, now + later))
        elif reviewer or note or due_in:
            raise InputError("review: --reviewer, --note and --next go with --record")
        rows = recorded.reviews_json(where.store.reviews(where.cluster.name, recorded.micros(now)), asked, now)
    if output is OutputShape.JSON:
        typer.echo(json_text(rows))
    else:
        listed = [recorded.row(review) for review in rows["reviews"]]
        typer.echo(table_text(REVIEW_COLUMNS, listed) if listed else "No review of this scope is recorded")
    if rows["overdue"]:
        raise typer.Exit(ExitCode.TROUBLE)


def verify_evidence(
    *,
    config: SettingsFile = None,
    cluster: ClusterName = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(help="A day's chain digest that the bridge logged; repeatable.", metavar="DAY=CHAIN"),
    ] = None,
    output: Annotated[OutputShape, typer.Option("--output", "-o")] = OutputShape.TEXT,
) -> None:
    """Say whether the evidence is what was sealed, and its revisions what was copied, or where not.

    Ends with 1 where not.
    """
    from bridge.intervals.fold import IntervalKind  # noqa: PLC0415 - libraries of 20 MB that others need not load
    from bridge.intervals.seals import day_of  # noqa: PLC0415
    from bridge.reports.recorded import copies_of, micros, verified_json, verified_lines  # noqa: PLC0415

    try:
        expected = dict(day_of(text) for text in expect or ())
    except ValueError as error:
        raise InputError(f"verify-evidence: --expect: {error}; write 2026-03-01=CHAIN") from error
    settings, now = load(config, os.environ, Purpose.OFFLINE), datetime.now(UTC)
    with opened(settings, cluster) as where:
        kept = dict.fromkeys(IntervalKind, micros(now - where.evidence.retention))
        kept[IntervalKind.POD] = micros(now - where.evidence.pod_retention)
        verified = where.seals.verify(where.cluster.name, kept, expected)
        copied = copies_of(where.copies.raws(), where.copies.breaks())
    as_json = output is OutputShape.JSON
    typer.echo(json_text(verified_json(verified, copied)) if as_json else lines_text(verified_lines(verified, copied)))
    if verified.breaks or copied.breaks or not verified.days:
        raise typer.Exit(ExitCode.TROUBLE)


@dataclass(frozen=True, slots=True)
class Where:
    """The database and the cluster that a report is of."""

    store: IntervalStore
    seals: Seals
    copies: RevisionCopies
    measurements: Measurements
    cluster: ClusterSettings
    evidence: EvidenceSettings


@contextmanager
def opened(settings: BridgeSettings, name: str | None) -> Iterator[Where]:
    """Raises InputError without a database, or where it isn't clear which cluster is meant."""
    from bridge.history.copies import RevisionCopies  # noqa: PLC0415
    from bridge.intervals.seals import Seals  # noqa: PLC0415
    from bridge.intervals.store import IntervalStore  # noqa: PLC0415 - libraries of 20 MB that others need not load
    from bridge.segmentation.store import Measurements  # noqa: PLC0415
    from bridge.wiring.evidence import evidence_database  # noqa: PLC0415

    if settings.evidence is None:
        raise InputError("give settings (-c) with evidence.url: there is no database to read")
    named = cluster_named(settings, name)
    database = evidence_database(settings.evidence)
    try:
        copies = RevisionCopies(database, named.name, named.tier)
        stores = IntervalStore(database), Seals(database), copies, Measurements(database)
        yield Where(*stores, named, settings.evidence)
    finally:
        database.close()


def _made(settings: BridgeSettings, name: str | None, period: ReportPeriod, scope: list[str]) -> Report:
    from bridge.reports.model import ReportScope  # noqa: PLC0415 - libraries of 20 MB that others need not load

    with opened(settings, name) as where:
        return asyncio.run(_report(where, period, ReportScope(where.cluster.name, zones_of(scope))))


async def _report(where: Where, period: ReportPeriod, scope: ReportScope) -> Report:
    from bridge.reports import build, controls, gather  # noqa: PLC0415 - libraries of 20 MB that others need not load

    cluster = TierApi(ApiServer(cluster_access(where.cluster)))
    try:
        archive = await Archive.read(cluster, where.cluster.tier, where.copies)
        evidence = await gather.gathered(where.store, where.measurements, archive, period, scope)
    finally:
        await cluster.close()
    return build.report_of(evidence, period, scope, controls.frameworks())


def command_of(report: Report) -> str:
    """What makes the same report again, with the site's own settings file."""
    from bridge.reports.model import moment_text  # noqa: PLC0415 - libraries of 20 MB that others need not load

    period = report.period
    words = ["zonebridge", "report", "-c", "zonebridge.yaml", "--cluster", report.scope.cluster]
    if period.instant:
        words += ["--at", moment_text(period.begin)]
    else:
        words += ["--from", moment_text(period.begin), "--to", moment_text(period.end)]
    for zone in sorted(report.scope.zones):
        words += ["--scope", f"zone={zone}"]
    return shlex.join([*words, "-o", "bundle", "--write", "evidence.zip"])


def _fitting(output: ReportOutput, section: str | None, write: Path | None) -> None:
    if (section is not None) != (output is ReportOutput.CSV):
        raise InputError("report: --section goes with -o csv, and -o csv needs it")
    if output is ReportOutput.BUNDLE and write is None:
        raise InputError("report: -o bundle needs --write FILE: it is a zip")


def _lines(report: Report) -> Iterator[str]:
    yield from (f"! {printable(doubt)}" for doubt in report.doubts)
    yield from (f"{name}: {value}" for name, value in report.figures.items())
    for section in report.sections:
        yield ""
        yield section.title
        if section.rows:
            yield from table_lines(
                tuple(column.title.upper() for column in section.fields), [tuple(row) for row in section.rows]
            )
        else:
            yield section.empty
        yield from section.notes


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InputError(f"report: --write {path}: {error.strerror}") from error


def _length(text: str) -> timedelta:
    try:
        return duration(text)
    except ValueError as error:
        raise InputError(f"review: --next: {error}") from error
