"""Infrastructure rules that only a live cluster can tell: its API server's ends, and which pod the bridge is."""

import asyncio

import pytest

from bridge.errors import ManagerUnreachableError
from bridge.settings.models import BridgeSettings
from bridge.tier.infrastructure import LiveInfrastructure, OwnPod, WantedInfrastructure, ends_of, own_pod
from bridge.wiring.infrastructure import bridge_needs, own_standing
from tests.bridge.world import World, rule
from zones.infrastructure import ApiServerEnds, BridgeNeeds
from zones.kube.errors import ClusterUnreachableError
from zones.net import AddressSet, Ranges
from zones.policy import Peer

OWN = OwnPod("zonebridge-system", "zonebridge-7d9f8c6b5d-x2k4p")
OWNERS = [{"kind": "ReplicaSet", "name": "zonebridge-7d9f8c6b5d", "controller": True}]


def slice_of(*addresses, ports=(6443,)):
    return {
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"} for port in ports],
    }


class FakeCluster:
    """Answers from `endpoints` and `pods`, or raises `trouble`."""

    def __init__(self, endpoints=None, pods=None, nodes=()):
        self.endpoints = endpoints
        self.nodes = nodes
        self.pods = pods or {}
        self.trouble = None

    async def api_server_endpoints(self):
        if self.trouble:
            raise self.trouble
        return self.endpoints

    async def control_plane_nodes(self):
        return list(self.nodes)

    async def pod(self, namespace, name):
        return self.pods.get((namespace, name))


def own_pods(owners=OWNERS):
    return {(OWN.namespace, OWN.name): {"metadata": {"name": OWN.name, "ownerReferences": owners}}}


def named(live):
    return {each.name: each for each in asyncio.run(live.rules())}


def test_the_api_servers_ends_are_those_that_it_keeps_itself():
    rules = named(LiveInfrastructure(FakeCluster(slice_of("192.0.2.10", "192.0.2.11")), WantedInfrastructure()))
    at = AddressSet.parse(["192.0.2.10", "192.0.2.11"])
    assert rules["api-server"].destination == Peer(addresses=at)
    assert str(rules["api-server"].traffic[0].ports) == "6443"
    assert rules["from-api-server"].source == Peer(addresses=at)
    assert not [name for name in rules if name.startswith("bridge")]


def node(name, address):
    return {"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": address}]}}


def test_where_the_api_server_runs_on_nodes_these_are_named():
    """They ask from the ends of their tunnels too."""
    nodes = [node("cp1", "192.0.2.10"), node("cp2", "192.0.2.99")]
    rules = named(LiveInfrastructure(FakeCluster(slice_of("192.0.2.10"), nodes=nodes), WantedInfrastructure()))
    assert rules["from-api-server-nodes"].source == Peer(nodes=True, node_names=frozenset({"cp1"}))
    assert "from-api-server-nodes" not in named(
        LiveInfrastructure(FakeCluster(slice_of("192.0.2.10")), WantedInfrastructure())
    )


def test_configured_ends_come_on_top():
    at = AddressSet.parse(["198.51.100.0/28"])
    wanted = WantedInfrastructure(ApiServerEnds(at, Ranges(((443, 443),))))
    rules = named(LiveInfrastructure(FakeCluster(slice_of("192.0.2.10")), wanted))
    assert rules["api-server"].destination.addresses == at | AddressSet.parse(["192.0.2.10"])
    assert str(rules["api-server"].traffic[0].ports) == "443,6443"


@pytest.mark.parametrize("later", [None, {}, slice_of(), slice_of("not an address"), slice_of("192.0.2.9", ports=())])
def test_what_tells_of_no_end_leaves_the_last_known_ones(later):
    cluster = FakeCluster(slice_of("192.0.2.10"))
    live = LiveInfrastructure(cluster, WantedInfrastructure())
    before = named(live)
    cluster.endpoints = later
    assert named(live) == before
    cluster.endpoints = slice_of("192.0.2.20")
    assert named(live)["api-server"].destination.addresses == AddressSet.parse(["192.0.2.20"])


def test_where_the_cluster_cannot_be_asked_the_last_known_ones_stay():
    cluster = FakeCluster(slice_of("192.0.2.10"))
    live = LiveInfrastructure(cluster, WantedInfrastructure())
    cluster.trouble = ClusterUnreachableError("no answer")
    with pytest.raises(ClusterUnreachableError):
        named(live)
    cluster.trouble = None
    before = named(live)
    cluster.trouble = ClusterUnreachableError("no answer")
    assert named(live) == before


@pytest.mark.parametrize("text", ["0.0.0.0", "127.0.0.1", "::1", "224.0.0.1", "10.0.0.0/8", ""])
def test_an_address_that_is_no_servers_is_left_out(text):
    assert not ends_of(slice_of(text)).addresses


def test_the_bridge_is_known_by_its_pods_controller():
    wanted = WantedInfrastructure(
        own=OWN, needs=BridgeNeeds(Ranges(((443, 443),)), Ranges(((443, 443),)), Ranges(((8088, 8088),)))
    )
    rules = named(LiveInfrastructure(FakeCluster(slice_of("192.0.2.10"), own_pods()), wanted))
    ours = Peer(namespaces=frozenset({"zonebridge-system"}), workloads=frozenset({"zonebridge"}))
    bridge = {name: each for name, each in rules.items() if name.startswith("bridge")}
    assert list(bridge) == ["bridge-to-api-server", "bridge-to-panorama", "bridge-to-siem", "bridge-to-dns"]
    assert {each.source for each in bridge.values()} == {ours}
    assert str(bridge["bridge-to-api-server"].traffic[0].ports) == "443,6443"


