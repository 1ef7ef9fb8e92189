"""The policies of these figures: rules spread over 40 zones, one of them edited; or a long address list, edited."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from ipaddress import IPv4Network

from tests.bench.enforcer import scale
from zones.net import UDP, AddressSet, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict
from zones.rules import Origin

TIER = "panorama"
CLIENT_ZONE, SERVER_ZONE = "zone-0", "zone-1"
PORT, LISTED_PORT = 7000, 7001
LISTED, _MOVED = 50_000, 5
_ABOVE = 20 << 24
_OF_LAB = IPv4Network("10.244.0.0/16")


@cache
def _base(rules: int) -> Policy:
    return scale.policy(rules)


def one_rule(rules: int, number: int) -> Policy:
    """A rule in the middle, which even revisions have: UDP from one zone to another."""
    policy = _base(rules)
    half = len(policy.entries) // 2
    mine = () if number % 2 else (allow("edited", PORT),)
    entries = (*policy.entries[:half], *mine, *policy.entries[half:])
    return Policy(policy.zoning, policy.infrastructure, entries, policy.known_zones)


def long_list(rules: int, number: int) -> Policy:
    """A rule with a list of 50,000 addresses, of which five move in each revision and five move back; even ones have all pods."""
    policy = _base(rules)
    half = len(policy.entries) // 2
    mine = allow("listed", LISTED_PORT, _listed(number))
    entries = (*policy.entries[:half], mine, *policy.entries[half:])
    return Policy(policy.zoning, policy.infrastructure, entries, policy.known_zones)


def allow(name: str, port: int, sources: AddressSet | None = None) -> Entry:
    more = {} if sources is None else {"sources": sources}
    return Entry(
        Origin(name, f"{port:032x}", "pre", "k8s"), Verdict.ALLOW,
        from_zones=frozenset({CLIENT_ZONE}), to_zones=frozenset({SERVER_ZONE}),
        traffic=(Traffic(UDP, Ranges(((port, port),))),), **more,
    )  # fmt: skip


def _listed(number: int) -> AddressSet:
    """No two beside each other; the networks of the pods that packets come from are one of those that come and go."""
    spans = [(_ABOVE + at * 4, _ABOVE + at * 4) for at in range(LISTED - 1)]
    for at in range(_MOVED):
        place = (number * 7919 + at * 5557) % len(spans)
        first = spans[place][0] + 2
        spans[place] = first, first
    pods = [(int(network.network_address), int(network.broadcast_address)) for network in (scale.PODS, _OF_LAB)]
    return AddressSet(v4=Ranges.of([*spans, *(pods if number % 2 == 0 else [])]))


SCENES: Mapping[str, Callable[[int], Policy]] = {
    "1000_rules": partial(one_rule, 1_000),
    "10000_rules": partial(one_rule, 10_000),
    "list_of_50000": partial(long_list, 1_000),
}
