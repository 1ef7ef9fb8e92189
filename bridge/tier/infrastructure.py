"""The infrastructure rules that only a live cluster can tell: where its API server answers, and which pod we are.

Asked for at the beginning of every pass, so that a change of the API server's endpoints is followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol

import structlog

from zones import decode
from zones.addresses.inventory import Node
from zones.infrastructure import ApiServerEnds, BridgeNeeds, api_server_rules, bridge_rules
from zones.kube.errors import ClusterError
from zones.net import TCP, AddressSet, IPAddress, Ranges, protocol_name
from zones.policy import InfrastructureRule, Peer
from zones.workload import workload_name

Json = dict[str, Any]
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# What a ReplicaSet appends to its own name for each of its pods.
_POD_SUFFIX = re.compile(r"-[a-z0-9]{5}$")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class OwnPod:
    """The pod that this process runs in."""

    namespace: str
    name: str


def own_pod(environment: Mapping[str, str], hostname: str, mounted: Path = SERVICE_ACCOUNT) -> OwnPod | None:
    """By the downward API's POD_NAMESPACE and POD_NAME, else by what every pod has; None outside of a pod."""
    namespace = environment.get("POD_NAMESPACE", "")
    if not namespace:
        try:
            namespace = (mounted / "namespace").read_text(encoding="utf-8").strip()
        except OSError:
            return None
    return OwnPod(namespace, environment.get("POD_NAME") or hostname)


class InfrastructureCluster(Protocol):
    """What is asked of a cluster."""

    async def api_server_endpoints(self) -> Json | None: ...
    async def control_plane_nodes(self) -> list[Json]: ...
    async def pod(self, namespace: str, name: str) -> Json | None: ...


@dataclass(frozen=True, slots=True)
class WantedInfrastructure:
    """What the settings say. `api_server` None: no rules for it; `own` None: we are no pod of this cluster.

    `configured`: the API server's ends besides those that the cluster tells; `workload`: ours, where it is set.
    """

    configured: ApiServerEnds = field(default_factory=ApiServerEnds)
    api_server: bool = True
    webhook_namespaces: frozenset[str] | None = None
    own: OwnPod | None = None
    workload: str | None = None
    needs: BridgeNeeds = field(default_factory=BridgeNeeds)


class LiveInfrastructure:
    """One cluster's. What was known stays where the cluster can't tell."""

    def __init__(self, cluster: InfrastructureCluster, wanted: WantedInfrastructure) -> None:
        self._cluster = cluster
        self._wanted = wanted
        self._told: ApiServerEnds | None = None
        self._workload = wanted.workload

    async def ends(self) -> ApiServerEnds:
        """The API server's. Raises ClusterError where the cluster can't be asked and never told."""
        return joined(self._wanted.configured, await self._told_ends())

    async def rules(self) -> tuple[InfrastructureRule, ...]:
        """Raises ClusterError where the cluster can't be asked and never told."""
        ends = await self.ends()
        wanted = self._wanted
        for_all = api_server_rules(ends, wanted.webhook_namespaces) if wanted.api_server else ()
        if wanted.own is None:
            return for_all
        bridge = Peer(namespaces=frozenset({wanted.own.namespace}), workloads=frozenset({await self._own_workload()}))
        needs = replace(wanted.needs, api_server=wanted.needs.api_server | ends.ports)
        return (*bridge_rules(bridge, needs), *for_all)

    async def _told_ends(self) -> ApiServerEnds:
        try:
            ends = ends_of(await self._cluster.api_server_endpoints() or {})
            ends = replace(ends, nodes=nodes_of(ends, await self._cluster.control_plane_nodes())) if ends else ends
        except ClusterError as error:
            if self._told is None:
                raise
            _log.warning("API server's endpoints not read; the last known ones stay", error=str(error))
            return self._told
        if ends or self._told is None:  # an API server that answers has an end, whatever the object says
            self._told = ends
        return self._told

    async def _own_workload(self) -> str:
        """By our own pod's controller, as enforcers know it; by the pod's name where it can't be read."""
        own = self._wanted.own
        if self._workload is None and own is not None:
            pod = await self._cluster.pod(own.namespace, own.name)
            if pod is None:
                guess = workload_name(own.name, "ReplicaSet", _POD_SUFFIX.sub("", own.name))
                _log.warning("our own pod is not there; set infrastructure.bridge", pod=own.name, workload=guess)
                return guess
            self._workload = decode.workload(pod["metadata"])
        return self._workload or ""


def joined(one: ApiServerEnds, other: ApiServerEnds) -> ApiServerEnds:
    return ApiServerEnds(one.addresses | other.addresses, one.ports | other.ports, one.nodes | other.nodes)


def ends_of(endpoints: Json) -> ApiServerEnds:
    """From an EndpointSlice. What is no address or no TCP port is left out."""
    addresses = [
        address
        for endpoint in endpoints.get("endpoints") or ()
        for text in endpoint.get("addresses") or ()
        if (address := _address(text)) is not None
    ]
    ports = [
        int(port_entry["port"])
        for port_entry in endpoints.get("ports") or ()
        if port_entry.get("port") and (port_entry.get("protocol") or "TCP").lower() == protocol_name(TCP)
    ]
    return ApiServerEnds(AddressSet.parse(map(str, addresses)), Ranges.of((port, port) for port in ports))


def nodes_of(ends: ApiServerEnds, nodes: Iterable[Json]) -> frozenset[str]:
    """Those of the control plane that have one of the API server's addresses."""
    read = [item for node_object in nodes if isinstance(item := decode.node(node_object).item, Node)]
    return frozenset(node.name for node in read if any(address in ends.addresses for address in node.addresses))


def _address(text: str) -> IPAddress | None:
    """An address that can be a server's: not everybody's, and no machine's own."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    usable = not (address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)
    return address if usable else None