def test_a_pod_that_is_not_there_is_guessed_from_its_name_and_a_setting_is_believed():
    cluster = FakeCluster(slice_of("192.0.2.10"))
    guessed = named(LiveInfrastructure(cluster, WantedInfrastructure(own=OWN)))["bridge-to-dns"].source
    assert guessed.workloads == {"zonebridge"}
    told = named(LiveInfrastructure(cluster, WantedInfrastructure(own=OWN, workload="sync")))["bridge-to-dns"].source
    assert told.workloads == {"sync"}


def test_the_own_pod_is_told_by_the_downward_api_or_by_what_every_pod_has(tmp_path):
    assert own_pod({}, "host", tmp_path) is None
    (tmp_path / "namespace").write_text("ops\n")
    assert own_pod({}, "sync-x", tmp_path) == OwnPod("ops", "sync-x")
    assert own_pod({"POD_NAMESPACE": "zb", "POD_NAME": "zb-1"}, "host", tmp_path) == OwnPod("zb", "zb-1")


def settings(tmp_path, **infrastructure):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("clusters: [{name: c, cluster: {server: 'https://[2001:db8::1]:8443'}}]")
    return BridgeSettings.model_validate(
        {
            "panorama": {"hosts": ["panorama.example.com", "10.0.0.1:4443", "2001:db8::1"], "apiKeyFile": kubeconfig},
            "clusters": [
                {"name": "here", "deviceGroup": "dg", "inCluster": True},
                {"name": "there", "deviceGroup": "dg", "kubeconfig": kubeconfig},
            ],
            "siem": {
                "destinations": [
                    {"name": "hec", "type": "hec", "url": "https://siem.example.com:8088", "tokenFile": kubeconfig},
                    {"name": "plain", "type": "hec", "url": "http://siem.example.com", "tokenFile": kubeconfig},
                    {"name": "log", "type": "syslog", "address": "siem.example.com:6514"},
                ]
            },
            "infrastructure": infrastructure,
        }
    )


def test_the_bridge_needs_every_port_that_the_settings_name(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "444")
    needs = bridge_needs(settings(tmp_path))
    assert [str(each) for each in (needs.api_server, needs.panorama, needs.siem)] == [
        "444,8443",
        "443,4443",
        "80,6514,8088",
    ]


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("postgresql://zb@db.example.com/zb", "5432"),
        ("postgresql://zb@[2001:db8::1]:6432/zb", "6432"),
        ("postgresql://zb@/zb?host=/run/postgresql", ""),
        ("sqlite:////var/lib/zonebridge/evidence.db", ""),
    ],
)
def test_the_bridge_needs_its_database_and_nodes_its_collector(url, port):
    collector = {"address": "0.0.0.0:9470", "tokenFile": "/token"}
    needs = bridge_needs(BridgeSettings.model_validate({"evidence": {"url": url, "collector": collector}}))
    assert (str(needs.evidence), str(needs.collector)) == (port, "9470")


@pytest.mark.parametrize(
    ("infrastructure", "in_cluster", "expected"),
    [
        ({}, True, {"bridge-to-api-server", "bridge-to-panorama", "bridge-to-siem", "bridge-to-dns", "api-server"}),
        ({}, False, {"api-server"}),
        ({"apiServer": False}, False, set()),
        ({"apiServer": False}, True, {"bridge-to-api-server", "bridge-to-panorama", "bridge-to-siem", "bridge-to-dns"}),
        ({"enabled": False}, True, set()),
    ],
)
def test_the_settings_say_which_rules_there_are(tmp_path, monkeypatch, infrastructure, in_cluster, expected):
    monkeypatch.setenv("POD_NAMESPACE", OWN.namespace)
    monkeypatch.setenv("POD_NAME", OWN.name)
    given = settings(tmp_path, **infrastructure)
    cluster = FakeCluster(slice_of("192.0.2.1"), own_pods())
    standing = own_standing(given, given.clusters[not in_cluster], cluster, lambda _: None)
    assert {each.name for each in asyncio.run(standing.infrastructure())} - {"from-api-server"} == expected


def published(world):
    return {each.name: each for each in world.cluster.policy().infrastructure}


def test_a_change_of_the_endpoints_is_published_also_while_the_manager_is_away():
    cluster = FakeCluster(slice_of("192.0.2.10"))
    world = World(rule("r"), infrastructure_of=LiveInfrastructure(cluster, WantedInfrastructure()).rules)
    asyncio.run(world.sync.once())
    assert published(world)["api-server"].destination.addresses == AddressSet.parse(["192.0.2.10"])
    assert asyncio.run(world.sync.once()).revision == 1

    cluster.endpoints = slice_of("192.0.2.20")
    world.manager.trouble = ManagerUnreachableError("it is away")
    outcome = asyncio.run(world.sync.once())
    assert outcome.revision == 2
    assert published(world)["api-server"].destination.addresses == AddressSet.parse(["192.0.2.20"])


def test_a_tier_that_was_adopted_gets_the_infrastructure_of_today():
    cluster = FakeCluster(slice_of("192.0.2.10"))
    world = World(rule("r"), infrastructure_of=LiveInfrastructure(cluster, WantedInfrastructure()).rules)
    asyncio.run(world.sync.once())
    source = world.cluster.tier_object["spec"]["source"]
    cluster.endpoints = slice_of("192.0.2.20")
    world.restart()
    world.manager.trouble = ManagerUnreachableError("it is away")
    assert [asyncio.run(world.sync.once()).revision for _ in range(2)] == [2, 2]
    assert published(world)["api-server"].destination.addresses == AddressSet.parse(["192.0.2.20"])
    assert next(entry.origin.name for entry in world.cluster.policy().entries) == "r"
    assert world.cluster.tier_object["spec"]["source"] == source
