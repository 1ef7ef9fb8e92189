"""The `zonebridge` command: settings in, exit code out. It only wires; what commands mean is elsewhere.

Nothing else reads settings or the environment, or prints; `bridge.kubectl.cli` is a program of its own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge import garbage_collection, pages
from bridge.commands import cluster, history, overview, quarantine, usage
from bridge.commands import evidence as evidence_command
from bridge.commands import posture as posture_command
from bridge.commands import preview as preview_command
from bridge.commands import report as report_command
from bridge.commands import serve as serve_command
from bridge.commands import verify as verify_command
from bridge.commands.options import (
    DeviceGroup,
    Flat,
    OutputShape,
    PanoramaConfig,
    Parents,
    Predefined,
    Prefixes,
    SettingsFile,
    supplement_of,
)
from bridge.commands.tier_facts import COLUMNS, row
from bridge.compilation import offline, report_table
from bridge.compilation.report import refusal_lines
from bridge.errors import RevisionRefusedError
from bridge.explain import answer as inquiry
from bridge.explain import flow_list
from bridge.explain.flow_options import FlowQuestion
from bridge.explain.trace import explanation_json, explanation_lines
from bridge.metrics import Metrics
from bridge.service import Work, one_at_a_time, run_once, serve, shipping
from bridge.settings.file import Purpose, load
from bridge.settings.models import BridgeSettings
from bridge.tier.reader import ClusterReader
from bridge.wiring.clusters import listen_address, works
from bridge.wiring.quarantine import quarantine_door
from bridge.wiring.siem import siem_sink
from zones.compile import Compiled
from zones.kube.client import ApiServer, ClusterAccess
from zones.net import AddressSet
from zones.runtime import logs
from zones.runtime.errors import ExitCode, InputError, ZonebridgeError
from zones.runtime.output import json_text, lines_text, printable, table_text
from zones.runtime.types import host_and_port
from zones.zone import Zoning

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Makes a Kubernetes cluster one more Panorama device group.",
)
app.command()(cluster.check)
app.command()(posture_command.posture)
app.command()(preview_command.preview)
app.command()(serve_command.serve)
app.command()(usage.usage)
app.command()(report_command.report)
app.command()(report_command.review)
app.command()(verify_command.verify)
app.command("verify-evidence")(report_command.verify_evidence)
app.command("flush-nodes")(cluster.flush_nodes)
app.command()(history.history)
app.command()(history.show)
app.command()(history.diff)
app.command("verify-chain")(history.verify_chain)
app.command()(history.rollback)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(evidence_command.app, name="evidence")


class CompileOutput(StrEnum):
    YAML = "yaml"
    JSON = "json"
    REPORT = "report"
    CSV = "csv"
    HTML = "html"


class StatusOutput(StrEnum):
    TEXT = "text"
    JSON = "json"
    HTML = "html"


class Grouping(StrEnum):
    REASON = "reason"


class Only(StrEnum):
    ATTENTION = "attention"


def main() -> None:
    """The console script."""
    garbage_collection.look_rarely()
    logs.configure(
        "warning", logs.LogFormat.CONSOLE
    )  # to standard error: what a command answers may be read by a program
    try:
        app()
    except ZonebridgeError as error:
        _complain("\n".join(error.why) if isinstance(error, RevisionRefusedError) else str(error))
        sys.exit(error.exit_code)


@app.command()
def sync(
    config: SettingsFile = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="One pass for each cluster, then end.")] = False,
) -> None:
    """Keep each cluster's tier what Panorama says."""
    settings = load(config, os.environ, Purpose.SERVICE)
    logs.configure(settings.log.level, settings.log.format)
    logs.note(settings.notices)
    raise typer.Exit(asyncio.run(_sync(settings, once=once)))


async def _sync(settings: BridgeSettings, *, once: bool) -> ExitCode:
    metrics = Metrics()
    siem = siem_sink(settings.siem, metrics.shipped, settings.history.link)
    for shipper in () if siem is None else siem.shippers:
        metrics.queue(shipper.name, shipper.__len__, shipper.oldest)
    async with one_at_a_time() as run_blocking, one_at_a_time() as run_tags, shipping(siem):
        cluster_works = tuple(works(settings, run_blocking, siem, run_tags))
        if once:
            return ExitCode.DONE if await run_once(cluster_works, metrics) else ExitCode.TROUBLE
        address = settings.metrics.address
        interval = settings.panorama.poll_interval.total_seconds() if settings.panorama else 0.0
        wake_up = listen_address(settings.wake_up, "wakeUp") if settings.wake_up else None
        preview = listen_address(settings.preview, "preview") if settings.preview else None
        async with _evidence(settings, cluster_works):
            await serve(
                cluster_works,
                interval,
                host_and_port(address) if address else None,
                wake_up,
                metrics,
                preview=preview,
                quarantine=quarantine_door(settings.quarantine),
            )
        return ExitCode.DONE


