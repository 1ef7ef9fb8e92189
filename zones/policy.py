"""The policy: ordered entries over zones, addresses, workloads and ports. What it means is in `zones.verdict`.

A policy is total: its last two entries are the default rules, which match every flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from zones.net import ALL_PORTS, ANY_ADDRESS, TCP, UDP, AddressSet, Ranges
from zones.rules import NO_LOG, Log, Origin, RuleType
from zones.schedule import Schedule
from zones.zone import Zoning


class Verdict(StrEnum):
    """ALLOW: this tier has no objection. DENY: dropped. RESET: TCP reset, ICMP admin-prohibited for the rest."""

    ALLOW = "allow"
    DENY = "deny"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Traffic:
    """One alternative of what an entry matches: every given condition must hold, None matches all.

    A port condition other than all ports holds only for protocols that have ports. A workload's name is for any
    namespace, or `namespace/workload`.
    """

    protocol: int | None = None
    ports: Ranges = ALL_PORTS
    source_ports: Ranges = ALL_PORTS
    icmp_type: int | None = None
    source_workload: str | None = None
    destination_workload: str | None = None


ANY_TRAFFIC = (Traffic(),)


@dataclass(frozen=True, slots=True)
class Blocklists:
    """The external dynamic lists that a denial names, by side.

    `mixed`: a side that names lists has other addresses too, so that a match need not be in a list.
    """

    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    mixed: bool = False

    def __bool__(self) -> bool:
        return bool(self.sources or self.destinations)


NO_BLOCKLISTS = Blocklists()


@dataclass(frozen=True, slots=True)
class Entry:
    """One rule of the tier. `from_zones`/`to_zones` None is any zone, unknown ones included.

    `feeds` names the FQDNs and EDLs that the address sets draw on; `blocklists` those that it denies to or from.
    `expected`: what it decides is no news to detectors.
    """

    origin: Origin
    verdict: Verdict
    pairing: RuleType = RuleType.UNIVERSAL
    from_zones: frozenset[str] | None = None
    to_zones: frozenset[str] | None = None
    sources: AddressSet = ANY_ADDRESS
    destinations: AddressSet = ANY_ADDRESS
    traffic: tuple[Traffic, ...] = ANY_TRAFFIC
    schedule: Schedule | None = None
    log: Log = NO_LOG
    feeds: tuple[str, ...] = ()
    blocklists: Blocklists = NO_BLOCKLISTS
    expected: bool = False

    def pairs(self, from_zone: str, to_zone: str) -> bool:
        """Whether the entry concerns flows from one zone to the other."""
        if self.from_zones is not None and from_zone not in self.from_zones:
            return False
        if self.pairing is RuleType.INTRAZONE:
            return from_zone == to_zone
        if self.pairing is RuleType.INTERZONE and from_zone == to_zone:
            return False
        return self.to_zones is None or to_zone in self.to_zones


@dataclass(frozen=True, slots=True)
class Peer:
    """One side of an infrastructure rule. Every given condition must hold.

    `nodes`: a node or host-network pod, of `node_names` where these are given. `namespaces` and `workloads`: pods of
    these. `addresses`: whoever has one.
    """

    nodes: bool = False
    namespaces: frozenset[str] | None = None
    workloads: frozenset[str] | None = None
    addresses: AddressSet = ANY_ADDRESS
    node_names: frozenset[str] | None = None

    @property
    def names_holders(self) -> bool:
        """Whether it asks who an end is, and not only which address that has."""
        return self.nodes or self.namespaces is not None or self.workloads is not None


ANYONE = Peer()


@dataclass(frozen=True, slots=True)
class InfrastructureRule:
    """Traffic a cluster can't live without, allowed before every entry. Named `infrastructure/<name>` everywhere.

    `own_node`: only between a node and the pods on it.
    """

    name: str
    source: Peer = ANYONE
    destination: Peer = ANYONE
    traffic: tuple[Traffic, ...] = ANY_TRAFFIC
    own_node: bool = False
    log: Log = NO_LOG

    @property
    def origin(self) -> Origin:
        return Origin(f"infrastructure/{self.name}", None, "infrastructure", "")

    @property
    def serves_isolated(self) -> bool:
        """Whether a pod that is cut off is concerned too: its node probes it."""
        return self.own_node and self.source.nodes


def built_in(name: str) -> Origin:
    """A rule that no policy writes and every node has."""
    return Origin(f"infrastructure/{name}", None, "infrastructure", "")


ISOLATION = built_in("isolated")
"""The rule by which a pod that claims a zone without right is cut off: before every entry, after its node's own."""
QUARANTINED = built_in("quarantined")
"""The rule by which a pod in quarantine is cut off: after its node's own and what the manager writes for that zone."""
UNKNOWN_POD = built_in("unknown-pod")
"""An address behind the link of a pod that no trusted pod has: closed but for what infrastructure allows."""
LINK_LOCAL = built_in("link-local")
"""Link-local and loopback addresses, from or to a pod: before everything else."""
BROADCAST = built_in("broadcast")
"""Broadcasts and multicasts of a pod, but for discovery: before everything else."""
TUNNELLED = InfrastructureRule(
    "tunnel-port",
    destination=Peer(nodes=True),
    traffic=(Traffic(UDP, source_ports=Ranges.of((port, port) for port in (4789, 6081, 8472, 51820, 51821, 51871))),),
)
"""What a pod sends to another node from the port of a tunnel between nodes: VXLAN, Geneve, WireGuard. Denied.

A node that hides its pods behind its own address keeps the port where it can: what the other node's tunnel sends next
would be the answer, and go to the pod and not to the tunnel (`docs/decisions/0088-ports-of-tunnels.md`).
"""
UNTRANSLATED_SERVICE = built_in("untranslated-service")
"""A Service's address that a pod dialled and nothing translated: no endpoint is ready, or no Service has that port."""


