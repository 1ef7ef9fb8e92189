"""Policies that grow, and the connections that they are asked about. Every packet is allowed.

A node's pods hold few conversations at a time, however many rules and addresses there are: CONVERSATIONS. With as many
as PACKETS, each packet meets rules and addresses that no other has brought into the processor's caches.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_network

from tests.bench.enforcer import scale
from tests.bench.enforcer.wire import Burst, udp_frame
from zones.addresses.inventory import Holder
from zones.net import ANY_ADDRESS, ICMP, TCP, UDP, AddressSet, IPAddress, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict, usual_infrastructure
from zones.rules import Origin
from zones.zone import Zoning

PACKETS = 10_000
CONVERSATIONS = 256
APPS = 25  # of each zone, as `scale.population` has them
OWN_CLIENTS, OWN_SERVERS = (0, 3), (2, 4)  # the apps of each zone of which a pod is on this node
_ELSEWHERE = tuple(sorted(set(range(APPS)) - {*OWN_CLIENTS, *OWN_SERVERS}))
POPULAR = (80, 443, 443, 443, 8080, 5432, 3306, 9092, 6379, 8443)
_SYSTEM = frozenset({"kube-system"})


@dataclass(frozen=True, slots=True)
class Load:
    """A policy, among how many addresses and zones, and the packets that its rules are for."""

    name: str
    policy: Policy
    addresses: int
    zones: int
    burst: Burst

    def clients(self) -> list[IPv4Address]:
        """The pods of this node that begin connections."""
        return [_own(zone, app) for zone in range(self.zones) for app in OWN_CLIENTS]

    def own(self) -> dict[IPAddress, Holder]:
        """The pods of this node."""
        apps = (*OWN_CLIENTS, *OWN_SERVERS)
        pods = [(zone, app) for zone in range(self.zones) for app in apps]
        return {_own(zone, app): scale.kind(f"zone-{zone}", f"app-{app}", scale.NODE) for zone, app in pods}


def spread(rules: int, zones: int = 40, addresses: int = 10_000, conversations: int = CONVERSATIONS) -> Load:
    """One port for each rule; the pairs of zones take turns."""
    pairs = [(one, other) for one in range(zones) for other in range(zones) if one != other]
    random.Random(1).shuffle(pairs)
    made = _entries(rules, lambda number: pairs[number % len(pairs)])
    talks = _Talks(zones, addresses, conversations)
    burst = talks.burst(lambda chance: _by_rule(chance.randrange(rules), lambda number: pairs[number % len(pairs)]))
    return Load(f"{rules} rules", _policy(made, zones), addresses, zones, burst)


def hot(rules: int, conversations: int = CONVERSATIONS) -> Load:
    """The same, all from the first zone to the second."""
    talks = _Talks(40, 10_000, conversations)
    burst = talks.burst(lambda chance: _by_rule(chance.randrange(rules), lambda _: (0, 1)))
    return Load(f"{rules} rules in one pair", _policy(_entries(rules, lambda _: (0, 1)), 40), 10_000, 40, burst)


def mixed(rules: int) -> Load:
    """What is found in real rulebases, from the first zone to the second: apps, prefixes, ports, ranges, pings."""
    chance = random.Random(3)
    entries = [_entry(n, (0, 1), _MIX[n % len(_MIX)](chance), _clients(n, chance)) for n in range(rules)]
    talks = _Talks(40, 10_000, CONVERSATIONS)
    burst = talks.burst(lambda chance: ((0, 1), chance.choice([*POPULAR, chance.randrange(1024, 60_000)])))
    return Load(f"{rules} mixed rules in one pair", _policy(entries, 40), 10_000, 40, burst)


_Pair = tuple[int, int]


def _entries(rules: int, pair: Callable[[int], _Pair]) -> list[Entry]:
    return [_entry(n, pair(n), Traffic(UDP, Ranges(((1000 + n, 1000 + n),)))) for n in range(rules)]


def _by_rule(rule: int, pair: Callable[[int], _Pair]) -> tuple[_Pair, int]:
    return pair(rule), 1000 + rule


@dataclass(frozen=True, slots=True)
class _Talks:
    """Who talks to whom: pods of this node to each other and to others, at random, each packet from another port."""

    zones: int
    addresses: int
    conversations: int

    def burst(self, choose: Callable[[random.Random], tuple[_Pair, int]]) -> Burst:
        chance = random.Random(2)
        talks = []
        for number in range(self.conversations):
            (one, other), port = choose(chance)
            if number % 2:
                talks.append((_own(one, chance.choice(OWN_CLIENTS)), _own(other, chance.choice(OWN_SERVERS)), port))
            else:
                talks.append((_own(one, chance.choice(OWN_CLIENTS)), self._pod(other, chance), port))
        sides = (talks[number % len(talks)] for number in range(PACKETS))
        return Burst([udp_frame(one, 1024 + n, other, port) for n, (one, other, port) in enumerate(sides)])

    def _pod(self, zone: int, chance: random.Random) -> IPv4Address:
        """The address of one of a zone's pods elsewhere, as `scale.population` has them."""
        turn = self.zones * APPS
        number = zone * APPS + chance.choice(_ELSEWHERE) + turn * chance.randrange(max(self.addresses // turn, 1))
        return scale.address(number % self.addresses)


def _own(zone: int, app: int) -> IPv4Address:
    """The address of the pod of this node that is of a zone and an app."""
    return scale.address(zone * APPS + app)


def _app(chance: random.Random) -> str:
    """Most apps that rules name have no pod in this cluster."""
    return f"app-{chance.randrange(APPS)}" if chance.random() < 0.2 else f"elsewhere-{chance.randrange(1000)}"


def _some(chance: random.Random) -> Ranges:
    first = chance.choice([*POPULAR, chance.randrange(1024, 60_000)])
    return Ranges(((first, first + chance.choice([0, 0, 0, 0, 9, 99])),))


_MIX: tuple[Callable[[random.Random], Traffic], ...] = (
    *[lambda chance: Traffic(UDP, _some(chance), destination_workload=_app(chance))] * 10,
    *[lambda chance: Traffic(TCP, _some(chance), destination_workload=_app(chance))] * 5,
    lambda chance: Traffic(UDP, _some(chance), source_workload=_app(chance), destination_workload=_app(chance)),
    lambda chance: Traffic(UDP, _some(chance), Ranges(((32_768, 60_999),)), destination_workload=_app(chance)),
    lambda _: Traffic(ICMP, icmp_type=8),
    *[lambda chance: Traffic(UDP, _some(chance))] * 2,
)


def _clients(number: int, chance: random.Random) -> AddressSet:
    """Rules that name no app name a prefix, and some others too."""
    if number % len(_MIX) < 17 and chance.random() < 0.7:
        return ANY_ADDRESS
    around = scale.address(chance.randrange(10_000))
    length = chance.choice([24, 27, 30, 32, 32])
    return AddressSet.of([ip_network((int(around), length), strict=False)])


def _entry(number: int, pair: tuple[int, int], traffic: Traffic, sources: AddressSet = ANY_ADDRESS) -> Entry:
    names = [frozenset({f"zone-{zone}"}) for zone in pair]
    origin = Origin(f"rule {number}", f"{number:032x}", "pre", "k8s")
    return Entry(origin, Verdict.ALLOW, from_zones=names[0], to_zones=names[1], sources=sources, traffic=(traffic,))


def _policy(entries: list[Entry], zones: int) -> Policy:
    last = Entry(Origin("interzone-default", None, "default", "Shared"), Verdict.ALLOW)
    infrastructure = usual_infrastructure(_SYSTEM, _SYSTEM, frozenset({"coredns"}))
    return Policy(Zoning(), infrastructure, (*entries, last), frozenset(scale.zones(zones)))
