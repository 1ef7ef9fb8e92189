"""How the members of a zone are known: pods by label, everything else by prefix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zones.net import IPAddress, IPNetwork


@dataclass(frozen=True, slots=True)
class Zoning:
    """Which label and which prefixes make a zone.

    `networks` maps prefixes outside the pods to zones, longest prefix first; what none of them holds is in `outside`.
    """

    label_key: str = "zonebridge.io/zone"
    default: str = "default"
    nodes: str = "nodes"
    outside: str = "outside"
    networks: tuple[tuple[IPNetwork, str], ...] = ()

    @classmethod
    def of(cls, networks: Mapping[str, list[IPNetwork]], **names: str) -> Zoning:
        """From zone -> prefixes, as the settings give it."""
        pairs = [(network, zone) for zone, prefixes in networks.items() for network in prefixes]
        return cls(networks=tuple(sorted(pairs, key=_longest_first)), **names)

    def of_pod(self, labels: Mapping[str, str]) -> str:
        """The zone that a pod's labels claim; the default zone without the label or with an empty one."""
        return labels.get(self.label_key) or self.default

    def of_address(self, address: IPAddress) -> str:
        """The zone of an address that is neither a pod's nor a node's."""
        for network, zone in self.networks:
            if address.version == network.version and address in network:
                return zone
        return self.outside


def _longest_first(pair: tuple[IPNetwork, str]) -> tuple[int, int, int]:
    network, _ = pair
    return network.version, -network.prefixlen, int(network.network_address)
