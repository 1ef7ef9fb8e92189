"""How the members of a zone are known: pods by label where their namespace is entitled, everything else by prefix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from zones.net import IPAddress, IPNetwork

ENTITLEMENT_ANNOTATION = "zonebridge.io/zones"
"""On a namespace: the zones that its pods may be in, separated by commas; `*` is every zone."""

ISOLATED = "zonebridge.io/isolated"
"""The zone of a pod that claims one without right: nothing is open to it or from it. No manager's zone has a slash."""

QUARANTINE = "quarantine"
"""The zone of a pod that is in quarantine. Reserved: no label puts a pod there, whatever its namespace may use."""

ANY_ZONE = "*"


class Entitlement(StrEnum):
    """What a namespace without the annotation may use. STRICT: the default zone alone. ANNOTATED: every zone."""

    STRICT = "strict"
    ANNOTATED = "annotated"


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
    entitlement: Entitlement = Entitlement.STRICT

    @classmethod
    def of(
        cls,
        networks: Mapping[str, list[IPNetwork]],
        entitlement: Entitlement = Entitlement.STRICT,
        **names: str,
    ) -> Zoning:
        """From zone -> prefixes, as the settings give it."""
        pairs = [(network, zone) for zone, prefixes in networks.items() for network in prefixes]
        return cls(networks=tuple(sorted(pairs, key=_longest_first)), entitlement=entitlement, **names)

    @property
    def link_local(self) -> tuple[IPNetwork, ...]:
        """The prefixes of link-local addresses that have a zone: others are closed to pods."""
        return tuple(network for network, _ in self.networks if network.is_link_local)

    def claimed(self, labels: Mapping[str, str]) -> str:
        """The zone that a pod's labels claim; the default zone without the label or with an empty one."""
        return labels.get(self.label_key) or self.default

    def entitled(self, zone: str, allowed: frozenset[str] | None) -> bool:
        """Whether a namespace may use a zone. `allowed`: what its annotation lists, None without one."""
        if zone == QUARANTINE:
            return False
        if allowed is None:
            return self.entitlement is Entitlement.ANNOTATED or zone == self.default
        return zone in allowed or ANY_ZONE in allowed

    def of_pod(self, labels: Mapping[str, str], allowed: frozenset[str] | None, *, quarantined: bool = False) -> str:
        """The zone of a pod: QUARANTINE whatever it claims; what it claims; or ISOLATED without the right to that."""
        if quarantined:
            return QUARANTINE
        zone = self.claimed(labels)
        return zone if self.entitled(zone, allowed) else ISOLATED

    def of_address(self, address: IPAddress) -> str:
        """The zone of an address that is neither a pod's nor a node's."""
        for network, zone in self.networks:
            if address.version == network.version and address in network:
                return zone
        return self.outside


def allowed_zones(annotations: Mapping[str, str]) -> frozenset[str] | None:
    """The zones that a namespace's annotation lists; None without the annotation. An empty one allows none."""
    listed = annotations.get(ENTITLEMENT_ANNOTATION)
    return None if listed is None else frozenset(filter(None, (name.strip() for name in listed.split(","))))


def _longest_first(pair: tuple[IPNetwork, str]) -> tuple[int, int, int]:
    network, _ = pair
    return network.version, -network.prefixlen, int(network.network_address)
