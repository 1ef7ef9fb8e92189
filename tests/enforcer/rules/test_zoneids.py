"""Zone names in 15 characters: readable, unique, and nobody's to take."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from enforcer.rules.members.zone_ids import ID_LENGTH, ZoneKey, zone_ids

names = st.one_of(st.text(max_size=70), st.from_regex(r"[a-z0-9.-]{1,63}", fullmatch=True))
keys = st.builds(ZoneKey, names, st.booleans())


def test_short_plain_names_stay_as_they_are():
    ids = zone_ids([ZoneKey("web", of_pods=True), ZoneKey("corp", of_pods=False), ZoneKey("web", of_pods=False)])
    assert list(ids.values()) == ["web", "net/corp", "net/web"]


def test_long_and_odd_names_keep_their_beginning():
    ids = zone_ids(
        [ZoneKey("kubernetes-frontend", of_pods=True), ZoneKey('a "b"', of_pods=True), ZoneKey("", of_pods=True)]
    )
    assert [each[: each.index("~")] for each in ids.values()] == ["kubern", "ab", ""]


@given(st.lists(keys))
@example([ZoneKey("x*", of_pods=True), ZoneKey("x", of_pods=True)])
def test_ids_are_unique_and_fit_and_are_safe_between_quotes(some):
    ids = zone_ids(some)
    assert len(set(ids.values())) == len(set(some))
    assert all(len(each) <= ID_LENGTH and re.fullmatch(r"[A-Za-z0-9._/~-]+", each) for each in ids.values())


@given(st.lists(keys, min_size=1), st.lists(keys))
def test_later_names_take_nothing_from_earlier_ones(some, more):
    before = zone_ids(some)
    assert {key: name for key, name in zone_ids([*some, *more]).items() if key in before} == before


def test_a_taken_id_is_salted_away(monkeypatch):
    monkeypatch.setattr("enforcer.rules.members.zone_ids.sha256", lambda data: _Constant(data[:1]))
    long, other = ZoneKey("a" * 20, of_pods=True), ZoneKey("a" * 21, of_pods=True)
    ids = zone_ids([long, other])
    assert ids[long] != ids[other]
    assert zone_ids([long])[long] == ids[long]


class _Constant:
    def __init__(self, seed):
        self.seed = seed

    def digest(self):
        return self.seed * 32
