"""Plans as values: what is created, pointed to, pruned, refused."""

import copy

import pytest
from hypothesis import given

from bridge.errors import RevisionRefusedError
from bridge.tier.plan import Live, Part, SafetyLimits, plan
from tests.bridge.world import many, rule, rulebase
from tests.strategies import policies
from zones.compile import compile_policy
from zones.policy import Policy
from zones.tiers import native
from zones.zone import Zoning

LAX = SafetyLimits(max_deleted_share=1.0, allow_empty=True)


def policy_of(*rules):
    return compile_policy(rulebase(*rules), Zoning()).policy


def live_of(policy, revision=1):
    rendered = native.render(policy, "panorama", revision)
    return Live(rendered.tier, {part["metadata"]["name"]: part for part in rendered.parts})


def plan_of(policy, live, guards=LAX, revision=None):
    return plan(native.render(policy, "panorama", revision or live.next_revision), live, guards, policy)


def carried_out(made, live):
    """What a cluster holds after the plan."""
    gone = {part.name for part in (*made.remove, *made.prune)}
    parts = {name: part for name, part in live.parts.items() if name not in gone}
    parts |= {part["metadata"]["name"]: part for part in made.create}
    return Live(made.pointer or live.tier, parts)


@given(policies(), policies())
def test_a_plan_carried_out_is_the_policy_and_planning_again_is_only_pruning(before, after):
    live = live_of(before)
    reached = carried_out(plan_of(after, live), live)
    assert native.parse(reached.tier, reached.parts) == after
    again = plan_of(after, reached)
    assert (again.create, again.remove, again.pointer) == ((), (), None)
    last = carried_out(again, reached)
    assert plan_of(after, last).nothing
    assert native.parse(last.tier, last.parts) == after


def test_nothing_live_is_revision_1():
    made = plan_of(policy_of(rule("a")), Live(), SafetyLimits())
    assert made.pointer["spec"]["revision"] == made.revision == 1
    assert len(made.create) == 1


def test_what_nodes_have_seen_counts():
    assert Live(highest_seen=7).next_revision == 8
    assert Live(live_of(policy_of(rule("a")), 9).tier, {}, highest_seen=7).next_revision == 10


def test_an_older_revision_is_refused():
    live = live_of(policy_of(rule("a")), revision=5)
    with pytest.raises(RevisionRefusedError, match="not above 5") as refused:
        plan_of(policy_of(rule("b")), live, revision=5)
    assert refused.value.reason == "OlderRevision"


def test_an_empty_rulebase_is_refused_even_where_nothing_is_live():
    with pytest.raises(RevisionRefusedError) as refused:
        plan_of(policy_of(), Live(), SafetyLimits())
    assert refused.value.reason == "EmptyRulebase"
    assert plan_of(policy_of(), Live(), SafetyLimits(allow_empty=True)).pointer


def test_more_than_the_share_deleted_is_refused_with_names():
    live = live_of(policy_of(*many(10)))
    with pytest.raises(RevisionRefusedError, match=r"6 of 10 rules .*'rule 4'.* and 1 more") as refused:
        plan_of(policy_of(*many(4)), live, SafetyLimits(max_deleted_share=0.5))
    assert refused.value.reason == "TooManyDeleted"
    assert plan_of(policy_of(*many(5)), live, SafetyLimits(max_deleted_share=0.5)).pointer


def test_a_renamed_rule_is_not_deleted():
    live = live_of(policy_of(rule("old")))
    origin = rule("old").origin
    renamed = rule("new", origin=type(origin)("new", origin.uuid, "pre", "dg"))
    assert plan_of(policy_of(renamed), live, SafetyLimits(max_deleted_share=0)).pointer


def test_the_share_is_counted_where_the_live_tier_can_not_be_read():
    live = live_of(policy_of(*many(10)))
    with pytest.raises(RevisionRefusedError, match="6 of 10 rules"):
        plan_of(policy_of(*many(4)), Live(live.tier, {}), SafetyLimits())


def test_a_damaged_part_is_removed_before_it_is_created():
    live = live_of(policy_of(rule("a")))
    parts = copy.deepcopy(live.parts)
    (name,) = parts
    parts[name]["spec"]["entries"].pop()
    made = plan_of(policy_of(rule("a")), Live(live.tier, parts))
    assert made.remove == (Part("PolicyChunk", name),)
    assert made.pointer is None
    assert len(made.create) == 1


def test_other_parts_of_the_label_are_pruned_but_those_of_the_live_pointer_stay():
    live = live_of(policy_of(rule("a")))
    stray = copy.deepcopy(next(iter(live.parts.values())))
    stray["metadata"]["name"] = "panorama-stray"
    both = Live(live.tier, {**live.parts, "panorama-stray": stray})
    assert plan_of(policy_of(rule("b")), both).prune == (Part("PolicyChunk", "panorama-stray"),)


def test_an_object_too_large_for_the_api_server_is_refused():
    huge = rule("huge", from_zones=frozenset(f"{'zone' * 60}-{n}" for n in range(6000)))
    with pytest.raises(RevisionRefusedError, match="PolicyChunk") as refused:
        plan_of(policy_of(huge), Live())
    assert refused.value.reason == "TooLarge"


def test_a_policy_is_not_changed_by_planning():
    policy = policy_of(rule("a"))
    assert isinstance(policy, Policy)
    live = live_of(policy)
    before = copy.deepcopy(live)
    plan_of(policy_of(rule("b")), live)
    assert live == before
