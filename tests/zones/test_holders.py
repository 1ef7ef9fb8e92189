"""The holders answer as the inventory does, whatever came before; and tell every address whose holder is another."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st

from zones.addresses.index import AddressOwners
from zones.addresses.inventory import Inventory, Node, Pod, UnownedAddress, endpoint
from zones.addresses.packed_pods import address_of
from zones.subjects import NOBODY, Subjects, mark_of
from zones.zone import Zoning

KEY = "zonebridge.io/zone"
ZONING = Zoning.of({"corp": [ip_network("10.0.0.0/8")]})
TEXTS = ["10.1.1.1", "10.1.1.2", "10.1.2.1", "192.0.2.1", "fd00:1::1", "fd00:2::1", "::a01:101"]
ADDRESSES = [ip_address(text) for text in TEXTS]
CIDRS = {"n1": ["10.1.1.0/24"], "n2": ["10.1.2.0/24", "fd00:2::/64"], "n3": []}
TOLD = [None, None, [], ["10.1.1.0/24"], ["10.1.0.0/16", "fd00:2::/64"], ["0.0.0.0/0"]]
RIGHTS = [None, frozenset({"web"}), frozenset({"*"})]


def pod(uid, node, addresses, *, zone="web", namespace="shop", allowed=None, **more):
    held = tuple(map(ip_address, addresses))
    return Pod(uid, namespace, uid, node, "Running", held, {KEY: zone}, f"w-{uid}", allowed=allowed, **more)


def node(name, address="192.0.2.9", cidrs=None, *, ready=True, tunnels=()):
    told = CIDRS[name] if cidrs is None else cidrs
    return Node(name, (ip_address(address),), tuple(map(ip_network, told)), ready, tuple(map(ip_address, tunnels)))


class Model:
    """Everything as it is, plainly; the inventory of it is what the holders must agree with."""

    def __init__(self, networks):
        self.networks = tuple(map(ip_network, networks))
        self.own, self.nodes, self.slices, self.allowed, self.tunnels = {}, {}, {}, {}, {}
        self.quarantined = NOBODY

    def inventory(self):
        remote = {pod.uid: pod for pods in self.slices.values() for pod in pods}
        held = {**self.own, **remote}
        entitled = {uid: self.as_it_is(pod) for uid, pod in held.items()}
        nodes = {
            name: replace(each, tunnels=(*each.tunnels, *self.tunnels.get(name, ())))
            for name, each in self.nodes.items()
        }
        return Inventory(entitled, nodes, self.networks)

    def as_it_is(self, pod):
        """With what holds of it now: what its namespace allows it, and quarantine."""
        among = self.quarantined.have(pod.namespace, pod.name, mark_of(pod.uid), pod.workload)
        return replace(pod, allowed=self.allowed.get(pod.namespace), quarantined=among)


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
NAMES = ["o1", "a0", "a1", "b0"]
quarantines = st.builds(
    Subjects,
    st.frozensets(st.tuples(st.just("shop"), st.sampled_from(NAMES), st.sampled_from(NAMES).map(mark_of)), max_size=3),
    st.frozensets(st.tuples(st.sampled_from(["shop", "lab"]), st.sampled_from(["w-o1", "w-a0", "w-b1"])), max_size=2),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("own"), own_pods),
        st.tuples(st.just("own gone"), st.sampled_from(["o1", "o2"])),
        st.tuples(st.just("slice"), st.sampled_from(["a", "b"]), st.sampled_from(["n2", "n3"]), slice_pods),
        st.tuples(st.just("node"), st.sampled_from(list(CIDRS)), st.sampled_from(["192.0.2.1", "192.0.2.9"]), st.sampled_from(TOLD), st.booleans()),
        st.tuples(st.just("node gone"), st.sampled_from(list(CIDRS))),
        st.tuples(
            st.just("tunnels"), st.sampled_from(list(CIDRS)), st.lists(st.sampled_from(TEXTS), max_size=2, unique=True)
        ),
        st.tuples(st.just("right"), st.sampled_from(["shop", "lab"]), st.sampled_from(RIGHTS)),
        st.tuples(st.just("quarantine"), quarantines),
    ),
    max_size=12,
)  # fmt: skip


def take(model, holders, step):  # noqa: C901 - one case for each kind of step
    match step:
        case "own", fresh:
            fresh = model.as_it_is(fresh)
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
            fresh = node(
                name,
                address,
                tells,
                ready=ready,
                tunnels=["10.1.1.1"] if address == "192.0.2.9" else [],
            )
            holders.replace(model.nodes.get(name), fresh)
            model.nodes[name] = fresh
        case "node gone", name:
            holders.replace(model.nodes.pop(name, None), None)
        case "tunnels", name, addresses:
            model.tunnels[name] = tuple(map(ip_address, addresses))
            holders.tell_tunnels(name, f"0.{name}", model.tunnels[name])
        case "right", namespace, allowed:
            model.allowed[namespace] = allowed
            holders.set_namespace_zones(namespace, allowed)
            for uid, before in model.own.items():
                if before.namespace == namespace:
                    model.own[uid] = _with(before, allowed)
                    holders.replace(before, model.own[uid])

        case "quarantine", subjects:
            model.quarantined = subjects
            holders.quarantine(subjects)
            for uid, before in model.own.items():
                model.own[uid] = model.as_it_is(before)
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
    holders = AddressOwners(model.networks)
    for change in changes:
        take(model, holders, change)
        kernel = {at: who for at, who in (kernel | changed(holders)).items() if who is not None}
    inventory = model.inventory()
    directory = inventory.directory()
    snapshot = by_address(holders.snapshot())
    assert snapshot.keys() == directory.owners.keys() == kernel.keys()
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
    assert sum(count for _, count in holders.pod_classes()) == sum(
        1 for each in pods if each.addresses or each.node != "n1"
    )
    assert {address in holders.pod_networks for address in ADDRESSES} == {
        address in directory.pod_networks for address in ADDRESSES
    }


def filled(*pods, right=frozenset({"*"})):
    holders = AddressOwners()
    holders.replace(None, node("n2"))
    holders.set_namespace_zones("shop", right)
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
    assert list(holders.pod_classes()) == []


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
    holders.set_namespace_zones("shop", None)
    ((address, holder),) = changed(holders).items()
    assert (str(address), ZONING.of_pod(holder.labels, holder.allowed)) == ("10.1.2.1", "zonebridge.io/isolated")
    holders.set_namespace_zones("shop", None)
    assert holders.take_changed() == {}


def test_a_claim_that_can_not_be_is_no_claim_and_takes_nothing_from_the_holder():
    holders = filled(pod("a", "n2", ["10.1.2.1"]))
    holders.replace(None, node("n1"))
    thief = pod("thief", "n1", ["10.1.2.1", "10.1.1.9", "10.9.9.9"])
    holders.replace(None, thief)
    assert holders.of(ip_address("10.1.2.1")).name == "a"
    assert holders.of(ip_address("10.1.1.9")).name == "thief"
    assert holders.of(ip_address("10.9.9.9")) is None
    assert {str(address) for address, _ in holders.pod_address_conflicts("n1")} == {"10.1.2.1", "10.9.9.9"}
    assert holders.disputed() == []


def test_a_pod_that_two_slices_tell_of_is_one_pod():
    holders = filled(pod("a", "n2", ["10.1.2.1"]))
    holders.replace_slice("t", "n2", [pod("a", "n2", ["10.1.2.1"])])
    assert holders.of(ip_address("10.1.2.1")).name == "a"
    holders.replace_slice("t", "n2", [pod("b", "n2", ["10.1.2.1"])])
    assert holders.of(ip_address("10.1.2.1")) is UnownedAddress.DISPUTED
    holders.replace_slice("s", "n2", [])
    assert holders.of(ip_address("10.1.2.1")).name == "b"


def holder_of(holders, address):
    found = holders.of(ip_address(address))
    assert zone(by_address(holders.snapshot())[ip_address(address)], address) == zone(found, address)
    return found if isinstance(found, UnownedAddress) else found.name


def test_a_pod_that_has_stopped_claims_nothing():
    holders = AddressOwners()
    holders.replace(None, node("n1"))
    holders.replace(None, pod("stale", "n1", ["10.1.1.1"], terminating=True, stopped=True))
    assert holders.of(ip_address("10.1.1.1")) is UnownedAddress.UNKNOWN
    holders.replace(None, pod("new", "n1", ["10.1.1.1"]))
    assert holder_of(holders, "10.1.1.1") == "new"


def test_a_pod_on_a_node_that_is_gone_or_lost_yields_its_address_to_another():
    """Where nodes tell no pod networks, a dead node's addresses are given out again at once."""
    holders = AddressOwners()
    for name in ("n1", "n2"):
        holders.replace(None, node(name, cidrs=[]))
    holders.replace_slice("s", "n2", [pod("stale", "n2", ["10.9.0.1"], terminating=True)])
    holders.replace(None, pod("new", "n1", ["10.9.0.1"]))
    assert holder_of(holders, "10.9.0.1") is UnownedAddress.DISPUTED
    holders.take_changed()

    holders.replace(node("n2", cidrs=[]), lost := node("n2", cidrs=[], ready=False))
    assert holder_of(holders, "10.9.0.1") == "new"
    assert {at: who.name for at, who in changed(holders).items() if isinstance(who, Pod)} == {
        ip_address("10.9.0.1"): "new"
    }
    assert holders.disputed() == []

    holders.replace_slice("s", "n2", [pod("stale", "n2", ["10.9.0.1"])])
    assert holder_of(holders, "10.9.0.1") is UnownedAddress.DISPUTED, (
        "it isn't being deleted: it may run on a node that is cut off"
    )
    holders.take_changed()
    holders.replace(lost, None)
    assert holder_of(holders, "10.9.0.1") == "new"
    assert ip_address("10.9.0.1") in changed(holders)


