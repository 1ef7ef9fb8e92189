"""Every connection of the test cluster: what the policy says of it by `zones.verdict`, and what came of a real one.

What kube-proxy does on the way is worked out here from Kubernetes' own rules, so that each place that judges a packet
is known: the nodes at which either end is a pod of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from mocks.lab import Netns, Outcome, Probe, Transport, measure
from tests.cluster.addresses import CONTROL_PLANE, OUTSIDE
from tests.cluster.apps import HOST_PORT, LOCAL_NODE_PORT, NODE_PORT, POD_HOST_PORT, PORT
from tests.cluster.cluster import Cluster
from tests.cluster.outside import SERVER_PORT
from zones.net import TCP, UDP
from zones.policy import Policy, Verdict
from zones.verdict import Endpoint, Flow, decide
from zones.workload import workload_name
from zones.zone import allowed_zones

# TCP is reset; anything else is told "administratively prohibited", which is no refusal of the port.
OUTCOMES = {
    (Verdict.ALLOW, "tcp"): Outcome.ALLOWED,
    (Verdict.ALLOW, "udp"): Outcome.ALLOWED,
    (Verdict.DENY, "tcp"): Outcome.TIMEOUT,
    (Verdict.DENY, "udp"): Outcome.TIMEOUT,
    (Verdict.RESET, "tcp"): Outcome.REFUSED,
    (Verdict.RESET, "udp"): Outcome.UNREACHABLE,
}
PROTOCOLS: dict[Transport, int] = {"tcp": TCP, "udp": UDP}
KUBELET_PORT, API_SERVER_PORT = 10250, 6443
FAMILIES = (4, 6)


@dataclass(frozen=True, slots=True)
class End:
    """Somebody who talks: a pod, a node, or a machine outside. `addresses` is one of each family."""

    name: str
    addresses: tuple[str, str]
    netns: Netns
    zone: str
    namespace: str = ""
    workload: str = ""
    node: str = ""
    is_node: bool = False
    app: str = ""

    @property
    def is_pod(self) -> bool:
        return bool(self.workload)

    def address(self, family: int) -> str:
        return self.addresses[FAMILIES.index(family)]

    def endpoint(self, family: int) -> Endpoint:
        address = ip_address(self.address(family))
        return Endpoint(self.zone, address, self.workload, self.namespace, self.node, self.is_node)


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection to try, and each outcome that the policy allows for."""

    source: End
    target: str
    ip: str
    port: int
    protocol: Transport
    expected: frozenset[Outcome]

    def __str__(self) -> str:
        return f"{self.source.name} -> {self.target} ({self.ip}) {self.protocol}/{self.port}"


