"""Who has an address, by real connections: what the API server's objects say of it decides what its packets may."""

from contextlib import ExitStack
from dataclasses import replace

import pytest

from mocks.lab import Lab, Outcome, Probe, measure, unavailable
from tests.enforcer.world import World
from zones.inventory import Node
from zones.policy import Entry, Policy, Verdict, usual_infrastructure
from zones.rules import Log, Origin
from zones.zone import Zoning

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module", params=["routed", "bridged"])
def stage(request):
    """The world, and the agent on its node n1."""
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with ExitStack() as stack:
        world = World(stack.enter_context(Lab("whose")), bridge=request.param == "bridged")
        yield world, stack.enter_context(world.enforcing())


def allowing(*pairs):
    """These pairs of zones, and nothing else."""
    allow = [
        Entry(
            Origin(f"{one} to {other}", None, "pre", "dg"),
            Verdict.ALLOW,
            from_zones=frozenset({one}),
            to_zones=frozenset({other}),
        )
        for one, other in pairs
    ]
    deny = Entry(Origin("the rest", None, "default", "Shared"), Verdict.DENY, log=Log(start=True))
    return Policy(
        Zoning(),
        usual_infrastructure(frozenset({"kube-system"}), frozenset({"kube-system"}), frozenset({"kube-dns"})),
        (*allow, deny),
    )


def outcomes(source, target, expected):
    """Of TCP and UDP over both families. What is to come about may take its time on a busy machine."""
    tries = [Probe(source, ip, 80, each) for each in ("tcp", "udp") for ip in (target.ip, target.ip6)]
    return set(measure(tries, 20.0 if expected is Outcome.ALLOWED else 1.0))


def test_a_new_pod_has_the_zone_of_its_own_though_a_lost_node_still_lists_its_address(stage):
    """As where a machine ended and its pods' addresses were given out again, while its objects are still there."""
    world, node = stage
    p0, p1 = world.machines["p0"], world.machines["p1"]
    stale = world.pod("q0", "data", addresses=world.pod("p0").addresses, terminating=True)
    held = world.inventory(world.pod("p0", "web"), world.pod("p1", "app"), stale)
    without_networks = {name: Node(name, each.addresses) for name, each in held.nodes.items()}
    heard_of = replace(held, nodes=without_networks)
    lost = replace(held, nodes=without_networks | {"n2": replace(without_networks["n2"], ready=False)})
    gone = replace(held, nodes={"n1": without_networks["n1"]})
    policy = allowing(("web", "app"))
    for inventory, expected in ((heard_of, False), (lost, True), (heard_of, False), (gone, True)):
        node.enforce(policy, inventory)
        wanted = Outcome.ALLOWED if expected else Outcome.TIMEOUT
        assert outcomes(p0, p1, wanted) == {wanted}