def test_a_pod_that_yields_keeps_its_address_while_nobody_else_claims_it():
    holders = AddressOwners()
    holders.replace(None, node("n2", cidrs=[], ready=False))
    holders.replace_slice("s", "n2", [pod("stale", "n2", ["10.9.0.1"], terminating=True)])
    assert holder_of(holders, "10.9.0.1") == "stale"
    holders.replace_slice("t", "n2", [pod("other", "n2", ["10.9.0.1"], terminating=True)])
    assert holder_of(holders, "10.9.0.1") is UnownedAddress.DISPUTED


def tunnelled(*networks):
    holders = AddressOwners(tuple(map(ip_network, networks)))
    for name in ("n1", "n2"):
        holders.replace(None, node(name, f"192.0.2.{name[1]}"))
    return holders


def test_the_end_of_a_tunnel_is_its_nodes():
    """As flannel has it: an address of the node inside its own pod network, which its Node doesn't list."""
    holders = tunnelled()
    holders.take_changed()
    holders.tell_tunnels("n2", "0.n2", [ip_address("10.1.2.0")])
    assert holder_of(holders, "10.1.2.0") == "n2"
    assert {str(at): who.name for at, who in changed(holders).items()} == {"10.1.2.0": "n2"}
    holders.tell_tunnels("n2", "0.n2", [])
    assert holders.of(ip_address("10.1.2.0")) is UnownedAddress.UNKNOWN
    assert changed(holders) == {ip_address("10.1.2.0"): None}


