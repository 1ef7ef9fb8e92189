"""The ruleset as text, for people to read, in `golden/<case>/ruleset.nft`; and its parts.

`python -m tests.enforcer.test_ruleset` writes the golden files anew: read the difference.
"""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from enforcer.rules.members.zone_ids import ZoneKey
from enforcer.rules.ruleset import Mode, RulesetOptions, RulesetPlan, build, lockdown
from enforcer.rules.table import diff, remark
from zones.addresses.inventory import Inventory, Node, Pod
from zones.net import ICMP, TCP, UDP, AddressSet, parse_ports
from zones.policy import Entry, InfrastructureRule, Policy, Traffic, Verdict, usual_infrastructure
from zones.rules import Log, Origin, RuleType
from zones.schedule import Absolute, Schedule
from zones.zone import Zoning

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


def pod(name, number, zone=None, node="n1", namespace="shop"):
    labels = {} if zone is None else {"zonebridge.io/zone": zone}
    addresses = ip_address(f"10.244.{node[1]}.{number}"), ip_address(f"fd00:244:1::{number}")
    return Pod(name, namespace, name, node, "Running", addresses, labels, name, allowed=frozenset({"*"}))


PODS = (pod("cart", 2, "web"), pod("orders", 3, "app"), pod("mysql", 4, "data"), pod("lost", 5, "wEb"), pod("plain", 6),
        pod("coredns", 7, "system", namespace="kube-system"), pod("away", 8, "app", "n2"))  # fmt: skip
NODES = (
    Node("n1", (ip_address("192.168.0.1"),), (ip_network("10.244.1.0/24"),)),
    Node("n2", (ip_address("192.168.0.2"),), (ip_network("10.244.2.0/24"),)),
)
INVENTORY = Inventory({each.uid: each for each in PODS}, {each.name: each for each in NODES})
ZONING = Zoning.of({"corp": [ip_network("10.0.0.0/8")], "untrust": [ip_network("0.0.0.0/0"), ip_network("::/0")]})
INFRASTRUCTURE = usual_infrastructure(frozenset({"kube-system"}), frozenset({"kube-system"}), frozenset({"coredns"}))


def entry(name, verdict, from_zones=None, to_zones=None, **more):
    zones = (None if each is None else frozenset(each.split()) for each in (from_zones, to_zones))
    pairing = more.pop("pairing", RuleType.UNIVERSAL)
    return Entry(Origin(name, None, "pre", "k8s"), verdict, pairing, *zones, **more)


DEFAULTS = (
    Entry(Origin("intrazone-default", None, "default", "Shared"), Verdict.ALLOW, RuleType.INTRAZONE),
    Entry(Origin("interzone-default", None, "default", "Shared"), Verdict.DENY),
)
LUNCH = Schedule("lunch", (Absolute(datetime(2026, 3, 2, 12), datetime(2026, 3, 2, 13)),))
CASES = {
    "zones": Policy(
        ZONING,
        INFRASTRUCTURE,
        (
            entry(
                "web-to-app",
                Verdict.ALLOW,
                "web",
                "app",
                traffic=(Traffic(TCP, parse_ports("8080")),),
                log=Log(start=True),
            ),
            entry("app-to-mysql", Verdict.ALLOW, "app", "data", traffic=(Traffic(TCP, destination_workload="mysql"),)),
            entry("ping", Verdict.ALLOW, "untrust", "web", traffic=(Traffic(ICMP, icmp_type=8),)),
            *DEFAULTS,
        ),
    ),
    "addresses": Policy(
        ZONING,
        (),
        (
            entry(
                "blocklist", Verdict.RESET, sources=AddressSet.parse(["192.0.2.0/25", "2001:db8::/32", "198.51.100.7"])
            ),
            entry(
                "one-host",
                Verdict.ALLOW,
                "untrust",
                "web",
                sources=AddressSet.parse(["203.0.113.5"]),
                traffic=(Traffic(TCP, parse_ports("80,443,8000-8999")), Traffic(ports=parse_ports("53"))),
            ),
            entry("only-lunch", Verdict.ALLOW, "web", "data", schedule=LUNCH),
            *DEFAULTS,
        ),
    ),
    "hostile-names": Policy(
        Zoning(),
        (),
        (entry('drop"; }\nflush ruleset\n# ünïcode ' + "x" * 200, Verdict.DENY, 'a "b" } c\n', "web"), *DEFAULTS),
    ),
    "ends": Policy(
        Zoning(),
        (),
        (
            entry("to-app", Verdict.ALLOW, "web", "app", log=Log(end=True)),
            entry("to-data", Verdict.ALLOW, "app", "data", log=Log(start=True, end=True, profile="siem")),
            entry("from-data", Verdict.RESET, "data"),
            *DEFAULTS,
        ),
    ),
    "lockdown": lockdown(),
}
OBSERVED = {"observe": CASES["zones"]}


