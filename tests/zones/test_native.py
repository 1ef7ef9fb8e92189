import copy
import json

import pytest
from hypothesis import given

from tests.strategies import policies
from zones.canonical import digest
from zones.net import AddressSet
from zones.policy import Entry, Policy, Verdict
from zones.rules import Origin
from zones.tiers.native import DigestError, IncompleteError, TierError, parse, render
from zones.zone import Zoning


def by_name(rendered):
    return {part["metadata"]["name"]: part for part in rendered.parts}


def origin(name):
    return Origin(name, None, "pre", "dg")


def big_policy(rules=600, prefixes=2000):
    many = AddressSet.parse(f"10.{n // 128}.{n % 128 * 2}.0/24" for n in range(prefixes))
    entries = [Entry(origin(f"rule {n}"), Verdict.ALLOW, from_zones=frozenset({f"z{n}"})) for n in range(rules)]
    return Policy(Zoning(), (), (Entry(origin("blocklist"), Verdict.DENY, sources=many), *entries))


@given(policies())
def test_what_is_rendered_is_read_back(policy):
    rendered = render(policy, "panorama", 7)
    assert parse(rendered.tier, by_name(rendered)) == policy


@given(policies())
def test_the_digest_is_of_the_content_alone(policy):
    assert render(policy, "panorama", 1).digest == render(policy, "panorama", 2).digest


@given(policies(), policies())
def test_what_was_rendered_before_changes_nothing(before, policy):
    fresh = render(policy, "panorama", 2)
    assert render(policy, "panorama", 2, before=render(before, "panorama", 1)) == fresh


def test_large_sets_are_not_made_again():
    policy = big_policy()
    before = render(policy, "panorama", 1)
    again = render(policy, "panorama", 2, before=before)
    assert again.parts == before.parts
    sets = [part for part in again.parts if part["kind"] == "AddressSet"]
    assert len(sets) > 1
    assert all(any(part is old for old in before.parts) for part in sets)


def test_parts_are_named_by_the_canonical_text_of_what_they_hold():
    for part in render(big_policy(), "panorama", 1).parts:
        assert part["metadata"]["name"] == f"panorama-{digest([part['kind'], part['spec']])[:32]}"


def test_large_sets_and_rulebases_are_chunked_and_read_back():
    policy = big_policy()
    rendered = render(policy, "panorama", 1)
    kinds = [part["kind"] for part in rendered.parts]
    assert kinds.count("AddressSet") >= 1
    assert kinds.count("PolicyChunk") >= 2
    assert parse(rendered.tier, by_name(rendered)) == policy


def test_no_object_outgrows_etcd():
    wide = AddressSet.parse(f"2001:db8:{n:x}::/48" for n in range(0, 128, 2))
    entries = [Entry(origin(f"rule {n}"), Verdict.DENY, sources=wide, destinations=wide) for n in range(600)]
    rendered = render(Policy(Zoning(), (), tuple(entries)), "panorama", 1)
    assert max(len(json.dumps(part)) for part in rendered.parts) < 600_000


def test_an_edit_in_the_middle_touches_few_objects():
    before = big_policy()
    inserted = Entry(origin("new"), Verdict.ALLOW, to_zones=frozenset({"web"}))
    after = Policy(before.zoning, (), (*before.entries[:300], inserted, *before.entries[300:]))
    old, new = by_name(render(before, "panorama", 1)), by_name(render(after, "panorama", 2))
    assert 1 <= len(new.keys() - old.keys()) <= 2


def test_a_missing_part_is_waited_for():
    rendered = render(big_policy(), "panorama", 1)
    parts = by_name(rendered)
    gone = rendered.parts[0]["metadata"]["name"]
    del parts[gone]
    with pytest.raises(IncompleteError) as caught:
        parse(rendered.tier, parts)
    assert caught.value.missing == (gone,)


def test_a_changed_part_is_noticed():
    rendered = render(big_policy(), "panorama", 1)
    parts = copy.deepcopy(by_name(rendered))
    chunk = next(part for part in parts.values() if part["kind"] == "PolicyChunk")
    chunk["spec"]["entries"][1]["verdict"] = "deny"
    with pytest.raises(DigestError, match="PolicyChunk"):
        parse(rendered.tier, parts)


def test_a_changed_pointer_is_noticed():
    rendered = render(big_policy(), "panorama", 1)
    tier = copy.deepcopy(rendered.tier)
    tier["spec"]["zoning"]["default"] = "web"
    with pytest.raises(DigestError, match="revision 1"):
        parse(tier, by_name(rendered))


def test_something_else_is_no_tier():
    with pytest.raises(TierError, match="can't be read"):
        parse({"metadata": {"name": "x"}, "spec": {"revision": 1}}, {})
