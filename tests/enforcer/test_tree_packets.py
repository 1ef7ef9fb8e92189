"""Long lists of rules for one pair of zones, as trees in the kernel: real packets get what `decide` says."""

import random
from functools import partial
from ipaddress import ip_address, ip_network
from unittest import mock

import pytest

from enforcer.rules.tree.tree import DEPTH, Jump, Test, TreeBuilder, TreeNode
from tests.enforcer import packets
from tests.enforcer import world as worlds
from tests.enforcer.test_treechains import GOLDEN
from tests.enforcer.test_verdicts import attempts, flow_of, settled_for
from zones.net import ALL_PORTS, ANY_ADDRESS, ICMP, ICMP6, SCTP, TCP, UDP, AddressSet, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict
from zones.rules import Log, Origin
from zones.verdict import decide
from zones.zone import Zoning

Test.__test__ = False
pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]

PODS = {
    "p0": ("shop", "cart"),
    "p1": ("bank", "cart"),
    "p2": ("shop", "orders"),
    "p3": ("bank", "orders"),
    "p4": ("shop", "search"),
    "q0": ("bank", "search"),
    "q1": ("shop", "queue"),
}  # which workload of which namespace
NAMES = sorted(
    {workload for _, workload in PODS.values()} | {f"{space}/{workload}" for space, workload in PODS.values()}
)
PROBES, RULES = 150, 120


def nearby(chance, world):
    """A prefix around somebody's address, or next to it."""
    machine = chance.choice(sorted(world.machines.values(), key=lambda each: each.ip))
    address = ip_address(chance.choice([machine.ip, machine.ip6]))
    length = address.max_prefixlen - chance.choice([0, 0, 0, 1, 1, 2, 3, 8])
    return ip_network((int(address) + chance.choice([0, 0, 1]), length), strict=False)


def addresses(chance, world):
    kind = chance.random()
    if kind < 0.3:
        return ANY_ADDRESS
    held = AddressSet.of([nearby(chance, world) for _ in range(chance.choice([1, 1, 3]))])
    return held.complement() if kind > 0.97 else held


def ports(chance, around):
    """Ranges that end at, begin at, hold or miss a port that is tried."""
    at = chance.choice(around)
    low, high = chance.choice(
        [(at, at), (at, at), (at, at + 5), (at - 5, at), (0, at), (at + 1, 65_535), (at - 9, at - 1)]
    )
    return Ranges(((low, high),))


def traffic(chance):
    protocol = chance.choice([TCP, TCP, TCP, UDP, UDP, ICMP, ICMP6, SCTP, None if chance.random() < 0.3 else UDP])
    bare = protocol in {ICMP, ICMP6}
    some = chance.random
    return Traffic(
        protocol,
        ALL_PORTS if bare or some() < 0.1 else ports(chance, worlds.PORTS),
        ALL_PORTS if bare or some() < 0.8 else ports(chance, [30_000, 40_000, 50_000]),
        chance.choice([8, 128]) if bare else None,
        chance.choice(NAMES) if some() < 0.2 else None,
        chance.choice([*NAMES, "nobody", "shop/nobody", "lab/cart"]) if some() < 0.6 else None,
    )


def pods_of(world):
    return [world.pod(pod, "web", namespace=space, workload=workload) for pod, (space, workload) in PODS.items()]


def policy(chance, world):
    """All in one zone, every rule for some of it."""
    rules = [
        Entry(
            Origin(f"rule {n}", None, "pre", "dg"),
            chance.choice([Verdict.ALLOW, Verdict.ALLOW, Verdict.DENY, Verdict.RESET]),
            sources=addresses(chance, world),
            destinations=ANY_ADDRESS if chance.random() < 0.7 else addresses(chance, world),
            traffic=tuple(traffic(chance) for _ in range(chance.choice([1, 1, 2]))),
            log=Log(start=True),
        )
        for n in range(RULES)
    ]
    last = Entry(Origin("last", None, "default", "Shared"), Verdict.DENY)
    everywhere = {"web": [ip_network("0.0.0.0/0"), ip_network("::/0")]}
    return Policy(Zoning.of(everywhere, nodes="web"), (), (*rules, last))


@pytest.mark.parametrize("leaf", [1, 8])
@pytest.mark.parametrize("seed", range(6))
def test_real_packets_get_the_first_match_of_long_lists(world, seed, leaf):
    chance = random.Random(seed)
    wanted = policy(chance, world)
    inventory = world.inventory(*pods_of(world))
    probes = attempts(world, chance, PROBES)
    directory = world.directory(inventory)
    expected = {probe.key: decide(wanted, flow_of(probe, directory, wanted)) for probe in probes}
    assert len({each.origin for each in expected.values()}) > 10
    with (
        mock.patch("enforcer.rules.chains.pair_chains.TreeBuilder", partial(TreeBuilder, leaf)),
        world.enforcing() as node,
        world.log() as log,
    ):
        applied = node.enforce(wanted, inventory)
        assert "vmap @" in applied.ruleset.text()
        packets.run(probes, log, settled_for(expected, applied.ruleset.terminals), seconds=30)


class Deepest:
    """Makes trees of as many chains, one below the other, as there may be."""

    def __init__(self, *, copies_long):
        """As a forest is made."""

    def tree(self, clauses):
        tests = tuple(Test(clause) for clause in clauses)
        node = TreeNode(tests)
        for _ in range(DEPTH):
            node = TreeNode((Jump(node), *tests))
        return node


def test_the_kernel_takes_the_deepest_tree(world):
    """Behind all other chains there are: of hooks, families, pairs, common rules and verdicts."""
    blocks = [
        Entry(Origin(f"block {n}", None, "pre", "dg"), Verdict.ALLOW, sources=AddressSet.parse([f"192.0.2.{n}"]))
        for n in range(6)
    ]
    wanted = Policy(Zoning(), (), (*blocks, Entry(Origin("last", None, "default", "Shared"), Verdict.RESET)))
    with mock.patch("enforcer.rules.chains.pair_chains.TreeBuilder", Deepest), world.enforcing() as node:
        applied = node.enforce(wanted, world.inventory(world.pod("p0", "web"), world.pod("p1")))
    assert {name.split("4-")[0] for name in applied.ruleset.table.chains if "4-" in name} >= {"common", "part", "pair"}


def test_nft_reads_the_golden_file(world):
    world.n1.netns.require(["nft", "--check", "--file", "-"], stdin=GOLDEN.read_text())


def test_a_pod_that_moves_changes_no_chain(world):
    """Trees know workloads, not pods: whoever comes, goes or is renamed changes elements only."""
    chance = random.Random(4)
    wanted = policy(chance, world)
    pods = pods_of(world)
    with world.enforcing() as node:
        before = node.enforce(wanted, world.inventory(*pods)).ruleset.table
        renamed = world.pod("p0", "web", workload="orders")
        after = node.enforce(wanted, world.inventory(renamed, *pods[2:])).ruleset.table
    assert after.chains == before.chains
    assert after.sets.keys() == before.sets.keys()