def ruleset(case):
    options = RulesetOptions(mode=Mode.OBSERVE) if case in OBSERVED else RulesetOptions()
    inventory = INVENTORY.with_pod(pod("odd", 9, 'a "b" } c\n')) if case == "hostile-names" else INVENTORY
    return build((CASES | OBSERVED)[case], inventory, "n1", NOW, options)


def rendered(case):
    return ruleset(case).text()


@pytest.mark.parametrize("case", [*CASES, *OBSERVED])
def test_golden(case):
    golden = GOLDEN / case / "ruleset.nft"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(rendered(case))
    assert rendered(case) == golden.read_text()


def table(policy=CASES["zones"], inventory=INVENTORY, now=NOW):
    return build(policy, inventory, "n1", now).table


def test_the_same_input_in_any_order_gives_the_same_text():
    backwards = Inventory(dict(reversed(INVENTORY.pods.items())), dict(reversed(INVENTORY.nodes.items())))
    assert table(inventory=backwards).text() == table().text()
    assert not diff(table(), table(inventory=backwards))


def test_special_is_whom_infrastructure_may_concern_and_who_is_cut_off():
    cut_off = replace(pod("eve", 20, "data"), allowed=frozenset({"web"}))
    sets = table(inventory=INVENTORY.with_pod(cut_off)).sets
    special = set(sets["special4"].elements)
    assert special == {"10.244.1.7", "10.244.1.20", "192.168.0.1", "192.168.0.2"}
    assert {at for at, value in sets["addresses4"].elements.items() if value.startswith(" : 0x00000001 ")} == special


@pytest.mark.parametrize("rule", [InfrastructureRule("any"), InfrastructureRule("neighbours", own_node=True)])
def test_where_infrastructure_may_concern_anybody_nobody_takes_the_short_way(rule):
    assert "neither is special" in table().text()
    text = table(replace(CASES["zones"], infrastructure=(rule,))).text()
    assert "neither is special" not in text
    assert "@special4" not in text


def test_a_new_pod_changes_elements_only():
    change = diff(table(), table(inventory=INVENTORY.with_pod(pod("cart-2", 20, "web"))))
    assert not change.structural
    whole_sets = {f"{name}{family}" for name in ("addresses", "local", "selves") for family in (4, 6)}
    assert set(change.elements) == {*whole_sets, "peer4-9697f7b61a10", "peer6-9697f7b61a10"}
    assert change.elements["addresses4"].gone == ()
    assert change.elements["addresses4"].added == {"10.244.1.20": ' : 0x00000000 . "web"'}


def test_a_pod_in_a_zone_nobody_knows_needs_its_pairs_too():
    change = diff(table(), table(inventory=INVENTORY.with_pod(pod("new", 20, "unheard-of"))))
    assert not change.structural
    assert '"unheard-of" . "unheard-of"' in change.elements["pairs4"].added


