"""Whose an address is, and that nobody gets into a zone by an address alone."""

from ipaddress import ip_address, ip_network

from zones.addresses.inventory import Inventory, Node, Pod, UnownedAddress
from zones.zone import ISOLATED, Entitlement, Zoning

ADDRESS = ip_address("10.244.1.2")
ZONING = Zoning.of({"corp": [ip_network("10.0.0.0/8")]})
NODE = Node("n1", (ip_address("192.168.0.1"),), (ip_network("10.244.1.0/24"),))


def pod(uid="1", address=ADDRESS, **changes):
    fields = {"namespace": "shop", "name": "cart", "node": "n1", "phase": "Running", "workload": "cart"} | {
        "allowed": frozenset({"web"})
    }
    labels = {"zonebridge.io/zone": "web"}
    return Pod(**{"uid": uid, "addresses": (address,), "labels": labels} | fields | changes)


def zone_of(inventory, address=ADDRESS):
    return inventory.directory().endpoint(address, ZONING).zone


def test_a_running_pod_is_in_the_zone_it_claims_and_a_node_in_the_nodes():
    inventory = Inventory().with_pod(pod()).with_node(NODE)
    assert zone_of(inventory) == "web"
    assert inventory.directory().endpoint(ADDRESS, ZONING).workload == "cart"
    node = inventory.directory().endpoint(ip_address("192.168.0.1"), ZONING)
    assert (node.zone, node.is_node, node.node) == ("nodes", True, "n1")


def test_an_address_of_the_pod_networks_that_no_pod_has_is_outside_whatever_network_holds_it():
    assert zone_of(Inventory()) == "corp"
    assert zone_of(Inventory().with_node(NODE)) == "outside"
    assert zone_of(Inventory(networks=(ip_network("10.244.0.0/16"),))) == "outside"
    assert zone_of(Inventory().with_node(NODE), ip_address("10.244.2.1")) == "corp"


def test_an_address_that_two_running_pods_claim_is_trusted_to_neither():
    inventory = Inventory().with_pod(pod("1")).with_pod(pod("2"))
    assert inventory.directory().holder(ADDRESS) is UnownedAddress.DISPUTED
    assert zone_of(inventory) == "outside"
    assert [(at, {each.uid for each in pods}) for at, pods in inventory.disputed()] == [(ADDRESS, {"1", "2"})]
    assert zone_of(inventory.with_pod(pod("3"))) == "outside"
    assert zone_of(inventory.without_pod("2")) == "web"


def test_finished_unscheduled_and_host_network_pods_hold_no_address():
    for changes in ({"phase": "Succeeded"}, {"phase": "Failed"}, {"node": ""}, {"host_network": True}):
        inventory = Inventory().with_pod(pod("1", **changes)).with_pod(pod("2", labels={}, allowed=None))
        assert zone_of(inventory) == "default"


def test_a_pod_that_claims_a_zone_without_right_is_isolated():
    for allowed, zone in (
        (None, ISOLATED),
        (frozenset(), ISOLATED),
        ({"data"}, ISOLATED),
        ({"web"}, "web"),
        ({"*"}, "web"),
    ):
        assert zone_of(Inventory().with_pod(pod(allowed=allowed))) == zone
    annotated = Zoning(entitlement=Entitlement.ANNOTATED)
    assert annotated.of_pod({annotated.label_key: "web"}, None) == "web"
    assert annotated.of_pod({annotated.label_key: "web"}, frozenset({"data"})) == ISOLATED


def test_a_pod_can_not_take_a_nodes_address():
    inventory = Inventory().with_node(NODE).with_pod(pod(address=ip_address("192.168.0.1")))
    assert zone_of(inventory, ip_address("192.168.0.1")) == "nodes"
    assert zone_of(inventory.without_node("n1"), ip_address("192.168.0.1")) == "web"
