"""A plan that follows one policy after the other says what a plan from nothing says."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from enforcer.rules.members.zone_ids import ZoneKey
from enforcer.rules.options import Mode, RulesetOptions
from enforcer.rules.ruleset import RulesetPlan
from enforcer.rules.table import diff
from tests.enforcer.sametable import meaning
from tests.strategies import INTERZONE, INTRAZONE, ZONES, entries
from zones.net import ANY_ADDRESS, TCP, AddressSet, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict, usual_infrastructure
from zones.rules import Origin
from zones.zone import Zoning

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PODS = AddressSet.of([ip_network("10.1.0.0/16")])
SYSTEM = frozenset({"kube-system"})
KEYS = [ZoneKey(zone, of_pods=True) for zone in (*ZONES, "unheard-of", "another")]
OPTIONS = st.sampled_from(
    [RulesetOptions(), RulesetOptions(mode=Mode.OBSERVE), RulesetOptions(zones=frozenset({"web"}))]
)


def policy(rules):
    return Policy(
        Zoning(), usual_infrastructure(SYSTEM, SYSTEM, frozenset({"coredns"})), (*rules, INTRAZONE, INTERZONE)
    )


def assert_as_from_nothing(plan, wanted, zones, options, now=NOW):
    followed = plan.ruleset(zones, PODS)
    alone = RulesetPlan(wanted, "n1", now, options).ruleset(zones, PODS)
    assert meaning(followed) == meaning(alone)
    assert followed.terminals == alone.terminals
    assert followed.next_change == alone.next_change
    assert dict(followed.members.ids) == dict(alone.members.ids)
    return followed


@given(st.data(), OPTIONS)
def test_it_says_what_one_from_nothing_says(data, options):
    pool = [data.draw(entries(f"rule {n}")) for n in range(data.draw(st.integers(2, 10)))]
    some, zones = st.lists(st.sampled_from(pool), unique_by=id), st.sets(st.sampled_from(KEYS))
    first = policy(data.draw(some))
    plan = RulesetPlan(first, "n1", NOW, options)
    assert_as_from_nothing(plan, first, data.draw(zones), options)
    for number in range(3):
        now, wanted = NOW + timedelta(hours=7 * number), policy(data.draw(some))
        assert plan.follow(wanted, now)
        asked = data.draw(zones)
        assert_as_from_nothing(plan, wanted, asked, options, now)
        plan.ruleset(asked | data.draw(zones), PODS)  # pods come meanwhile


def rule(number, chance):
    zones = [None, *(frozenset({zone}) for zone in ZONES), *(frozenset({zone}) for zone in ZONES)]
    traffic = Traffic(TCP, Ranges(((number, number),)), destination_workload=chance.choice([None, None, "cart", "db"]))
    sources = AddressSet.parse([f"192.0.2.{number % 200}"]) if chance.random() < 0.3 else ANY_ADDRESS
    verdict = chance.choice(list(Verdict))
    return Entry(
        Origin(f"rule {number}", None, "pre", ""), verdict, from_zones=chance.choice(zones), to_zones=chance.choice(zones),
        sources=sources, traffic=(traffic,),
    )  # fmt: skip


def test_a_long_way_of_small_edits():
    """A hundred rules, some for every pair; each step takes out, puts in, moves or changes a few."""
    chance = random.Random(5)
    rules = [rule(number, chance) for number in range(1, 100)]
    plan = RulesetPlan(policy(rules), "n1", NOW)
    before = assert_as_from_nothing(plan, policy(rules), KEYS, RulesetOptions()).table
    for step in range(40):
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(rules))
            match chance.randrange(4):
                case 0 if len(rules) > 80:
                    del rules[at]
                case 1:
                    rules.insert(at, rule(100 + step, chance))
                case 2:
                    rules.insert(at, rules.pop(chance.randrange(len(rules))))
                case _:
                    rules[at] = replace(rules[at], verdict=chance.choice(list(Verdict)))
        assert plan.follow(policy(rules), NOW)
        table = assert_as_from_nothing(plan, policy(rules), KEYS, RulesetOptions()).table
        nothing_leads_to_what_is_refilled(before, table)
        before = table


def nothing_leads_to_what_is_refilled(old, new):
    """Packets under way read maps as they are and chains as they were: an element may not move to a chain that changes."""
    change = diff(old, new)
    for name, each in change.elements.items():
        for key, tail in each.added.items():
            assert tail.rpartition(" ")[2] not in change.refilled_chains, (name, key)


def test_one_rule_of_one_pair_leaves_all_others_alone():
    chance = random.Random(6)
    rules = [rule(number, chance) for number in range(1, 300)]
    mine = Entry(
        Origin("mine", None, "pre", ""), Verdict.ALLOW, from_zones=frozenset({"web"}), to_zones=frozenset({"data"}),
        traffic=(Traffic(TCP, Ranges(((9999, 9999),))),),
    )  # fmt: skip
    rules[150:150] = [mine]
    plan = RulesetPlan(policy(rules), "n1", NOW)
    before = plan.ruleset(KEYS, PODS)
    assert plan.follow(policy([each for each in rules if each is not mine]), NOW)
    after = plan.ruleset(KEYS, PODS)
    change = diff(before.table, after.table)
    assert 0 < len(change.refilled_chains) <= 4
    assert not change.elements
    assert after.members is before.members


def test_another_infrastructure_takes_another_plan():
    plan = RulesetPlan(policy([]), "n1", NOW)
    assert not plan.follow(Policy(Zoning(), (), (INTRAZONE, INTERZONE)), NOW)
    assert not plan.follow(replace(policy([]), zoning=Zoning(default="other")), NOW)
