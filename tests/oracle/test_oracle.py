"""The compiler means what PAN-OS means: a naive first match over the raw XML gives the same verdict by the same rule.

naive(XML) = decide(compile(read(XML))) = decide(parse(render(compile(read(XML))))), over random configurations and
flows; the same rules refuse, with the same status each. And the check can fail: every fault put in is caught.
"""

from copy import deepcopy
from dataclasses import replace
from random import Random

import pytest
from hypothesis import Phase, given, settings

from tests.oracle.compare import Fault, first_disagreement, story
from tests.oracle.generate import case, cases
from zones.net import ALL_PORTS, ANY_ADDRESS, V4_LAST, AddressSet, Ranges
from zones.policy import Verdict
from zones.rules import Action, AddressObject, RuleType

EXAMPLES = 10 * settings().max_examples  # 1,000; 20,000 in the long profile
TRIES = 600  # cases in which a fault must show


# Shrinking is `story`'s: a smaller seed is no smaller configuration.
@pytest.mark.timeout(7200)
@settings(max_examples=EXAMPLES, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(cases())
def test_the_compiler_means_what_panos_means(some):
    if first_disagreement(some.config, some) is not None:
        pytest.fail(story(some))


def each_rule(change):
    return Fault(rulebase=lambda base: replace(base, rules=tuple(change(rule) for rule in base.rules)))


def each_entry(change):
    """A change of all entries but the default rules, which match all that is left."""

    def changed(entries):
        return (*(change(entry) for entry in entries[:-2]), *entries[-2:])

    return Fault(policy=lambda policy: replace(policy, entries=changed(policy.entries)))


def edited(change):
    """The product reads a configuration in which every element of a tag is changed, or taken out where it says so."""

    def changed(config):
        config = deepcopy(config)
        for parent in list(config.iter()):
            for child in list(parent):
                if change(parent, child):
                    parent.remove(child)
        return config

    return Fault(config=changed)


def is_tag_of_a_group(parent, child):
    return child.tag == "tag" and parent.find("static") is not None


def in_two_kinds(config):
    kinds = ("address", "address-group", "external-list", "region")
    found = [
        (entry.get("name"), kind) for kind in kinds for each in config.iter(kind) for entry in each.findall("entry")
    ]
    return {name for name, kind in found if len({other for same, other in found if same == name}) > 1}


def first_kind_wins(config):
    """Of a name of two kinds the address group goes."""
    config = deepcopy(config)
    names = in_two_kinds(config)
    for groups in config.iter("address-group"):
        for entry in [each for each in groups if each.get("name") in names]:
            groups.remove(entry)
    return config


def without_embedded(member):
    """As if an IPv6 prefix held no IPv4."""
    embedded = member.space.v6 & Ranges(((0, V4_LAST),))
    return replace(member, space=AddressSet(member.space.v4 - embedded, member.space.v6))


def first_number(parent, child):
    if child.tag == "type" and parent.tag.startswith("ident-by"):
        child.text = child.text.replace("-", ",").split(",")[0]
    return False


def is_second(parent, child):
    """One of two things that an object can't both be, or an element twice."""
    choices = ({"tcp", "udp", "sctp"}, {"ip-netmask", "ip-range"}, {child.tag})
    beside = [each for each in parent if each.tag not in {"member", "entry"}]
    here = beside.index(child) if child in beside else 0
    return any(child.tag in choice and any(each.tag in choice for each in beside[:here]) for choice in choices)


def is_nothing(parent, child):
    return child.tag == "member" and not child.text


def setting(**values):
    return Fault(site=lambda site: replace(site, **values))


def each_traffic(**values):
    return each_entry(lambda entry: replace(entry, traffic=tuple(replace(each, **values) for each in entry.traffic)))


def each_application(rule, **values):
    listed = rule.applications
    return replace(
        rule, applications=replace(listed, members=tuple(replace(each, **values) for each in listed.members))
    )


def both_sides(rule, change):
    return replace(rule, sources=change(rule.sources), destinations=change(rule.destinations))


def both_lists(rule, change):
    return both_sides(rule, lambda side: replace(side, members=tuple(change(each) for each in side.members)))


def one_more(space):
    """The set with the address after each of its ends."""
    v4, v6 = (
        Ranges.of([(a, min(b + 1, last)) for a, b in r.spans])
        for r, last in ((space.v4, 2**32 - 1), (space.v6, 2**128 - 1))
    )
    return AddressSet(v4, v6)


def empty_is_any(member: AddressObject):
    return replace(member, space=ANY_ADDRESS, hollow=False) if member.hollow else member


def first_by_name(policy):
    return replace(
        policy, entries=(*sorted(policy.entries[:-2], key=lambda entry: entry.origin.name), *policy.entries[-2:])
    )


FAULTS = {
    "the last match wins": Fault(rulebase=lambda base: replace(base, rules=base.rules[::-1])),
    "rules are sorted": Fault(policy=first_by_name),
    "post rules are forgotten": Fault(rulebase=lambda b: replace(b, rules=tuple(r for r in b.rules if r.origin.rulebase == "pre"))),
    "negate is ignored": each_rule(lambda rule: both_sides(rule, lambda side: replace(side, negate=False))),
    "rule types are ignored": each_rule(lambda rule: replace(rule, rule_type=RuleType.UNIVERSAL)),
    "disabled is ignored": each_rule(lambda rule: replace(rule, disabled=False)),
    "targets are ignored": each_rule(lambda rule: replace(rule, target=None)),
    "schedules are ignored": each_rule(lambda rule: replace(rule, schedule=None)),
    "tags are ignored": each_rule(lambda rule: replace(rule, tags=frozenset())),
    "conditions are ignored": each_rule(lambda rule: replace(rule, conditions=())),
    "unknown actions are deny": each_rule(lambda rule: replace(rule, action=rule.action or Action.DENY, malformed=())),
    "unresolved addresses are dropped": each_rule(lambda rule: both_lists(rule, lambda each: replace(each, unresolved=()))),
    "an empty group is any": each_rule(lambda rule: both_lists(rule, empty_is_any)),
    "from and to are swapped": each_rule(lambda rule: replace(rule, from_zones=rule.to_zones, to_zones=rule.from_zones)),
    "default rules keep no override": Fault(rulebase=lambda b: replace(b, interzone=replace(b.interzone, action=Action.DENY))),
    "ancestors win": Fault(site=lambda site: replace(site, ancestors_win=not site.ancestors_win)),
    "every schedule is in UTC": setting(time_zone="UTC"),
    "wildcards are matched from the top down": setting(wildcard_top_down=True),
    "registered addresses are ignored": setting(registered={}),
    "application names the client": setting(side="source"),
    "feeds are empty": Fault(site=lambda site: replace(site, feeds=dict.fromkeys(site.feeds, ()))),
    "the cluster has every zone": setting(cluster_zones=None),
    "denies by ports are always applied": setting(deny_by_ports="apply"),
    "nothing is refused": setting(inexpressible_deny="ignore"),
    "reset is deny": each_entry(lambda e: replace(e, verdict=Verdict.DENY) if e.verdict is Verdict.RESET else e),
    "ranges end one late": each_entry(lambda entry: replace(entry, sources=one_more(entry.sources))),
    "any is IPv4 only": each_entry(lambda e: replace(e, destinations=AddressSet(e.destinations.v4)) if e.destinations == ANY_ADDRESS else e),
    "ports are ignored": each_traffic(ports=ALL_PORTS),
    "source ports are ignored": each_traffic(source_ports=ALL_PORTS),
    "ICMP types are ignored": each_traffic(icmp_type=None),
    "namespaces of applications are ignored": each_rule(lambda rule: each_application(rule, namespaces=())),
    "workloads are ignored": each_traffic(source_workload=None, destination_workload=None),
    "an IPv6 prefix holds no IPv4": each_rule(lambda rule: both_lists(rule, without_embedded)),
    "dynamic groups hold no groups": edited(is_tag_of_a_group),
    "a name of two kinds has one": Fault(config=first_kind_wins),
    "a hierarchy that is missing is flat": setting(flat=True),
    "a hierarchy that the site tells is ignored": setting(parents={}),
    "containers are empty": edited(lambda parent, child: child.tag == "functions"),
    "lists of ICMP types are their first": edited(first_number),
    "disabled App-IDs apply": edited(lambda parent, child: child.tag == "application-status"),
    "characteristics are ignored": edited(lambda parent, child: child.tag in {"evasive", "used-by-malware", "is-saas"}),
    "elements of objects that nobody knows are passed over": edited(lambda parent, child: child.tag == "moon-phase" and parent.find("category") is None),
    "of two things an object is the first": edited(is_second),
    "members without a word are passed over": edited(is_nothing),
    "nothing is logged": each_entry(lambda entry: replace(entry, log=replace(entry.log, end=False))),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_compiler_is_caught(name):
    tries = (case(Random(seed), depth=seed % 5, rules=12, objects=3, mess=0.05) for seed in range(TRIES))
    assert any(first_disagreement(some.config, some, FAULTS[name]) is not None for some in tries)
