"""Services as a kube-proxy makes them: destination translation on every node, masquerade for node ports and hairpins.

It filters nothing, and picks a backend at random for each connection. The lab calls it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mocks.lab.addresses import Place
from mocks.lab.machines import Node, Pod
from mocks.lab.probe import Transport

# Packets to be masqueraded bear the bit of the packet mark that kube-proxy uses for it.
BIT = "0x4000"
TABLE = f"""
add table inet lab_services
delete table inet lab_services
table inet lab_services {{
    chain prerouting {{ type nat hook prerouting priority -100; }}
    chain output {{ type nat hook output priority -100; }}
    chain postrouting {{
        type nat hook postrouting priority 100
        meta mark & {BIT} == {BIT} meta mark set meta mark ^ {BIT} masquerade
    }}
    chain services {{ }}
}}
add rule inet lab_services prerouting jump services
add rule inet lab_services output jump services
"""


@dataclass(frozen=True, slots=True)
class Service:
    """A cluster address, and a port of every node if wanted, in front of pods.

    A node port hides its client behind the node, unless `local`: then only a node's own pods answer.
    """

    place: Place
    port: int
    backends: Sequence[Pod]
    target_port: int
    node_port: int | None = None
    transport: Transport = "tcp"
    local: bool = False

    @property
    def ip(self) -> str:
        return self.place.ip

    @property
    def ip6(self) -> str:
        return self.place.ip6


def load(node: Node, services: Iterable[Service]) -> None:
    """Make these, and only these, the services of a node, in one transaction."""
    node.nft("\n".join([TABLE, *(line for service in services for line in render(node, service))]))


def render(node: Node, service: Service) -> list[str]:
    local = [pod for pod in service.backends if pod.node is node]
    outer = local if service.local else service.backends
    lines = [line for pod in service.backends for line in _backend(pod, service)]
    for family, own in (("ip", service.ip), ("ip6", service.ip6)):
        lines += _spread(
            f"{family} daddr {own} {service.transport} dport {service.port}", family, service.backends, service
        )
        if service.node_port is not None:
            match = f"meta nfproto {'ipv4' if family == 'ip' else 'ipv6'} fib daddr type local"
            match += f" {service.transport} dport {service.node_port}"
            if not service.local:
                lines.append(_rule("services", f"{match} {_marked()}"))
            lines += _spread(match, family, outer, service)
    return lines


def _backend(pod: Pod, service: Service) -> list[str]:
    """Render a chain for each of the pod's addresses: masquerade a pod that gets itself, then translate."""
    lines = []
    for family, ip, target in (("ip", pod.ip, pod.ip), ("ip6", pod.ip6, f"[{pod.ip6}]")):
        chain = _chain(pod, family, service)
        lines += [
            f"add chain inet lab_services {chain}",
            f"flush chain inet lab_services {chain}",
            _rule(chain, f"{family} saddr {ip} {_marked()}"),
            _rule(chain, f"meta l4proto {service.transport} dnat {family} to {target}:{service.target_port}"),
        ]
    return lines


def _spread(match: str, family: str, backends: Sequence[Pod], service: Service) -> list[str]:
    """Give each backend an equal share: the first of n takes one in n, the next one in n-1."""
    return [
        _rule("services", f"{match} numgen random mod {len(backends) - place} 0 goto {_chain(pod, family, service)}")
        for place, pod in enumerate(backends)
    ]


def _chain(pod: Pod, family: str, service: Service) -> str:
    address = pod.ip if family == "ip" else pod.ip6
    return f"to_{address.replace('.', '_').replace(':', '_')}_{service.transport}_{service.target_port}"


def _marked() -> str:
    return f"meta mark set meta mark | {BIT}"


def _rule(chain: str, body: str) -> str:
    return f"add rule inet lab_services {chain} {body}"