def test_a_node_speaks_only_for_itself():
    """It has no end of a tunnel among another node's pods, none that a pod has, and none outside of pod networks."""
    holders = tunnelled()
    holders.replace_slice("0.n2", "n2", [pod("a", "n2", ["10.1.2.1"])])
    holders.tell_tunnels("n1", "0.n1", [ip_address(at) for at in ("10.1.2.0", "10.1.2.1", "192.0.2.2", "203.0.113.9")])
    assert holders.of(ip_address("10.1.2.0")) is UnownedAddress.UNKNOWN
    assert holder_of(holders, "10.1.2.1") == "a"
    assert holder_of(holders, "192.0.2.2") == "n2"
    assert holders.of(ip_address("203.0.113.9")) is None
    holders.tell_tunnels("n2", "0.n2", [ip_address("10.1.2.1")])
    assert holder_of(holders, "10.1.2.1") == "a"


def test_where_addresses_are_managed_elsewhere_the_only_one_that_tells_of_a_tunnel_has_it():
    """As Calico has it: blocks of pools, which have nothing to do with the nodes' podCIDRs."""
    holders = tunnelled("10.1.0.0/16")
    at = ip_address("10.1.77.64")
    holders.tell_tunnels("n1", "0.n1", [at])
    assert holder_of(holders, "10.1.77.64") == "n1"
    holders.tell_tunnels("n2", "0.n2", [at])
    assert holders.of(at) is UnownedAddress.UNKNOWN, "two of them claim it"
    holders.replace(node("n2", "192.0.2.2"), None)
    assert holder_of(holders, "10.1.77.64") == "n1"
    holders.replace(node("n1", "192.0.2.1"), node("n1", "192.0.2.1", tunnels=["10.1.77.65"]))
    assert {holder_of(holders, f"10.1.77.{at}") for at in (64, 65)} == {"n1"}
    holders.replace_slice("0.n1", "n1", [pod("a", "n1", ["10.1.77.64"])])
    assert holder_of(holders, "10.1.77.64") == "a"