@dataclass(slots=True)
class Matrix:
    """The ends of one moment, and the policy that holds between them."""

    cluster: Cluster
    policy: Policy
    pods: list[End]
    nodes: dict[str, End]
    outside: End
    control_plane: End

    @classmethod
    def of(cls, cluster: Cluster, policy: Policy, namespaces: Iterable[str]) -> Matrix:
        zoning = policy.zoning
        annotations = {
            each["metadata"]["name"]: each["metadata"].get("annotations", {}) for each in cluster.objects("namespaces")
        }
        nodes = {
            name: End(
                name, (node.plan.place.ip, node.plan.place.ip6), node.netns, zoning.nodes, node=name, is_node=True
            )
            for name, node in cluster.nodes.items()
        }
        pods = [
            _pod_end(cluster, policy, pod, allowed_zones(annotations[namespace]))
            for namespace in namespaces
            for pod in cluster.objects("pods", namespace)
            if not pod["spec"].get("hostNetwork") and _runs(pod)
        ]
        others = [
            End(name, (place.ip, place.ip6), netns, zoning.of_address(ip_address(place.ip)))
            for name, place, netns in (
                ("outside", OUTSIDE, cluster.outside.netns),
                ("control-plane", CONTROL_PLANE, cluster.control.netns),
            )
        ]
        return cls(cluster, policy, pods, nodes, *others)

    def close(self) -> None:
        for pod in self.pods:
            pod.netns.close()

    def connections(self) -> list[Connection]:
        """Of every pair in which at least one end is a pod: directly, and through each kind of Service."""
        sources = [*self.pods, *self.nodes.values(), self.outside, self.control_plane]
        services = self.cluster.objects("services")
        return [each for family in FAMILIES for source in sources for each in self._from(source, services, family)]

    def _from(self, source: End, services: Sequence[dict[str, Any]], family: int) -> Iterator[Connection]:
        for pod in self.pods:
            if pod is not source:
                for protocol in PROTOCOLS:
                    yield self._direct(source, pod, PORT, protocol, family)
        if source.is_pod:
            for node in self.nodes.values():
                yield self._direct(source, node, HOST_PORT, "tcp", family)
                yield self._direct(source, node, HOST_PORT, "udp", family)
                if family == 4:
                    yield self._direct(source, node, KUBELET_PORT, "tcp", family)
            yield self._direct(source, self.outside, SERVER_PORT, "tcp", family)
            yield self._direct(source, self.outside, SERVER_PORT, "udp", family)
            if family == 4:
                yield self._direct(source, self.control_plane, API_SERVER_PORT, "tcp", family)
        yield from self._through_services(source, services, family)

    def _direct(self, source: End, target: End, port: int, protocol: Transport, family: int) -> Connection:
        expected = {self._judge([(source, target)], port, protocol, family)}
        return Connection(
            source, target.name, target.address(family), port, protocol, _told(source, protocol, expected)
        )

    def _through_services(self, source: End, services: Sequence[dict[str, Any]], family: int) -> Iterator[Connection]:
        for service in services:
            where, name = service["metadata"]["namespace"], service["metadata"]["name"]
            backends = [
                pod
                for pod in self.pods
                if pod.namespace == where and pod.app == service["spec"].get("selector", {}).get("app")
            ]
            addresses = service["spec"].get("clusterIPs", [])
            if not backends or len(addresses) < len(FAMILIES):
                continue
            others = [pod for pod in backends if pod is not source]
            hairpins = len(others) < len(backends)
            if source.is_pod or source.is_node:
                for protocol in PROTOCOLS:
                    outcomes = {self._judge([(source, each)], PORT, protocol, family) for each in others}
                    yield Connection(
                        source,
                        f"service {name}",
                        addresses[FAMILIES.index(family)],
                        PORT,
                        protocol,
                        _told(source, protocol, _by_service(outcomes, hairpins=hairpins)),
                    )
            if service["spec"]["type"] == "NodePort":
                yield from self._through_node_ports(source, service, backends, family)
        if source is self.outside:
            yield from self._through_host_ports(source, family)

    def _through_node_ports(
        self, source: End, service: dict[str, Any], backends: list[End], family: int
    ) -> Iterator[Connection]:
        """A pod's packet to another node's port is first judged as one to that node; `Cluster` masquerades."""
        local = service["spec"].get("externalTrafficPolicy") == "Local"
        port = LOCAL_NODE_PORT if local else NODE_PORT
        if local and source is not self.outside:
            return
        for node in self.nodes.values():
            if source.is_node and source is not node:
                continue  # which of its addresses the first node speaks from is the other kube-proxy's choice
            for protocol in PROTOCOLS:
                outcomes = set()
                for backend in backends:
                    if backend is source or (local and backend.node != node.name):
                        continue
                    first = [(source, node)] if source.is_pod and source.node != node.name else []
                    masqueraded = [(node, backend)] if not local and backend.node != node.name else []
                    outcomes.add(
                        self._judge_each(
                            [(pair, port) for pair in first]
                            + [(pair, PORT) for pair in [(source, backend), *masqueraded]],
                            protocol,
                            family,
                        )
                    )
                yield Connection(
                    source,
                    f"node port {service['metadata']['name']} of {node.name}",
                    node.address(family),
                    port,
                    protocol,
                    _told(source, protocol, _by_service(outcomes, hairpins=source in backends)),
                )

    def _through_host_ports(self, source: End, family: int) -> Iterator[Connection]:
        for pod in self.pods:
            if pod.app == "door":
                ip = self.nodes[pod.node].address(family)
                expected = frozenset({self._judge([(source, pod)], PORT, "tcp", family)})
                yield Connection(source, f"host port of {pod.name}", ip, POD_HOST_PORT, "tcp", expected)

    def _judge(self, pairs: Sequence[tuple[End, End]], port: int, protocol: Transport, family: int) -> Outcome:
        return self._judge_each([(pair, port) for pair in pairs], protocol, family)

    def _judge_each(self, hops: Sequence[tuple[tuple[End, End], int]], protocol: Transport, family: int) -> Outcome:
        """What comes of a connection that is judged at each of these pairs, in this order; only pods' are judged."""
        for (source, target), port in hops:
            if not (source.is_pod or target.is_pod):
                continue
            flow = Flow(
                source.endpoint(family), target.endpoint(family), PROTOCOLS[protocol], port, at=datetime.now(UTC)
            )
            verdict = decide(self.policy, flow).verdict
            if verdict is not Verdict.ALLOW:
                return OUTCOMES[verdict, protocol]
        return Outcome.ALLOWED


