"""What a rule asks of a connection, as a table's cells have it. Pure text."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from bridge.pages.zone_pairs import natural
from bridge.preview import wording
from zones.net import ALL_PORTS, ANY_ADDRESS, AddressSet, Ranges
from zones.policy import Entry, InfrastructureRule, Peer, Traffic
from zones.rule_wording import traffic_text
from zones.rules import L4, RuleType

MOST_PREFIXES = 4
MOST_ZONES = 6


@lru_cache(maxsize=100_000)
def addresses_text(addresses: AddressSet) -> str:
    """`any`, or the shorter of what is in the set and of what isn't, shortened."""
    return wording.addresses_text(addresses) or "any"


def listed(names: Iterable[str], most: int) -> str:
    """`a, b and 3 more`."""
    some = list(names)
    more = f" and {len(some) - most} more" if len(some) > most else ""
    return ", ".join(some[:most]) + more


def zones_text(zones: frozenset[str] | None) -> str:
    return "any" if zones is None else listed(sorted(zones, key=natural), MOST_ZONES)


def pairing_text(entry: Entry) -> str:
    """`web → data`, `within web`, `any → any, between zones`."""
    if entry.pairing is RuleType.INTRAZONE:
        return f"within {zones_text(entry.from_zones)}"
    between = ", between zones" if entry.pairing is RuleType.INTERZONE else ""
    return f"{zones_text(entry.from_zones)} → {zones_text(entry.to_zones)}{between}"


def entry_traffic_text(entry: Entry) -> str:
    """`tcp/80,443`, `app orders tcp/5432`, `any, while night-shift`."""
    by_end: dict[tuple[str | None, str | None], list[Traffic]] = {}
    for traffic in entry.traffic:
        by_end.setdefault((traffic.source_workload, traffic.destination_workload), []).append(traffic)
    texts = [_of_ends(source, destination, some) for (source, destination), some in by_end.items()]
    schedule = "" if entry.schedule is None else f", while {entry.schedule.name}"
    return " or ".join(texts) + schedule


def _of_ends(source: str | None, destination: str | None, some: list[Traffic]) -> str:
    words = [f"from app {source}"] if source is not None else []
    words += [f"app {destination}"] if destination is not None else []
    return " ".join([*words, _ports(some)])


def _ports(some: list[Traffic]) -> str:
    """Without a protocol, ports mean those of TCP, UDP and SCTP."""
    texts = []
    known = [
        L4(traffic.protocol, traffic.ports, traffic.source_ports, traffic.icmp_type)
        for traffic in some
        if traffic.protocol is not None
    ]
    if len(known) < len(some):
        texts += [
            "any" if _is_all(traffic.ports) else f"port {traffic.ports}" for traffic in some if traffic.protocol is None
        ]
    if known:
        texts.append(traffic_text(known))
    return " and ".join(dict.fromkeys(texts))


def _is_all(ports: Ranges) -> bool:
    return ports == ALL_PORTS


def ends_text(entry: Entry) -> str:
    """`10.0.0.0/8 → any`; `any` for both."""
    ends = addresses_text(entry.sources), addresses_text(entry.destinations)
    return "any" if ends == ("any", "any") else " → ".join(ends)


def infrastructure_texts(rule: InfrastructureRule) -> tuple[str, str, str]:
    """Source, destination and traffic of an infrastructure rule."""
    own = " of the same node" if rule.own_node else ""
    traffic = " or ".join(
        dict.fromkeys(_of_ends(one.source_workload, one.destination_workload, [one]) for one in rule.traffic)
    )
    return peer_text(rule.source), peer_text(rule.destination) + own, traffic


def peer_text(peer: Peer) -> str:
    """`any`, `nodes`, `coredns in namespace kube-system`, `10.0.0.1/32`."""
    words = ["nodes"] if peer.nodes else []
    if peer.node_names is not None:
        words.append(listed(sorted(peer.node_names), MOST_PREFIXES))
    if peer.workloads is not None:
        words.append(f"app {listed(sorted(peer.workloads), MOST_PREFIXES)}")
    if peer.namespaces is not None:
        words.append(f"in namespace {listed(sorted(peer.namespaces), MOST_PREFIXES)}")
    if peer.addresses != ANY_ADDRESS:
        words.append(addresses_text(peer.addresses))
    return " ".join(words) or "any"
