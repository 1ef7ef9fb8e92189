"""Edits that write no rule with a verdict: the kernel doesn't walk through the whole table for them."""

from dataclasses import replace

import pytest

from enforcer.kernel import drift
from enforcer.kernel.reconcile import AppliedAction
from mocks.lab import Outcome
from tests.enforcer.test_enforcement import entry, outcomes, policy
from tests.enforcer.world import NOW
from zones.net import TCP, AddressSet, parse_ports
from zones.policy import Traffic, Verdict

pytestmark = pytest.mark.kernel

TABLE = "inet zonebridge"
MANY = tuple(f"203.0.{third}.{fourth}" for third in range(4) for fourth in range(2, 252, 2))


@pytest.fixture
def inventory(world):
    zones = {"p0": "web", "p1": "web", "p2": "data", "q1": "data"}
    return world.inventory(*(world.pod(name, zone) for name, zone in zones.items()))


@pytest.fixture
def reconciler(world):
    with world.reconciler() as made:
        yield made


@pytest.fixture
def rules_written(world):
    """The rules that a change wrote, but for those that hold the number: by their handles, which no other ever gets."""

    def handles():
        listed = world.n1.run(["nft", "-a", "list", "table", *TABLE.split()]).stdout.splitlines()
        lines = [line for line in listed if "# handle" in line and " {" not in line]
        return {line.rpartition(" ")[2]: line for line in lines if "ct mark set" not in line}

    def written(change):
        before = handles()
        done = change()
        return done, [line for handle, line in handles().items() if handle not in before]

    return written


def listed(world, names, but=()):
    """One rule with a list of addresses: of these pods in both families, and of many others."""
    addresses = [str(at) for name in names for at in (world.machines[name].ip, world.machines[name].ip6)]
    space = AddressSet.parse([*addresses, "2001:db8::1", "2001:db8::3", *(each for each in MANY if each not in but)])
    return policy(replace(entry("listed", Verdict.ALLOW, "web", "data"), sources=space))


def test_a_long_list_takes_its_new_addresses_in_place(world, reconciler, inventory, rules_written):
    reconciler.apply(listed(world, ("p0", "p1")), inventory, NOW, revision=1)
    assert outcomes(world, ("p0", "p2", 80), ("p1", "p2", 80)) == [Outcome.ALLOWED] * 2
    change = lambda: reconciler.apply(listed(world, ["p0"], MANY[5:9]), inventory, NOW, revision=2)  # noqa: E731
    applied, rules = rules_written(change)
    assert (applied.problems, rules) == ((), [])
    assert outcomes(world, ("p0", "p2", 80), ("p1", "p2", 80)) == [Outcome.ALLOWED, Outcome.TIMEOUT]
    assert reconciler.apply(listed(world, ["p0"], MANY[5:9]), inventory, NOW, revision=2).action is AppliedAction.NONE
    applied, rules = rules_written(lambda: reconciler.apply(listed(world, ["p0", "p1"]), inventory, NOW, revision=3))
    assert (applied.problems, rules) == ((), [])
    assert outcomes(world, ("p1", "p2", 80)) == [Outcome.ALLOWED]


def test_what_others_do_to_a_list_that_kept_its_name_is_put_right(world, reconciler, inventory):
    reconciler.apply(listed(world, ("p0", "p1")), inventory, NOW)
    wanted = listed(world, ["p0"])
    reconciler.apply(wanted, inventory, NOW)
    sets = world.n1.run(["nft", "list", "sets", "inet"]).stdout
    name = next(words.split()[1] for words in sets.splitlines() if words.strip().startswith("set net4-"))
    assert name not in reconciler.apply(wanted, inventory, NOW).ruleset.table.sets
    world.n1.run(["nft", "add", "element", *TABLE.split(), name, f"{{ {world.machines['p1'].ip} }}"])
    applied = reconciler.apply(wanted, inventory, NOW)
    assert applied.drift == drift.TableDrift((f"the elements of {name}",), applied.drift.who)
    assert applied.problems == ()
    assert outcomes(world, ("p0", "p2", 80), ("p1", "p2", 80)) == [Outcome.ALLOWED, Outcome.TIMEOUT]
    assert reconciler.apply(wanted, inventory, NOW).drift is None


@pytest.mark.parametrize("ports", [("80", "443"), ("80", "443", "8080", "9090")], ids=["rules", "a map"])
def test_a_rule_that_goes_takes_itself_out(world, reconciler, inventory, rules_written, ports):
    rules = [entry(f"to {port}", Verdict.ALLOW, "web", "data", Traffic(TCP, parse_ports(port))) for port in ports]
    reconciler.apply(policy(*rules), inventory, NOW)
    assert outcomes(world, ("p0", "p2", 80), ("p0", "p2", 443)) == [Outcome.ALLOWED] * 2
    applied, written = rules_written(lambda: reconciler.apply(policy(rules[0], *rules[2:]), inventory, NOW))
    assert (applied.action, applied.problems, written) == (AppliedAction.SWAP, (), [])
    assert outcomes(world, ("p0", "p2", 80), ("p0", "p2", 443)) == [Outcome.ALLOWED, Outcome.TIMEOUT]
    assert reconciler.apply(policy(rules[0], *rules[2:]), inventory, NOW).drift is None
    assert reconciler.apply(policy(*rules), inventory, NOW).problems == ()
    assert outcomes(world, ("p0", "p2", 443)) == [Outcome.ALLOWED]
