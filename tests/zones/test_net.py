from ipaddress import IPv4Address, ip_address, ip_network

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
