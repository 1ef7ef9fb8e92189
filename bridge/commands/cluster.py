"""Commands on a live cluster that need no settings file: `check` and `flush-nodes`. `bridge.cli` has the others."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bridge.check import gather, reach, run
from bridge.check.snapshot import InstallationNames
from bridge.commands.options import OutputShape
from bridge.explain import answer
from bridge.nodes import flush
from bridge.settings.file import Purpose, load
from bridge.settings.models import BridgeSettings
from zones.kube.client import ApiServer, ClusterAccess
from zones.runtime import findings
from zones.runtime.errors import ExitCode, InputError
from zones.runtime.findings import Finding
from zones.runtime.output import json_text
from zones.runtime.types import duration

DEPLOYED = InstallationNames()
Kubeconfig = Annotated[Path | None, typer.Option(help="Instead of the usual one.", metavar="FILE")]
Context = Annotated[str | None, typer.Option(help="The kubeconfig's context.")]


def check(
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="The bridge's settings: Panorama and SIEM too.",
            metavar="FILE",
            envvar="ZONEBRIDGE_CONFIG",
        ),
    ] = None,
    namespace: Annotated[str, typer.Option(help="The bridge's namespace.", envvar="POD_NAMESPACE")] = DEPLOYED.bridge,
    enforcer_namespace: Annotated[str, typer.Option(help="The enforcers' namespace.")] = DEPLOYED.enforcer,
    tier: Annotated[str, typer.Option(help="The Tier.")] = DEPLOYED.tier,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Annotated[OutputShape, typer.Option("--output", "-o")] = OutputShape.TEXT,
) -> None:
    """Say whether the cluster is fit for zonebridge, and whether the installation is as it should be.

    Before and after it is installed. Ends with 1 where something is wrong or could not be looked at.
    """
    settings = None if config is None else load(config, os.environ, Purpose.SERVICE)
    access = ClusterAccess("live", answer.where_we_are(kubeconfig, os.environ), context)
    checked = asyncio.run(_check(access, InstallationNames(namespace, enforcer_namespace, tier), settings))
    good = findings.good(checked)
    if output is OutputShape.JSON:
        typer.echo(json_text({"good": good, "findings": [finding.json() for finding in checked]}))
    else:
        typer.echo(findings.text(checked))
    if not good:
        raise typer.Exit(ExitCode.TROUBLE)


async def _check(access: ClusterAccess, names: InstallationNames, settings: BridgeSettings | None) -> list[Finding]:
    server = ApiServer(access)
    try:
        snapshot = await gather.gather(server, names, time.time())
    finally:
        await server.close()
    reached = None if settings is None else await reach.ask(settings)
    return run.findings(replace(snapshot, reached=reached))


def flush_nodes(
    *,
    namespace: Annotated[str, typer.Option(help="The enforcers' namespace.")] = "zonebridge-enforcer",
    timeout: Annotated[str, typer.Option(help="How long to wait for all nodes.")] = "5m",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Yes, nothing shall be enforced in this cluster any more.")
    ] = False,
) -> None:
    """Remove the rules from every node's kernel, before the installation is deleted. The enforcers end with it."""
    if not yes:
        raise InputError("flush-nodes: nothing is enforced in the cluster after it; say --yes if that is what you want")
    try:
        patience = duration(timeout).total_seconds()
    except ValueError as error:
        raise InputError(f"--timeout: {error}") from error
    access = ClusterAccess("live", answer.where_we_are(kubeconfig, os.environ), context)
    asyncio.run(_flush(access, namespace, patience))


async def _flush(access: ClusterAccess, namespace: str, patience: float) -> None:
    server = ApiServer(access)
    try:
        await flush.flush_nodes(server, namespace, patience, typer.echo)
    finally:
        await server.close()
