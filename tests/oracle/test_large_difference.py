"""A large preview says what `decide` says: random flows, in every changed piece and beside them. 100,000 in the long profile.

Rules draw on every dimension: zones, any zone, addresses of both families, negation, workloads with and without a
namespace, ports of both ends, schedules, infrastructure that changes with the settings.
"""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from ipaddress import IPv4Address, IPv6Address
from random import Random

import pytest
from hypothesis import settings

from tests.bench.preview import EDITS, INFRASTRUCTURE, PORTS
from tests.bridge.world import rule, rulebase
from zones.compile import compile_policy
from zones.difference import NODE, difference
from zones.difference.boxes import SAME_NODE
from zones.net import ALL_PORTS, PROTOCOLS_WITH_PORTS, AddressSet, Ranges
from zones.policy import BROADCAST, ISOLATION, LINK_LOCAL, TUNNELLED, UNKNOWN_POD
from zones.rules import L4, Action, Addresses, AddressObject, Application, Applications, RuleType, Service
from zones.schedule import Schedule, Weekly
from zones.verdict import Endpoint, Flow, decide
from zones.zone import Zoning

IS_LONG = settings().max_examples >= 2_000
RULES, ZONES, FLOWS = (10_000, 200, 100_000) if IS_LONG else (600, 30, 1_500)
NAMES = [f"zone-{number}" for number in range(ZONES)]
WORKLOADS = [f"app-{number}" for number in range(RULES // 10)]
START = datetime(2026, 11, 28, 12, tzinfo=UTC)
NIGHT = Schedule("night", tuple(Weekly(day, time(22), time(5)) for day in range(5)), "Europe/Berlin")
CLOSED = {BROADCAST, ISOLATION, LINK_LOCAL, TUNNELLED.origin, UNKNOWN_POD}  # what no rule can open isn't compared


def prefix(chance):
    if chance.random() < 0.3:
        return f"fd00:{chance.randrange(2**16):x}::/32"
    length = chance.choice((24, 24, 20, 16))
    return f"{IPv4Address((10 * 2**24 + chance.randrange(2**24)) >> 32 - length << 32 - length)}/{length}"


def addresses(chance, name):
    space = AddressSet.parse([prefix(chance) for _ in range(chance.randint(1, 3))])
    return Addresses((AddressObject(name, space),), negate=chance.random() < 0.15)


def services(chance):
    def traffic():
        last = chance.choice(PORTS)
        sources = Ranges(((1024, 65535),)) if chance.random() < 0.1 else ALL_PORTS
        return L4(chance.choice((6, 6, 17)), Ranges(((chance.choice((last, 1)), last),)), sources)

    return tuple(Service(f"s{number}", (traffic(),)) for number in range(chance.randint(1, 3)))


def some_rule(number, chance):
    fields = {
        side: frozenset(chance.sample(NAMES, chance.randint(1, 3))) if chance.random() > 0.02 else None
        for side in ("from_zones", "to_zones")
    }
    if chance.random() < 0.8:
        fields["services"] = services(chance)
    for side in ("sources", "destinations"):
        if chance.random() < 0.3:
            fields[side] = addresses(chance, f"{side} {number}")
    if chance.random() < 0.3:
        name = chance.choice(WORKLOADS)
        namespaces = ("team-1",) if chance.random() < 0.3 else ()
        fields["applications"] = Applications((Application(name, name, namespaces=namespaces),))
    if chance.random() < 0.1:
        fields["schedule"] = NIGHT
    if chance.random() < 0.05:
        fields["rule_type"] = chance.choice((RuleType.INTRAZONE, RuleType.INTERZONE))
        if fields["rule_type"] is RuleType.INTRAZONE:
            fields["to_zones"] = None
    action = chance.choices((Action.ALLOW, Action.DENY, Action.RESET_BOTH), (8, 2, 1))[0]
    return rule(f"rule {number}", action, **fields)


def edited(rules, chance):
    """Edits of each kind all over the rulebase, one of them an any-to-any deny of some ports."""
    changed = list(rules)
    for number in range(EDITS):
        at = chance.randrange(len(changed))
        other = some_rule(len(rules) + number, chance)
        kind = number % 5
        if kind == 0:
            changed[at] = replace(changed[at], services=other.services, sources=other.sources)
        elif kind == 1:
            changed[at] = replace(other, origin=changed[at].origin)
        elif kind == 2:
            changed.insert(chance.randrange(len(changed)), changed.pop(at))
        elif kind == 3:
            changed.insert(at, other)
        else:
            del changed[at]
    changed.insert(len(rules) // 3, rule("some ports", Action.DENY, services=services(chance)))
    return changed


def compiled(rules, infrastructure):
    found = compile_policy(rulebase(*rules, zones=NAMES), Zoning(), infrastructure=infrastructure).policy
    assert found is not None
    return found


def end(chance, version, address=None):
    number = chance.randrange(2**32)
    inside = IPv4Address(10 * 2**24 + chance.randrange(2**24)) if version == "v4" else IPv6Address((0xFD00 << 112) + (chance.randrange(2**16) << 96) + number)  # fmt: skip
    workload = chance.choice((*chance.sample(WORKLOADS, 2), "nobody", ""))
    return Endpoint(
        chance.choice((*chance.sample(NAMES, 3), "unknown")),
        address or inside,
        workload,
        chance.choice(("team-1", "team-2")) if workload else "",
    )


def anything(chance):
    version = chance.choice(("v4", "v4", "v6"))
    protocol = chance.choice((6, 6, 6, 17, 47))
    with_ports = protocol in PROTOCOLS_WITH_PORTS
    return Flow(
        end(chance, version),
        end(chance, version),
        protocol,
        port=chance.choice((*PORTS, chance.randrange(65536))) if with_ports else None,
        source_port=chance.choice((1023, 1024, chance.randrange(65536))) if with_ports else None,
        at=START + timedelta(minutes=chance.randrange(7 * 24 * 60)),
    )


def within(chance, found, change, piece):
    """A flow of a piece, at an edge or anywhere in each property; None where it has none that a packet can have."""
    box, some = piece.box, anything(chance)
    versions = [each for each in ("v4", "v6") if getattr(box.sources, each) and getattr(box.destinations, each)]
    pairs = [
        (one, other)
        for one in ([change.from_zone] if change.from_zone else ["unknown", "unheard of"])
        for other in ([change.to_zone] if change.to_zone else ["unknown", "unheard of"])
        if (one == other) == change.intrazone
    ]
    if not versions or not pairs:
        return None
    version, (from_zone, to_zone) = chance.choice(versions), chance.choice(pairs)
    protocol = number(chance, box.protocols)
    with_ports = protocol in PROTOCOLS_WITH_PORTS
    kind = IPv4Address if version == "v4" else IPv6Address

    def one_end(zone, side):
        workload = name(chance, getattr(box, f"{side}_workloads"))
        namespace = name(chance, getattr(box, f"{side}_namespaces"))
        address = kind(number(chance, getattr(getattr(box, f"{side}s"), version)))
        is_node = chance.choice(sorted(getattr(box, f"{side}_kinds"))) == NODE
        return Endpoint(zone, address, workload, namespace, "n1" if SAME_NODE in box.relations else "", is_node)

    return replace(
        some,
        source=one_end(from_zone, "source"),
        destination=one_end(to_zone, "destination"),
        protocol=protocol,
        port=number(chance, box.ports) if with_ports else None,
        source_port=number(chance, box.source_ports) if with_ports else None,
        at=found.moments[chance.choice(sorted(box.moments))].at,
    )


def number(chance, ranges):
    """At an edge or anywhere; of any address at all not at its edges, which are closed to everybody."""
    first, last = chance.choice(ranges.spans)
    edges = () if last - first > 2**24 else (first, last)
    return chance.choice((*edges, chance.randint(first, last)))


def name(chance, names):
    return chance.choice(sorted(names.names)) if not names.all_but else "nobody"


@pytest.mark.timeout(7200)
def test_what_a_large_preview_says_of_random_flows_is_what_decide_says():
    chance = Random(16)
    rules = [some_rule(at, chance) for at in range(RULES)]
    candidate = edited(rules, chance)
    old, new = compiled(rules, INFRASTRUCTURE), compiled(candidate, INFRASTRUCTURE[1:])
    found = difference(old, new, START)
    pieces = {}
    for change in found.zones:
        for piece in change.pieces:
            pieces.setdefault((piece.old.origin, piece.new.origin), []).append((change, piece))
    origins = list(pieces)
    flows = [anything(chance) for _ in range(FLOWS // 2)]
    while len(flows) < FLOWS:
        flow = within(chance, found, *chance.choice(pieces[chance.choice(origins)]))
        flows += [flow] if flow is not None else []
    changed = 0
    for flow in flows:
        before, after = decide(old, flow), decide(new, flow)
        if before.origin in CLOSED:
            continue
        at = found.moment(flow.at)
        said = [
            ((each.old.verdict, each.old.origin), (each.new.verdict, each.new.origin))
            for each in found.between(flow.source.zone, flow.destination.zone)
            if each.holds(flow, at)
        ]
        expected = [((before.verdict, before.origin), (after.verdict, after.origin))]
        expected = [] if before.verdict == after.verdict else expected
        assert said == expected, flow
        changed += bool(expected)
    assert changed > FLOWS // 4, "most of those that were drawn from pieces change"
