"""Policies and populations of any size, always the same ones: what the figures are about."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv4Network

from enforcer.rules.members.address_delta import AddressDelta
from zones.addresses.inventory import Holder, Node, Pod
from zones.net import TCP, AddressSet, IPAddress, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict, usual_infrastructure
from zones.rules import Log, Origin, RuleType
from zones.zone import ANY_ZONE, Zoning

LABEL = "zonebridge.io/zone"
NODE, OTHERS = "n1", "n2"
PODS = IPv4Network("10.64.0.0/10")
_ALLOWED = frozenset({ANY_ZONE})


def zones(many: int = 40) -> list[str]:
    return [f"zone-{number}" for number in range(many)]


def policy(rules: int, many_zones: int = 40, *, hot: bool = False, seed: int = 1) -> Policy:
    """So many rules, spread over the pairs of zones or all in one; one port each, and the two defaults."""
    chance = random.Random(seed)
    names = zones(many_zones)
    entries = [_rule(number, chance, names[:2] if hot else chance.choices(names, k=2)) for number in range(rules)]
    defaults = (
        Entry(Origin("intrazone-default", None, "default", "Shared"), Verdict.ALLOW, RuleType.INTRAZONE),
        Entry(Origin("interzone-default", None, "default", "Shared"), Verdict.DENY, log=Log(start=True)),
    )
    infrastructure = usual_infrastructure(
        frozenset({"kube-system"}), frozenset({"kube-system"}), frozenset({"coredns"})
    )
    return Policy(Zoning(), infrastructure, (*entries, *defaults), frozenset(names))


def _rule(number: int, chance: random.Random, pair: list[str]) -> Entry:
    port = 1 + number % 60_000
    return Entry(
        Origin(f"rule {number}", f"{number:032x}", "pre", "k8s"),
        chance.choice([Verdict.ALLOW, Verdict.ALLOW, Verdict.DENY]),
        RuleType.UNIVERSAL,
        frozenset({pair[0]}),
        frozenset({pair[1]}),
        traffic=(Traffic(TCP, Ranges(((port, port),))),),
    )


def address(number: int) -> IPv4Address:
    return IPv4Address(int(PODS.network_address) + 2 + number)


def kind(zone: str, workload: str = "app", node: str = "") -> Pod:
    """What all pods that are alike have in common."""
    return Pod("", "shop", "", node, "Running", (), {LABEL: zone}, workload, allowed=_ALLOWED)


def population(many: int, many_zones: int = 40) -> dict[IPAddress, Holder]:
    """So many pods, in turn of every zone, and two nodes."""
    kinds = [kind(zone, f"app-{n}") for zone in zones(many_zones) for n in range(25)]
    held: dict[IPAddress, Holder] = {address(n): kinds[n % len(kinds)] for n in range(many)}
    for number, name in enumerate((NODE, OTHERS)):
        held[IPv4Address(f"192.168.0.{number + 1}")] = Node(name, (), (PODS,))
    return held


def feed(held: dict[IPAddress, Holder]) -> AddressDelta:
    return AddressDelta.by_address(held, AddressSet.of([PODS]), replaces_all=True)


def change(at: IPAddress, holder: Holder | None) -> AddressDelta:
    return AddressDelta.by_address({at: holder}, AddressSet.of([PODS]))