def _evidence(settings: BridgeSettings, cluster_works: Sequence[Work]) -> AbstractAsyncContextManager[None]:
    if settings.evidence is None:
        return nullcontext()
    from bridge.wiring.evidence import evidence_kept  # noqa: PLC0415 - libraries of 20 MB that others need not load

    return evidence_kept(settings, cluster_works)


@app.command()
def compile(  # noqa: A001 - the command's name
    *,
    panorama_config: PanoramaConfig,
    device_group: DeviceGroup,
    config: SettingsFile = None,
    prefixes: Prefixes = None,
    predefined: Predefined = None,
    parent: Parents = None,
    flat: Flat = False,
    only: Annotated[Only | None, typer.Option(help="Of the report, the rules to look at.")] = None,
    group_by: Annotated[Grouping | None, typer.Option(help="The report by reason, the commonest first.")] = None,
    output: Annotated[CompileOutput, typer.Option("--output", "-o")] = CompileOutput.YAML,
) -> None:
    """Say offline what a configuration becomes: the tier's objects, or what became of every rule."""
    _only_of_a_report(output, only, group_by)
    settings = load(config, os.environ, Purpose.OFFLINE)
    infrastructure = offline.known_infrastructure(settings)
    supplement = supplement_of(prefixes, predefined, parent, flat=flat)
    compiled = offline.compile_file(panorama_config, device_group, settings, infrastructure, supplement)
    tier = None if compiled.policy is None else offline.rendered(compiled.policy, device_group, settings)
    match output:
        case CompileOutput.REPORT:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            shape = {"only_attention": only is not None, "by_reason": group_by is not None}
            typer.echo(lines_text(report_table.report_lines(compiled, device_group, width=width, **shape)))
        case CompileOutput.CSV:
            typer.echo(report_table.report_csv(compiled, only_attention=only is not None), nl=False)
        case CompileOutput.HTML:
            page = pages.compile_page(compiled, device_group, only_attention=only is not None)
            typer.echo(pages.page_html(page), nl=False)
        case CompileOutput.JSON:
            typer.echo(json_text(offline.compiled_json(compiled, tier, device_group)))
        case CompileOutput.YAML if tier is not None:
            typer.echo(offline.yaml_text(tier), nl=False)
    if compiled.policy is None:
        raise RevisionRefusedError("InexpressibleDeny", *refusal_lines(compiled))


def _only_of_a_report(output: CompileOutput, only: Only | None, group_by: Grouping | None) -> None:
    """Raises InputError: an option that would do nothing is a mistake."""
    if group_by is not None and output is not CompileOutput.REPORT:
        raise InputError(f"compile: --group-by is of -o report, not of -o {output.value}")
    if only is not None and output in {CompileOutput.YAML, CompileOutput.JSON}:
        raise InputError(f"compile: --only is of -o report, csv and html, not of -o {output.value}")


