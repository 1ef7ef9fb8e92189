"""`zonebridge usage`: what each rule of a cluster is used for."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge import pages
from bridge.commands.options import Flat, Parents, Predefined, Prefixes, SettingsFile, supplement_of
from bridge.compilation import offline
from bridge.compilation.report import refusal_lines
from bridge.errors import RevisionRefusedError
from bridge.evidence import usage as usages
from bridge.evidence.seen import Evidence
from bridge.evidence.seen_file import read_seen
from bridge.evidence.usage_text import usage_csv, usage_json, usage_lines
from bridge.explain import answer
from bridge.settings.file import Purpose, load
from bridge.settings.models import BridgeSettings, ClusterSettings
from bridge.tier.reader import ClusterReader
from bridge.wiring.clusters import cluster_access
from zones.kube.client import ApiServer
from zones.policy import Policy
from zones.runtime.errors import ExitCode, InputError
from zones.runtime.output import json_text
from zones.runtime.types import duration


class UsageOutput(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"


def usage(
    *,
    config: SettingsFile = None,
    cluster: Annotated[str | None, typer.Option(help="Which one, where the settings name several.")] = None,
    seen: Annotated[
        Path | None, typer.Option(help="Records of what was seen, instead of the database.", metavar="FILE")
    ] = None,
    panorama_config: Annotated[
        Path | None, typer.Option(help="The rules, instead of the cluster's: a running-config.xml.", metavar="FILE")
    ] = None,
    device_group: Annotated[str | None, typer.Option(help="The device group in that file.", metavar="NAME")] = None,
    prefixes: Prefixes = None,
    predefined: Predefined = None,
    parent: Parents = None,
    flat: Flat = False,
    since: Annotated[str | None, typer.Option(help="Of the database, only the last days: 30d.", metavar="TIME")] = None,
    unused: Annotated[
        str | None,
        typer.Option(help="Only rules that weren't hit for so long, as far as is known: 90d.", metavar="TIME"),
    ] = None,
    output: Annotated[UsageOutput, typer.Option("--output", "-o")] = UsageOutput.TABLE,
) -> None:
    """Say of each rule how often it was hit, since when it wasn't, what shadows it, and where it is broader than used.

    With --unused it ends with 1 where not all nodes have counted for so long: then nothing can be said.
    """
    now = datetime.now(UTC)
    least = None if unused is None else _length("--unused", unused)
    begin = None if since is None else now - _length("--since", since)
    settings = load(config, os.environ, Purpose.OFFLINE)
    chosen = _cluster(settings, cluster)
    if seen is not None:
        what, edited = read_seen(seen, cluster), dict[str, datetime]()
    else:
        what, edited = _from_database(settings, chosen, begin)
    if panorama_config is not None:
        supplement = supplement_of(prefixes, predefined, parent, flat=flat)
        policy = _compiled(settings, panorama_config, device_group, supplement)
    else:
        policy = _live(chosen)
    used = usages.usage(policy, what, edited, now)
    rules = used.rules if least is None else usages.unused(used, least)
    if output is UsageOutput.HTML:
        typer.echo(pages.page_html(pages.usage_page(used, rules, policy, unused or "")), nl=False)
    else:
        typer.echo(_text(used, rules, output), nl=False)
    if least is not None and (used.since is None or now - used.since < least):
        known = f"not all nodes counted before {used.since:%F %R}" if used.since else "no node has counted yet"
        typer.echo(f"zonebridge: usage: {known}, so no rule is known to be unused for {unused}", err=True)
        raise typer.Exit(ExitCode.TROUBLE)


def _text(used: usages.Usage, rules: tuple[usages.RuleUsage, ...], output: UsageOutput) -> str:
    if output is UsageOutput.CSV:
        return usage_csv(rules)
    return (
        json_text(usage_json(used, rules)) if output is UsageOutput.JSON else "\n".join(usage_lines(used, rules))
    ) + "\n"


def _length(option: str, text: str) -> timedelta:
    try:
        return duration(text)
    except ValueError as error:
        raise InputError(f"usage: {option}: {error}") from error


def _cluster(settings: BridgeSettings, name: str | None) -> ClusterSettings | None:
    """None where the settings name no such one; the only one, or the one that is named."""
    if name is None and len(settings.clusters) > 1:
        raise InputError(f"usage: give --cluster: one of {', '.join(cluster.name for cluster in settings.clusters)}")
    named = [cluster for cluster in settings.clusters if name in {None, cluster.name}]
    if settings.clusters and not named:
        known = ", ".join(cluster.name for cluster in settings.clusters)
        raise InputError(f"usage: --cluster {name}: the settings have {known}")
    return named[0] if named else None


def _compiled(settings: BridgeSettings, path: Path, device_group: str | None, supplement: offline.Supplement) -> Policy:
    if device_group is None:
        raise InputError("usage: --panorama-config needs --device-group")
    infrastructure = offline.known_infrastructure(settings)
    compiled = offline.compile_file(path, device_group, settings, infrastructure, supplement)
    if compiled.policy is None:
        raise RevisionRefusedError("InexpressibleDeny", *refusal_lines(compiled))
    return compiled.policy


async def usage_of(settings: BridgeSettings, chosen: ClusterSettings) -> tuple[usages.Usage, Policy]:
    """Of a live cluster, by what its bridge has collected. Raises ClusterError, InputError, EvidenceError."""
    policy = await _policy_of(chosen)
    what, edited = await asyncio.to_thread(_from_database, settings, chosen, None)
    return await asyncio.to_thread(usages.usage, policy, what, edited, datetime.now(UTC)), policy


def _live(chosen: ClusterSettings | None) -> Policy:
    if chosen is None:
        raise InputError("usage: give --panorama-config, or settings (-c) that name the cluster")
    return asyncio.run(_policy_of(chosen))


async def _policy_of(chosen: ClusterSettings) -> Policy:
    cluster = ClusterReader(ApiServer(cluster_access(chosen)))
    try:
        return await answer.live_policy(cluster, chosen.tier)
    finally:
        await cluster.close()


def _from_database(
    settings: BridgeSettings, chosen: ClusterSettings | None, begin: datetime | None
) -> tuple[Evidence, dict[str, datetime]]:
    if settings.evidence is None or chosen is None:
        raise InputError("usage: give --seen FILE, or settings (-c) with evidence.url and the cluster")
    from bridge.evidence.store import Store  # noqa: PLC0415 - libraries of 20 MB that others need not load
    from bridge.wiring.evidence import evidence_database  # noqa: PLC0415 - libraries of 20 MB that others need not load

    store = Store(evidence_database(settings.evidence))
    try:
        return store.seen(chosen.name, begin), store.edited(chosen.name)
    finally:
        store.close()
