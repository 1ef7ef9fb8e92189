"""Who has which address: pods and nodes folded from watch events into an immutable inventory. Pure.

`enforcer.watch` makes the changes; the ruleset and the flow records read the inventory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from zones.net import IPAddress, IPNetwork
from zones.verdict import Endpoint
from zones.zone import Zoning

FINISHED_PHASES = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Pod:
    """What enforcement needs of a pod. `workload` is the normalised name that App-IDs match."""

    uid: str
    namespace: str
    name: str
    node: str
    phase: str
    addresses: tuple[IPAddress, ...]
    labels: Mapping[str, str] = field(hash=False)
    workload: str = ""
    host_network: bool = False

    @property
    def holds_addresses(self) -> bool:
        """A finished pod keeps its address in its status although another pod may have it by now."""
        return self.phase not in FINISHED_PHASES and not self.host_network and bool(self.node)


@dataclass(frozen=True, slots=True)
class Node:
    """A node's own addresses and the prefixes its pods get theirs from."""

    name: str
    addresses: tuple[IPAddress, ...]
    pod_cidrs: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """Every pod by uid and every node by name, as last seen."""

    pods: Mapping[str, Pod] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)

    def with_pod(self, pod: Pod) -> Inventory:
        return replace(self, pods={**self.pods, pod.uid: pod})

    def without_pod(self, uid: str) -> Inventory:
        return replace(self, pods={key: pod for key, pod in self.pods.items() if key != uid})

    def with_node(self, node: Node) -> Inventory:
        return replace(self, nodes={**self.nodes, node.name: node})

    def without_node(self, name: str) -> Inventory:
        return replace(self, nodes={key: node for key, node in self.nodes.items() if key != name})

    def holders(self) -> dict[IPAddress, Pod | Node]:
        """Who holds each address. An address that two running pods claim is trusted to neither and left out."""
        claims: dict[IPAddress, list[Pod]] = {}
        for pod in self.pods.values():
            for address in pod.addresses if pod.holds_addresses else ():
                claims.setdefault(address, []).append(pod)
        held: dict[IPAddress, Pod | Node] = {address: pods[0] for address, pods in claims.items() if len(pods) == 1}
        held |= {address: node for node in self.nodes.values() for address in node.addresses}
        return held

    def disputed(self) -> Iterator[tuple[IPAddress, tuple[Pod, ...]]]:
        """The addresses that more than one running pod claims."""
        claims: dict[IPAddress, list[Pod]] = {}
        for pod in self.pods.values():
            for address in pod.addresses if pod.holds_addresses else ():
                claims.setdefault(address, []).append(pod)
        return ((address, tuple(pods)) for address, pods in claims.items() if len(pods) > 1)

    def pod_networks(self) -> tuple[IPNetwork, ...]:
        """The prefixes all pods get their addresses from. An unknown address in one of them is outside, never inside."""
        return tuple(sorted({cidr for node in self.nodes.values() for cidr in node.pod_cidrs}, key=str))


def endpoint(address: IPAddress, holder: Pod | Node | None, zoning: Zoning) -> Endpoint:
    """One end of a flow as the policy sees it. `holder` None is an address of no pod and no node."""
    if isinstance(holder, Pod):
        return Endpoint(zoning.of_pod(holder.labels), address, holder.workload, holder.namespace, holder.node)
    if isinstance(holder, Node):
        return Endpoint(zoning.nodes, address, "", node=holder.name, is_node=True)
    return Endpoint(zoning.of_address(address), address, "")
