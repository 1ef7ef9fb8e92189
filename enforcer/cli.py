"""zone-enforcer's commands.

Only here are settings and environment read, and errors turned into one line and an exit code.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from enforcer import assembly, files, logs, ruleset, status, thrift
from enforcer.errors import EnforcerError, ExitCode, InputError
from enforcer.records import Json
from enforcer.ruleset import Mode
from enforcer.service import STATUS_FILE, until_signal
from enforcer.settings import Settings, load
from enforcer.tier import judge
from enforcer.view import Kind, View, selectors
from enforcer.watch import Cluster

_STALE_SECONDS = 60.0

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
SettingsFile = Annotated[
    Path | None, typer.Option("-c", "--config", help="The settings file.", envvar="ZONEBRIDGE_CONFIG")
]


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


@app.command()
def run(config: SettingsFile = None) -> None:
    """Enforce the tier on this node until SIGTERM; the rules stay in force afterwards."""
    settings = load(config, os.environ)
    logs.configure(settings.log.level, settings.log.format)
    thrift.begin()
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    await until_signal(await assembly.assemble(settings, os.environ))


@app.command()
def render(
    config: SettingsFile = None,
    tier: Annotated[Path | None, typer.Option(help="A file with the tier's objects, instead of the cluster.")] = None,
    pods: Annotated[Path | None, typer.Option(help="A file with pods and nodes.")] = None,
    node: Annotated[str, typer.Option(help="The node to render for.")] = "",
    mode: Annotated[Mode, typer.Option(help="enforce or observe.")] = Mode.ENFORCE,
) -> None:
    """Print the nftables rules of the live cluster's tier, or of files."""
    if tier is None:
        settings = load(config, os.environ)
        name, options = node or settings.node_name, assembly.options(settings)
        view = asyncio.run(_live(settings, name))
    else:
        view, name, options = _offline(tier, pods), node, ruleset.Options(mode)
    typer.echo(_rendered(view, name, options))


def _offline(tier: Path, pods: Path | None) -> View:
    objects = files.read_objects(tier) + ([] if pods is None else files.read_objects(pods))
    names = files.tier_names(objects)
    if len(names) != 1:
        raise InputError(f"{tier} must hold exactly one Tier and the objects that it names; it holds {len(names)}")
    return files.view_of(objects, names[0])


async def _live(settings: Settings, node: str) -> View:
    cluster = await Cluster.connect(settings.kubeconfig, selectors(node, settings.tier))
    view = View(settings.tier, tuple(settings.pod_networks), node)
    try:
        for kind in Kind:
            async for page in cluster.list(kind):
                view.fold(page)
    finally:
        await cluster.close()
    return view


def _rendered(view: View, node: str, options: ruleset.Options) -> str:
    judged = judge(None, view.tier_object(), view.parts())
    if judged.revision is None:
        raise EnforcerError(judged.why or f"there is no tier '{view.tier}'; the bridge makes it")
    return ruleset.build(judged.revision.policy, view.inventory(), node, datetime.now(UTC), options).text()


@app.command("status")
def show_status(
    config: SettingsFile = None,
    output: Annotated[Output, typer.Option("-o", "--output")] = Output.TABLE,
    state_dir: Annotated[Path | None, typer.Option(help="Where the agent keeps its state.")] = None,
) -> None:
    """What the agent on this node does. Ends with 1 where something is wrong."""
    directory = state_dir or load(config, os.environ).state_dir
    told = _read_status(directory / STATUS_FILE)
    why = status.healthy(told, datetime.now(UTC), _STALE_SECONDS)
    if output is Output.JSON:
        typer.echo(json.dumps(told | {"healthy": not why, "reason": why}, indent=2, ensure_ascii=False))
    else:
        _print_status(told, why)
    if why:
        raise typer.Exit(ExitCode.TROUBLE)


def _read_status(path: Path) -> Json:
    try:
        told: Json = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise EnforcerError(f"there is no status in {path.parent}; is zone-enforcer running on this node?") from error
    except (OSError, ValueError) as error:
        raise EnforcerError(f"{path} can't be read: {error}") from error
    return told


def _print_status(told: Json, why: str) -> None:
    console = Console(soft_wrap=True)
    facts = Table(show_header=False, box=None)
    rows = {
        "node": f"{told['node']} of {told['cluster']}",
        "tier": f"{told['tier']}, revision {told['revision']}, {told['standing']}",
        "mode": told["mode"],
        "applied": told["appliedAt"],
        "pods": f"{told['pods']} on {told['nodes']} nodes",
        "zones": ", ".join(f"{zone} {count}" for zone, count in told["zones"].items()),
        "records": ", ".join(f"{name} {count}" for name, count in told["records"].items()),
        "lost": ", ".join(f"{name} {count}" for name, count in told["lost"].items()) or "none",
        "spool": f"{told['spool_bytes']} bytes",
    }
    for name, value in rows.items():
        facts.add_row(name, str(value))
    for each in told["destinations"]:
        facts.add_row(f"→ {each['name']}", _destination(each))
    for problem in told["problems"]:
        facts.add_row("problem", problem)
    console.print(facts)
    console.print(f"wrong: {why}" if why else "all is well")


def _destination(told: Json) -> str:
    trouble = f"; {'held' if told['held'] else 'trying again'}: {told['trouble']}" if told["trouble"] else ""
    return f"sent {told['sent']}, waiting {told['backlog']}, refused {told['refused']}, lost {told['lost']}{trouble}"


@app.command()
def flush(
    config: SettingsFile = None,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, nothing shall be enforced on this node any more.")] = False,  # noqa: FBT002
) -> None:
    """Remove the rules from this node's kernel: nothing is enforced any more. The agent must be stopped."""
    if not yes:
        raise InputError("flush removes every rule from this node's kernel; say --yes if that is what you want")
    kernel = assembly.kernel(load(config, os.environ))
    kernel.flush()
    kernel.stop()
    typer.echo("the rules are removed; nothing is enforced on this node")


def main() -> NoReturn:
    """The program: every expected error is one line each and an exit code."""
    try:
        app()
    except EnforcerError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)
    sys.exit(ExitCode.DONE)
