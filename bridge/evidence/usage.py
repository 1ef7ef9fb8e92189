"""What each rule is used for: hits, bytes, first and last, since when not, what shadows it, how broad it is. Pure.

`bridge.evidence.usage_text` writes it. A rule is known by its UUID, or by its place and name where it has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bridge.evidence.seen import Evidence
from zones import canonical
from zones.difference.shadows import shadowed
from zones.net import ALL_PORTS, AddressSet, Ranges, protocol_name
from zones.policy import Entry, Policy, Verdict
from zones.rules import Origin, RuleType
from zones.seen import SeenFlow

MOST_NAMES = 20


@dataclass(frozen=True, slots=True)
class Breadth:
    """One condition of an allow rule that is wider than what was seen under it. `allowed`: as the rule has it."""

    what: str
    allowed: str
    seen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuleUsage:
    """A rule of the policy, or one that is gone and was hit (`in_force` False).

    `hits`: connections that it accepted, or denied or would have denied. `unused_since`: from when on it is known not
    to have been hit; None where that can't be said, or it is in use.
    """

    origin: Origin
    verdict: Verdict
    in_force: bool = True
    hits: int = 0
    octets: int = 0
    first: datetime | None = None
    last: datetime | None = None
    edited: datetime | None = None
    unused_since: datetime | None = None
    shadowed_by: tuple[Origin, ...] = ()
    broader: tuple[Breadth, ...] = ()

    @property
    def removable(self) -> bool:
        """Whether it is a rule in force that an administrator wrote, and can remove."""
        return self.in_force and self.origin.rulebase in {"pre", "post"}


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a cluster's rules, in their order; then rules that are gone. `at`: up to when it was looked at."""

    rules: tuple[RuleUsage, ...]
    seen: Evidence
    at: datetime

    @property
    def since(self) -> datetime | None:
        return self.seen.since


def rule_key(origin: Origin) -> str:
    """What names a rule over revisions."""
    return origin.uuid or f"{origin.rulebase}\n{origin.device_group}\n{origin.name}"


def rule_digests(policy: Policy) -> dict[str, str]:
    """What each rule says now, as a digest, by what names it. A rule of several entries is all of them."""
    said: dict[str, list[object]] = {}
    for entry in policy.entries:
        ends = (_addresses(space, entry) for space in (entry.sources, entry.destinations))
        said.setdefault(rule_key(entry.origin), []).append(canonical.entry_json(entry, *ends))
    return {key: canonical.digest(content) for key, content in said.items()}


def usage(policy: Policy, seen: Evidence, edited: Mapping[str, datetime], at: datetime) -> Usage:
    """`edited`: when each rule came to say what it says, by `rule_key`, where that is known."""
    by_rule: dict[str, list[SeenFlow]] = {}
    for flow in seen.flows:
        by_rule.setdefault(rule_key(flow.key.rule), []).append(flow)
    takers = _by_rule(policy, shadowed(policy, at))
    rules = [
        _of_rule(RuleUsage(rule.origin, Verdict.ALLOW), by_rule.pop(rule_key(rule.origin), []), seen)
        for rule in policy.infrastructure
    ]
    entries: dict[str, list[Entry]] = {}
    for entry in policy.entries:
        entries.setdefault(rule_key(entry.origin), []).append(entry)
    for key, some in entries.items():
        first = some[0]
        flows = by_rule.pop(key, [])
        bare = RuleUsage(first.origin, first.verdict, edited=edited.get(key), shadowed_by=takers.get(key, ()))
        broader = tuple(_broader(some, flows)) if first.verdict is Verdict.ALLOW and flows else ()
        rules.append(replace(_of_rule(bare, flows, seen), broader=broader))
    for flows in by_rule.values():
        gone = RuleUsage(flows[0].key.rule, flows[0].key.verdict, in_force=False)
        rules.append(replace(_of_rule(gone, flows, seen), unused_since=None))
    return Usage(tuple(rules), seen, at)


def unused(used: Usage, least: timedelta) -> tuple[RuleUsage, ...]:
    """Rules in force that are known not to have been hit for so long, and that an administrator can remove."""
    return tuple(
        rule
        for rule in used.rules
        if rule.removable and rule.unused_since is not None and used.at - rule.unused_since >= least
    )


def unused_rules(
    policy: Policy, seen: Evidence, edited: Mapping[str, datetime], at: datetime, least: timedelta
) -> frozenset[str]:
    """The same for a policy, by `rule_key`, without all else that there is to say of its rules."""
    by_rule: dict[str, list[SeenFlow]] = {}
    for flow in seen.flows:
        by_rule.setdefault(rule_key(flow.key.rule), []).append(flow)
    rules = {rule_key(entry.origin): RuleUsage(entry.origin, entry.verdict) for entry in policy.entries}
    used = tuple(
        _of_rule(replace(bare, edited=edited.get(key)), by_rule.get(key, []), seen) for key, bare in rules.items()
    )
    return frozenset(rule_key(rule.origin) for rule in unused(Usage(used, seen, at), least))