def test_a_node_without_pod_networks_has_no_say_about_those_of_another():
    """A node that was taken could say that a neighbour's address is of a pod of its own, by whatever name."""
    holders = filled(victim := pod("a", "n2", ["10.1.2.1"]))
    holders.replace(None, node("n3"))
    holders.take_changed()
    holders.replace_slice("0.n3", "n3", [replace(victim, labels={KEY: "db"})])
    assert (holder_of(holders, "10.1.2.1"), holders.of(ip_address("10.1.2.1")).labels) == ("a", {KEY: "web"})
    assert {who.labels[KEY] for who in changed(holders).values()} == {"web"}
    holders.replace(node("n2"), node("n2", cidrs=[]))
    assert holder_of(holders, "10.1.2.1") is UnownedAddress.DISPUTED
    holders.take_changed()
    holders.replace(node("n2", cidrs=[]), node("n2"))
    assert holder_of(holders, "10.1.2.1") == "a"
    assert ip_address("10.1.2.1") in changed(holders)


def test_a_network_that_two_nodes_say_is_theirs_is_believed_to_neither():
    """As a node that was taken can write it where it has none yet. Its victims are cut off, and told; it gains nothing."""
    holders = filled(pod("victim", "n2", ["10.1.2.1"]))
    holders.replace(None, node("n1"))
    holders.replace_slice("t", "n1", [pod("other", "n1", ["10.1.1.1"])])
    holders.take_changed()
    holders.replace(None, thief := node("n9", "10.1.2.1", ["10.1.2.0/25"]))
    assert holders.of(ip_address("10.1.2.1")) is UnownedAddress.UNKNOWN
    assert changed(holders)[ip_address("10.1.2.1")] is None
    assert holder_of(holders, "10.1.1.1") == "other"
    assert [str(each) for each in holders.doubted("n2")] == ["10.1.2.0/24 overlaps a pod network of n9"]
    assert [str(each) for each in holders.doubted("n9")] == ["10.1.2.0/25 overlaps a pod network of n2"]
    assert ip_address("10.1.2.1") in holders.pod_networks
    holders.replace(thief, None)
    assert holder_of(holders, "10.1.2.1") == "victim"
    assert {who.labels[KEY] for at, who in changed(holders).items() if who is not None} == {"web"}
    assert holders.doubted("n2") == ()


