"""A preview is exact on configurations at random: every flow that changes is in a piece, and none that doesn't.

The witness is the naive first match over the raw XML of both. Schedules, negation, groups, App-IDs, workloads of one
namespace and IPv6 prefixes over IPv4 addresses are all drawn; a candidate is the running configuration after some edits.
"""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from random import Random

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from bridge.errors import ConfigurationFileError
from tests.oracle.compare import Fault, asked, compiled, read_by_the_witness, told
from tests.oracle.flows import anything, flow
from tests.oracle.generate import case
from tests.oracle.universe import UNKNOWN_ZONES, ZONES
from zones.difference import difference
from zones.net import ALL_PORTS, PROTOCOLS_WITH_PORTS

MOST = settings().max_examples
EXAMPLES = MOST if MOST >= 2_000 else MOST // 2  # pairs that were compared: 2,000 in the long profile
FLOWS = 60
BUILT_IN = "infrastructure"
START = datetime(2026, 1, 1, tzinfo=UTC)
OBJECTS = ("address", "address-group", "external-list", "service", "service-group", "schedule")


def edited(rng, config, other):
    """The configuration after some edits, with rules and objects out of another one."""
    config = deepcopy(config)
    lists = [rules for rules in config.iter("rules") if not len(rules) or rules.find("entry/from") is not None]
    foreign = [
        rule for rule in other.iter("entry") if rule.find("from") is not None and rule.find("action") is not None
    ]
    for number in range(rng.randint(1, 4)):
        kind = rng.choice(("add", "remove", "move", "edit", "object"))
        rules = rng.choice(lists) if lists else None
        if kind == "object":
            edit_object(rng, config, other)
        elif rules is None or not foreign:
            continue
        elif kind == "add" or not len(rules):
            new = deepcopy(rng.choice(foreign))
            new.set("name", f"new {number}")
            new.set("uuid", f"new-{number}-{rng.random()}")
            rules.insert(rng.randint(0, len(rules)), new)
        elif kind == "remove":
            rules.remove(rng.choice(list(rules)))
        elif kind == "move":
            taken = rng.choice(list(rules))
            rules.remove(taken)
            rules.insert(rng.randint(0, len(rules)), taken)
        else:
            edit_rule(rng, rng.choice(list(rules)), rng.choice(foreign))
    return config


def edit_rule(rng, rule, other):
    """One of its elements becomes that of another rule."""
    tag = rng.choice([child.tag for child in other])
    for child in rule.findall(tag):
        rule.remove(child)
    rule.append(deepcopy(other.find(tag)))


def edit_object(rng, config, other):
    """One object becomes what another configuration has under its name."""
    tag = rng.choice(OBJECTS)
    theirs = {each.get("name"): each for section in other.iter(tag) for each in section.findall("entry")}
    ours = [(section, each) for section in config.iter(tag) for each in section.findall("entry")]
    same = [(section, each) for section, each in ours if each.get("name") in theirs]
    if same:
        section, each = rng.choice(same)
        section.remove(each)
        section.append(deepcopy(theirs[each.get("name")]))


def read(config, some):
    """The witness and the product's policy of a configuration; None where it has none."""
    try:
        naive, result = read_by_the_witness(config, some), compiled(config, some, Fault())
    except ConfigurationFileError:
        return None
    return None if naive is None or result.policy is None else (naive, result.policy)


def witnesses(rng, found, some):
    """A flow out of each piece, at an edge or anywhere in each property."""
    named = sorted({*ZONES, *UNKNOWN_ZONES, *found.known_zones})
    for change in found.zones:
        begins = [zone for zone in named if change.from_zone == (zone if zone in found.known_zones else None)]
        ends = [zone for zone in named if change.to_zone == (zone if zone in found.known_zones else None)]
        pairs = [(one, other) for one in begins for other in ends if (one == other) == change.intrazone]
        for piece in change.pieces if pairs else ():
            out_of_it = in_box(rng, piece.box, anything(rng, some.site))
            if out_of_it is not None:
                from_zone, to_zone = rng.choice(pairs)
                moment = found.moments[rng.choice(sorted(piece.box.moments))]
                yield replace(out_of_it, from_zone=from_zone, to_zone=to_zone, at=moment.at)


def in_box(rng, box, some):
    def number(ranges):
        first, last = rng.choice(ranges.spans)
        return rng.choice((first, last, rng.randint(first, last)))

    def name(names):
        return rng.choice(sorted(names.names)) if not names.all_but else "nobody"

    families = [
        (version, getattr(box.sources, version), getattr(box.destinations, version))
        for version in ("v4", "v6")
        if getattr(box.sources, version) and getattr(box.destinations, version)
    ]
    if not families:
        return None
    version, sources, destinations = rng.choice(families)
    protocol = number(box.protocols)
    ports = box if protocol in PROTOCOLS_WITH_PORTS else None
    return replace(
        some,
        source=address(version, number(sources)),
        destination=address(version, number(destinations)),
        source_workload=name(box.source_workloads),
        destination_workload=name(box.destination_workloads),
        source_namespace=name(box.source_namespaces),
        destination_namespace=name(box.destination_namespaces),
        protocol=protocol,
        port=number(ports.ports if ports else ALL_PORTS),
        source_port=number(ports.source_ports if ports else ALL_PORTS),
        icmp_type=number(box.icmp_types),
    )


def address(version, number):
    return str(IPv4Address(number) if version == "v4" else IPv6Address(number))


def said(found, flow):
    at = found.moment(flow.at)
    return [
        ((piece.old.verdict.value, told(piece.old.origin)), (piece.new.verdict.value, told(piece.new.origin)))
        for piece in found.between(flow.source.zone, flow.destination.zone)
        if piece.holds(flow, at)
    ]


def compare(seed):
    """How many flows of one pair were asked, and how many of them change. Fails where the preview says otherwise."""
    rng = Random(seed)
    some, other = (
        case(rng, depth=rng.randint(0, 2), rules=rng.randint(1, 14), objects=rng.randint(0, 4), mess=mess, flows=0)
        for mess in (rng.choice((0.0, 0.0, 0.02)), 0.0)
    )
    candidate = edited(rng, some.config, other.config)
    before, after = read(some.config, some), read(candidate, some)
    if before is None or after is None:
        return 0, 0
    found = difference(before[1], after[1], START)
    flows = [flow(rng, rng.choice((some.config, candidate)), some.site) for _ in range(FLOWS)]
    flows += witnesses(rng, found, some)
    changed = 0
    for each in flows:
        old, new = before[0].decide(each)[:2], after[0].decide(each)[:2]
        if old[1][1] == BUILT_IN:
            continue  # what no rule can open: link-local addresses, groups, broadcasts
        expected = [(old, new)] if old[0] != new[0] else []
        assert said(found, asked(each)) == expected, f"seed {seed}: {each}"
        changed += bool(expected)
    return len(flows), changed


@pytest.mark.timeout(7200)
@settings(max_examples=EXAMPLES, phases=(Phase.explicit, Phase.reuse, Phase.generate), deadline=None)
@given(st.integers(0, 2**32))
def test_every_flow_that_changes_is_previewed_and_no_other(seed):
    asked, _ = compare(seed)
    assume(asked)  # a pair of which one is refused has no difference


def test_the_comparison_meets_changes():
    """So that it can't agree for want of anything to agree on."""
    figures = [compare(seed) for seed in range(8)]
    assert sum(asked for asked, _ in figures) > 300
    assert sum(changed for _, changed in figures) > 30
