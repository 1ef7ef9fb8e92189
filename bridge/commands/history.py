"""Commands on a cluster's history: `history`, `show`, `diff`, `verify-chain`, and `rollback`, which doesn't exist."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.commands.cluster import Context, Kubeconfig
from bridge.commands.options import OutputShape, SettingsFile
from bridge.compilation import offline
from bridge.explain.answer import where_we_are
from bridge.explain.flow_options import instant
from bridge.guard_rail import GuardRail
from bridge.history.archive import Archive
from bridge.history.comparison import as_preview
from bridge.history.guard_rails import JudgedRevision, judged, judged_json, judged_lines
from bridge.history.text import (
    history_json,
    history_lines,
    show_json,
    show_lines,
    verified_json,
    verified_lines,
)
from bridge.history.verification import Break, SentCheckpoint, breaks, differences
from bridge.preview import Preview, preview_json, preview_lines
from bridge.preview.guardrails import read_matrix
from bridge.settings.file import Purpose, cluster_named, load
from bridge.tier.cluster import TierApi
from bridge.wiring.clusters import cluster_access
from zones.kube.client import ApiServer, ClusterAccess
from zones.kube.errors import ClusterError
from zones.policy import Policy
from zones.runtime.errors import ExitCode, InputError
from zones.runtime.output import json_text, lines_text

if TYPE_CHECKING:
    from bridge.history.copies import RevisionCopies

Json = dict[str, Any]
MOST_ROWS = 50
_CHECKPOINT = re.compile(r"([0-9]{1,19})=([0-9a-f]{64})")
Tier = Annotated[str | None, typer.Option(help="The Tier: that of -c, or panorama.")]
Output = Annotated[OutputShape, typer.Option("--output", "-o")]
ClusterName = Annotated[str | None, typer.Option(help="Of -c: which one, where the settings name several.")]
Number = Annotated[int, typer.Argument(min=1, metavar="REVISION", show_default=False)]
Most = Annotated[int, typer.Option(help="Rows of each table.", min=1)]
WAY_BACK = (
    "there is no rollback: the bridge would publish again what Panorama says. The way back is Panorama: revert to the "
    "configuration of that time there, or undo the change, and commit"
)


def history(
    *,
    every: Annotated[bool, typer.Option("--all", help="Also records that never came into force.")] = False,
    config: SettingsFile = None,
    cluster: ClusterName = None,
    tier: Tier = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Output = OutputShape.TEXT,
) -> None:
    """Say which revisions were in force, since when, by whose commit, and what each of them changed."""
    archive = asyncio.run(_archive(_place(config, cluster, tier, (kubeconfig, context))))
    _print(output, history_json(archive, every=every), history_lines(archive, every=every))


def show(
    revision: Annotated[int | None, typer.Argument(min=1, metavar="[REVISION]", show_default=False)] = None,
    *,
    at: Annotated[str | None, typer.Option(help="What was in force then, as RFC 3339.", metavar="TIME")] = None,
    guardrails: Annotated[
        Path | None, typer.Option(help="Zones that nothing may be allowed between: a matrix, CSV.", metavar="FILE")
    ] = None,
    config: SettingsFile = None,
    cluster: ClusterName = None,
    tier: Tier = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Output = OutputShape.TEXT,
) -> None:
    """Show one revision: where it comes from, what it changed, its rules, and which guard rails it breaks.

    The guard rails are those of the settings (-c) and of --guardrails, as they are today.
    """
    if (revision is None) == (at is None):
        raise InputError("show: give either a revision or --at TIME")
    place = _place(config, cluster, tier, (kubeconfig, context))
    if guardrails is not None:
        matrix = read_matrix(offline.read_text(guardrails, "--guardrails"), "--guardrails")
        place = replace(place, rails=(*place.rails, *matrix))
    raw, archive, verdict = asyncio.run(_one(place, revision, None if at is None else instant(at)))
    value, lines = show_json(raw, archive.parts), [*show_lines(raw, archive.parts)]
    if verdict is not None:
        value, lines = value | judged_json(verdict), [*lines, "", *judged_lines(verdict)]
    _print(output, value, lines)


def diff(
    before: Number,
    after: Number,
    *,
    config: SettingsFile = None,
    cluster: ClusterName = None,
    tier: Tier = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    most: Most = MOST_ROWS,
    output: Output = OutputShape.TEXT,
) -> None:
    """Say which flows the second revision judges otherwise than the first, as a preview would have said it. Exact."""
    preview = asyncio.run(_difference(_place(config, cluster, tier, (kubeconfig, context)), before, after))
    _print(output, preview_json(preview), preview_lines(preview, most))


def verify_chain(
    *,
    expect: Annotated[
        list[str] | None,
        typer.Option(help="A checkpoint of the SIEM that must be in the chain; repeatable.", metavar="REVISION=CHAIN"),
    ] = None,
    config: SettingsFile = None,
    cluster: ClusterName = None,
    tier: Tier = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Output = OutputShape.TEXT,
) -> None:
    """Say whether the history is what was recorded, or where it isn't. Ends with 1 where it is broken."""
    checkpoints = [_checkpoint(text) for text in expect or ()]
    archive, breaks = asyncio.run(_verified(_place(config, cluster, tier, (kubeconfig, context)), checkpoints))
    _print(output, verified_json(archive, breaks), verified_lines(archive, breaks))
    if breaks or not archive.raws:
        raise typer.Exit(ExitCode.TROUBLE)


