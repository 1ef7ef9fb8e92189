"""A denial to an external dynamic list, from the rulebase to the record: who was it, to what, and by which list."""

from datetime import UTC, datetime
from ipaddress import ip_address

import pytest

from enforcer.flows import flows
from enforcer.netlink.nflog import Packet
from enforcer.reports.alert_table import AlertTable
from enforcer.restart import saved, snapshot
from enforcer.rules.members.address_index import ElementDelta
from enforcer.rules.options import RulesetOptions
from enforcer.rules.ruleset import build
from tests.enforcer import smallcluster as world
from tests.enforcer.reports.test_flows import NAMES, stamp
from zones.addresses.inventory import Inventory
from zones.compile import compile_policy
from zones.net import AddressSet
from zones.policy import Blocklists
from zones.rules import (
    Action,
    Addresses,
    AddressObject,
    Feed,
    FeedKind,
    Origin,
    Rule,
    Rulebase,
    RuleType,
)
from zones.tiers import native
from zones.zone import Zoning

NOW = datetime(2026, 11, 21, tzinfo=UTC)
LIST = Feed("bad-ips", FeedKind.IP_LIST, "https://feeds.example/bad")
ORIGIN = Origin("known bad", None, "pre", "k8s")


def ruleset():
    """As it is on a node: compiled, published, read back, built."""
    to = Addresses((AddressObject("bad-ips", feeds=("bad-ips",)),))
    rules = (Rule(ORIGIN, Action.DENY, destinations=to),)
    intrazone = Rule(Origin("intrazone-default", None, "default", ""), Action.ALLOW, RuleType.INTRAZONE)
    interzone = Rule(world.DENY_ALL, Action.DENY)
    rulebase = Rulebase("k8s", rules, intrazone, interzone, frozenset({"web"}), (LIST,))
    compiled = compile_policy(rulebase, Zoning(), feeds={"bad-ips": AddressSet.parse(["203.0.113.0/24"])})
    made = native.render(compiled.policy, "panorama", 1)
    policy = native.parse(made.tier, {part["metadata"]["name"]: part for part in made.parts})
    return build(policy, Inventory(), "n1", NOW)


def alert(terminals, key):
    packet = Packet(f"zb:{key}:o", ip_address("10.1.0.10"), ip_address("203.0.113.9"), 6, 40000, 443, length=60)
    seen = flows.read(packet, terminals, 1.0)
    (told,) = AlertTable().denied(flows.name(seen, NAMES))
    return told.record(stamp())


@pytest.fixture(scope="module")
def made():
    return ruleset()


def key_of(terminals, origin):
    return next(key for key, each in terminals.items() if each.origin == origin)


def test_a_denied_connection_to_a_list_is_a_blocklist_hit(made):
    record = alert(made.terminals, key_of(made.terminals, ORIGIN))
    assert (record["alert"], record["severity"]) == ("blocklist-hit", "high")
    assert record["rule"]["name"] == "known bad"
    assert record["blocklists"] == {"destinations": ["bad-ips"]}
    assert (record["source"]["workload"], record["destination"]["address"]) == ("web", "203.0.113.9")


def test_any_other_denial_is_none(made):
    record = alert(made.terminals, key_of(made.terminals, world.DENY_ALL))
    assert record["alert"] == "denied-flow"
    assert "blocklists" not in record


def test_it_is_still_known_after_a_restart_of_the_node(made, tmp_path):
    saved.save(tmp_path, saved.Saved(1, made.table, ElementDelta(), made.terminals, RulesetOptions()))
    kept = saved.terminals(snapshot.read(tmp_path))
    assert kept == made.terminals
    assert kept[key_of(kept, ORIGIN)].blocklists == Blocklists((), ("bad-ips",))
