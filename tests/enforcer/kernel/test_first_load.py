"""A first agent on a node in use: from nothing to the rules, without a packet lost that they allow."""

import threading
import time
from dataclasses import replace
from ipaddress import ip_network

import pytest

from enforcer.kernel.table import KernelTable
from tests.enforcer.stream import Stream
from tests.enforcer.test_enforcement import entry, policy
from tests.enforcer.world import NOW
from zones.net import AddressSet
from zones.policy import Verdict

pytestmark = pytest.mark.kernel
MANY = 20_000  # ranges, which the kernel shows only some time after the rules of the same transaction hold
PATIENCE = 60.0


@pytest.fixture
def inventory(world):
    return world.inventory(world.pod("p0", "web"), world.pod("p2", "data"), world.pod("q1", "data"))


def rules(world):
    """Web reaches data, and the corp network by a rule with many addresses beside those of its host."""
    corp = [ip_network(world.corp.ip), ip_network(world.corp.ip6)]
    listed = AddressSet.of([*corp, *(ip_network((0x0B000000 + 512 * n, 24)) for n in range(MANY))])
    out = replace(entry("web to corp", Verdict.ALLOW, "web", "corp"), destinations=listed)
    return policy(entry("web to data", Verdict.ALLOW, "web", "data"), out, networks={"corp": corp})


def lost_while(world, work):
    """Packets of new connections and of one that lasts, from before the work until after it."""
    machines = world.machines
    stream = Stream(
        [("near", machines["p0"], machines["p2"]), ("far", machines["p0"], machines["q1"]),
         ("out", machines["p0"], world.corp)], 5301)  # fmt: skip
    done = threading.Event()

    def at_work():
        try:
            with world.inside():
                work()
        finally:
            done.set()

    worker = threading.Thread(target=at_work)
    try:
        turns, deadline, names = 0, time.monotonic() + PATIENCE, {"near", "far", "out"}
        while turns < 50 or not done.is_set():
            if turns == 50:
                worker.start()
            assert time.monotonic() < deadline
            stream.turn()
            turns += 1
            time.sleep(0.001)
        for _ in range(50):
            stream.turn()
        worker.join()
        stream.settle(names, 10)
        return {way.name: len(way.sent - way.arrived) for way in stream.of(names)}
    finally:
        stream.close()


def test_nothing_that_is_allowed_is_lost_as_the_first_rules_come(world, inventory):
    with world.reconciler() as agent:
        applied = []
        lost = lost_while(world, lambda: applied.append(agent.apply(rules(world), inventory, NOW)))
        assert applied[0].problems == ()
        assert set(lost.values()) == {0}


def test_in_one_transaction_some_would_be_lost(world, inventory, monkeypatch):
    """Else the test before would show nothing."""
    monkeypatch.setattr(KernelTable, "_loaded", KernelTable._replaced)
    monkeypatch.setattr("enforcer.kernel.transaction.Transaction.delete_table", lambda _: None)
    with world.reconciler() as agent:
        lost = lost_while(world, lambda: agent.apply(rules(world), inventory, NOW))
    monkeypatch.undo()
    with world.inside():
        agent = type(agent)("n1")
        agent.flush()
        agent.stop()
    assert sum(lost.values()) > 0
