"""`zonebridge preview`: what would change, before anybody commits it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge import pages
from bridge.commands.options import Flat, Parents, Predefined, Prefixes, SettingsFile, supplement_of
from bridge.compilation import offline, worker_process
from bridge.compilation.worker_process import WorkerError
from bridge.errors import UnknownDeviceGroupError
from bridge.evidence.seen import Evidence
from bridge.evidence.seen_file import read_seen
from bridge.explain.flow_options import instant
from bridge.guard_rail import GuardRail
from bridge.listeners.preview import nothing_pending
from bridge.preview import (
    ALWAYS,
    Configuration,
    FailCondition,
    FailOn,
    Preview,
    compared,
    condition,
    counted_effect,
    effect,
    failures,
    moves,
    preview_json,
    preview_lines,
    projected,
    violations,
)
from bridge.preview.candidate import cluster_named, from_panorama, live_pods, rulebases_in
from bridge.preview.guardrails import read_matrix
from bridge.preview.model import SeenEffect
from bridge.preview.population import Resident, listed
from bridge.preview.prepared import ComparisonInput, prepare
from bridge.preview.seen import are_counted, read_records
from bridge.settings.file import Purpose, load
from bridge.settings.models import BridgeSettings, ClusterSettings
from bridge.wiring.clusters import cluster_access, counted_in, options
from zones.difference import Difference
from zones.kube.client import ClusterAccess
from zones.runtime.errors import ExitCode, InputError
from zones.runtime.output import json_text, lines_text, printable

MOST_ROWS = 50


class PreviewOutput(StrEnum):
    TABLE = "table"
    JSON = "json"
    HTML = "html"


def preview(
    *,
    running: Annotated[Path | None, typer.Option(help="Offline: the configuration in force.", metavar="FILE")] = None,
    candidate: Annotated[Path | None, typer.Option(help="Offline: the one to be committed.", metavar="FILE")] = None,
    device_group: Annotated[str | None, typer.Option(help="Offline: the device group.", metavar="NAME")] = None,
    config: SettingsFile = None,
    cluster: Annotated[str | None, typer.Option(help="Live: which of the settings' clusters.", metavar="NAME")] = None,
    prefixes: Prefixes = None,
    predefined: Predefined = None,
    parent: Parents = None,
    flat: Flat = False,
    kubeconfig: Annotated[Path | None, typer.Option(help="The cluster whose pods count.", metavar="FILE")] = None,
    context: Annotated[str | None, typer.Option(help="The kubeconfig's context.")] = None,
    pods: Annotated[
        Path | None, typer.Option(help="The pods: `kubectl get pods -A -o json`, or a list.", metavar="FILE")
    ] = None,
    pods_then: Annotated[
        Path | None, typer.Option(help="The pods as they will be, to tell which change their zone.", metavar="FILE")
    ] = None,
    seen: Annotated[
        Path | None,
        typer.Option(
            help="What was seen: records of the enforcers, JSON lines; instead of the evidence database.",
            metavar="FILE",
        ),
    ] = None,
    guardrails: Annotated[
        Path | None, typer.Option(help="Zones that nothing may be allowed between: a matrix, CSV.", metavar="FILE")
    ] = None,
    at: Annotated[str | None, typer.Option(help="From when on, as RFC 3339; now.", metavar="TIME")] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="End with 1 where it has any-denied, new-allow, new-allow-from=ZONE or guardrail; repeatable. "
            "refused: always. seen-denied: always, and where what was seen can't be read.",
            metavar="WHAT",
        ),
    ] = None,
    most: Annotated[int, typer.Option(help="Rows of each table.", min=1)] = MOST_ROWS,
    output: Annotated[PreviewOutput, typer.Option("--output", "-o")] = PreviewOutput.TABLE,
) -> None:
    """Say which flows a candidate configuration would judge otherwise, and by which rules. Exact.

    Live, with the bridge's settings: Panorama's candidate, and the pods of the cluster. Offline: two exported files.
    A candidate that would be refused ends with 1, and so does one that would deny what was seen.
    """
    conditions = (*ALWAYS, *map(condition, fail_on or ()))
    needed = FailOn.SEEN_DENIED in (fail_on or ())
    if context is not None and kubeconfig is None:
        raise InputError("preview: --context goes with --kubeconfig")
    instant_at = datetime.now(UTC) if at is None else instant(at)
    offline_options = {"--running": running, "--candidate": candidate, "--device-group": device_group}
    where = None if kubeconfig is None else ClusterAccess("live", kubeconfig, context)
    if any(value is not None for value in offline_options.values()):
        missing = [name for name, value in offline_options.items() if value is None]
        if running is None or candidate is None or device_group is None:
            raise InputError(f"preview: of two files {' and '.join(missing)} is missing")
        if cluster is not None:
            raise InputError(
                "preview: --cluster is for a live Panorama; --device-group says which part of files counts"
            )
        counted_of = None
        if needed and seen is None:
            raise InputError("preview: of two files --fail-on seen-denied needs what was seen; give it with --seen")
        settings = load(config, os.environ, Purpose.OFFLINE)
        supplement = supplement_of(prefixes, predefined, parent, flat=flat)
        result = _of_files((running, candidate), device_group, settings, supplement, instant_at)
    else:
        if prefixes or predefined or parent or flat:
            raise InputError("preview: --prefixes, --predefined, --parent and --flat are for files")
        settings = load(config, os.environ, Purpose.SERVICE)
        chosen = cluster_named(settings, cluster)
        counted_of = chosen.name
        if needed and seen is None and settings.evidence is None:
            raise InputError(
                "preview: --fail-on seen-denied needs what was seen, and the settings have no evidence; "
                "give it with --seen"
            )
        result = _of_panorama(settings, chosen, instant_at)
        where = where or cluster_access(chosen)
    residents = _pods(pods, where, settings)
    result = _with_pods(result, settings, residents, pods_then)
    result = _with_seen(result, _Counts(settings, counted_of, residents or (), needed=needed), seen)
    rails = _rails(settings, guardrails)
    policies = result.running.compiled.policy, result.candidate.compiled.policy
    result = replace(result, violations=violations(rails, *policies, result.at))
    _tell_unknown_zones(result, settings, rails, conditions)
    _print(result, output, most)
    reasons = failures(result, conditions)
    for reason in reasons:
        typer.echo(f"zonebridge: {reason}", err=True)
    if reasons:
        raise typer.Exit(ExitCode.TROUBLE)


def _of_files(
    paths: tuple[Path, Path],
    device_group: str,
    settings: BridgeSettings,
    supplement: offline.Supplement,
    at: datetime,
) -> Preview:
    infrastructure = offline.known_infrastructure(settings)
    sides = []
    for path in paths:
        try:
            rulebase = offline.rulebase_in_file(path, device_group, settings, supplement)
        except UnknownDeviceGroupError as error:
            raise InputError(f"preview: in '{path}': {error}") from error
        compiled = offline.compile_rulebase(rulebase, device_group, settings, infrastructure, supplement)
        sides.append(Configuration(rulebase, compiled))
    return compared(sides[0], sides[1], at, supplement.feeds)


def _of_panorama(settings: BridgeSettings, cluster: ClusterSettings, at: datetime) -> Preview:
    if settings.panorama is None:
        raise InputError("preview: the settings have no panorama; give them with -c, or --running and --candidate")
    material = asyncio.run(from_panorama(settings, settings.panorama, cluster))
    for name, trouble in sorted(material.unknown.items()):
        typer.echo(f"zonebridge: depends on '{name}', whose content isn't known: {printable(trouble)}", err=True)
    return compared(material.running, material.candidate, at, material.feeds)


async def preview_text(settings: BridgeSettings, cluster: ClusterSettings) -> str:
    """The page of a live Panorama's candidate, made in a process of its own.

    Raises InputError, ManagerError, UnknownDeviceGroupError, ClusterError, EvidenceError, WorkerError.
    """
    if settings.panorama is None:
        raise InputError("preview: the settings have no panorama")
    both = await rulebases_in(settings, settings.panorama, cluster)
    if both.pending is None:
        return nothing_pending(cluster.name, both.version, back="/").page
    question = ComparisonInput(
        running=both.running,
        candidate=both.candidate,
        at=datetime.now(UTC),
        zoning=settings.zones.zoning(),
        options=options(settings, cluster),
        infrastructure=offline.known_infrastructure(settings),
        feeds=both.feeds,
        residents=await live_pods(cluster_access(cluster), settings.zones.zoning()),
        rails=tuple(guardrail.rail() for guardrail in settings.guardrails),
        editors=both.editors,
        versions=both.versions,
        evidence=await asyncio.to_thread(counted_in, settings.evidence, cluster.name),
        back="/",
    )
    prepared = await asyncio.to_thread(worker_process.run, prepare, question, worker_process.Bounds())
    if not prepared.page:
        raise WorkerError("the preview is too large for a page; ask for JSON: zonebridge preview -o json")
    return prepared.page


def _pods(listing: Path | None, where: ClusterAccess | None, settings: BridgeSettings) -> tuple[Resident, ...] | None:
    zoning = settings.zones.zoning()
    if listing is not None:
        return listed(offline.read_text(listing, "--pods"), zoning, "--pods")
    return None if where is None else asyncio.run(live_pods(where, zoning))


def _with_pods(
    result: Preview, settings: BridgeSettings, present: tuple[Resident, ...] | None, then: Path | None
) -> Preview:
    if present is None:
        if then is not None:
            raise InputError(
                "preview: --pods-then needs the pods as they are: --pods, --kubeconfig, or a live Panorama"
            )
        return result
    zoning = settings.zones.zoning()
    coming = present if then is None else listed(offline.read_text(then, "--pods-then"), zoning, "--pods-then")
    if result.flows is None:
        return result
    return replace(result, projection=replace(projected(result.flows, coming, zoning), moves=moves(present, coming)))


@dataclass(frozen=True, slots=True)
class _Counts:
    """Where nodes' counts are, and what is needed to judge them. `cluster`: the live one, None of two files.

    `needed`: without them the preview can't say what it was asked for.
    """

    settings: BridgeSettings
    cluster: str | None
    pods: tuple[Resident, ...]
    needed: bool

    def effect(self, flows: Difference, evidence: Evidence) -> SeenEffect:
        return counted_effect(flows, evidence, self.pods, self.settings.zones.nodes)


def _with_seen(result: Preview, counts: _Counts, seen: Path | None) -> Preview:
    """By the file of records, or by what the bridge of a live cluster has collected."""
    settings = counts.settings
    if seen is None:
        evidence = _collected(counts)
        if evidence is None or result.flows is None:
            return result
        return replace(result, seen=counts.effect(result.flows, evidence))
    if are_counted(offline.lines_of(seen, "--seen")):
        evidence = read_seen(seen, counts.cluster)
        return result if result.flows is None else replace(result, seen=counts.effect(result.flows, evidence))
    records = read_records(offline.lines_of(seen, "--seen"), settings.zones.nodes, "--seen")
    if records.unread and not records.flows:
        raise InputError(f"--seen '{seen}': none of its {records.unread} lines is a record of a flow")
    return result if result.flows is None else replace(result, seen=effect(result.flows, records))


def _collected(counts: _Counts) -> Evidence | None:
    """None where there is no database, or it can't be read, which is told. Raises EvidenceError where it is needed."""
    settings = counts.settings.evidence
    if settings is None or counts.cluster is None:
        return None
    from bridge.evidence.database import EvidenceError  # noqa: PLC0415 - libraries of 20 MB that others need not load

    try:
        return counted_in(settings, counts.cluster)
    except EvidenceError as error:
        if counts.needed:
            raise
        typer.echo(f"zonebridge: preview: what was seen isn't known: {printable(str(error))}", err=True)
        return None


