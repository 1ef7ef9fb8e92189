"""`zonebridge verify`: zones measured by pods that live for some minutes, beside what the policy says."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.commands.cluster import Context, Kubeconfig
from bridge.commands.history import ClusterName, Output, Tier
from bridge.commands.options import OutputShape, ScopeOption, SettingsFile, zones_of
from bridge.explain.answer import where_we_are
from bridge.segmentation.matrix import Json
from bridge.segmentation.measure import Measurement, MeasurementError, MeasurementPlan, SegmentationResult
from bridge.segmentation.record import result_json
from bridge.settings.file import Purpose, cluster_named, load
from bridge.wiring.clusters import cluster_access
from zones.kube.client import ApiServer, ClusterAccess
from zones.runtime.errors import ExitCode, InputError
from zones.runtime.output import json_text, printable, table_lines

if TYPE_CHECKING:
    from bridge.settings.models import BridgeSettings, ClusterSettings

CELL_COLUMNS = ("FROM", "TO", "FAMILY", "TRIED", "AS DECIDED", "OPEN", "CLOSED")
DIFFERENCE_COLUMNS = ("WHAT", "FROM", "TO", "ADDRESS", "PORT", "OUTCOME", "RULE")


def verify(
    *,
    config: SettingsFile = None,
    cluster: ClusterName = None,
    tier: Tier = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    scope: ScopeOption = None,
    ports: Annotated[int, typer.Option(help="Ports of each pair of zones and family.", min=1, max=100)] = 8,
    most_pods: Annotated[int, typer.Option(help="The budget of probe pods; two for each zone.", min=2)] = 50,
    output: Output = OutputShape.TEXT,
) -> None:
    """Measure which connections between zones come about, and say where that isn't what the policy says.

    With -c and an evidence database the result is recorded there. Ends with 1 where something differs or isn't known.
    """
    settings = None if config is None else load(config, os.environ, Purpose.OFFLINE)
    named = None if settings is None else cluster_named(settings, cluster)
    if settings is None and cluster is not None:
        raise InputError("verify: --cluster needs -c: the settings say where it is")
    access, followed = _place(named, tier, (kubeconfig, context))
    zones = zones_of(scope or [])
    plan = MeasurementPlan(followed, zones or None, ports, most_pods)
    result = asyncio.run(_measured(access, plan))
    value = result_json(result)
    recorded = settings is not None and named is not None and _record(settings, named, result, value)
    if output is OutputShape.JSON:
        typer.echo(json_text(value))
    else:
        typer.echo("\n".join(_lines(value)))
    if settings is not None and not recorded:
        typer.echo("not recorded: the settings have no evidence.url", err=True)
    if value["agree"] < value["tried"] or value["doubts"]:
        raise typer.Exit(ExitCode.TROUBLE)


def _place(named: ClusterSettings | None, tier: str | None, place: tuple[object, object]) -> tuple[ClusterAccess, str]:
    kubeconfig, context = place
    if named is not None and kubeconfig is None and context is None:
        return cluster_access(named), tier or named.tier
    where = where_we_are(kubeconfig, os.environ)  # type: ignore[arg-type]
    followed = tier or ("panorama" if named is None else named.tier)
    return ClusterAccess("", where, context), followed  # type: ignore[arg-type]


async def _measured(access: ClusterAccess, plan: MeasurementPlan) -> SegmentationResult:
    """Whoever ends it by SIGTERM, as a pipeline does, leaves no probe pods either."""
    if current := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.cancel)
    server = ApiServer(access)
    try:
        return await Measurement(server, plan, lambda words: typer.echo(words, err=True)).run()
    except asyncio.CancelledError as error:
        raise MeasurementError("verify: it was told to end before it was done; its probe pods are deleted") from error
    finally:
        await server.close()


def _record(settings: BridgeSettings, named: ClusterSettings, result: SegmentationResult, value: Json) -> bool:
    """Whether there is a database. Raises EvidenceError."""
    from bridge.segmentation.store import Measurements  # noqa: PLC0415
    from bridge.wiring.evidence import evidence_database  # noqa: PLC0415 - libraries of 20 MB that others need not load

    if settings.evidence is None:
        return False
    database = evidence_database(settings.evidence)
    try:
        database.migrate()
        Measurements(database).add(named.name, result, value)
    finally:
        database.close()
    return True


def _lines(value: Json) -> Iterator[str]:
    yield f"revision {value['revision']}: {value['agree']} of {value['tried']} connections are as the policy says"
    yield from (f"! {printable(doubt)}" for doubt in value["doubts"])
    rows = [
        (
            *(cell["from"], cell["to"], cell["family"], str(cell["tried"]), str(cell["agree"])),
            *(",".join(map(str, cell[key])) or "-" for key in ("open", "closed")),
        )
        for cell in value["cells"]
    ]
    yield from table_lines(CELL_COLUMNS, rows)
    if value["differences"]:
        yield ""
        yield from table_lines(DIFFERENCE_COLUMNS, [tuple(map(str, _difference(row))) for row in value["differences"]])
    yield ""
    yield f"{len(value['left_out'])} rules between these zones decided none of them"
    yield from value["limits"]


def _difference(row: Json) -> tuple[object, ...]:
    ends = row["from"], row["to"], row["address"], row["port"]
    return (row["kind"], *ends, row["outcome"] or "unknown", row["rule"])
