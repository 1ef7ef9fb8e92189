"""`zonebridge preview`: what would change, before anybody commits it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge import offline
from bridge.cli_options import DeviceGroup, Flat, Parents, Predefined, Prefixes, SettingsFile, supplement_of
from bridge.errors import ExitCode
from bridge.output import json_text
from bridge.preview import FailOn, compared, failures, preview_json, preview_lines
from bridge.question import instant
from bridge.settings_file import Purpose, load

MOST_ROWS = 50


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


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
    at: Annotated[str | None, typer.Option(help="From when on, as RFC 3339; now.", metavar="TIME")] = None,
    fail_on: Annotated[
        list[FailOn] | None, typer.Option(help="End with 1 where the candidate has this; repeatable.")
    ] = None,
    most: Annotated[int, typer.Option(help="Rows of the table of flows.", min=1)] = MOST_ROWS,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.TABLE,
) -> None:
    """Say which flows a candidate configuration would judge otherwise, and by which rules. Exact, and offline.

    A candidate that would be refused ends with 1.
    """
    settings = load(config, os.environ, Purpose.OFFLINE)
    supplement = supplement_of(prefixes, predefined, parent, flat=flat)
    infrastructure = offline.known_infrastructure(settings)
    before, after = (
        offline.compile_file(path, device_group, settings, infrastructure, supplement) for path in (running, candidate)
    )
    seen = compared(before, after, datetime.now(UTC) if at is None else instant(at))
    typer.echo(json_text(preview_json(seen)) if output is Output.JSON else "\n".join(preview_lines(seen, most)))
    reasons = failures(seen, (FailOn.REFUSED, *(fail_on or ())))
    for reason in reasons:
        typer.echo(f"zonebridge: {reason}", err=True)
    if reasons:
        raise typer.Exit(ExitCode.TROUBLE)
