"""Which later allows a deny by an App-ID's ports leaves without effect. It takes a while: only the report asks."""

from __future__ import annotations

from zones.compile import Compiled
from zones.net import ANY_ADDRESS, AddressSet, Ranges
from zones.policy import Entry, Traffic, Verdict
from zones.problems import Status
from zones.rules import Origin, RuleType

# Of so many pairs at most: a report must not take minutes.
MOST_PAIRS = 2_000_000


def shadowed_allows(compiled: Compiled) -> dict[Origin, tuple[Origin, ...]]:
    """Deny that blocks more than written -> the allows after it of which nothing is left."""
    if compiled.policy is None:
        return {}
    wide = {report.origin for report in compiled.reports if report.status is Status.ENFORCED_AT_L4}
    entries = compiled.policy.entries
    found: dict[Origin, tuple[Origin, ...]] = {}
    pairs = 0
    for at, deny in enumerate(entries):
        if deny.verdict is Verdict.ALLOW or deny.origin not in wide:
            continue
        pairs += len(entries) - at
        if pairs > MOST_PAIRS:
            break
        allows = (entry for entry in entries[at + 1 :] if entry.verdict is Verdict.ALLOW)
        shadowed = tuple(allow.origin for allow in allows if allow.origin.rulebase != "default" and covers(deny, allow))
        if shadowed:
            found[deny.origin] = shadowed
    return found


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
    pairs = (
        (wide.protocol, narrow.protocol),
        (wide.icmp_type, narrow.icmp_type),
        (wide.source_workload, narrow.source_workload),
        (wide.destination_workload, narrow.destination_workload),
    )
    return all(of_wide is None or of_wide == of_narrow for of_wide, of_narrow in pairs) and not (
        narrow.source_ports - wide.source_ports
    )
