"""`zonebridge posture`: a cluster's configuration against the checks of `bridge.posture`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge import pages
from bridge.commands.cluster import Context, Kubeconfig
from bridge.commands.options import SettingsFile
from bridge.compilation import offline
from bridge.explain import answer
from bridge.posture import kube_bench
from bridge.posture.catalogue import number
from bridge.posture.check import CheckOutcome, CheckResult
from bridge.posture.evaluation import Evaluation
from bridge.posture.exceptions import with_exceptions
from bridge.posture.forms.findings_ocsf import compliance_findings
from bridge.posture.forms.open_report import cluster_report
from bridge.posture.forms.report_text import report_csv, report_lines
from bridge.posture.gather import gather
from bridge.posture.report import PostureReport, report_json
from bridge.posture.snapshot import PostureSnapshot, PostureTerms
from bridge.settings.file import Purpose, cluster_named, load
from bridge.settings.models import BridgeSettings, PostureSettings
from bridge.wiring.clusters import cluster_access, posture_terms
from zones.kube.client import ApiServer, ClusterAccess
from zones.runtime.errors import ExitCode
from zones.runtime.output import json_text


class PostureOutput(StrEnum):
    """OCSF is a Compliance Finding a line, OPENREPORTS an object for kubectl apply."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"
    OCSF = "ocsf"
    OPENREPORTS = "openreports"


def posture(
    *,
    config: SettingsFile = None,
    cluster: Annotated[str | None, typer.Option(help="Which one, where the settings name several.")] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option("--kube-bench", help="Output of kube-bench --json, of one node; repeatable.", metavar="FILE"),
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Annotated[PostureOutput, typer.Option("--output", "-o")] = PostureOutput.TABLE,
) -> None:
    """Say what of the cluster's configuration is as it should be, what isn't, and what isn't known.

    Ends with 1 where a check fails or is unknown. With settings (-c) it asks the cluster that they name, and knows
    their exceptions; otherwise it asks as your kubeconfig says. It reads no Secret.
    """
    settings = load(config, os.environ, Purpose.OFFLINE)
    name, access, namespace = _where(settings, cluster, kubeconfig, context)
    imported = [result for path in results or () for result in _read(path)]
    terms = posture_terms(settings.posture, namespace)
    snapshot = asyncio.run(_gather(access, terms))
    report = report_of(name, snapshot, settings.posture, imported, datetime.now(UTC))
    typer.echo(_text(report, output), nl=False)
    if not report.good:
        raise typer.Exit(ExitCode.TROUBLE)


def report_of(
    name: str,
    snapshot: PostureSnapshot,
    settings: PostureSettings,
    imported: Sequence[kube_bench.KubeBenchResult],
    at: datetime,
) -> PostureReport:
    exceptions = [exception.exception() for exception in settings.exceptions]
    outcomes, use = with_exceptions(Evaluation().outcomes(snapshot), exceptions, at.date())
    others = kube_bench.not_looked_at(imported, _numbers(outcomes, settings.benchmark))
    return PostureReport(name, at, outcomes, use, snapshot.hidden, others, settings.benchmark)


def _numbers(outcomes: Sequence[CheckOutcome], version: str) -> frozenset[str]:
    """Of what our own checks have said something."""
    return frozenset(
        number(outcome.check.id, version)
        for outcome in outcomes
        if outcome.result in {CheckResult.PASS, CheckResult.FAIL}
    )


def _where(
    settings: BridgeSettings, cluster: str | None, kubeconfig: Path | None, context: str | None
) -> tuple[str, ClusterAccess, str]:
    """The cluster's name, how to ask it, and the bridge's namespace there."""
    if settings.clusters and kubeconfig is None:
        chosen = cluster_named(settings, cluster)
        return chosen.name, cluster_access(chosen), chosen.namespace
    access = ClusterAccess("", answer.where_we_are(kubeconfig, os.environ), context)
    return context or cluster or "cluster", access, "zonebridge-system"


def _read(path: Path) -> list[kube_bench.KubeBenchResult]:
    text = offline.read_text(path, "--kube-bench")
    return kube_bench.read_results(text, path.name, datetime.fromtimestamp(path.stat().st_mtime, UTC))


async def _gather(access: ClusterAccess, terms: PostureTerms) -> PostureSnapshot:
    server = ApiServer(access)
    try:
        await server.open()
        return await gather(server, terms)
    finally:
        await server.close()


def _text(report: PostureReport, output: PostureOutput) -> str:
    match output:
        case PostureOutput.JSON:
            return json_text(report_json(report)) + "\n"
        case PostureOutput.CSV:
            return report_csv(report)
        case PostureOutput.HTML:
            return pages.page_html(pages.posture_page(report))
        case PostureOutput.OCSF:
            return "".join(f"{json.dumps(finding, ensure_ascii=False)}\n" for finding in compliance_findings(report))
        case PostureOutput.OPENREPORTS:
            return json_text(cluster_report(report)) + "\n"
        case PostureOutput.TABLE:
            return "\n".join(report_lines(report)) + "\n"
