"""What was seen, counted from a real kernel's connections, by rules that log and rules that don't."""

from __future__ import annotations

import time

import pytest

from enforcer.flows.flows import FlowNames
from enforcer.flows.seen_table import SeenTable
from enforcer.kernel import conntrack_events
from enforcer.kernel.conntrack_events import Conntrack
from tests.enforcer.test_ends import FAMILIES, MARKS, TOLD, UNTOLD, Heard, age, ask, inventory, node, policy, talk
from zones.net import TCP, UDP
from zones.zone import Zoning

pytestmark = pytest.mark.kernel
__all__ = ["inventory", "node"]


@pytest.fixture
def counted(world, node, inventory):
    """The table, who hears of ends that rules log, and a look at what ended."""
    node.netns.run(["conntrack", "-F"])
    with world.enforcing() as made, Heard(world, world.directory(inventory)) as heard:
        applied = made.enforce(policy(TOLD, UNTOLD), inventory)
        heard.learn(applied)
        table = SeenTable("n1", MARKS)
        table.learn(policy(TOLD, UNTOLD))
        table.start(time.time() - 1)
        names = FlowNames(world.directory(inventory).holder, Zoning.of({}))
        with world.inside():
            source = Conntrack(MARKS).open_ends()
        table.alive([], names, time.time())
        yield table, heard, source, names
        source.close()


def hear(world, table, source, names, many):
    deadline = time.monotonic() + 40
    age(world.n1)
    while sum(row.connections for row in table._rows.values()) < many:
        assert time.monotonic() < deadline, table._rows
        with world.inside():
            list(conntrack_events.alive())  # to be asked makes the kernel look, and forget whose time is over
        for told in source.read():
            table.ended(told, names, time.time())
        time.sleep(0.02)


def test_every_accepted_connection_is_counted_and_only_those_that_log_are_told_one_by_one(world, counted):
    table, heard, source, names = counted
    for family in FAMILIES:
        talk(world, "p0", getattr(world.machines["p2"], family))
        talk(world, "p0", getattr(world.machines["p1"], family))
        talk(world, "p0", getattr(world.machines["p1"], family))
        ask(world, "p0", getattr(world.machines["p2"], family))
    hear(world, table, source, names, 8)
    flows, counting = table.take(time.time())
    found = {(each.key.rule.name, each.key.destination.workload, each.key.protocol): each for each in flows}
    assert {key: each.connections for key, each in found.items()} == {
        ("told", "p2", TCP): 2,
        ("untold", "p1", TCP): 4,
        ("told", "p2", UDP): 2,
    }
    assert all(each.octets > 100 for each in flows)
    assert (counting.unattributed, counting.missed, source.dropped) == (0, 0, 0)
    assert {each["rule"]["name"] for each in heard.until(4)} == {"told"}
    assert heard.connections.unattributed == 0
    assert len(heard.connections) == 0  # of those that are only counted it heard nothing


def test_who_lives_is_found_by_asking(world, counted):
    table, _, _, names = counted
    ask(world, "p0", world.machines["p1"].ip)
    with world.inside():
        living = list(conntrack_events.alive())
    table.look()
    table.alive(living, names, time.time())
    (flow,) = table.take(time.time())[0]
    assert (flow.key.rule.name, flow.connections, flow.living, flow.key.source.workload) == ("untold", 1, 1, "p0")
