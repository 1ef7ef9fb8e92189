"""The rules that keep the API server and the bridge itself within reach, whatever the rulebase says. Pure.

`usual_infrastructure` in `zones.policy` has those that every cluster needs; `bridge.tier.infrastructure` knows the
addresses and the ports. Why they are as wide as they are: `docs/decisions/0026-who-reaches-the-api-server.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zones.net import NO_ADDRESS, TCP, UDP, AddressSet, Ranges
from zones.policy import ANYONE, LOGGED, InfrastructureRule, Peer, Traffic

_NO_PORTS = Ranges()
_DNS = Ranges(((53, 53),))


@dataclass(frozen=True, slots=True)
class ApiServerEnds:
    """Where the API server really answers, after Service translation. `nodes`: where it runs, where that is on nodes.

    A node asks from the end of a tunnel where the way to a pod is one, and from an address like that on no other.
    """

    addresses: AddressSet = NO_ADDRESS
    ports: Ranges = _NO_PORTS
    nodes: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.addresses and self.ports)


@dataclass(frozen=True, slots=True)
class BridgeNeeds:
    """The TCP ports that the bridge's own connections go to. `collector`: where it takes what nodes saw."""

    api_server: Ranges = _NO_PORTS
    panorama: Ranges = _NO_PORTS
    siem: Ranges = _NO_PORTS
    evidence: Ranges = _NO_PORTS
    collector: Ranges = _NO_PORTS


def api_server_rules(
    ends: ApiServerEnds, webhook_namespaces: frozenset[str] | None = None
) -> tuple[InfrastructureRule, ...]:
    """Every pod to the API server, and the API server to webhooks and aggregated APIs; None: in any namespace."""
    if not ends:
        return ()
    served = ANYONE if webhook_namespaces is None else Peer(namespaces=webhook_namespaces)
    tcp = (Traffic(TCP),)
    from_nodes = Peer(nodes=True, node_names=ends.nodes)
    return (
        InfrastructureRule(
            "api-server",
            destination=Peer(addresses=ends.addresses),
            traffic=(Traffic(TCP, ends.ports),),
            log=LOGGED,
        ),
        InfrastructureRule(
            "from-api-server",
            source=Peer(addresses=ends.addresses),
            destination=served,
            traffic=tcp,
            log=LOGGED,
        ),
        *((InfrastructureRule("from-api-server-nodes", from_nodes, served, tcp, log=LOGGED),) if ends.nodes else ()),
    )


def bridge_rules(bridge: Peer, needs: BridgeNeeds) -> tuple[InfrastructureRule, ...]:
    """The bridge to everything without which it could never mend what it published; nodes to its collector."""
    return tuple(_bridge_rules(bridge, needs))


def _bridge_rules(bridge: Peer, needs: BridgeNeeds) -> Iterator[InfrastructureRule]:
    goes = {
        "api-server": needs.api_server,
        "panorama": needs.panorama,
        "siem": needs.siem,
        "evidence": needs.evidence,
    }
    for name, ports in goes.items():
        if ports:
            traffic = (Traffic(TCP, ports),)
            yield InfrastructureRule(f"bridge-to-{name}", source=bridge, traffic=traffic, log=LOGGED)
    if needs.collector:
        traffic = (Traffic(TCP, needs.collector),)
        yield InfrastructureRule("nodes-to-collector", Peer(nodes=True), bridge, traffic, log=LOGGED)
    yield InfrastructureRule("bridge-to-dns", source=bridge, traffic=(Traffic(UDP, _DNS), Traffic(TCP, _DNS)))