def test_what_a_plan_has_forgotten_it_makes_again_under_the_same_names():
    plan = RulesetPlan(CASES["zones"], "n1", NOW)
    zones, networks = {ZoneKey("web", of_pods=True)}, AddressSet.of([ip_network("10.244.0.0/16")])
    first = plan.ruleset(zones, networks)
    assert plan.ruleset(zones, networks).text() == first.text()
    more = plan.ruleset(zones | {ZoneKey("elsewhere", of_pods=True)}, networks).table
    assert first.table.chains.items() <= more.chains.items()


def test_zones_without_rules_of_their_own_share_one_way():
    pods = {f"{n}": pod(f"{n}", n, f"zone-{n}") for n in range(10, 200)}
    many = table(inventory=Inventory(pods, INVENTORY.nodes))
    assert len([name for name in many.chains if name.startswith("pair4-")]) <= 4
    assert len(many.sets["pairs4"].elements) < 2 * len(pods)


def test_rules_that_all_pairs_share_stand_once():
    blocks = [entry(f"block {n}", Verdict.DENY, sources=AddressSet.parse([f"192.0.2.{n}"])) for n in range(30)]
    policy = Policy(ZONING, (), (*blocks, *CASES["zones"].entries))
    sets = table(policy).sets
    assert [len(each.elements) for name, each in sets.items() if name.startswith("nets4")] == [30]
    few = Policy(ZONING, (), (*blocks[:5], *CASES["zones"].entries))
    chains = table(few).chains
    assert len([rule for each in chains.values() for rule in each.rules if "192.0.2.4 goto" in rule]) == 1
    assert [len(each.rules) for name, each in chains.items() if name.startswith("common4")] == [5]


def test_rules_behind_one_that_always_matches_are_left_out():
    policy = Policy(ZONING, (), (entry("all", Verdict.ALLOW), *CASES["zones"].entries))
    assert {
        rule.split()[0] for name, each in table(policy).chains.items() if "pair" in name for rule in each.rules
    } == {"goto"}


def test_a_schedule_is_in_the_rules_while_it_is_open():
    policy = CASES["addresses"]
    assert build(policy, INVENTORY, "n1", NOW).next_change == NOW + timedelta(hours=1)
    later = build(policy, INVENTORY, "n1", NOW + timedelta(hours=1))
    assert later.next_change is None
    assert "only-lunch" not in {origin.name for origin in later.origins.values()}


def test_every_log_prefix_is_of_a_known_rule():
    made = build(CASES["zones"], INVENTORY, "n1", NOW)
    prefixes = {
        rule.split('prefix "zb:')[1][:12]
        for each in made.table.chains.values()
        for rule in each.rules
        if "prefix" in rule
    }
    assert prefixes <= made.origins.keys()
    assert {made.origins[each].name for each in prefixes} == {
        "web-to-app",
        "interzone-default",
        "infrastructure/untracked",
        "infrastructure/tunnel-port",
        "infrastructure/isolated",
        "infrastructure/quarantined",
        "infrastructure/spoofed-address",
        "infrastructure/unknown-pod",
        "infrastructure/link-local",
        "infrastructure/broadcast",
        "infrastructure/router-message",
        "infrastructure/icmp-error",
        "infrastructure/no-connection",
        "infrastructure/unjudged",
    }


def test_empty_ports_match_nothing():
    nothing = Traffic(UDP, ports=parse_ports("1") - parse_ports("1"))
    policy = Policy(ZONING, (), (entry("never", Verdict.DENY, traffic=(nothing,)), *DEFAULTS))
    assert "never" not in {origin.name for origin in build(policy, INVENTORY, "n1", NOW).origins.values()}


def test_a_remark_is_plain_and_short():
    assert remark('a"b\n\\{}$`ü') == "a_b_______"
    assert len(remark("x" * 500)) == 100


if __name__ == "__main__":
    for each in [*CASES, *OBSERVED]:
        (GOLDEN / each).mkdir(parents=True, exist_ok=True)
        (GOLDEN / each / "ruleset.nft").write_text(rendered(each))
