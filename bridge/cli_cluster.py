"""Commands on a live cluster that need no settings file: `zonebridge flush-nodes`. `bridge.cli` has the others."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from bridge import inquiry, removal
from bridge.apiserver import Access, ApiServer
from bridge.errors import InputError
from bridge.settings import duration


def flush_nodes(
    *,
    namespace: Annotated[str, typer.Option(help="The enforcers' namespace.")] = "zonebridge-enforcer",
    timeout: Annotated[str, typer.Option(help="How long to wait for all nodes.")] = "5m",
    kubeconfig: Annotated[Path | None, typer.Option(help="Instead of the usual one.", metavar="FILE")] = None,
    context: Annotated[str | None, typer.Option(help="The kubeconfig's context.")] = None,
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
    access = Access("live", inquiry.where_we_are(kubeconfig, os.environ), context)
    asyncio.run(_flush(access, namespace, patience))


async def _flush(access: Access, namespace: str, patience: float) -> None:
    server = ApiServer(access)
    try:
        await removal.flush_nodes(server, namespace, patience, typer.echo)
    finally:
        await server.close()
