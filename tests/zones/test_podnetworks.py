"""Which pod networks are doubted: those of two nodes that have something in common, and no others, however many there are."""

from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from zones.addresses.pod_networks import WIDEST, doubts

NETWORKS = [ip_network(each) for each in (
    "10.0.0.0/8", "10.0.0.0/12", "10.1.0.0/16", "10.1.0.0/24", "10.1.0.0/25", "10.1.0.128/25", "10.1.1.0/24", "10.2.0.0/16",
    "0.0.0.0/0", "fd00::/64", "fd00::/48", "fd00:0:0:1::/64", "fd00::/16", "::/0",
)]  # fmt: skip
TOLD = st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from(NETWORKS), max_size=3))


@given(TOLD)
def test_those_are_doubted_that_have_something_in_common_with_another_nodes(told):
    expected = {}
    for node, networks in told.items():
        for network in networks:
            sane = {other: [each for each in held if each.prefixlen >= WIDEST[each.version]] for other, held in told.items() if other != node}  # fmt: skip
            others = {
                other
                for other, held in sane.items()
                if any(each.version == network.version and each.overlaps(network) for each in held)
            }
            if network.prefixlen < WIDEST[network.version]:
                expected[node, network] = set()
            elif others:
                expected[node, network] = others
    found = {(node, each.network): set(each.others) for node, held in doubts(told).items() for each in held}
    assert found.keys() == expected.keys()
    for key, others in found.items():
        assert others <= expected[key]
        assert bool(others) is bool(expected[key])


def test_many_nodes_are_no_work_even_where_all_say_the_same():
    """What a node costs doesn't grow with the number of those that it has something in common with."""
    many = {f"n{number}": [ip_network("10.0.0.0/16")] for number in range(5_000)}
    found = doubts(many)
    assert len(found) == 5_000
    assert max(len(each.others) for held in found.values() for each in held) <= 2
    apart = {f"n{number}": [ip_network(((10 << 24) + (number << 8), 24))] for number in range(5_000)}
    assert doubts(apart) == {}
