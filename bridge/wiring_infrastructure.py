"""From settings to the infrastructure rules that only a live cluster can tell, and what the bridge itself must reach.

Only `bridge.wiring` calls it; nothing here connects yet.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from bridge.infrastructure import InfrastructureCluster, LiveInfrastructure, OwnPod, Wanted, own_pod
from bridge.reading import AskInfrastructure, nothing_more
from bridge.settings import ClusterSettings, HecDestination, InfrastructureSettings, Settings, host_and_port
from zones.infrastructure import BridgeNeeds
from zones.net import Ranges
from zones.workload import normalise

HTTPS = 443
_DEFAULT_PORTS = {"https": HTTPS, "http": 80}


def live_infrastructure(settings: Settings, each: ClusterSettings, cluster: InfrastructureCluster) -> AskInfrastructure:
    """What to ask a cluster for, at every pass."""
    given = settings.infrastructure
    own = _own(given, each)
    if not given.enabled or not (given.api_server.enabled or own):
        return nothing_more
    namespaces = given.api_server.webhook_namespaces
    wanted = Wanted(
        configured=given.api_server.ends(),
        api_server=given.api_server.enabled,
        webhook_namespaces=None if namespaces is None else frozenset(namespaces),
        own=own,
        workload=None if given.bridge.workload is None else normalise(given.bridge.workload),
        needs=bridge_needs(settings),
    )
    return LiveInfrastructure(cluster, wanted).rules


def _own(given: InfrastructureSettings, each: ClusterSettings) -> OwnPod | None:
    """Our pod, where it is one of this cluster."""
    own = own_pod(os.environ, socket.gethostname()) if each.in_cluster else None
    return own and OwnPod(given.bridge.namespace or own.namespace, own.name)


def bridge_needs(settings: Settings) -> BridgeNeeds:
    """The ports of everything that the settings have the bridge talk to."""
    hosts = settings.panorama.hosts if settings.panorama else ()
    return BridgeNeeds(
        api_server=_ports(_api_server_ports(settings)),
        panorama=_ports(_port(f"https://{host}") for host in hosts),
        siem=_ports(
            _port(each.url) if isinstance(each, HecDestination) else host_and_port(each.address)[1]
            for each in settings.siem.destinations
        ),
    )


def _api_server_ports(settings: Settings) -> Iterator[int]:
    """Of the clusters that are reached by a kubeconfig, and as our own pod is told; endpoints' own come with them."""
    for each in settings.clusters:
        if each.kubeconfig is None:
            told = os.environ.get("KUBERNETES_SERVICE_PORT", "")
            yield int(told) if told.isdigit() else HTTPS
        else:
            yield from _kubeconfig_ports(each.kubeconfig)


def _kubeconfig_ports(path: Path) -> Iterator[int]:
    """Of all its API servers; a file that is no kubeconfig is told of where it is used."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        yield from [_port(str(each["cluster"]["server"])) for each in content["clusters"]]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return


def _port(url: str) -> int:
    """`https://panorama:8443` is 8443; a bare IPv6 address has none of its own."""
    parts = urlsplit(url)
    try:
        return parts.port or _DEFAULT_PORTS.get(parts.scheme, HTTPS)
    except ValueError:
        return HTTPS


def _ports(numbers: Iterable[int]) -> Ranges:
    return Ranges.of((number, number) for number in numbers)
