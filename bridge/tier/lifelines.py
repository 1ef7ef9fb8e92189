"""Whether a revision would cut off the bridge itself, which then could never publish another one.

Asked before a revision is published, where the bridge is a pod of that cluster; the verdict is `zones.verdict`'s.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any, Protocol

from bridge.explain.pod_end import endpoint, versions
from bridge.tier.infrastructure import OwnPod
from zones.infrastructure import ApiServerEnds
from zones.net import TCP, UDP, IPAddress, protocol_name
from zones.policy import ISOLATION, Policy, Verdict
from zones.rules import Origin
from zones.verdict import Endpoint, Flow, UndeterminedError, decide, serves
from zones.zone import ENTITLEMENT_ANNOTATION, ISOLATED

Json = dict[str, Any]
DNS_PORT = 53
# Of an API server with very many ends, so many are looked at.
_MOST_ENDS = 16
AskCutOff = Callable[[Policy], Awaitable[tuple[str, ...]]]


async def never_cut_off(_: Policy) -> tuple[str, ...]:
    """For a bridge that is no pod of the cluster: its tier doesn't concern it."""
    return ()


class OwnCluster(Protocol):
    """What is asked of the cluster that we are a pod of."""

    async def pod(self, namespace: str, name: str) -> Json | None: ...
    async def allowed_zones(self, namespace: str) -> frozenset[str] | None: ...


@dataclass(frozen=True, slots=True)
class Lifeline:
    """Something that the bridge talks to: what it is to people, and where, as the settings name it."""

    what: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Dns:
    """Which pods answer the cluster's DNS."""

    namespace: str
    workload: str


@dataclass(frozen=True, slots=True)
class Lifelines:
    """One cluster's. `ends`: where its API server answers; `node_at`: the node that has an address, where one does."""

    cluster: OwnCluster
    own: OwnPod
    targets: Sequence[Lifeline]
    dns: Dns | None
    ends: Callable[[], Awaitable[ApiServerEnds]]
    node_at: Callable[[IPAddress], str | None]

    async def cut_off(self, policy: Policy) -> tuple[str, ...]:
        """What a policy would take from the bridge, each as a sentence. Raises ClusterError."""
        pod = await self.cluster.pod(self.own.namespace, self.own.name)
        if pod is None or pod.get("spec", {}).get("hostNetwork"):
            return ()  # nobody knows us, or we are the node itself, which reaches everything
        allowed = await self.cluster.allowed_zones(self.own.namespace)
        ours = {
            version: endpoint(pod, allowed, policy.zoning, version=version) for version in sorted(versions(pod)) or [4]
        }
        one = next(iter(ours.values()))
        lost = [*self._lost_api_servers(policy, ours, await self.ends()), *self._lost_dns(policy, one)]
        for target in self.targets:
            if not _served(policy, Flow(one, Endpoint(policy.zoning.outside, None, ""), TCP, target.port)):
                lost += await self._lost_target(policy, ours, target)
        return tuple(dict.fromkeys(lost))

    def _lost_api_servers(self, policy: Policy, ours: Mapping[int, Endpoint], ends: ApiServerEnds) -> Iterator[str]:
        """Each of its ends may be the one that we are sent to."""
        for prefix in ends.addresses.prefixes[:_MOST_ENDS]:
            address = ip_network(prefix).network_address
            for port, _ in ends.ports.spans if address.version in ours else ():
                flow = Flow(ours[address.version], self._end(policy, address), TCP, port)
                yield from _denied(policy, flow, f"the API server at {address}")

    def _lost_dns(self, policy: Policy, one: Endpoint) -> Iterator[str]:
        if self.dns is not None:
            end = Endpoint(policy.zoning.default, None, self.dns.workload, self.dns.namespace)
            yield from _denied(policy, Flow(one, end, UDP, DNS_PORT), "the cluster's DNS")

    async def _lost_target(self, policy: Policy, ours: Mapping[int, Endpoint], target: Lifeline) -> Sequence[str]:
        """Lost where every address that it has is; one whose name nobody can tell is not judged."""
        lost = [
            list(
                _denied(
                    policy,
                    Flow(ours[address.version], self._end(policy, address), TCP, target.port),
                    f"{target.what} at {target.host} ({address})",
                )
            )
            for address in await _addresses(target.host)
            if address.version in ours
        ]
        return lost[0] if all(lost) and lost else ()

    def _end(self, policy: Policy, address: IPAddress) -> Endpoint:
        node = self.node_at(address)
        if node is not None:
            return Endpoint(policy.zoning.nodes, address, "", node=node, is_node=True)
        return Endpoint(policy.zoning.of_address(address), address, "")


def _served(policy: Policy, flow: Flow) -> bool:
    """Whether infrastructure rules allow it, wherever the other end is."""
    return flow.source.zone != ISOLATED and any(serves(rule, flow) for rule in policy.infrastructure)


def _denied(policy: Policy, flow: Flow, what: str) -> Iterator[str]:
    """What denies it, as a sentence; nothing where it is allowed, or where nobody can tell."""
    try:
        decision = decide(policy, replace(flow, at=datetime.now(UTC)))
    except UndeterminedError:
        return
    if decision.verdict is not Verdict.ALLOW:
        service = f"{protocol_name(flow.protocol)}/{flow.port}"
        yield f"this revision would cut the bridge off from {what}, {service}: {_why(decision.origin, flow)}"


def _why(origin: Origin, flow: Flow) -> str:
    if origin == ISOLATION:
        return (
            "its own pod claims a zone that its namespace may not use; take the zone label from the bridge's "
            f"Deployment, or add the zone to the annotation {ENTITLEMENT_ANNOTATION} of namespace "
            f"'{flow.source.namespace}'"
        )
    where = f" of '{origin.device_group}'" if origin.device_group else ""
    return (
        f"rule '{origin.name}' ({origin.rulebase}{where}) denies zone '{flow.source.zone}' to "
        f"'{flow.destination.zone}', and no later revision could reach the cluster; allow it in Panorama above that "
        "rule, or set "
        "infrastructure.enabled: true in the bridge's settings"
    )


async def _addresses(host: str) -> list[IPAddress]:
    """What a name stands for at the moment; nothing where nobody answers."""
    try:
        resolved = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ip_address(entry[4][0]) for entry in resolved]
