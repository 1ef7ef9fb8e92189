from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network, summarize_address_range
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zones.net import ALL_PORTS, ANY_ADDRESS, AddressSet, Ranges, parse_ports, union, wildcard

LAST = 31
numbers = st.frozensets(st.integers(0, LAST))


def ranges(some):
    return Ranges.of((number, number) for number in some)


def held(spans):
    return {number for number in range(LAST + 1) if number in spans}


@given(numbers, numbers)
def test_ranges_are_sets(left, right):
    assert held(ranges(left) | ranges(right)) == left | right
    assert held(ranges(left) & ranges(right)) == left & right
    assert held(ranges(left) - ranges(right)) == left - right
    assert held(ranges(left).complement(LAST)) == set(range(LAST + 1)) - left


@given(numbers, numbers)
def test_what_overlaps_and_what_is_within(left, right):
    assert ranges(left).overlaps(ranges(right)) is bool(left & right)
    assert ranges(left).within(ranges(right)) is (left <= right)
    both = [AddressSet(ranges(some), ranges(other)) for some, other in ((left, right), (right, left))]
    assert both[0].within(both[1]) is (left == right)
    assert both[0].within(AddressSet(ranges(left | right), ranges(right))) is True


@given(numbers)
def test_equal_sets_are_equal_values(some):
    backwards = Ranges.of((number, number) for number in sorted(some, reverse=True))
    assert backwards == ranges(some)
    assert hash(backwards) == hash(ranges(some))
    assert all(before[1] + 1 < after[0] for before, after in zip(backwards.spans, backwards.spans[1:], strict=False))


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)), max_size=8))
def test_prefixes_cover_exactly_the_set(pairs):
    networks = [ip_network((address, length), strict=False) for address, length in pairs]
    space = AddressSet.of(networks)
    assert AddressSet.parse(space.prefixes) == space
    assert len(space.prefixes) <= len(set(networks))


def test_a_complement_covers_both_families():
    inverse = AddressSet.parse(["10.0.0.0/8"]).complement()
    assert ip_address("10.1.1.1") not in inverse
    assert ip_address("11.1.1.1") in inverse
    assert ip_address("fd00::1") in inverse
    assert AddressSet().complement() == ANY_ADDRESS


def test_all_of_ipv4_is_not_any():
    assert AddressSet.parse(["0.0.0.0/0"]) != ANY_ADDRESS
    assert AddressSet.parse(["0.0.0.0/0", "::/0"]) == ANY_ADDRESS


def test_a_union_of_many_is_the_union_of_each():
    sets = [AddressSet.parse([f"10.0.{third}.0/24"]) for third in range(4)]
    assert union(sets) == AddressSet.parse(["10.0.0.0/22"])


@pytest.mark.parametrize(
    ("text", "spans"), [("80", ((80, 80),)), ("443,80-81, 82", ((80, 82), (443, 443))), ("0-65535", ALL_PORTS.spans)]
)
def test_ports_are_read(text, spans):
    assert parse_ports(text).spans == spans


@pytest.mark.parametrize("text", ["", "http", "80-", "90-80", "65536", "-1", "1,,2"])
def test_bad_ports_are_refused_by_name(text):
    with pytest.raises(ValueError, match="port"):
        parse_ports(text)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_wildcard_holds_what_its_mask_says(address, other):
    mask = 0x0000FF0F
    space = wildcard(IPv4Address(address), IPv4Address(mask))
    assert (IPv4Address(other) in space) == (other & ~mask == address & ~mask)
    assert IPv4Address(address & ~mask | other & mask) in space


def test_a_wildcard_that_explodes_is_refused():
    with pytest.raises(ValueError, match="ranges"):
        wildcard(IPv4Address("10.0.0.0"), IPv4Address("170.170.170.170")) | wildcard(
            IPv4Address("10.0.0.0"), IPv4Address("255.255.255.0")
        )


lengths = st.one_of(
    st.integers(0, 32).map(str), st.sampled_from(["", "08", "33", "-1", "255.255.0.0", "0.0.0.255", " 8"])
)
octets = st.one_of(st.integers(0, 255).map(str), st.sampled_from(["0", "256", "01", "", "1e1", "٣"]))
usual = st.tuples(octets, octets, octets, octets).map(".".join)
texts = st.one_of(
    usual,
    st.tuples(usual, lengths).map("/".join),
    st.tuples(st.ip_addresses(v=6).map(str), st.integers(0, 129).map(str)).map("/".join),
    st.text("0123456789./:af ", max_size=12),
)


@given(st.lists(texts, max_size=3))
def test_prefixes_are_read_as_the_standard_library_reads_them(some):
    try:
        expected = AddressSet.of(ip_network(text, strict=False) for text in some)
    except ValueError:
        with pytest.raises(ValueError):
            AddressSet.parse(some)
    else:
        assert AddressSet.parse(some) == expected


def spans(last):
    return st.lists(st.tuples(st.integers(0, last), st.integers(0, last)).map(sorted).map(tuple), max_size=5)


@given(spans(2**32 - 1), spans(2**128 - 1))
def test_prefixes_are_those_that_the_standard_library_makes_of_the_ranges(v4, v6):
    space = AddressSet(Ranges.of(v4), Ranges.of(v6))
    expected = [
        str(network)
        for kind, ranges in ((IPv4Address, space.v4), (IPv6Address, space.v6))
        for first, last in ranges.spans
        for network in summarize_address_range(kind(first), kind(last))
    ]
    assert list(space.prefixes) == expected


def test_equal_address_sets_have_equal_hashes():
    one, other = AddressSet.parse(["10.0.0.0/9", "10.128.0.0/9"]), AddressSet.parse(["10.0.0.0/8"])
    assert (one, hash(one)) == (other, hash(other))
    assert one != AddressSet.parse(["10.0.0.0/9"])


def test_a_union_of_one_is_itself():
    space = AddressSet.parse(["10.0.0.0/8"])
    assert union([AddressSet(), space]) is space
    assert union([]) == AddressSet()


@pytest.mark.parametrize("last", [(6_000, 6_000), (6_001, 6_001), (5_998, 6_000), (3, 3), (0, 9_000)])
def test_a_long_list_is_joined_where_two_of_its_ranges_meet(last):
    spans = [*((at, at) for at in range(0, 6_000, 4)), last]
    numbers = {number for first, end in spans for number in range(first, end + 1)}
    ranges = Ranges.of(reversed(spans))
    assert {number for first, end in ranges.spans for number in range(first, end + 1)} == numbers
    assert all(one[1] + 1 < other[0] for one, other in pairwise(ranges.spans))
    with pytest.raises(ValueError, match="ends before it starts"):
        Ranges.of([*spans, (9_001, 9_000)])
