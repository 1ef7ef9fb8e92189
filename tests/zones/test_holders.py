"""The holders answer as the inventory does, whatever came before; and tell every address whose holder is another."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from zones.holders import Holders
from zones.inventory import Inventory, Node, Pod, Stranger, endpoint
from zones.remote import address_of
from zones.zone import Zoning

KEY = "zonebridge.io/zone"
ZONING = Zoning.of({"corp": [ip_network("10.0.0.0/8")]})
TEXTS = ["10.1.1.1", "10.1.1.2", "10.1.2.1", "192.0.2.1", "fd00:1::1", "fd00:2::1", "::a01:101"]
ADDRESSES = [ip_address(text) for text in TEXTS]
CIDRS = {"n1": ["10.1.1.0/24"], "n2": ["10.1.2.0/24", "fd00:2::/64"], "n3": []}
RIGHTS = [None, frozenset({"web"}), frozenset({"*"})]


def pod(uid, node, addresses, *, zone="web", namespace="shop", allowed=None, **more):
    held = tuple(map(ip_address, addresses))
    return Pod(uid, namespace, uid, node, "Running", held, {KEY: zone}, f"w-{uid}", allowed=allowed, **more)


def node(name, address="192.0.2.9", cidrs=None, *, ready=True):
    told = CIDRS[name] if cidrs is None else cidrs
    return Node(name, (ip_address(address),), tuple(map(ip_network, told)), ready)


class Model:
    """Everything as it is, plainly; the inventory of it is what the holders must agree with."""

    def __init__(self, networks):
        self.networks = tuple(map(ip_network, networks))
        self.own, self.nodes, self.slices, self.allowed = {}, {}, {}, {}

    def inventory(self):
        remote = {pod.uid: pod for pods in self.slices.values() for pod in pods}
        held = {**self.own, **remote}
        entitled = {uid: _with(pod, self.allowed.get(pod.namespace)) for uid, pod in held.items()}
        return Inventory(entitled, self.nodes, self.networks)


def _with(pod, allowed):
    return replace(pod, allowed=allowed)


own_pods = st.builds(
    lambda uid, addresses, zone, namespace, stopped: pod(
        uid, "n1", addresses, zone=zone, namespace=namespace, terminating=stopped is not None, stopped=bool(stopped)
    ),
    st.sampled_from(["o1", "o2"]),
    st.lists(st.sampled_from(TEXTS), max_size=2, unique=True),
    st.sampled_from(["web", "db"]),
    st.sampled_from(["shop", "lab"]),
    st.sampled_from([None, False, True]),
)
slice_pods = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.lists(st.sampled_from(TEXTS), max_size=2, unique=True),
        st.sampled_from(["web", "db"]),
        st.sampled_from(["shop", "lab"]),
        st.booleans(),
    ),
    max_size=4,
    unique_by=lambda each: each[0],
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("own"), own_pods),
        st.tuples(st.just("own gone"), st.sampled_from(["o1", "o2"])),
        st.tuples(st.just("slice"), st.sampled_from(["a", "b"]), st.sampled_from(["n2", "n3"]), slice_pods),
        st.tuples(st.just("node"), st.sampled_from(list(CIDRS)), st.sampled_from(["192.0.2.1", "192.0.2.9"]), st.booleans(), st.booleans()),
        st.tuples(st.just("node gone"), st.sampled_from(list(CIDRS))),
        st.tuples(st.just("right"), st.sampled_from(["shop", "lab"]), st.sampled_from(RIGHTS)),
    ),
    max_size=12,
)  # fmt: skip


def take(model, holders, step):
    match step:
        case "own", fresh:
            fresh = _with(fresh, model.allowed.get(fresh.namespace))
            holders.replace(model.own.get(fresh.uid), fresh)
            model.own[fresh.uid] = fresh
        case "own gone", uid:
            holders.replace(model.own.pop(uid, None), None)
        case "slice", name, where, told:
            pods = [
                pod(f"{name}{n}", where, at, zone=zone, namespace=space, terminating=terminating)
                for n, at, zone, space, terminating in told
            ]
            holders.replace_slice(name, where, pods)
            model.slices[name] = pods
        case "node", name, address, tells, ready:
            fresh = node(name, address, None if tells else [], ready=ready)
            holders.replace(model.nodes.get(name), fresh)
            model.nodes[name] = fresh
        case "node gone", name:
            holders.replace(model.nodes.pop(name, None), None)
        case "right", namespace, allowed:
            model.allowed[namespace] = allowed
            holders.entitle(namespace, allowed)
            for uid, before in model.own.items():
                if before.namespace == namespace:
                    model.own[uid] = _with(before, allowed)
                    holders.replace(before, model.own[uid])


def zone(holder, address):
    """What the kernel must know: the zone, and for pods the workload and namespace."""
    told = endpoint(address, holder, ZONING)
    return told.zone, told.workload, told.namespace, told.is_node


def by_address(told):
    return {address_of(key): holder for key, holder in told.items()}


def changed(holders):
    return by_address(holders.take_changed())


@settings(max_examples=300)
@given(st.sampled_from([[], ["10.1.0.0/16"]]), steps)
def test_whatever_changes_they_agree_with_the_inventory(networks, changes):
    model, kernel = Model(networks), {}
    holders = Holders(model.networks)
    for change in changes:
        take(model, holders, change)
        kernel = {at: who for at, who in (kernel | changed(holders)).items() if who is not None}
    inventory = model.inventory()
    directory = inventory.directory()
    snapshot = by_address(holders.snapshot())
    assert snapshot.keys() == directory.held.keys() == kernel.keys()
    for address in ADDRESSES:
        found, wanted = holders.of(address), directory.holder(address)
        if not isinstance(wanted, Node):  # two nodes may say that they have an address
            assert zone(found, address) == zone(wanted, address)
        if isinstance(found, Pod) and isinstance(wanted, Pod):
            assert (found.name, found.node, found.addresses) == (wanted.name, wanted.node, wanted.addresses)
        if address in snapshot:
            assert zone(snapshot[address], address) == zone(found, address)
            assert zone(kernel[address], address) == zone(found, address)
    told = {at: {(each.namespace, each.name) for each in pods} for at, pods in holders.disputed()}
    assert told == {at: {(each.namespace, each.name) for each in pods} for at, pods in inventory.disputed()}
    pods = [each for each in inventory.pods.values() if each.holds_addresses]
    assert sum(count for _, count in holders.kinds()) == sum(1 for each in pods if each.addresses or each.node != "n1")
    assert {address in holders.pod_networks for address in ADDRESSES} == {
        address in directory.pod_networks for address in ADDRESSES
    }


def filled(*pods, right=frozenset({"*"})):
    holders = Holders()
    holders.replace(None, node("n2"))
    holders.entitle("shop", right)
    holders.replace_slice("s", "n2", pods)
    return holders


def test_a_slice_written_again_changes_only_what_is_other():
    first, second = pod("a", "n2", ["10.1.2.1"]), pod("b", "n2", ["10.1.2.2"])
    holders = filled(first, second)
    assert {str(at) for at in changed(holders)} == {"10.1.2.1", "10.1.2.2", "192.0.2.9"}
    holders.replace_slice("s", "n2", [pod("b", "n2", ["10.1.2.2"], zone="db"), first])
    ((address, holder),) = changed(holders).items()
    assert (str(address), ZONING.of_pod(holder.labels, holder.allowed)) == ("10.1.2.2", "db")
    holders.replace_slice("s", "n2", [])
    assert set(holders.take_changed().values()) == {None}
    assert list(holders.kinds()) == []


def test_pods_that_are_alike_are_told_by_one_object():
    twins = [pod(name, "n2", [f"10.1.2.{n}"]) for n, name in enumerate("ab", 1)]
    holders = filled(*(_named(twin, "cart") for twin in twins))
    one, other = (by_address(holders.snapshot())[ip_address(at)] for at in ("10.1.2.1", "10.1.2.2"))
    assert one is other
    assert (one.name, one.node, one.addresses) == ("", "", ())
    assert holders.of(ip_address("10.1.2.1")).name == "a"


def _named(each, workload):
    return replace(each, workload=workload)


def test_another_right_of_a_namespace_is_a_change_of_its_pods_alone():
    holders = filled(pod("a", "n2", ["10.1.2.1"]), pod("b", "n2", ["10.1.2.2"], namespace="lab"))
    holders.take_changed()
    holders.entitle("shop", None)
    ((address, holder),) = changed(holders).items()
    assert (str(address), ZONING.of_pod(holder.labels, holder.allowed)) == ("10.1.2.1", "zonebridge.io/isolated")
    holders.entitle("shop", None)
    assert holders.take_changed() == {}


def test_a_claim_that_can_not_be_is_no_claim_and_takes_nothing_from_the_holder():
    holders = filled(pod("a", "n2", ["10.1.2.1"]))
    holders.replace(None, node("n1"))
    thief = pod("thief", "n1", ["10.1.2.1", "10.1.1.9", "10.9.9.9"])
    holders.replace(None, thief)
    assert holders.of(ip_address("10.1.2.1")).name == "a"
    assert holders.of(ip_address("10.1.1.9")).name == "thief"
    assert holders.of(ip_address("10.9.9.9")) is None
    assert {str(address) for address, _ in holders.misplaced("n1")} == {"10.1.2.1", "10.9.9.9"}
    assert holders.disputed() == []


def test_a_pod_that_two_slices_tell_of_is_one_pod():
    holders = filled(pod("a", "n2", ["10.1.2.1"]))
    holders.replace_slice("t", "n2", [pod("a", "n2", ["10.1.2.1"])])
    assert holders.of(ip_address("10.1.2.1")).name == "a"
    holders.replace_slice("t", "n2", [pod("b", "n2", ["10.1.2.1"])])
    assert holders.of(ip_address("10.1.2.1")) is Stranger.DISPUTED
    holders.replace_slice("s", "n2", [])
    assert holders.of(ip_address("10.1.2.1")).name == "b"


def holder_of(holders, address):
    found = holders.of(ip_address(address))
    assert zone(by_address(holders.snapshot())[ip_address(address)], address) == zone(found, address)
    return found if isinstance(found, Stranger) else found.name


def test_a_pod_that_has_stopped_claims_nothing():
    holders = Holders()
    holders.replace(None, node("n1"))
    holders.replace(None, pod("stale", "n1", ["10.1.1.1"], terminating=True, stopped=True))
    assert holders.of(ip_address("10.1.1.1")) is Stranger.UNKNOWN
    holders.replace(None, pod("new", "n1", ["10.1.1.1"]))
    assert holder_of(holders, "10.1.1.1") == "new"


def test_a_pod_on_a_node_that_is_gone_or_lost_yields_its_address_to_another():
    """Where nodes tell no pod networks, a dead node's addresses are given out again at once."""
    holders = Holders()
    for name in ("n1", "n2"):
        holders.replace(None, node(name, cidrs=[]))
    holders.replace_slice("s", "n2", [pod("stale", "n2", ["10.9.0.1"], terminating=True)])
    holders.replace(None, pod("new", "n1", ["10.9.0.1"]))
    assert holder_of(holders, "10.9.0.1") is Stranger.DISPUTED
    holders.take_changed()

    holders.replace(node("n2", cidrs=[]), lost := node("n2", cidrs=[], ready=False))
    assert holder_of(holders, "10.9.0.1") == "new"
    assert {at: who.name for at, who in changed(holders).items() if isinstance(who, Pod)} == {
        ip_address("10.9.0.1"): "new"
    }
    assert holders.disputed() == []

    holders.replace_slice("s", "n2", [pod("stale", "n2", ["10.9.0.1"])])
    assert holder_of(holders, "10.9.0.1") is Stranger.DISPUTED, (
        "it isn't being deleted: it may run on a node that is cut off"
    )
    holders.take_changed()
    holders.replace(lost, None)
    assert holder_of(holders, "10.9.0.1") == "new"
    assert ip_address("10.9.0.1") in changed(holders)


def test_a_pod_that_yields_keeps_its_address_while_nobody_else_claims_it():
    holders = Holders()
    holders.replace(None, node("n2", cidrs=[], ready=False))
    holders.replace_slice("s", "n2", [pod("stale", "n2", ["10.9.0.1"], terminating=True)])
    assert holder_of(holders, "10.9.0.1") == "stale"
    holders.replace_slice("t", "n2", [pod("other", "n2", ["10.9.0.1"], terminating=True)])
    assert holder_of(holders, "10.9.0.1") is Stranger.DISPUTED