def _rails(settings: BridgeSettings, matrix: Path | None) -> tuple[GuardRail, ...]:
    rails = tuple(guardrail.rail() for guardrail in settings.guardrails)
    return rails if matrix is None else rails + read_matrix(offline.read_text(matrix, "--guardrails"), "--guardrails")


def _tell_unknown_zones(
    result: Preview, settings: BridgeSettings, rails: Sequence[GuardRail], conditions: Sequence[FailCondition]
) -> None:
    """A zone that nobody knows is judged as any other; where its name is mistyped, what was meant isn't judged."""
    if result.flows is None:
        return
    zones = {zone: "--fail-on new-allow-from" for zone in (one.zone for one in conditions) if zone is not None}
    zones |= {zone: "a guard rail" for rail in rails for zone in (rail.from_zone, rail.to_zone)}
    site = settings.zones
    known = {*result.flows.known_zones, *site.networks, site.nodes, site.default, site.outside}
    for zone in sorted(zones.keys() - known):
        typer.echo(
            f"zonebridge: preview: {zones[zone]} names zone '{printable(zone)}', which no rule and no network knows; "
            "it is judged as any other zone",
            err=True,
        )


def _print(result: Preview, output: PreviewOutput, most: int) -> None:
    match output:
        case PreviewOutput.JSON:
            typer.echo(json_text(preview_json(result)))
        case PreviewOutput.HTML:
            typer.echo(pages.page_html(pages.preview_page(result)), nl=False)
        case PreviewOutput.TABLE:
            typer.echo(lines_text(preview_lines(result, most)))
