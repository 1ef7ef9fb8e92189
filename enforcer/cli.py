"""zone-enforcer's commands.

Only here is the environment read, and are errors turned into one line and an exit code. What a command needs is
imported when it is called: a restart of the agent may not wait for what other commands need.
"""
# ruff: noqa: PLC0415 - imports delay the start

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from enforcer.restart import restore as start
from enforcer.rules.options import Mode
from zones.runtime.errors import ExitCode, InputError, ZonebridgeError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Enforces the cluster's tier on this node, in the kernel, and reports to the SIEM what was denied.",
)
SettingsFile = Annotated[
    Path | None, typer.Option("-c", "--config", help="The settings file.", envvar="ZONEBRIDGE_CONFIG")
]


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


@app.command()
def run(config: SettingsFile = None) -> None:
    """Enforce the tier on this node until SIGTERM; the rules stay in force afterwards."""
    restored = start.first(config, os.environ)
    from enforcer import agent

    agent.run(config, os.environ, restored=restored)


@app.command()
def restore(
    config: SettingsFile = None,
    state_dir: Annotated[Path | None, typer.Option(help="Take what is saved there as it is, without settings.")] = None,
) -> None:
    """Load the last good rules where the kernel has none, and end: what a node does before its pods start."""
    if state_dir is not None:
        start.as_saved(state_dir)
        typer.echo("the last good rules are in force")
        return
    if start.first(config, os.environ):
        typer.echo("the last good rules are in force again")
        return
    from enforcer import agent

    typer.echo(agent.bring_back(config, os.environ))


@app.command()
def render(
    config: SettingsFile = None,
    tier: Annotated[Path | None, typer.Option(help="A file with the tier's objects, instead of the cluster.")] = None,
    pods: Annotated[Path | None, typer.Option(help="A file with pods and nodes.")] = None,
    node: Annotated[str, typer.Option(help="The node to render for.")] = "",
    mode: Annotated[Mode, typer.Option(help="enforce or observe.")] = Mode.ENFORCE,
) -> None:
    """Print the nftables rules of the live cluster's tier, or of files."""
    from enforcer import render as rendering

    if tier is None:
        typer.echo(rendering.of_cluster(config, os.environ, node))
    else:
        typer.echo(rendering.of_files(tier, pods, node, mode))


@app.command("status")
def show_status(
    config: SettingsFile = None,
    output: Annotated[Output, typer.Option("-o", "--output")] = Output.TABLE,
    state_dir: Annotated[Path | None, typer.Option(help="Where the agent keeps its state.")] = None,
) -> None:
    """What the agent on this node does. Ends with 1 where something is wrong."""
    from enforcer.service import STATUS_FILE
    from enforcer.settings import models
    from enforcer.status import table
    from zones.runtime.output import json_text

    directory = state_dir or models.load(config, os.environ).state_dir
    status, why = table.read(directory / STATUS_FILE)
    if output is Output.JSON:
        typer.echo(json_text(status | {"healthy": not why, "reason": why}))
    else:
        table.show(status, why)
    if why:
        raise typer.Exit(ExitCode.TROUBLE)


@app.command()
def check(
    config: SettingsFile = None,
    output: Annotated[Output, typer.Option("-o", "--output")] = Output.TABLE,
) -> None:
    """Say whether this node's kernel, data plane, clock and disk are fit, and whether the SIEM takes records from here.

    Before and after the installation; nothing is changed. Ends with 1 where something is wrong or can't be looked at.
    """
    from enforcer import node_check
    from enforcer.settings import models
    from zones.runtime import findings
    from zones.runtime.output import json_text

    looked = node_check.look(models.load(config, os.environ), os.environ)
    good = findings.good(looked)
    if output is Output.JSON:
        typer.echo(json_text({"good": good, "findings": [finding.json() for finding in looked]}))
    else:
        typer.echo(findings.text(looked))
    if not good:
        raise typer.Exit(ExitCode.TROUBLE)


@app.command()
def flush(
    config: SettingsFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, nothing shall be enforced on this node any more.")] = False,  # noqa: FBT002
) -> None:
    """Remove the rules from this node's kernel: nothing is enforced any more. The agent must be stopped."""
    if not yes:
        raise InputError("flush removes every rule from this node's kernel; say --yes if that is what you want")
    from enforcer import agent

    agent.flush(config, os.environ)
    typer.echo("the rules are removed; nothing is enforced on this node")


def main() -> NoReturn:
    """The program: every expected error is one line each and an exit code."""
    try:
        app()
    except ZonebridgeError as error:
        from zones.runtime.output import lines_text

        typer.echo(lines_text(str(error).split("\n")), err=True)
        sys.exit(error.exit_code)
    sys.exit(ExitCode.DONE)
