"""Who has which address: pods and nodes folded from watch events into an immutable inventory. Pure.

`enforcer.cluster.watch` makes the changes; the ruleset and the flow records read the inventory, through its directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from zones.addresses.pod_networks import PodNetworks, is_absurd
from zones.net import AddressSet, IPAddress, IPNetwork
from zones.verdict import Endpoint
from zones.zone import Zoning

FINISHED_PHASES = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Pod:
    """What enforcement needs of a pod.

    `workload` is the normalised name that App-IDs match; `allowed` the zones that the annotation of its namespace
    lists, None without one. `terminating`: it is being deleted; `stopped`: that, and no container of it runs any more.
    `quarantined`: a Quarantine that is in force names it. `started`: when its kubelet took it on, before it had an
    address, in whole epoch seconds of its node's clock; None where nobody has told it.
    """

    uid: str
    namespace: str
    name: str
    node: str
    phase: str
    addresses: tuple[IPAddress, ...]
    labels: Mapping[str, str] = field(hash=False)
    workload: str = ""
    host_network: bool = False
    allowed: frozenset[str] | None = None
    terminating: bool = False
    stopped: bool = False
    quarantined: bool = False
    started: int | None = None

    @property
    def holds_addresses(self) -> bool:
        """A pod that has ended keeps its address in its status although another pod may have it by now."""
        ended = self.phase in FINISHED_PHASES or self.stopped
        return not ended and not self.host_network and bool(self.node)


@dataclass(frozen=True, slots=True)
class Node:
    """A node's own addresses and the prefixes its pods get theirs from. `ready`: its kubelet is heard of.

    `tunnels`: addresses inside of pod networks that it says it has, the ends of tunnels between nodes.
    """

    name: str
    addresses: tuple[IPAddress, ...]
    pod_cidrs: tuple[IPNetwork, ...] = ()
    ready: bool = True
    tunnels: tuple[IPAddress, ...] = ()


class UnownedAddress(Enum):
    """A pod's address without a pod that can be trusted to have it. Always in the outside zone, never in another."""

    UNKNOWN = "an address of the pod networks that no known pod has"
    DISPUTED = "an address that more than one running pod claims"


Holder = Pod | Node | UnownedAddress