def test_a_network_that_is_absurdly_wide_is_nobodys_and_changes_nothing_for_others():
    holders = filled(pod("a", "n2", ["10.1.2.1"]))
    holders.replace(None, node("n9", "192.0.2.99", ["0.0.0.0/0", "::/0", "10.9.0.0/24"]))
    holders.replace_slice("t", "n9", [pod("far", "n9", ["203.0.113.7"]), pod("near", "n9", ["10.9.0.1"])])
    assert {holder_of(holders, at) for at in ("10.1.2.1", "192.0.2.9", "192.0.2.99")} == {"a", "n2", "n9"}
    assert holder_of(holders, "10.9.0.1") == "near"
    assert holders.of(ip_address("203.0.113.7")) is None
    assert holders.of(ip_address("203.0.113.8")) is None
    assert [str(each.network) for each in holders.doubted("n9")] == ["0.0.0.0/0", "::/0"]
    assert holders.doubted("n2") == ()


def test_who_loses_an_address_is_told_with_what_it_was():
    gone = []
    holders = AddressOwners((ip_network("10.1.0.0/16"),))
    holders.gone = lambda address, pod, node: gone.append((str(address_of(address)), pod.workload, node))
    first, second = pod("a", "n1", ["10.1.1.1", "10.1.1.2"]), pod("a", "n1", ["10.1.1.2"])
    holders.replace(None, first)
    holders.replace(first, second)
    holders.replace(second, None)
    remote = [pod("b", "n2", ["10.1.2.1"]), pod("c", "n2", ["10.1.2.2"])]
    holders.replace_slice("s", "n2", remote)
    holders.replace_slice("s", "n2", remote[:1])
    holders.replace_slice("s", "n2", ())
    assert gone == [
        ("10.1.1.1", "w-a", "n1"),
        ("10.1.1.2", "w-a", "n1"),
        ("10.1.2.2", "w-c", "n2"),
        ("10.1.2.1", "w-b", "n2"),
    ]


def test_who_comes_after_a_pod_in_quarantine_is_free_unless_the_workload_is_named():
    first, second = (replace(pod("web-0", "n2", ["10.1.2.1"]), uid=uid, workload="web") for uid in ("u-1", "u-2"))
    holders = filled(first, pod("b", "n2", ["10.1.2.2"]))
    holders.take_changed()
    holders.quarantine(Subjects(frozenset({("shop", "web-0", mark_of("u-1"))})))
    ((address, holder),) = changed(holders).items()
    assert (str(address), holder.quarantined) == ("10.1.2.1", True)
    holders.replace_slice("s", "n2", [second])
    assert not holders.of(ip_address("10.1.2.1")).quarantined
    holders.quarantine(Subjects(workloads=frozenset({("shop", "web")})))
    assert holders.of(ip_address("10.1.2.1")).quarantined
    holders.replace_slice("s", "n2", [first])
    assert holders.of(ip_address("10.1.2.1")).quarantined
    holders.quarantine(NOBODY)
    assert not holders.of(ip_address("10.1.2.1")).quarantined


def test_pods_that_are_alike_but_for_their_start_keep_it_and_stay_alike():
    """It is what tells a pod from the one before it with its name and address; a hundred thousand must not each be a kind."""
    first, second = (
        replace(pod(name, "n2", [f"10.1.2.{n}"]), started=1_700_000_000 + n) for n, name in enumerate("ab", 1)
    )
    holders = filled(*(_named(each, "cart") for each in (first, second)))
    assert [count for _, count in holders.pod_classes()] == [2]
    assert [holders.of(ip_address(f"10.1.2.{n}")).started for n in (1, 2)] == [1_700_000_001, 1_700_000_002]
    holders.replace_slice("s", "n2", [replace(first, started=1_700_000_009), replace(second, started=None)])
    assert [holders.of(ip_address(f"10.1.2.{n}")).started for n in (1, 2)] == [1_700_000_009, None]