LOGGED = Log(end=True)
"""For infrastructure rules: one record for each connection, when it ends."""
_KUBELET = Traffic(TCP, Ranges(((10250, 10250),)))
_DNS = Traffic(UDP, Ranges(((53, 53),))), Traffic(TCP, Ranges(((53, 53),)))
_DNS_OVER_TLS = Traffic(TCP, Ranges(((853, 853),)))


def usual_infrastructure(
    system_namespaces: frozenset[str],
    dns_namespaces: frozenset[str],
    dns_workloads: frozenset[str],
    system_workloads: frozenset[str] = frozenset(),
) -> tuple[InfrastructureRule, ...]:
    """A node to its own pods, DNS from everywhere and on to where it asks itself, and what the system namespaces need.

    `system_workloads`: those of the system namespaces that reach any pod, as the API server's tunnel does.
    """
    dns = Peer(namespaces=dns_namespaces, workloads=dns_workloads)
    nodes, system = Peer(nodes=True), Peer(namespaces=system_namespaces)
    some = Peer(namespaces=system_namespaces, workloads=system_workloads)
    to_any_pod = InfrastructureRule("system-workloads", source=some, traffic=(Traffic(TCP),), log=LOGGED)
    return (
        InfrastructureRule("node-to-own-pods", source=nodes, own_node=True),
        InfrastructureRule("dns", destination=dns, traffic=_DNS),
        InfrastructureRule("dns-on-own-node", destination=nodes, traffic=_DNS, own_node=True),
        InfrastructureRule("dns-upstream", source=dns, traffic=(*_DNS, _DNS_OVER_TLS)),
        InfrastructureRule("within-system-namespaces", source=system, destination=system, log=LOGGED),
        InfrastructureRule("system-to-kubelets", source=system, destination=nodes, traffic=(_KUBELET,), log=LOGGED),
        *((to_any_pod,) if system_workloads else ()),
        InfrastructureRule("nodes-to-system-namespaces", source=nodes, destination=system, log=LOGGED),
    )


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole tier: how zones are known, what the infrastructure needs, and the entries, first match first."""

    zoning: Zoning
    infrastructure: tuple[InfrastructureRule, ...]
    entries: tuple[Entry, ...]
    known_zones: frozenset[str] = frozenset()
