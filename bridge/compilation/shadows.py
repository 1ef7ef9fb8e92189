"""Which later allows a deny by an App-ID's ports leaves without effect, or takes something from.

It takes a while: only the report asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zones.compile import Compiled
from zones.net import ANY_ADDRESS, AddressSet, Ranges
from zones.policy import Entry, Traffic, Verdict
from zones.problems import RuleStatus
from zones.rules import Origin, RuleType
from zones.workload import covers as covers_workload

# Of so many pairs at most: a report must not take minutes.
MOST_PAIRS = 2_000_000


@dataclass(frozen=True, slots=True)
class Shadow:
    """The allows after a deny of which nothing is left, and those that are less than written because of it."""

    covered: tuple[Origin, ...] = ()
    part: tuple[Origin, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.covered or self.part)


def shadowed_allows(compiled: Compiled) -> dict[Origin, Shadow]:
    """Deny that blocks more than written -> the allows after it that it takes from."""
    if compiled.policy is None:
        return {}
    wide = {report.origin for report in compiled.reports if report.status is RuleStatus.ENFORCED_AT_L4}
    entries = compiled.policy.entries
    shadows: dict[Origin, Shadow] = {}
    pairs = 0
    for at, deny in enumerate(entries):
        if deny.verdict is Verdict.ALLOW or deny.origin not in wide:
            continue
        pairs += len(entries) - at
        if pairs > MOST_PAIRS:
            break
        shadow = _shadow(deny, entries[at + 1 :])
        if shadow:
            shadows[deny.origin] = shadow
    return shadows


def _shadow(deny: Entry, later: tuple[Entry, ...]) -> Shadow:
    met = [
        entry
        for entry in later
        if entry.verdict is Verdict.ALLOW and entry.origin.rulebase != "default" and meet(deny, entry)
    ]
    covered = tuple(entry.origin for entry in met if covers(deny, entry))
    return Shadow(covered, tuple(entry.origin for entry in met if not covers(deny, entry)))


def meet(first: Entry, later: Entry) -> bool:
    """Whether something that the later one matches may be matched by the first one, the cheapest tests first."""
    return (
        _zones_meet(first, later)
        and any(_traffic_meets(one, other) for one in first.traffic for other in later.traffic)
        and _addresses_meet(first.sources, later.sources)
        and _addresses_meet(first.destinations, later.destinations)
    )


def _zones_meet(first: Entry, later: Entry) -> bool:
    pairings = {first.pairing, later.pairing}
    if pairings == {RuleType.INTRAZONE, RuleType.INTERZONE}:
        return False
    from_zones = _common(first.from_zones, later.from_zones)
    to_zones = _common(
        *(entry.from_zones if entry.pairing is RuleType.INTRAZONE else entry.to_zones for entry in (first, later))
    )
    if RuleType.INTRAZONE in pairings:
        from_zones = to_zones = _common(from_zones, to_zones)
    if RuleType.INTERZONE in pairings and from_zones is not None and from_zones == to_zones and len(from_zones) == 1:
        return False
    return all(zones is None or zones for zones in (from_zones, to_zones))


def _common(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _addresses_meet(one: AddressSet, other: AddressSet) -> bool:
    return ANY_ADDRESS in (one, other) or bool(one & other)


def _traffic_meets(one: Traffic, other: Traffic) -> bool:
    return (
        bool(one.ports & other.ports and one.source_ports & other.source_ports)
        and all(of_one is None or of_other is None or of_one == of_other for of_one, of_other in _numbers(one, other))
        and all(
            of_one is None or of_other is None or covers_workload(of_one, of_other) or covers_workload(of_other, of_one)
            for of_one, of_other in _workloads(one, other)
        )
    )


def _numbers(one: Traffic, other: Traffic) -> Iterator[tuple[int | None, int | None]]:
    yield one.protocol, other.protocol
    yield one.icmp_type, other.icmp_type


def _workloads(one: Traffic, other: Traffic) -> Iterator[tuple[str | None, str | None]]:
    yield one.source_workload, other.source_workload
    yield one.destination_workload, other.destination_workload


def covers(first: Entry, later: Entry) -> bool:
    """Whether everything that the later one matches is matched by the first one already."""
    if first.schedule is not None or first.pairing not in {RuleType.UNIVERSAL, later.pairing}:
        return False
    return (
        _zones(first.from_zones, later.from_zones)
        and (first.pairing is RuleType.INTRAZONE or _zones(first.to_zones, later.to_zones))
        and _addresses(first.sources, later.sources)
        and _addresses(first.destinations, later.destinations)
        and all(_ports_left(traffic, first.traffic) for traffic in later.traffic)
    )


def _zones(wide: frozenset[str] | None, narrow: frozenset[str] | None) -> bool:
    return wide is None or (narrow is not None and narrow <= wide)


def _addresses(wide: AddressSet, narrow: AddressSet) -> bool:
    return wide == ANY_ADDRESS or not narrow - wide


def _ports_left(later: Traffic, alternatives: tuple[Traffic, ...]) -> bool:
    """Whether the alternatives together hold all ports of one alternative of the later entry."""
    left: Ranges = later.ports
    for traffic in alternatives:
        if _same_but_for_ports(traffic, later):
            left -= traffic.ports
    return not left


def _same_but_for_ports(wide: Traffic, narrow: Traffic) -> bool:
    return (
        all(of_wide is None or of_wide == of_narrow for of_wide, of_narrow in _numbers(wide, narrow))
        and all(
            of_wide is None or covers_workload(of_wide, of_narrow or "")
            for of_wide, of_narrow in _workloads(wide, narrow)
        )
        and not narrow.source_ports - wide.source_ports
    )
