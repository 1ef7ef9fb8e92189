"""`zonebridge serve`: the clusters as pages, read-only: what is in force, its usage, and what a candidate changes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from bridge import pages
from bridge.commands import overview
from bridge.commands.options import SettingsFile
from bridge.commands.preview import preview_text
from bridge.commands.usage import usage_of
from bridge.explain import answer
from bridge.listeners.status_pages import Gate, ServedPage, cluster_path, serving_pages
from bridge.pages.parts import Headline, PageLink, StatusPage, Tone
from bridge.settings.credentials import read_secret
from bridge.settings.file import Purpose, load
from bridge.settings.models import BridgeSettings, ClusterSettings
from bridge.tier.reader import ClusterReader
from bridge.wiring.clusters import cluster_access, server_tls
from zones import decode
from zones.addresses.inventory import Pod
from zones.kube.client import ApiServer
from zones.runtime import logs
from zones.runtime.errors import InputError
from zones.runtime.types import host_and_port
from zones.tiers import quarantines
from zones.tiers.quarantines import Quarantine

LEAST_CHARACTERS = 16
USAGE, PREVIEW = "usage", "preview"
# Both ask for more than a page of what is in force: so many seconds lie between two looks.
LOOKED_AT = 60.0
MOST_NAMESPACES = 50


def serve(
    *,
    token_file: Annotated[
        Path, typer.Option(help=f"What callers must know, {LEAST_CHARACTERS} characters or more.", metavar="FILE")
    ],
    config: SettingsFile = None,
    address: Annotated[str, typer.Option(help="Where to listen.", metavar="HOST:PORT")] = "127.0.0.1:9470",
    cert_file: Annotated[Path | None, typer.Option(help="TLS: certificate chain.", metavar="FILE")] = None,
    key_file: Annotated[Path | None, typer.Option(help="TLS: private key.", metavar="FILE")] = None,
) -> None:
    """Show the clusters of the settings as pages, read-only: status, zones and rules in force, usage, and preview.

    In a browser the token is the password, of any user; for programs it is a bearer token.
    """
    gate = _gate(address, token_file, cert_file, key_file)
    settings = load(config, os.environ, Purpose.SERVICE)
    logs.configure(settings.log.level, settings.log.format)
    asyncio.run(_serve(gate, settings))


def _gate(address: str, token_file: Path, cert_file: Path | None, key_file: Path | None) -> Gate:
    """Raises InputError, SecretError."""
    if (cert_file is None) != (key_file is None):
        raise InputError("serve: --cert-file and --key-file belong together")
    try:
        place = host_and_port(address)
    except ValueError as error:
        raise InputError(f"--address '{address}': {error}") from error
    try:
        tls = server_tls(cert_file, key_file)
    except OSError as error:
        raise InputError(f"serve: --cert-file and --key-file can't be used: {error}") from error
    if tls is None and not _is_loopback(place[0]):
        raise InputError(
            f"serve: on {place[0]} the token would be sent in clear text; give --cert-file and --key-file, or "
            "listen on 127.0.0.1 and reach it by `kubectl port-forward` or ssh"
        )
    if len(read_secret(token_file)) < LEAST_CHARACTERS:
        raise InputError(f"--token-file '{token_file}': a token has at least {LEAST_CHARACTERS} characters")
    return Gate(place, lambda: read_secret(token_file), tls)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _serve(gate: Gate, settings: BridgeSettings) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    links = {cluster.name: cluster_path(cluster.name) for cluster in settings.clusters}

    async def status() -> StatusPage:
        return pages.status_page(await overview.overview(settings.clusters), links)

    clusters: dict[tuple[str, str], ServedPage] = {}
    for cluster in settings.clusters:
        clusters[cluster.name, ""] = ServedPage(partial(_policy_page, settings, cluster))
        if settings.evidence is not None:
            clusters[cluster.name, USAGE] = ServedPage(partial(_usage_page, settings, cluster), LOOKED_AT)
        clusters[cluster.name, PREVIEW] = ServedPage(partial(preview_text, settings, cluster), LOOKED_AT)
    async with serving_pages(gate, ServedPage(status), clusters) as port:
        scheme = "http" if gate.tls is None else "https"
        host = f"[{gate.address[0]}]" if ":" in gate.address[0] else gate.address[0]
        typer.echo(f"serving {scheme}://{host}:{port}/")
        await stop.wait()


async def _policy_page(settings: BridgeSettings, chosen: ClusterSettings) -> StatusPage:
    cluster = ClusterReader(ApiServer(cluster_access(chosen)))
    try:
        policy = await answer.live_policy(cluster, chosen.tier)
        known = await _quarantines(cluster)
        cut_off = pages.quarantine_table(known, time.time(), await _pods_of(cluster, known or ()))
    finally:
        await cluster.close()
    subtitle = f"What is in force there for the device group {chosen.device_group}"
    headline = Headline(f"Tier {chosen.tier}: {len(policy.entries)} rules", Tone.PLAIN)
    title, preview = f"Cluster {chosen.name}", PageLink("Preview of the candidate", cluster_path(chosen.name, PREVIEW))
    usage = PageLink("Usage of the rules", cluster_path(chosen.name, USAGE))
    links = (preview,) if settings.evidence is None else (usage, preview)
    return await asyncio.to_thread(
        lambda: pages.policy_page(policy, title, subtitle, headline, back="/", links=links, beside=(cut_off,))
    )


async def _usage_page(settings: BridgeSettings, chosen: ClusterSettings) -> StatusPage:
    used, policy = await usage_of(settings, chosen)
    page = await asyncio.to_thread(pages.usage_page, used, used.rules, policy)
    return replace(page, subtitle=f"{page.subtitle} {chosen.name}", back="/")


async def _pods_of(cluster: ClusterReader, known: Sequence[Quarantine]) -> dict[str, list[Pod] | None]:
    """The pods of the namespaces that these name; of very many namespaces not all are asked for."""
    pods: dict[str, list[Pod] | None] = {}
    for namespace in sorted({one.namespace for one in known})[:MOST_NAMESPACES]:
        raws = await cluster.pods_in(namespace)
        items = None if raws is None else [decode.pod(raw).item for raw in raws]
        pods[namespace] = None if items is None else [item for item in items if isinstance(item, Pod)]
    return pods


async def _quarantines(cluster: ClusterReader) -> list[Quarantine] | None:
    """Those that can be read, the oldest first; None where nobody lets us."""
    raws = await cluster.quarantines()
    if raws is None:
        return None
    parsed = [one for one in map(quarantines.parse, raws) if isinstance(one, Quarantine)]
    return sorted(parsed, key=lambda one: one.created or 0.0)
