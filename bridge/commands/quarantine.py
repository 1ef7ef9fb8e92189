"""`zonebridge quarantine`: cut a pod or a workload off in a live cluster, and let it out."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from bridge.commands.cluster import Context, Kubeconfig
from bridge.commands.options import OutputShape
from bridge.explain import answer
from bridge.quarantine.client import QuarantineBudget, QuarantineClient, Subject, is_over
from bridge.quarantine.text import COLUMNS, outcome_text, row, to_json, wanted
from zones.kube.client import ApiServer, ClusterAccess
from zones.runtime.errors import InputError
from zones.runtime.output import json_text, table_text

_Result = TypeVar("_Result")
Names = Annotated[list[str] | None, typer.Argument(metavar="NAME...", show_default=False)]

app = typer.Typer(no_args_is_help=True, help="Cut a pod or a workload off, and let it out. docs/quarantine.md")


@app.command()
def add(
    subject: Annotated[str, typer.Argument(metavar="pod/NS/NAME|workload/NS/NAME")],
    *,
    reason: Annotated[str, typer.Option(help="Why; it is in the records.")],
    lasting: Annotated[str, typer.Option("--for", help="90s, 30m, 4h; up to 168h.")] = "4h",
    reference: Annotated[str, typer.Option(help="A ticket, an incident.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="It is told of, and nobody is cut off.")] = False,
    workload_budget: Annotated[
        int, typer.Option(min=0, max=100, help="Percent of a workload's pods without an approval.")
    ] = QuarantineBudget().workload,
    cluster_budget: Annotated[
        int, typer.Option(min=0, max=100, help="Percent of the cluster's pods without an approval.")
    ] = QuarantineBudget().cluster,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Annotated[OutputShape, typer.Option("--output", "-o")] = OutputShape.TEXT,
) -> None:
    """Cut a pod off, by its uid, or all pods of a workload. Beyond the budget it waits for somebody else's approval."""
    named = Subject.parse(subject)
    asked = wanted(named.namespace, reason, lasting, reference, dry_run=dry_run)
    budget = QuarantineBudget(workload_budget, cluster_budget)
    created = _ask(kubeconfig, context, lambda cluster: cluster.add(named, asked, time.time()), budget)
    if output is OutputShape.JSON:
        typer.echo(json_text(to_json(created, time.time())))
    else:
        typer.echo(outcome_text(created, "zonebridge quarantine"))


@app.command("list")
def list_(
    *,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Annotated[OutputShape, typer.Option("--output", "-o")] = OutputShape.TEXT,
) -> None:
    """Say which quarantines there are, and what each does at this moment."""
    listed, now = _ask(kubeconfig, context, lambda cluster: cluster.all()), time.time()
    if output is OutputShape.JSON:
        typer.echo(json_text([to_json(quarantine, now) for quarantine in listed]))
    else:
        typer.echo(table_text(COLUMNS, [row(quarantine, now) for quarantine in listed]))


@app.command()
def release(
    names: Names = None,
    *,
    over: Annotated[bool, typer.Option("--over", help="Those whose time is over.")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Let pods out at once, by deleting their quarantines."""
    if bool(names) == over:
        raise InputError("quarantine release: give names, or --over")

    async def work(cluster: QuarantineClient) -> list[str]:
        chosen = names or [quarantine.name for quarantine in await cluster.all() if is_over(quarantine, time.time())]
        for name in chosen:
            await cluster.release(name)
            typer.echo(f"{name}: released")
        return chosen

    _ask(kubeconfig, context, work)


@app.command()
def approve(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Let a quarantine that is beyond the budget come into force; not for who asked for it."""
    _ask(kubeconfig, context, lambda cluster: cluster.approve(name))
    typer.echo(f"{name}: approved")


def _ask(
    kubeconfig: Kubeconfig,
    context: Context,
    work: Callable[[QuarantineClient], Awaitable[_Result]],
    budget: QuarantineBudget | None = None,
) -> _Result:
    async def asked() -> _Result:
        server = ApiServer(ClusterAccess("live", answer.where_we_are(kubeconfig, os.environ), context))
        try:
            return await work(QuarantineClient(server, budget))
        finally:
            await server.close()

    return asyncio.run(asked())
