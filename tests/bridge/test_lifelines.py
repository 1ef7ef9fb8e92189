"""A revision that would cut off the bridge itself is refused, in the administrator's words."""

import asyncio

import pytest

from bridge.errors import ManagerUnreachableError
from bridge.tier.infrastructure import LiveInfrastructure, WantedInfrastructure
from bridge.tier.lifelines import Dns, Lifeline, Lifelines
from tests.bridge.test_infrastructure import OWN, OWNERS, FakeCluster, slice_of
from tests.bridge.world import World, rule
from zones.infrastructure import BridgeNeeds, bridge_rules
from zones.net import AddressSet, Ranges
from zones.policy import Peer, Policy, usual_infrastructure
from zones.rules import Action, Addresses, AddressObject
from zones.zone import Zoning

PANORAMA, SIEM = Lifeline("Panorama", "198.51.100.7", 443), Lifeline("the SIEM destination 'hec'", "198.51.100.8", 8088)
OURS = Peer(namespaces=frozenset({OWN.namespace}), workloads=frozenset({"zonebridge"}))
NEEDS = BridgeNeeds(*[Ranges(((port, port),)) for port in (6443, 443, 8088)])
RULES = bridge_rules(OURS, NEEDS)
DNS = usual_infrastructure(frozenset(), frozenset({"kube-system"}), frozenset({"coredns"}))
DENY = rule("deny all", Action.DENY)


class OwnCluster(FakeCluster):
    """That we are a pod of."""

    def __init__(self, zone=None, *, host_network=False, ips=("10.244.1.9",)):
        pod = {
            "metadata": {
                "name": OWN.name,
                "namespace": OWN.namespace,
                "ownerReferences": OWNERS,
                "labels": {"zonebridge.io/zone": zone} if zone else {},
            },
            "spec": {"nodeName": "n1", "hostNetwork": host_network},
            "status": {"podIPs": [{"ip": ip} for ip in ips]},
        }
        super().__init__(slice_of("192.0.2.10"), {(OWN.namespace, OWN.name): pod})

    async def allowed_zones(self, namespace):
        assert namespace == OWN.namespace


def to_addresses(*prefixes):
    return Addresses((AddressObject("some", AddressSet.parse(prefixes)),))


def lifelines(cluster, targets=(PANORAMA, SIEM), node_at=lambda _: None):
    live = LiveInfrastructure(cluster, WantedInfrastructure())
    return Lifelines(cluster, OWN, targets, Dns("kube-system", "coredns"), live.ends, node_at)


def policy_of(*rules, infrastructure=(), **more):
    world = World(*rules, infrastructure=infrastructure, **more)
    asyncio.run(world.sync.once())
    return world.cluster.policy()


def lost(policy, cluster=None, **more):
    return asyncio.run(lifelines(cluster or OwnCluster(), **more).cut_off(policy))


def test_with_its_own_rules_nothing_cuts_it_off():
    assert lost(policy_of(DENY, infrastructure=(*RULES, *DNS))) == ()


def test_without_them_a_deny_is_told_with_what_it_takes_and_what_to_do():
    sentences = lost(policy_of(DENY))
    assert [each.split(", tcp/")[0].split(", udp/")[0] for each in sentences] == [
        "this revision would cut the bridge off from the API server at 192.0.2.10",
        "this revision would cut the bridge off from the cluster's DNS",
        "this revision would cut the bridge off from Panorama at 198.51.100.7 (198.51.100.7)",
        "this revision would cut the bridge off from the SIEM destination 'hec' at 198.51.100.8 (198.51.100.8)",
    ]
    assert "rule 'deny all' (pre of 'dg') denies zone 'default' to 'outside'" in sentences[0]
    assert "allow it in Panorama above that rule" in sentences[0]