def _addresses(space: AddressSet, entry: Entry) -> dict[str, object] | None:
    """What a feed holds changes without anybody's edit: of such an entry only the feeds' names count."""
    return None if entry.feeds else {"v4": list(space.v4.spans), "v6": list(space.v6.spans)}


def _by_rule(policy: Policy, takers: Mapping[int, tuple[Origin, ...]]) -> dict[str, tuple[Origin, ...]]:
    """A rule is shadowed where all of its entries are."""
    places: dict[str, list[int]] = {}
    for place, entry in enumerate(policy.entries):
        places.setdefault(rule_key(entry.origin), []).append(place)
    return {
        key: tuple(dict.fromkeys(origin for place in some for origin in takers[place]))
        for key, some in places.items()
        if all(place in takers for place in some)
    }


def _of_rule(bare: RuleUsage, flows: Sequence[SeenFlow], seen: Evidence) -> RuleUsage:
    last = max((flow.last for flow in flows), default=None)
    known = [time for time in (seen.since, bare.edited, last) if time is not None]
    living = any(flow.living for flow in flows)
    return replace(
        bare,
        hits=sum(flow.connections for flow in flows),
        octets=sum(flow.octets for flow in flows),
        first=min((flow.first for flow in flows), default=None),
        last=last,
        unused_since=None if living or seen.since is None else max(known),
    )


def _broader(entries: Sequence[Entry], flows: Sequence[SeenFlow]) -> Iterable[Breadth]:
    """Zones that were never seen, ports of which few were, any workload where few were."""
    from_seen = {flow.key.source.zone for flow in flows}
    yield from _zones("from", [entry.from_zones for entry in entries], from_seen)
    if all(entry.pairing is not RuleType.INTRAZONE for entry in entries):
        to_seen = {flow.key.destination.zone for flow in flows}
        yield from _zones("to", [entry.to_zones for entry in entries], to_seen)
    yield from _ports(entries, flows)
    if any(traffic.destination_workload is None for entry in entries for traffic in entry.traffic):
        names = {_who(flow) for flow in flows if flow.key.destination.workload}
        if names and all(flow.key.destination.workload for flow in flows):
            yield Breadth("destinations", "any workload", _some(names))


def _zones(what: str, allowed: Sequence[frozenset[str] | None], seen: set[str]) -> Iterable[Breadth]:
    if any(zones is None for zones in allowed):
        yield Breadth(f"{what} zones", "any", _some(seen))
        return
    named = {zone for zones in allowed for zone in zones or ()}
    if named - seen:
        yield Breadth(f"{what} zones", ", ".join(sorted(named)), _some(named & seen))


def _ports(entries: Sequence[Entry], flows: Sequence[SeenFlow]) -> Iterable[Breadth]:
    traffic = [item for entry in entries for item in entry.traffic]
    seen = {(flow.key.protocol, flow.key.port) for flow in flows}
    if any(item.protocol is None for item in traffic):
        yield Breadth("protocols and ports", "any", _port_texts(seen))
        return
    allowed: dict[int, Ranges] = {}
    for item in traffic:
        number = item.protocol or 0
        allowed[number] = Ranges.of((*allowed.get(number, Ranges()).spans, *item.ports.spans))
    for protocol, ports in sorted(allowed.items()):
        of_protocol = {port for number, port in seen if number == protocol and port is not None}
        many = sum(last - first + 1 for first, last in ports.spans)
        if many > len(of_protocol) and not (protocol not in {item[0] for item in seen} and ports == ALL_PORTS):
            texts = _port_texts({(protocol, port) for port in of_protocol})
            yield Breadth(f"{protocol_name(protocol)} ports", _spans(ports), texts)


def _port_texts(seen: set[tuple[int, int | None]]) -> tuple[str, ...]:
    ordered = sorted(seen, key=lambda pair: (pair[0], -1 if pair[1] is None else pair[1]))
    return _shortened([f"{protocol_name(number)}" + ("" if port is None else f"/{port}") for number, port in ordered])


def _spans(ports: Ranges) -> str:
    if ports == ALL_PORTS:
        return "any"
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ports.spans)


def _who(flow: SeenFlow) -> str:
    end = flow.key.destination
    return f"{end.namespace}/{end.workload}"


def _some(names: Iterable[str]) -> tuple[str, ...]:
    return _shortened(sorted(names))


def _shortened(names: Sequence[str]) -> tuple[str, ...]:
    more = (f"{len(names) - MOST_NAMES} more",) if len(names) > MOST_NAMES else ()
    return (*names[:MOST_NAMES], *more)
