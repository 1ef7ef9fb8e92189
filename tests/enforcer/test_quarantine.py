"""Pods in quarantine on the kernel, with real packets, on a node that routes its pods and on one with a bridge."""

from dataclasses import replace

import pytest

from enforcer.rules.options import Mode
from mocks.lab import Lab, Outcome, Probe, measure
from tests.enforcer.test_enforcement import BOTH_WAYS, entry, policy
from tests.enforcer.world import OPTIONS, World
from zones.policy import Verdict

pytestmark = pytest.mark.kernel
ZONES = {"p0": "web", "p1": "web", "q0": "web", "p2": "data", "q1": "data"}
OPEN = policy(entry("open", Verdict.ALLOW))
EVERYBODY = "p1", "p2", "q0", "q1", "n1", "n2", "corp", "outside"


@pytest.fixture(scope="module", params=["routed", "bridged"])
def held(request):
    """A node, and whom it knows when p0 and q0 are in quarantine."""
    with Lab("quar") as lab:
        world = World(lab, bridge=request.param == "bridged")
        cut = {"p0", "q0"}
        pods = (world.pod(name, zone, quarantined=name in cut) for name, zone in ZONES.items())
        yield world, world.inventory(*pods)


def allowed(world, *ways, transport="tcp"):
    """Which of (source, target) are open, each in both families, which must agree."""
    machines = world.machines
    asked = [
        Probe(machines[source], at, 80, transport)
        for source, target in ways
        for at in (machines[target].ip, machines[target].ip6)
    ]
    found = measure(asked, timeout=0.6)
    assert found[::2] == found[1::2]
    return [way for way, outcome in zip(ways, found[::2], strict=True) if outcome is Outcome.ALLOWED]


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_nothing_opens_the_zone_but_its_own_nodes_probes(held, transport):
    """Where everything is open to everybody; others lose nothing."""
    world, inventory = held
    with world.enforcing() as node:
        node.enforce(OPEN, inventory)
        both = [way for other in EVERYBODY for way in (("p0", other), (other, "p0"))]
        within = [("p0", "q0"), ("q0", "p0")]
        others = [("p1", "p2"), ("p2", "q1"), ("q1", "p1"), ("p1", "outside"), ("corp", "p1")]
        assert allowed(world, *both, *within, *others, transport=transport) == [("n1", "p0"), *others]
        assert allowed(world, ("p1", "q0"), ("q0", "p1"), ("n1", "q0"), transport=transport) == []


def test_what_names_the_zone_opens_it_and_no_more(held):
    world, inventory = held
    rules = entry("forensics", Verdict.ALLOW, "data", "quarantine"), entry("open", Verdict.ALLOW)
    with world.enforcing() as node:
        node.enforce(policy(*rules), inventory)
        ways = [("p2", "p0"), ("q1", "p0"), ("p2", "q0"), ("p0", "p2"), ("p1", "p0"), ("p0", "q0")]
        assert allowed(world, *ways) == ways[:3]


def test_a_zone_that_is_not_enforced_yet_has_its_quarantines_enforced(held):
    world, inventory = held
    with world.enforcing(replace(OPTIONS, zones=frozenset({"data"}))) as node:
        node.enforce(policy(entry("no", Verdict.DENY)), inventory)
        assert allowed(world, ("p0", "p1"), ("p1", "p0"), ("p1", "outside")) == [("p1", "outside")]


def test_where_the_node_only_observes_nothing_is_cut(held):
    world, inventory = held
    with world.enforcing(replace(OPTIONS, mode=Mode.OBSERVE)) as node:
        node.enforce(policy(*BOTH_WAYS), inventory)
        assert allowed(world, ("p0", "p2"), ("p2", "p0")) == [("p0", "p2"), ("p2", "p0")]


def test_who_is_let_out_is_as_free_as_before(held):
    world, inventory = held
    free = inventory.with_pod(world.pod("p0", "web"))
    with world.enforcing() as node:
        node.enforce(policy(*BOTH_WAYS), inventory)
        assert allowed(world, ("p0", "p2")) == []
        node.enforce(policy(*BOTH_WAYS), free)
        assert allowed(world, ("p0", "p2"), ("p0", "p1"), ("p1", "p0")) == [("p0", "p2"), ("p0", "p1"), ("p1", "p0")]
