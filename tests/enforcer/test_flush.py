"""Who takes the rules away takes nothing else away: connections that begin at that moment are none the worse for it."""

import threading

import pytest

from mocks.lab import Outcome, Probe, measure
from tests.enforcer.test_enforcement import entry, policy
from tests.enforcer.world import NOW, OPTIONS, WholeFeeds
from zones.policy import Verdict

pytestmark = pytest.mark.kernel

ALLOW_ALL = policy(entry("all", Verdict.ALLOW, None, None))
TIMES = 15


def test_no_connection_is_refused_while_the_rules_go(world):
    pods = [world.pod(name, "web") for name in ("p0", "p1", "p2", "q0", "q1")]
    machines = world.machines
    pairs = [("p0", "q0"), ("q0", "p1"), ("p1", "q1"), ("p0", "p1"), ("q1", "p2"), ("p2", "q0")]
    probes = [
        Probe(machines[source], ip, 80)
        for source, target in pairs
        for ip in (machines[target].ip, machines[target].ip6)
    ] * 4
    over, outcomes = threading.Event(), []

    def ask():
        while not over.is_set():
            outcomes.extend(measure(probes, 0.9))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        with world.inside():
            for _ in range(TIMES):
                reconciler = WholeFeeds("n1", OPTIONS)
                assert not reconciler.apply(ALLOW_ALL, world.inventory(*pods), NOW).problems
                before = len(outcomes)
                while len(outcomes) < before + len(probes):  # at least one whole round by the rules
                    over.wait(0.01)
                reconciler.flush()
                reconciler.stop()
    finally:
        over.set()
        asking.join()
    assert set(outcomes) == {Outcome.ALLOWED}
