"""`zonebridge preview`: what would change, before anybody commits it."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge import offline, pages
from bridge.cli_options import DeviceGroup, Flat, Parents, Predefined, Prefixes, SettingsFile, supplement_of
from bridge.errors import ExitCode, InputError
from bridge.output import json_text
from bridge.preview import (
    ALWAYS,
    Configuration,
    Preview,
    compared,
    condition,
    effect,
    failures,
    moves,
    preview_json,
    preview_lines,
    projected,
    violations,
)
from bridge.preview.guardrails import read_matrix
from bridge.preview.population import listed
from bridge.preview.seen import read_records
from bridge.question import instant
from bridge.settings import Settings
from bridge.settings_file import Purpose, load

MOST_ROWS = 50


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"
    HTML = "html"


def preview(
    *,
    running: Annotated[Path, typer.Option(help="The configuration that is in force.", metavar="FILE")],
    candidate: Annotated[Path, typer.Option(help="The one that would be committed.", metavar="FILE")],
    device_group: DeviceGroup,
    config: SettingsFile = None,
    prefixes: Prefixes = None,
    predefined: Predefined = None,
    parent: Parents = None,
    flat: Flat = False,
    pods: Annotated[
        Path | None, typer.Option(help="The pods: `kubectl get pods -A -o json`, or a list.", metavar="FILE")
    ] = None,
    pods_then: Annotated[
        Path | None,
        typer.Option(help="The pods as they will be, to tell those that change their zone.", metavar="FILE"),
    ] = None,
    seen: Annotated[
        Path | None, typer.Option(help="What was seen: records of the enforcers, JSON lines.", metavar="FILE")
    ] = None,
    guardrails: Annotated[
        Path | None, typer.Option(help="Zones that nothing may be allowed between: a matrix, CSV.", metavar="FILE")
    ] = None,
    at: Annotated[str | None, typer.Option(help="From when on, as RFC 3339; now.", metavar="TIME")] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="End with 1 where it has any-denied, new-allow, new-allow-from=ZONE or guardrail; repeatable.",
            metavar="WHAT",
        ),
    ] = None,
    most: Annotated[int, typer.Option(help="Rows of each table.", min=1)] = MOST_ROWS,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.TABLE,
) -> None:
    """Say which flows a candidate configuration would judge otherwise, and by which rules. Exact, and offline.

    A candidate that would be refused ends with 1, and so does one that would deny what was seen.
    """
    conditions = (*ALWAYS, *map(condition, fail_on or ()))
    if pods_then is not None and pods is None:
        raise InputError("preview: --pods-then needs --pods, the pods as they are")
    settings = load(config, os.environ, Purpose.OFFLINE)
    supplement = supplement_of(prefixes, predefined, parent, flat=flat)
    infrastructure = offline.known_infrastructure(settings)
    sides = []
    for path in (running, candidate):
        rulebase = offline.rulebase_in_file(path, device_group, settings, supplement)
        compiled = offline.compile_rulebase(rulebase, device_group, settings, infrastructure, supplement)
        sides.append(Configuration(rulebase, compiled))
    result = compared(sides[0], sides[1], datetime.now(UTC) if at is None else instant(at), supplement.feeds)
    result = _with_pods(result, settings, pods, pods_then)
    result = _with_seen(result, settings, seen)
    result = _with_violations(result, settings, guardrails)
    _print(result, output, most)
    reasons = failures(result, conditions)
    for reason in reasons:
        typer.echo(f"zonebridge: {reason}", err=True)
    if reasons:
        raise typer.Exit(ExitCode.TROUBLE)


def _with_pods(result: Preview, settings: Settings, pods: Path | None, then: Path | None) -> Preview:
    if pods is None:
        return result
    zoning = settings.zones.zoning()
    there = listed(offline.read_text(pods, "--pods"), zoning, "--pods")
    coming = there if then is None else listed(offline.read_text(then, "--pods-then"), zoning, "--pods-then")
    if result.flows is None:
        return result
    return replace(result, projection=replace(projected(result.flows, coming, zoning), moves=moves(there, coming)))


def _with_seen(result: Preview, settings: Settings, seen: Path | None) -> Preview:
    if seen is None:
        return result
    records = read_records(offline.lines_of(seen, "--seen"), settings.zones.nodes, "--seen")
    return result if result.flows is None else replace(result, seen=effect(result.flows, records))


def _with_violations(result: Preview, settings: Settings, matrix: Path | None) -> Preview:
    rails = tuple(each.rail() for each in settings.guardrails)
    if matrix is not None:
        rails += read_matrix(offline.read_text(matrix, "--guardrails"), "--guardrails")
    policies = result.running.compiled.policy, result.candidate.compiled.policy
    return replace(result, violations=violations(rails, *policies, result.at))


def _print(result: Preview, output: Output, most: int) -> None:
    match output:
        case Output.JSON:
            typer.echo(json_text(preview_json(result)))
        case Output.HTML:
            typer.echo(pages.page_html(pages.preview_page(result)), nl=False)
        case Output.TABLE:
            typer.echo("\n".join(preview_lines(result, most)))
