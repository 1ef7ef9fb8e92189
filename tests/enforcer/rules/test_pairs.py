"""The masks say of every pair of zones what the entries themselves say."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from enforcer.rules.entry_edits import EntryEdit, edits
from enforcer.rules.zone_pairs import bits, concerned, pair_masks
from tests.strategies import ZONES, entries
from zones.policy import Entry, Verdict
from zones.rules import Origin

some_entries = st.lists(entries(), max_size=12)
zones = st.sampled_from([*ZONES, "unheard-of", "another"])


@given(some_entries, zones, zones)
def test_a_mask_holds_the_entries_that_concern_the_pair(rules, client, server):
    expected = [n for n, entry in enumerate(rules) if entry.pairs(client, server)]
    assert list(bits(pair_masks(rules).of(client, server))) == expected


@given(some_entries)
def test_elsewhere_is_between_two_zones_that_nobody_names(rules):
    masks = pair_masks(rules)
    assert masks.elsewhere == masks.of("unheard-of", "another")


@given(some_entries, zones, zones)
def test_everywhere_is_in_every_pair(rules, client, server):
    masks = pair_masks(rules)
    assert masks.of(client, server) & masks.everywhere == masks.everywhere


@given(some_entries)
def test_a_common_run_is_of_neighbours_that_concern_every_pair(rules):
    masks = pair_masks(rules)
    everywhere, runs = set(bits(masks.everywhere)), masks.common_runs()
    assert runs.keys() == everywhere
    for n, start in runs.items():
        assert set(range(start, n + 1)) <= everywhere
        assert start - 1 not in everywhere


@given(st.data())
def test_edited_masks_are_those_of_the_edited_list(data):
    pool = data.draw(some_entries)
    some = st.lists(st.sampled_from(pool), unique_by=id) if pool else st.just([])
    old, new = data.draw(some), data.draw(some)
    made = edits(old, new)
    again = list(old)
    for each in reversed(made):
        again[each.start : each.end] = each.put
    assert list(map(id, again)) == list(map(id, new))
    assert pair_masks(old).edited(made) == pair_masks(new)


@given(st.data())
def test_pairs_that_no_edit_concerns_keep_their_entries(data):
    pool = data.draw(st.lists(entries(), min_size=2, max_size=12))
    some = st.lists(st.sampled_from(pool), unique_by=id)
    old, new = data.draw(some), data.draw(some)
    made = edits(old, new)
    touched = concerned(
        [*(e for each in made for e in old[each.start : each.end]), *(e for each in made for e in each.put)]
    )
    for pair in itertools.product([*ZONES, "unheard-of"], repeat=2):
        client, server = pair
        if not touched & {pair, (client, None), (None, server), (None, None)}:
            before, after = ([id(e) for e in listed if e.pairs(*pair)] for listed in (old, new))
            assert before == after


def test_an_edit_is_as_small_as_what_changed():
    rules = [Entry(Origin(f"rule {n}", None, "pre", ""), Verdict.ALLOW) for n in range(100)]
    other = Entry(Origin("other", None, "pre", ""), Verdict.DENY)
    assert edits(rules, rules) == []
    assert edits(rules, rules[1:]) == [EntryEdit(0, 1, ())]
    assert edits(rules, [*rules[:50], other, *rules[50:99]]) == [EntryEdit(50, 50, (other,)), EntryEdit(99, 100, ())]
    moved = [*rules[1:90], rules[0], *rules[90:]]
    assert edits(rules, moved) == [EntryEdit(0, 1, ()), EntryEdit(90, 90, (rules[0],))]
