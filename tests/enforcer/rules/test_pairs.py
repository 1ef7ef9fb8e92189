"""The masks say of every pair of zones what the entries themselves say."""

from hypothesis import given
from hypothesis import strategies as st

from enforcer.rules.pairs import bits, pair_masks
from tests.strategies import ZONES, entries

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
    everywhere = set(bits(masks.everywhere))
    for n, start in enumerate(masks.common_runs(len(rules))):
        assert (start is None) == (n not in everywhere)
        if start is not None:
            assert set(range(start, n + 1)) <= everywhere
            assert start - 1 not in everywhere