@app.command()
def explain(
    source_pod: Annotated[str | None, typer.Argument(metavar="[pod/NS/NAME", show_default=False)] = None,
    destination_pod: Annotated[str | None, typer.Argument(metavar="pod/NS/NAME|ADDRESS]", show_default=False)] = None,
    *,
    protocol: Annotated[str | None, typer.Option(help="tcp, udp, sctp, icmp, icmp6 or a number.")] = None,
    flows: Annotated[
        Path | None,
        typer.Option(help="Offline: many questions, CSV or JSON lines; answers are JSON lines.", metavar="FILE"),
    ] = None,
    panorama_config: Annotated[Path | None, typer.Option(help="Offline: a running-config.xml.", metavar="FILE")] = None,
    device_group: Annotated[str | None, typer.Option(help="Offline: the device group.", metavar="NAME")] = None,
    from_zone: Annotated[str | None, typer.Option(help="Offline: where the flow begins.")] = None,
    to_zone: Annotated[str | None, typer.Option(help="Offline: where it ends.")] = None,
    source: Annotated[str | None, typer.Option(help="The source's IP address.")] = None,
    destination: Annotated[str | None, typer.Option(help="The destination's IP address.")] = None,
    port: Annotated[int | None, typer.Option(help="The destination port.")] = None,
    source_port: Annotated[int | None, typer.Option(help="The source port.")] = None,
    icmp_type: Annotated[int | None, typer.Option(help="The ICMP type.")] = None,
    app_name: Annotated[
        str | None, typer.Option("--app", help="The destination's workload: NAME or NAMESPACE/NAME.")
    ] = None,
    source_app: Annotated[str | None, typer.Option(help="The source's workload: NAME or NAMESPACE/NAME.")] = None,
    at: Annotated[str | None, typer.Option(help="When, as RFC 3339; live: now.", metavar="TIME")] = None,
    infrastructure: Annotated[bool, typer.Option("--infrastructure", help="Count infrastructure rules.")] = False,
    service_networks: Annotated[
        list[str] | None,
        typer.Option("--service-network", help="A prefix of Services' addresses.", metavar="PREFIX"),
    ] = None,
    prefixes: Prefixes = None,
    predefined: Predefined = None,
    parent: Parents = None,
    flat: Flat = False,
    config: SettingsFile = None,
    kubeconfig: Annotated[Path | None, typer.Option(help="Live: the cluster.", metavar="FILE")] = None,
    context: Annotated[str | None, typer.Option(help="Live: the kubeconfig's context.")] = None,
    tier: Annotated[str, typer.Option(help="Live: the Tier.")] = "panorama",
    output: Annotated[OutputShape, typer.Option("--output", "-o")] = OutputShape.TEXT,
) -> None:
    """Say which rule decides a flow, and why no rule before it did."""
    if protocol is None and flows is None:
        raise InputError("explain: give --protocol, or many questions with --flows FILE")
    asked = FlowQuestion(
        protocol or "", from_zone, to_zone, source, destination, port, source_port, icmp_type, app_name, source_app, at
    )
    if source_pod is not None:
        access = ClusterAccess("live", kubeconfig or inquiry.usual_kubeconfig(os.environ), context)
        services = offline.prefixes(service_networks or (), "--service-network")
        reader = ClusterReader(ApiServer(access))
        live = asyncio.run(inquiry.from_cluster(reader, tier, source_pod, destination_pod, asked, services=services))
        typer.echo(json_text(live.json()) if output is OutputShape.JSON else live.text())
        return
    if panorama_config is None or device_group is None:
        raise InputError(
            "explain: give --panorama-config and --device-group, or a pod as pod/NAMESPACE/NAME and where to"
        )
    settings = load(config, os.environ, Purpose.OFFLINE)
    rules = offline.known_infrastructure(settings) if infrastructure else ()
    supplement = supplement_of(prefixes, predefined, parent, flat=flat)
    compiled = offline.compile_file(panorama_config, device_group, settings, rules, supplement)
    services = offline.prefixes(service_networks or (), "--service-network")
    if flows is not None:
        raise typer.Exit(_answer_flows(flows, compiled, settings.zones.zoning(), services))
    answer = inquiry.from_configuration(compiled, asked, settings.zones.zoning(), services)
    typer.echo(
        json_text(explanation_json(answer)) if output is OutputShape.JSON else lines_text(explanation_lines(answer))
    )


def _answer_flows(path: Path, compiled: Compiled, zoning: Zoning, services: AddressSet) -> ExitCode:
    """2 where a line can't be read, 1 where a question needs more than it gives."""
    if compiled.policy is None:
        raise RevisionRefusedError("InexpressibleDeny", *refusal_lines(compiled))
    code = ExitCode.DONE
    for answer in flow_list.answers(offline.read_text(path, "--flows"), compiled.policy, zoning, services):
        typer.echo(json_text(answer, indent=None))
        if "error" in answer:
            code = max(code, ExitCode.TROUBLE if "needs" in answer else ExitCode.BAD_INPUT)
    return code


@app.command()
def status(
    config: SettingsFile = None,
    output: Annotated[StatusOutput, typer.Option("--output", "-o")] = StatusOutput.TEXT,
) -> None:
    """Say of each cluster which revision it has, how many nodes enforce it, and what is wrong."""
    settings = load(config, os.environ, Purpose.SERVICE)
    values = asyncio.run(overview.overview(settings.clusters))
    match output:
        case StatusOutput.JSON:
            typer.echo(json_text({"clusters": values}))
        case StatusOutput.HTML:
            typer.echo(pages.page_html(pages.status_page(values)), nl=False)
        case StatusOutput.TEXT:
            typer.echo(table_text(COLUMNS, map(row, values)))
    if not all(value["ready"] for value in values):
        raise typer.Exit(ExitCode.TROUBLE)


def _complain(message: str) -> None:
    for line in message.split("\n"):
        typer.echo(f"zonebridge: {printable(line)}", err=True)
