"""What a live Panorama has committed and what it has as its candidate, and a live cluster's pods.

It brings the material of a preview together for commands; `bridge.preview` compares.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from bridge.compilation import offline
from bridge.managers import Editor
from bridge.managers.panorama.manager import PanoramaManager
from bridge.managers.panorama.session.api import PanoramaApi
from bridge.managers.panorama.session.pending import Pending
from bridge.preview.model import Configuration
from bridge.preview.population import Resident, residents
from bridge.settings.models import BridgeSettings, ClusterSettings, PanoramaSettings
from bridge.tier.cluster import TierApi
from bridge.wiring.clusters import feeds_of, options, panorama_access, read_options
from zones.compile import compile_policy
from zones.kube.client import ApiServer, ClusterAccess
from zones.net import AddressSet
from zones.rules import FeedKind, Rulebase
from zones.runtime.errors import InputError
from zones.zone import Zoning

SAME_VERSION_TRIES = 3


@dataclass(frozen=True, slots=True)
class Material:
    """Both configurations. `feeds`: the content of FQDNs and lists; `unknown`: why some have none, by name."""

    running: Configuration
    candidate: Configuration
    feeds: Mapping[str, AddressSet]
    unknown: Mapping[str, str]


def cluster_named(settings: BridgeSettings, name: str | None) -> ClusterSettings:
    """The cluster of that name, or the only one. Raises InputError."""
    names = ", ".join(cluster.name for cluster in settings.clusters)
    if name is None:
        if len(settings.clusters) > 1:
            raise InputError(f"preview: the settings have several clusters; say which with --cluster: {names}")
        return settings.clusters[0]
    for cluster in settings.clusters:
        if cluster.name == name:
            return cluster
    raise InputError(f"preview: --cluster '{name}' is not in the settings, which have {names}")


@dataclass(frozen=True, slots=True)
class BothRulebases:
    """What Panorama has of both, not compiled yet. `pending`: None where the candidate is what is committed."""

    running: Rulebase
    candidate: Rulebase
    pending: Pending | None
    version: str
    feeds: Mapping[str, AddressSet]
    unknown: Mapping[str, str]

    @property
    def versions(self) -> tuple[str, str]:
        return self.version, self.version if self.pending is None else f"{self.version}+{self.pending.version}"

    @property
    def editors(self) -> tuple[Editor, ...]:
        return () if self.pending is None else self.pending.editors


async def from_panorama(settings: BridgeSettings, panorama: PanoramaSettings, cluster: ClusterSettings) -> Material:
    """Ask for both, and compile them. Raises ManagerError, UnknownDeviceGroupError."""
    both = await rulebases_in(settings, panorama, cluster)

    def compiled(rulebase: Rulebase, state: str) -> Configuration:
        infrastructure = offline.known_infrastructure(settings)
        how = options(settings, cluster)
        result = compile_policy(rulebase, settings.zones.zoning(), how, infrastructure, both.feeds)
        return Configuration(rulebase, result, state, both.editors)

    before, after = map(compiled, (both.running, both.candidate), both.versions)
    return Material(before, after, both.feeds, both.unknown)


async def rulebases_in(settings: BridgeSettings, panorama: PanoramaSettings, cluster: ClusterSettings) -> BothRulebases:
    """Ask for both, and fetch once what their rules draw on. Raises ManagerError, UnknownDeviceGroupError."""
    manager = PanoramaManager(PanoramaApi(panorama_access(panorama)), cluster.device_group, read_options(settings))
    pending = await asyncio.to_thread(manager.pending)
    version = await asyncio.to_thread(manager.version)
    running = await asyncio.to_thread(manager.rulebase)
    candidate = running if pending is None else await asyncio.to_thread(manager.candidate)
    feeds, close = feeds_of(settings.feeds, lambda: None)
    try:
        wanted = dict.fromkeys(
            feed for rulebase_ in (running, candidate) for feed in rulebase_.feeds if feed.kind is not FeedKind.PROVIDED
        )
        await feeds.want(list(wanted))
        contents, unknown = feeds.contents(), feeds.troubles()
    finally:
        await close()
        manager.close()
    return BothRulebases(running, candidate, pending, version, contents, unknown)


async def live_pods(access: ClusterAccess, zoning: Zoning) -> tuple[Resident, ...]:
    """The pods of a cluster. Raises ClusterError."""
    cluster = TierApi(ApiServer(access))
    try:
        return tuple(residents(await cluster.pods_and_namespaces(), zoning))
    finally:
        await cluster.close()