@dataclass(frozen=True, slots=True)
class Directory:
    """Whose an address is: looked up in what one inventory knows."""

    owners: Mapping[IPAddress, Holder]
    pod_networks: AddressSet

    def holder(self, address: IPAddress) -> Holder | None:
        """None is an address of neither pods nor nodes."""
        owner = self.owners.get(address)
        if owner is None and address in self.pod_networks:
            return UnownedAddress.UNKNOWN
        return owner

    def endpoint(self, address: IPAddress, zoning: Zoning) -> Endpoint:
        """One end of a flow, as the policy sees it and as the kernel judges it."""
        return endpoint(address, self.holder(address), zoning)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Every pod by uid and every node by name, as last seen.

    `networks`: prefixes that pods get addresses from where the nodes don't tell: a CNI that manages its own.
    """

    pods: Mapping[str, Pod] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    networks: tuple[IPNetwork, ...] = ()

    def with_pod(self, pod: Pod) -> Inventory:
        return replace(self, pods={**self.pods, pod.uid: pod})

    def without_pod(self, uid: str) -> Inventory:
        return replace(self, pods={key: pod for key, pod in self.pods.items() if key != uid})

    def with_node(self, node: Node) -> Inventory:
        return replace(self, nodes={**self.nodes, node.name: node})

    def without_node(self, name: str) -> Inventory:
        return replace(self, nodes={key: node for key, node in self.nodes.items() if key != name})

    def holders(self) -> dict[IPAddress, Holder]:
        """Who holds each address. One that two running pods claim is trusted to neither; a node's own is the node's."""
        firm: dict[IPAddress, Holder] = {
            address: pods[0] if len(pods) == 1 else UnownedAddress.DISPUTED for address, pods in self._claims().items()
        }
        return dict(self._tunnels()) | firm | dict(self._own_addresses())

    def _tunnels(self) -> Iterator[tuple[IPAddress, Node]]:
        """The ends of tunnels: of the node whose pod network they are in, or else of the only one that tells of it."""
        configured = AddressSet.of(self.networks)
        tellers: dict[IPAddress, list[Node]] = {}
        for node in self.nodes.values():
            for address in set(node.tunnels):
                tellers.setdefault(address, []).append(node)
        trusted = self.trusted_networks()
        for address, nodes in tellers.items():
            owners = [node for node in nodes if address in trusted.of(node.name)]
            owners = owners or (nodes if address in configured else [])
            if len(owners) == 1:
                yield address, owners[0]

    def _own_addresses(self) -> Iterator[tuple[IPAddress, Node]]:
        """The addresses of nodes: what another node's pods have is none, whatever a node reports."""
        trusted = self.trusted_networks()
        for node in self.nodes.values():
            for address in node.addresses:
                if address in trusted.of(node.name) or address not in trusted.announced:
                    yield address, node

    def trusted_networks(self) -> PodNetworks:
        """Which pod networks each node is believed to have."""
        networks = PodNetworks(AddressSet.of(self.networks))
        for node in self.nodes.values():
            networks.tell(node.name, node.pod_cidrs)
        return networks

    def directory(self) -> Directory:
        """The lookup structure; make it once for an inventory, not once for an address."""
        return Directory(self.holders(), self.trusted_networks().all)

    def disputed(self) -> Iterator[tuple[IPAddress, tuple[Pod, ...]]]:
        """The addresses that more than one running pod claims."""
        return ((address, tuple(pods)) for address, pods in self._claims().items() if len(pods) > 1)

    def _claims(self) -> Mapping[IPAddress, Sequence[Pod]]:
        """Which running pods claim each address, where they may have that; without those that yield to another."""
        trusted = self.trusted_networks()
        claims: dict[IPAddress, list[Pod]] = {}
        for pod in self.pods.values():
            for address in pod.addresses if pod.holds_addresses else ():
                if trusted.believes(int(address), address.version, pod.node):
                    claims.setdefault(address, []).append(pod)
        return {address: self._firm(pods) or pods for address, pods in claims.items()}

    def _firm(self, pods: Sequence[Pod]) -> list[Pod]:
        return [pod for pod in pods if not yields(pod, self.nodes.get(pod.node))]

    def pod_networks(self) -> tuple[IPNetwork, ...]:
        """The prefixes that pods get addresses from. An unknown address in one of them is outside, never inside."""
        from_nodes = {cidr for node in self.nodes.values() for cidr in node.pod_cidrs if not is_absurd(cidr)}
        return tuple(sorted(from_nodes | set(self.networks), key=str))


def yields(pod: Pod, node: Node | None) -> bool:
    """Whether a pod has no say against another one that claims its address.

    Where its node is gone, or is not heard of and the pod is being deleted, its address may have been given out again,
    long before the object goes away: nobody is left who would say that it has ended.
    """
    return node is None or (pod.terminating and not node.ready)


def endpoint(address: IPAddress, holder: Holder | None, zoning: Zoning) -> Endpoint:
    """One end of a flow as the policy sees it. `holder` is what `Directory.holder` said."""
    if isinstance(holder, Pod):
        zone = zoning.of_pod(holder.labels, holder.allowed, quarantined=holder.quarantined)
        return Endpoint(zone, address, holder.workload, holder.namespace, holder.node)
    if isinstance(holder, Node):
        return Endpoint(zoning.nodes, address, "", node=holder.name, is_node=True)
    if isinstance(holder, UnownedAddress):
        return Endpoint(zoning.outside, address, "")
    return Endpoint(zoning.of_address(address), address, "")
