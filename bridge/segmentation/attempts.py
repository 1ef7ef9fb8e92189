"""Which connections to try, and what the policy says of each. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bridge.segmentation.probe import READY, Outcome
from zones.net import TCP, IPAddress
from zones.policy import Policy, Verdict
from zones.rules import Origin
from zones.verdict import Decision, Endpoint, Flow, decide
from zones.zone import ISOLATED, QUARANTINE

EXPECTED = {Verdict.ALLOW: Outcome.ALLOWED, Verdict.DENY: Outcome.TIMEOUT, Verdict.RESET: Outcome.REFUSED}
UNNAMED = 61_997
"""A port that rules rarely name: what `any` and the default rules say."""
_HIGHEST = 65_535
# A program of some hundred sockets; of more ports every nth is taken.
MOST_PORTS = 400


@dataclass(frozen=True, slots=True)
class ProbeEnd:
    """Who tries, or is tried: a pod, or what stands for one. At most one address of each family."""

    name: str
    zone: str
    addresses: tuple[IPAddress, ...]
    workload: str
    namespace: str = ""
    node: str = ""

    def endpoint(self, version: int) -> Endpoint | None:
        """None where it has no address of this family."""
        for address in self.addresses:
            if address.version == version:
                return Endpoint(self.zone, address, self.workload, self.namespace, self.node)
        return None


@dataclass(frozen=True, slots=True)
class PortChoice:
    """`listening`: what destinations listen on; `most`: so many are tried of each pair and family."""

    listening: frozenset[int]
    most: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One TCP connection, and what the policy says of it."""

    source: ProbeEnd
    destination: ProbeEnd
    address: IPAddress
    port: int
    decision: Decision

    @property
    def expected(self) -> Outcome:
        return EXPECTED[self.decision.verdict]


def pod_zones(policy: Policy) -> tuple[str, ...]:
    """The zones that the policy knows and pods can be in."""
    zoning = policy.zoning
    named = {zone for entry in policy.entries for side in (entry.from_zones, entry.to_zones) for zone in side or ()}
    other = {zoning.nodes, zoning.outside, ISOLATED, QUARANTINE, *(zone for _, zone in zoning.networks)}
    return tuple(sorted({zoning.default, *policy.known_zones, *named} - other))


def ports_between(policy: Policy, from_zone: str, to_zone: str) -> list[int]:
    """The TCP ports at which rules between two zones begin and end, and those beside; in the order of the rules."""
    ports = {UNNAMED: None}
    for entry in policy.entries:
        if not entry.pairs(from_zone, to_zone):
            continue
        for traffic in entry.traffic:
            if traffic.protocol in {None, TCP}:
                for first, last in traffic.ports.spans:
                    ports |= dict.fromkeys((first, last, first - 1, last + 1))
    return [port for port in ports if 0 < port <= _HIGHEST and port != READY]


def ports_among(policy: Policy, zones: Sequence[str], most: int = MOST_PORTS) -> list[int]:
    """What the probes of these zones listen on."""
    ports = sorted({port for one in zones for other in zones for port in ports_between(policy, one, other)})
    if len(ports) <= most:
        return ports
    step = -(-len(ports) // (most - 1))
    return sorted({*ports[::step], UNNAMED})


def attempts(
    policy: Policy, source: ProbeEnd, destinations: Iterable[ProbeEnd], ports: PortChoice, at: datetime
) -> Iterator[Attempt]:
    """To each destination, in both families: of each rule in turn that decides a port.

    Denied ones are among them wherever the rules between the two zones deny anything by port.
    """
    for destination in destinations:
        zones = source.zone, destination.zone
        between = replace(policy, entries=tuple(entry for entry in policy.entries if entry.pairs(*zones)))
        candidates = [port for port in ports_between(between, *zones) if port in ports.listening]
        for version in (4, 6):
            by_rule: dict[Origin, list[Attempt]] = defaultdict(list)
            for port in candidates:
                attempt = judged(between, source, destination, port, version, at)
                if attempt is not None:
                    by_rule[attempt.decision.origin].append(attempt)
            yield from sorted(_in_turn(by_rule.values(), ports.most), key=lambda attempt: attempt.port)


def judged(  # noqa: PLR0917 - what a connection is made of
    policy: Policy, source: ProbeEnd, destination: ProbeEnd, port: int, version: int, at: datetime
) -> Attempt | None:
    """None where one of both has no address of this family."""
    begin, end = source.endpoint(version), destination.endpoint(version)
    if begin is None or end is None or end.address is None:
        return None
    return Attempt(source, destination, end.address, port, decide(policy, Flow(begin, end, TCP, port, at=at)))


def _in_turn(groups: Iterable[list[Attempt]], most: int) -> list[Attempt]:
    """The first of each group, then the second of each, up to so many."""
    ranked = [(rank, attempt) for group in groups for rank, attempt in enumerate(group)]
    return [attempt for _, attempt in sorted(ranked, key=lambda pair: pair[0])[:most]]
