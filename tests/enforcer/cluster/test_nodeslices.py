"""Of each other node what it says itself, or what the bridge says in its place: never both, and nothing gets lost between."""

from ipaddress import ip_address, ip_network

from hypothesis import example, given, settings
from hypothesis import strategies as st

from enforcer.cluster.node_slices import NodeSlices
from zones.addresses.index import AddressOwners
from zones.addresses.inventory import Node, Pod, UnownedAddress
from zones.tiers.slices import PodSlice

KEY = "zonebridge.io/zone"
BRIDGES = ["panorama-x-0", "panorama-x-1"]
OWN = ["0.n2", "1.n2"]


def pod(at, zone):
    return Pod(f"{at}-{zone}", "shop", f"p{at}", "n2", "Running", (ip_address(f"10.2.0.{at}"),), {KEY: zone}, "w")


def known():
    holders = AddressOwners()
    holders.replace(None, Node("n2", (ip_address("192.0.2.2"),), (ip_network("10.2.0.0/24"),)))
    return holders


CONTENTS = st.dictionaries(st.integers(1, 4), st.sampled_from(["web", "db"]), max_size=3)
STEPS = st.lists(
    st.tuples(st.sampled_from([*BRIDGES, *OWN]), st.sampled_from(["n2", "n3"]), st.none() | CONTENTS), max_size=12
)


def judged(steps, holders):
    """The slices after these steps, plainly: the bridge's where there are any of a node, else its own."""
    held = {}
    for name, node, contents in steps:
        held.pop(name, None)
        if contents is not None:
            pods = tuple(pod(at, zone) for at, zone in contents.items())
            ends = () if name != "0.n2" else (ip_address("10.2.0.0"),)
            held[name] = PodSlice(name, node, pods, addresses=ends)
    for told in held.values():
        of_bridge = any(each.node == told.node and not each.is_own for each in held.values())
        if not told.is_own or not of_bridge:
            holders.replace_slice(told.name, told.node, told.pods)
            holders.tell_tunnels(told.node, told.name, told.addresses)
    return holders


@settings(max_examples=300)
@given(STEPS)
@example([("0.n2", "n2", {1: "web"}), ("1.n2", "n2", {1: "db"}), ("0.n2", "n2", {1: "web"})])
def test_the_bridge_is_believed_over_the_node_and_the_node_where_it_says_nothing(steps):
    holders = known()
    made = NodeSlices(holders)
    for name, node, contents in steps:
        if contents is None:
            made.forget(name)
            continue
        pods = tuple(pod(at, zone) for at, zone in contents.items())
        made.keep(PodSlice(name, node, pods, addresses=() if name != "0.n2" else (ip_address("10.2.0.0"),)))
    assert holders.snapshot() == judged(steps, known()).snapshot()


def test_a_node_that_says_what_is_not_so_is_not_believed_while_the_bridge_says_otherwise():
    holders = known()
    made = NodeSlices(holders)
    made.keep(PodSlice("0.n2", "n2", (pod(1, "data"),)))
    assert holders.of(ip_address("10.2.0.1")).labels == {KEY: "data"}
    made.keep(PodSlice(BRIDGES[0], "n2", (pod(1, "web"),)))
    assert holders.of(ip_address("10.2.0.1")).labels == {KEY: "web"}
    made.keep(PodSlice("0.n2", "n2", (pod(1, "data"), pod(2, "data"))))
    assert holders.of(ip_address("10.2.0.1")).labels == {KEY: "web"}
    assert holders.of(ip_address("10.2.0.2")) is UnownedAddress.UNKNOWN
    made.forget(BRIDGES[0])
    assert holders.of(ip_address("10.2.0.2")).labels == {KEY: "data"}