def test_a_rulebase_that_allows_it_is_as_good():
    to = {"from_zones": frozenset({"default"})}
    assert lost(policy_of(rule("out", **to), DENY)) == ()
    at = to_addresses("198.51.100.0/24", "192.0.2.10")
    some = policy_of(rule("out", destinations=at, **to), rule("dns", to_zones=frozenset({"default"}), **to), DENY)
    assert lost(some) == ()


def test_an_api_server_on_a_node_is_judged_in_the_nodes_zone():
    denied = policy_of(rule("no nodes", Action.DENY, to_zones=frozenset({"nodes"})), rule("rest"))
    assert lost(denied) == ()
    (sentence,) = lost(denied, node_at=lambda at: {"192.0.2.10": "cp1"}.get(str(at)))
    assert "denies zone 'default' to 'nodes'" in sentence


def test_a_bridge_in_a_zone_that_it_may_not_use_has_not_even_its_own_rules():
    sentences = lost(policy_of(rule("all"), infrastructure=(*RULES, *DNS)), OwnCluster("web"))
    assert len(sentences) == 4
    assert "take the zone label from the bridge's Deployment" in sentences[0]


@pytest.mark.parametrize("cluster", [OwnCluster(host_network=True), FakeCluster(slice_of("192.0.2.10"))])
def test_a_bridge_that_is_no_pod_of_the_network_is_not_judged(cluster):
    assert lost(policy_of(DENY), cluster) == ()


def test_a_name_that_nobody_can_tell_is_not_judged_and_one_way_out_is_enough():
    unknown = Lifeline("Panorama", "panorama.invalid", 443)
    only_dns_and_api = policy_of(
        rule("out", destinations=to_addresses("192.0.2.10")), rule("in", to_zones=frozenset({"default"})), DENY
    )
    assert lost(only_dns_and_api, targets=(unknown,)) == ()


def test_such_a_revision_is_refused_and_the_last_good_one_stays():
    judged = lifelines(OwnCluster())
    world = World(rule("all"), cut_off=judged.cut_off)
    assert asyncio.run(world.sync.once()).revision == 1
    world.manager.commit(DENY, rule("all"))
    outcome = asyncio.run(world.sync.once())
    assert outcome.revision == 1
    assert outcome.problem.reason == "CutsOffBridge"
    assert world.condition("Compiled") == ("False", "CutsOffBridge")
    assert ("RevisionRefused", False) in world.sink.told
    world.manager.commit(rule("all"), rule("more"))
    assert asyncio.run(world.sync.once()).revision == 2


def test_a_first_revision_is_refused_too_and_nothing_is_published():
    world = World(DENY, cut_off=lifelines(OwnCluster()).cut_off)
    outcome = asyncio.run(world.sync.once())
    assert (outcome.revision, world.cluster.tier_object) == (0, None)
    assert ("RevisionRefused", False) in world.sink.told


def test_the_live_policy_is_not_asked_about_again_and_again():
    asked = []

    async def cut_off(policy):
        asked.append(policy)
        return ()

    world = World(rule("all"), cut_off=cut_off)
    for _ in range(3):
        asyncio.run(world.sync.once())
    assert len(asked) == 1
    assert isinstance(asked[0], Policy)
    assert asked[0].zoning == Zoning()


def test_an_adopted_tier_is_not_given_an_infrastructure_that_cuts_off():
    """As by settings that a manager that is away can't make good."""

    async def none():
        return ()

    async def all_():
        return (*RULES, *DNS)

    world = World(DENY, infrastructure_of=all_, cut_off=lifelines(OwnCluster()).cut_off)
    assert asyncio.run(world.sync.once()).revision == 1
    for trouble in (None, ManagerUnreachableError("it is away")):
        world.infrastructure_of = none
        world.restart()
        world.manager.trouble = trouble
        outcome = asyncio.run(world.sync.once())
        assert (outcome.revision, outcome.problem.reason) == (1, "CutsOffBridge")
        assert next(each.name for each in world.cluster.policy().infrastructure) == "bridge-to-api-server"