def _by_service(outcomes: set[Outcome], *, hairpins: bool) -> set[Outcome]:
    """Any backend may answer, the caller itself too. A refusal doesn't always find its way back (docs/why-refused.md)."""
    expected = set(outcomes)
    if hairpins:
        expected.add(Outcome.ALLOWED)
    if expected & {Outcome.REFUSED, Outcome.UNREACHABLE}:
        expected.add(Outcome.TIMEOUT)
    return expected


def _told(source: End, protocol: Transport, expected: set[Outcome]) -> frozenset[Outcome]:
    """What the source sees of it: a node's own datagram that is dropped is an error of its `send`."""
    lost = source.is_node and protocol == "udp" and Outcome.TIMEOUT in expected
    return frozenset(expected | ({Outcome.UNREACHABLE} if lost else set()))


def _runs(pod: dict[str, Any]) -> bool:
    return pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]


def _pod_end(cluster: Cluster, policy: Policy, pod: dict[str, Any], allowed: frozenset[str] | None) -> End:
    metadata, name = pod["metadata"], pod["metadata"]["name"]
    owner = next(iter(metadata.get("ownerReferences", ())), None)
    ips = [each["ip"] for each in pod["status"]["podIPs"]]
    labels = metadata.get("labels", {})
    return End(
        name=name,
        addresses=(ips[0], ips[1]),
        netns=cluster.nodes[pod["spec"]["nodeName"]].pod_netns(metadata["uid"], name),
        zone=policy.zoning.of_pod(labels, allowed),
        namespace=metadata["namespace"],
        workload=workload_name(name, owner and owner["kind"], owner["name"] if owner else ""),
        node=pod["spec"]["nodeName"],
        app=labels.get("app", ""),
    )


def disagreements(connections: Sequence[Connection], timeout: float = 1.0) -> list[str]:
    """What was measured otherwise than the policy says, in words.

    An answer that was missing is waited for once more, with less at a time: a program may be slow on a busy machine.
    """
    wrong = _disagreeing(connections, timeout)
    missing = [each for each, outcome in wrong if outcome is Outcome.TIMEOUT]
    wrong = [pair for pair in wrong if pair[1] is not Outcome.TIMEOUT] + _disagreeing(missing, 3 * timeout)
    return [f"{each} was {outcome}, not {' or '.join(sorted(each.expected))}" for each, outcome in wrong]


def _disagreeing(connections: Sequence[Connection], timeout: float) -> list[tuple[Connection, Outcome]]:
    probes = [Probe(each.source, each.ip, each.port, each.protocol) for each in connections]
    outcomes = measure(probes, timeout)
    return [
        (each, outcome) for each, outcome in zip(connections, outcomes, strict=True) if outcome not in each.expected
    ]
