"""From settings to what a sync asks of its own cluster: its infrastructure, and what the bridge itself must reach.

Only `bridge.wiring.clusters` calls it; nothing here connects yet.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from bridge.compilation.recompile import AskInfrastructure, nothing_more
from bridge.settings.models import BridgeSettings, ClusterSettings, HecDestination, InfrastructureSettings
from bridge.tier.cluster import TierApi
from bridge.tier.infrastructure import LiveInfrastructure, OwnPod, WantedInfrastructure, own_pod
from bridge.tier.lifelines import AskCutOff, Dns, Lifeline, Lifelines, never_cut_off
from zones.infrastructure import BridgeNeeds
from zones.net import IPAddress, Ranges
from zones.runtime.types import host_and_port
from zones.workload import normalise

HTTPS = 443
_POSTGRESQL = 5432
_DEFAULT_PORTS = {"https": HTTPS, "http": 80}


@dataclass(frozen=True, slots=True)
class ClusterQueries:
    """What a sync asks of its own cluster: the infrastructure that only it can tell, and what may not be taken away."""

    infrastructure: AskInfrastructure = nothing_more
    cut_off: AskCutOff = never_cut_off


def own_standing(
    settings: BridgeSettings,
    cluster_settings: ClusterSettings,
    cluster: TierApi,
    node_at: Callable[[IPAddress], str | None],
) -> ClusterQueries:
    """`node_at`: the node that has an address, where one does."""
    section = settings.infrastructure
    own = _own(section, cluster_settings)
    live = LiveInfrastructure(cluster, _wanted(settings, own))
    asks = section.enabled and (section.api_server.enabled or own is not None)
    if own is None or settings.guards.allow_cut_off:
        return ClusterQueries(live.rules if asks else nothing_more)
    dns = next((Dns(ns, normalise(name)) for ns in section.dns.namespaces for name in section.dns.workloads), None)
    lifelines = Lifelines(cluster, own, targets(settings), dns, live.ends, node_at)
    return ClusterQueries(live.rules if asks else nothing_more, lifelines.cut_off)


def _wanted(settings: BridgeSettings, own: OwnPod | None) -> WantedInfrastructure:
    section = settings.infrastructure
    namespaces = section.api_server.webhook_namespaces
    return WantedInfrastructure(
        configured=section.api_server.ends(),
        api_server=section.api_server.enabled,
        webhook_namespaces=None if namespaces is None else frozenset(namespaces),
        own=own,
        workload=None if section.bridge.workload is None else normalise(section.bridge.workload),
        needs=bridge_needs(settings),
    )


def _own(section: InfrastructureSettings, cluster_settings: ClusterSettings) -> OwnPod | None:
    """Our pod, where it is one of this cluster."""
    own = own_pod(os.environ, socket.gethostname()) if cluster_settings.in_cluster else None
    return own and OwnPod(section.bridge.namespace or own.namespace, own.name)


def bridge_needs(settings: BridgeSettings) -> BridgeNeeds:
    """The ports of everything that the settings have the bridge talk to."""
    return BridgeNeeds(
        api_server=_ports(_api_server_ports(settings)),
        panorama=_ports(panorama.port for panorama in _panoramas(settings)),
        siem=_ports(receiver.port for receiver in _receivers(settings)),
        evidence=_ports(_database_ports(settings)),
        collector=_ports(_collector_ports(settings)),
    )


def _database_ports(settings: BridgeSettings) -> Iterator[int]:
    """Of a PostgreSQL that is reached by its name."""
    parts = urlsplit("" if settings.evidence is None else settings.evidence.url)
    if parts.scheme == "postgresql" and parts.hostname:
        yield parts.port or _POSTGRESQL


def _collector_ports(settings: BridgeSettings) -> Iterator[int]:
    if settings.evidence is not None and settings.evidence.collector is not None:
        yield host_and_port(settings.evidence.collector.address)[1]


def targets(settings: BridgeSettings) -> tuple[Lifeline, ...]:
    """Whatever has a name, besides the API server."""
    return (*_panoramas(settings), *_receivers(settings))


def _panoramas(settings: BridgeSettings) -> Iterator[Lifeline]:
    for host in settings.panorama.hosts if settings.panorama else ():
        yield Lifeline("Panorama", *_host_and_port(f"https://{host}"))


def _receivers(settings: BridgeSettings) -> Iterator[Lifeline]:
    for destination in settings.siem.destinations:
        where = (
            _host_and_port(destination.url)
            if isinstance(destination, HecDestination)
            else host_and_port(destination.address)
        )
        yield Lifeline(f"the SIEM destination '{destination.name}'", *where)


def _api_server_ports(settings: BridgeSettings) -> Iterator[int]:
    """Of the clusters that are reached by a kubeconfig, and as our own pod is told; endpoints' own come with them."""
    for cluster in settings.clusters:
        if cluster.kubeconfig is None:
            port = os.environ.get("KUBERNETES_SERVICE_PORT", "")
            yield int(port) if port.isdigit() else HTTPS
        else:
            yield from _kubeconfig_ports(cluster.kubeconfig)


def _kubeconfig_ports(path: Path) -> Iterator[int]:
    """Of all its API servers; a file that is no kubeconfig is told of where it is used."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        yield from [_host_and_port(str(cluster["cluster"]["server"]))[1] for cluster in content["clusters"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return


def _host_and_port(url: str) -> tuple[str, int]:
    """`https://panorama:8443` is on 8443; a bare IPv6 address has no port of its own."""
    parts = urlsplit(url)
    try:
        return parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, HTTPS)
    except ValueError:
        return parts.netloc, HTTPS


def _ports(numbers: Iterable[int]) -> Ranges:
    return Ranges.of((number, number) for number in numbers)
