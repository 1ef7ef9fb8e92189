"""A reader that knows parts from before says what reading from nothing says, and is as hard to deceive."""

import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.cluster.tier_parts import TierParts
from tests.enforcer import smallcluster
from tests.strategies import policies
from zones.net import AddressSet, Ranges
from zones.tiers import native
from zones.tiers.native import DigestError, IncompleteError, TierError
from zones.tiers.reading import TierReader


def texts(parts):
    return TierParts({part["metadata"]["name"]: json.dumps(part).encode() for part in parts}, json.loads)


@given(st.lists(policies(), min_size=2, max_size=4))
def test_each_revision_is_read_as_from_nothing(revisions):
    reader = TierReader()
    for number, policy in enumerate([*revisions, *revisions], 1):
        made = native.render(policy, "t", number)
        assert reader.policy(made.tier, texts(made.parts)) == native.parse(made.tier, texts(made.parts)) == policy


def many(number):
    """Rules enough for several chunks, one of them another in each."""
    base = smallcluster.policy(80)
    allow = base.entries[0]
    rules = [replace(allow, origin=replace(allow.origin, name=f"rule {n}")) for n in range(600)]
    rules[300] = replace(rules[300], origin=replace(allow.origin, name=f"edited {number}"))
    return replace(base, entries=(*rules, base.entries[1]))


def test_what_says_the_same_is_the_same_object():
    reader, before = TierReader(), native.render(many(1), "t", 1)
    first = reader.policy(before.tier, texts(before.parts))
    after = native.render(many(2), "t", 2)
    second = reader.policy(after.tier, texts(after.parts))
    assert second == many(2)
    assert [n for n, (a, b) in enumerate(zip(first.entries, second.entries, strict=True)) if a is not b] == [300]
    again = TierReader().policy(after.tier, texts(after.parts), like=first)
    assert sum(a is not b for a, b in zip(first.entries, again.entries, strict=True)) == 1


def test_only_new_parts_are_read():
    reader, before, after = TierReader(), native.render(many(1), "t", 1), native.render(many(2), "t", 2)
    reader.policy(before.tier, texts(before.parts))
    known, asked = {part["metadata"]["name"] for part in before.parts}, []

    class Noted(TierParts):
        def __getitem__(self, name):
            asked.append(name)
            return super().__getitem__(name)

    reader.policy(after.tier, Noted({p["metadata"]["name"]: json.dumps(p).encode() for p in after.parts}, json.loads))
    assert asked
    assert not known & set(asked)


def test_a_part_that_was_changed_under_its_name_is_found_out():
    reader, made = TierReader(), native.render(many(1), "t", 1)
    reader.policy(made.tier, texts(made.parts))
    for number in range(len(made.parts)):
        spoiled = copy.deepcopy(made.parts)
        spoiled[number]["spec"]["entries"][0]["verdict"] = "deny"
        with pytest.raises(DigestError):
            reader.policy(made.tier, texts(spoiled))
    assert reader.policy(made.tier, texts(made.parts)) == many(1)


def test_a_pointer_that_names_known_parts_in_another_order_is_found_out():
    reader, made = TierReader(), native.render(many(1), "t", 1)
    reader.policy(made.tier, texts(made.parts))
    mixed = copy.deepcopy(made.tier)
    mixed["spec"]["policyChunks"].reverse()
    with pytest.raises(DigestError):
        reader.policy(mixed, texts(made.parts))


def test_known_parts_that_are_gone_are_missing():
    reader, made = TierReader(), native.render(many(1), "t", 1)
    reader.policy(made.tier, texts(made.parts))
    with pytest.raises(IncompleteError):
        reader.policy(made.tier, texts(made.parts[1:]))


def test_known_entries_need_their_address_sets_named_by_this_tier_too():
    policy = many(1)
    long = AddressSet(v4=Ranges(tuple((n * 4, n * 4) for n in range(1000))))
    listed = replace(policy, entries=(replace(policy.entries[0], sources=long), *policy.entries[1:]))
    reader, made = TierReader(), native.render(listed, "t", 1)
    assert reader.policy(made.tier, texts(made.parts)) == listed
    content = {key: value for key, value in made.tier["spec"].items() if key not in {"revision", "digest", "source"}}
    content |= {"addressSets": content["addressSets"][1:]}
    spec = content | {"revision": 2, "digest": native.digest(content), "source": made.tier["spec"]["source"]}
    with pytest.raises(TierError, match="can't be read"):
        reader.policy(made.tier | {"spec": spec}, texts(made.parts))
