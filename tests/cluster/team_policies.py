"""NetworkPolicies of application teams on the test cluster, and what they say of a connection that the tier allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mocks.lab import Outcome, Transport
from tests.cluster.apps import PORT, ZONE
from tests.cluster.matrix import Connection, End, Matrix

IPV6 = 6
# How an engine refuses is its own affair, and which of the two judges first.
NOT_ALLOWED = frozenset(Outcome) - {Outcome.ALLOWED}


def _policy(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return kind | {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def _pods(**labels: str) -> dict[str, Any]:
    return {"matchLabels": labels}


TCP_ONLY = [{"protocol": "TCP", "port": PORT}]
POLICIES = (
    # narrower than web-to-app (UDP too) and than the zone's own inside
    _policy(
        "shop",
        "app-from-web",
        podSelector=_pods(app="app"),
        policyTypes=["Ingress"],
        ingress=[{"from": [{"podSelector": _pods(**{ZONE: "web"})}], "ports": TCP_ONLY}],
    ),
    # an allow of everything, in front of a zone that few may reach
    _policy("shop", "data-from-anybody", podSelector=_pods(app="data"), policyTypes=["Ingress"], ingress=[{}]),
    _policy(
        "shop",
        "worker-to-data",
        podSelector=_pods(app="worker"),
        policyTypes=["Egress"],
        egress=[{"to": [{"podSelector": _pods(app="data")}], "ports": TCP_ONLY}],
    ),
    _policy("plain", "nobody", podSelector={}, policyTypes=["Ingress"]),
)


@dataclass(slots=True)
class NarrowedMatrix(Matrix):
    """The connections of a matrix where an engine enforces NetworkPolicies beside the tier: those over IPv4."""

    policies: Sequence[dict[str, Any]] = field(default=POLICIES)

    @classmethod
    def beside(cls, matrix: Matrix) -> NarrowedMatrix:
        return cls(matrix.cluster, matrix.policy, matrix.pods, matrix.nodes, matrix.outside, matrix.control_plane)

    def connections(self) -> list[Connection]:
        return [
            replace(each, expected=each.expected | NOT_ALLOWED) if each.expected & NOT_ALLOWED else each
            for each in Matrix.connections(self)
        ]

    def _judge_each(self, hops: Sequence[tuple[tuple[End, End], int]], protocol: Transport, family: int) -> Outcome:
        outcome = Matrix._judge_each(self, hops, protocol, family)
        permitted = family == IPV6 or all(self._permit(*pair, protocol, port) for pair, port in hops)
        return outcome if permitted or outcome is not Outcome.ALLOWED else Outcome.REFUSED

    def _permit(self, source: End, target: End, protocol: Transport, port: int) -> bool:
        """A node reaches its own pods whatever their policies say."""
        own = source.is_node and source.node == target.node
        out = self._permit_one("Egress", source, target, protocol, port)
        return out and (own or self._permit_one("Ingress", target, source, protocol, port))

    def _permit_one(self, way: str, end: End, peer: End, protocol: Transport, port: int) -> bool:
        if not end.is_pod:
            return True
        selecting = [
            policy["spec"]
            for policy in self.policies
            if policy["metadata"]["namespace"] == end.namespace
            and way in policy["spec"]["policyTypes"]
            and _selects(policy["spec"]["podSelector"], end)
        ]
        rules = [rule for spec in selecting for rule in spec.get(way.lower(), ())]
        peers = "from" if way == "Ingress" else "to"
        return not selecting or any(
            _fits_peer(rule.get(peers), end, peer) and _fits_port(rule.get("ports"), protocol, port) for rule in rules
        )


def _fits_peer(peers: list[dict[str, Any]] | None, end: End, peer: End) -> bool:
    return peers is None or any(
        peer.is_pod and peer.namespace == end.namespace and _selects(each["podSelector"], peer) for each in peers
    )


def _fits_port(ports: list[dict[str, Any]] | None, protocol: Transport, port: int) -> bool:
    return ports is None or any(each["protocol"].lower() == protocol and each["port"] == port for each in ports)


def _selects(selector: dict[str, Any], pod: End) -> bool:
    labels = {"app": pod.app, ZONE: pod.zone}
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
