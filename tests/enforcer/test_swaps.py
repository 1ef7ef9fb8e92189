"""However the kernel got to a ruleset, it holds what a fresh load of it holds, and what we think it holds."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from enforcer.kernel.reconcile import AppliedAction
from enforcer.netlink.sockets import local_addresses
from tests.enforcer import nftprogram
from tests.enforcer.test_enforcement import entry, policy
from tests.enforcer.test_verdicts import inventories, policies
from tests.enforcer.world import NOW
from zones.net import V4_LAST, V6_LAST, AddressSet, Ranges
from zones.policy import Verdict

pytestmark = pytest.mark.kernel

FEW = settings(
    deadline=None,
    max_examples=max(5, settings.default.max_examples // 10),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FEW
@given(st.data())
def test_any_way_to_a_ruleset_ends_in_the_same_kernel_state(world, data):
    steps = [(data.draw(policies()), data.draw(inventories(world))) for _ in range(2)]
    # Under one policy the zones of pods that are gone keep their pairs, which a fresh load hasn't.
    assume(steps[0][0] != steps[1][0])
    with world.reconciler() as reconciler:
        for wanted, inventory in steps:
            assert reconciler.apply(wanted, inventory, NOW).problems == ()
        swapped = nftprogram.listing()
        checked = reconciler.apply(*steps[-1], NOW)
        assert (checked.action, checked.drift, checked.problems) == (AppliedAction.NONE, None, ())
        reconciler.flush()
        reconciler.apply(*steps[-1], NOW)
        assert nftprogram.listing() == swapped


def spans(last, edges):
    ends = st.one_of(st.sampled_from(edges), st.integers(0, last))
    return st.lists(st.tuples(ends, ends).map(sorted).map(tuple), min_size=1, max_size=8).map(Ranges.of)


V4_EDGES = [0, 1, 2**31, V4_LAST - 1, V4_LAST]
V6_EDGES = [0, 1, 0x7F000001, 0xFFFF00000000, 0xFFFFC0000201, 0xFFFFFFFFFFFF, 2**127, V6_LAST - 1, V6_LAST]


@FEW
@given(spans(V4_LAST, V4_EDGES), spans(V6_LAST, V6_EDGES), st.sampled_from(V6_EDGES))
def test_every_address_set_is_listed_as_it_was_loaded(world, v4, v6, odd):
    """Otherwise our own rules would look like somebody else's."""
    rule = entry("sets", Verdict.ALLOW, "web", "data")
    sets = AddressSet(v4, v6)
    wanted = policy(type(rule)(rule.origin, rule.verdict, rule.pairing, None, None, sets, sets.complement()))
    inventory = world.inventory(world.pod("p0", "web", addresses=(IPv4Address(v4.spans[0][0]), IPv6Address(odd))))
    with world.reconciler() as reconciler:
        assert reconciler.apply(wanted, inventory, NOW).problems == ()
        checked = reconciler.apply(wanted, inventory, NOW)
        assert (checked.action, checked.drift) == (AppliedAction.NONE, None)


def test_local_addresses_are_those_the_machine_answers_for(world):
    with world.inside():
        found = {str(each) for each in local_addresses()}
    assert {world.n1.ip, world.n1.ip6, "169.254.1.1"} <= found
    assert not any(each.startswith(("127.", "fe80")) or each == "::1" for each in found)
    assert world.machines["p0"].ip not in found