def rollback(
    revision: Number,
    *,
    config: SettingsFile = None,
    cluster: ClusterName = None,
    tier: Tier = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    most: Most = MOST_ROWS,
) -> None:
    """Not there: the way back is Panorama. Says what going back to a revision there would change."""
    preview = asyncio.run(_difference(_place(config, cluster, tier, (kubeconfig, context)), None, revision))
    typer.echo(f"Going back to revision {revision} in Panorama would change:")
    typer.echo(lines_text(preview_lines(preview, most)))
    raise InputError(f"rollback: {WAY_BACK}")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a history is: in a cluster, and with settings that have `evidence`, copies of what that let go of.

    `rails`: the settings' guard rails.
    """

    access: ClusterAccess
    tier: str
    copies: RevisionCopies | None = None
    rails: tuple[GuardRail, ...] = ()


def _place(
    config: Path | None, cluster: str | None, tier: str | None, kubeconfig: tuple[Path | None, str | None]
) -> _Place:
    """Raises InputError. A kubeconfig or a context that is given goes before the settings' own."""
    path, context = kubeconfig
    if config is None:
        if cluster is not None:
            raise InputError("--cluster goes with -c: it names one of the settings' clusters")
        return _Place(ClusterAccess("live", where_we_are(path, os.environ), context), tier or "panorama")
    settings = load(config, os.environ, Purpose.OFFLINE)
    chosen = cluster_named(settings, cluster)
    access = cluster_access(chosen)
    if path is not None or context is not None:
        access = ClusterAccess(chosen.name, where_we_are(path, os.environ), context)
    name = tier or chosen.tier
    rails = tuple(guardrail.rail() for guardrail in settings.guardrails)
    if settings.evidence is None:
        return _Place(access, name, rails=rails)
    from bridge.history.copies import RevisionCopies  # noqa: PLC0415 - libraries of 20 MB that others need not load
    from bridge.wiring.evidence import evidence_database  # noqa: PLC0415 - the same

    return _Place(access, name, RevisionCopies(evidence_database(settings.evidence), chosen.name, name), rails)


def _print(output: OutputShape, value: object, lines: Iterable[str]) -> None:
    typer.echo(json_text(value) if output is OutputShape.JSON else lines_text(lines))


def _checkpoint(text: str) -> SentCheckpoint:
    match = _CHECKPOINT.fullmatch(text)
    if match is None:
        raise InputError(f"--expect '{text}': write REVISION=CHAIN, a chain digest of 64 hexadecimal digits")
    return SentCheckpoint(int(match[1]), match[2])


@asynccontextmanager
async def _opened(place: _Place) -> AsyncIterator[Archive]:
    cluster = TierApi(ApiServer(place.access))
    try:
        yield await Archive.read(cluster, place.tier, place.copies)
    finally:
        await cluster.close()


async def _archive(place: _Place) -> Archive:
    async with _opened(place) as archive:
        return archive


async def _one(place: _Place, revision: int | None, at: datetime | None) -> tuple[Json, Archive, JudgedRevision | None]:
    """A record with its parts; judged where there are guard rails."""
    async with _opened(place) as archive:
        number = revision if revision is not None else archive.at(at or datetime.now(UTC)).revision
        policy = await archive.policy(number)
        raw = archive.raw(number)
        if not place.rails:
            return raw, archive, None
        replaced = int(raw["spec"]["replaces"])
        before = await _readable(archive, replaced) if replaced else None
        recorded = datetime.fromisoformat(raw["spec"]["recorded"])
        return raw, archive, judged(place.rails, policy, replaced, before, recorded)


async def _readable(archive: Archive, number: int) -> Policy | None:
    """None where it isn't kept any more, or was changed."""
    try:
        return await archive.policy(number)
    except (InputError, ClusterError):
        return None


async def _difference(place: _Place, before: int | None, after: int) -> Preview:
    """`before` None: what is in force."""
    async with _opened(place) as archive:
        if before is None:
            before = archive.in_force[0].revision if archive.in_force else 0
        old, new = await archive.policy(before), await archive.policy(after)
    return as_preview(old, new, datetime.now(UTC))


async def _verified(place: _Place, expected: list[SentCheckpoint]) -> tuple[Archive, tuple[Break, ...]]:
    async with _opened(place) as archive:
        older, raws = archive.raws[: archive.copied], archive.raws[archive.copied :]
        archive.copies = None  # what is missing in the cluster is to be named, and not to be read from elsewhere
        parts = await archive.fetch(raws)
        broken = breaks(raws, parts, archive.tier, expected, older)
        if place.copies is not None:
            broken += await asyncio.to_thread(_of_copies, place.copies, raws)
        return archive, tuple(dict.fromkeys(broken))


def _of_copies(copies: RevisionCopies, raws: Sequence[Json]) -> tuple[Break, ...]:
    """What is wrong with the copies, and which of them the cluster has another record of."""
    return *copies.breaks(), *differences(raws, copies.raws())
