"""Whoever holds which address, and however it is told: the kernel's sets are what they would be if told at once."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from enforcer.rules.family import Family
from enforcer.rules.match import Sets
from enforcer.rules.members.address_delta import AddressDelta
from enforcer.rules.members.address_index import AddressIndex
from enforcer.rules.members.set_membership import SetMembership
from enforcer.rules.members.zone_ids import ZoneKey
from zones.addresses.inventory import Node, Pod, UnownedAddress
from zones.addresses.packed_pods import key_of
from zones.net import AddressSet
from zones.policy import Peer
from zones.zone import ISOLATED, Zoning

NETWORKS = AddressSet.of([ip_network("10.0.0.0/8")])
ADDRESSES = [ip_address(at) for at in ("10.0.0.1", "10.0.0.2", "10.0.0.3", "255.255.255.255", "::1", "fd00::2", "::")]
OTHER_ZONING = Zoning.of({}, nodes="machines")


def pod(workload, zone, node="n2"):
    labels = {"zonebridge.io/zone": zone}
    return Pod("", "shop", "", node, "Running", (), labels, workload, allowed=frozenset({"*"}))


HOLDERS = [pod("cart", "web"), pod("cart", "web"), pod("db", "data"), pod("cart", "web", "n1"),
           Node("n2", ()), UnownedAddress.DISPUTED, None]  # fmt: skip
feeds = st.builds(
    lambda changed, whole: AddressDelta.by_address(changed, NETWORKS, replaces_all=whole),
    st.dictionaries(st.sampled_from(ADDRESSES), st.sampled_from(HOLDERS)),
    st.booleans(),
)
steps = st.lists(st.tuples(feeds, st.sets(st.sampled_from(ADDRESSES)), st.booleans(), st.booleans()), max_size=8)


def membership(zoning):
    sets = Sets()
    for family in Family:
        sets.workload(family, "cart")
        sets.peer(family, Peer(nodes=True), own_node=False)
    zones = [ZoneKey(zone, of_pods) for zone in ("web", "data", ISOLATED, *_named(zoning)) for of_pods in (True, False)]
    return SetMembership(zoning, "n1", sets.members, {key: f"{key.zone[:8]}{key.of_pods:d}" for key in zones})


def _named(zoning):
    return zoning.default, zoning.nodes, zoning.outside


def apply(moves, sets):
    for place, keys in moves.removed.items():
        sets[place] -= set(keys)
    for place, keys in moves.added.items():
        here = sets.setdefault(place, set())
        assert not here & set(keys)
        assert len(set(keys)) == len(keys)
        here |= set(keys)


@given(steps)
def test_changes_one_after_the_other_are_as_everything_at_once(told):
    residents, before, sets = AddressIndex("n1"), None, {}
    kinds = [membership(Zoning()), membership(OTHER_ZONING)]
    for feed, local, other, taken in told:
        residents.update(feed, local)
        if not taken:  # by the kernel: it may refuse
            continue
        now = kinds[other]
        zones = residents.zones(now.zoning)
        apply(residents.all(now) if before is None else residents.changed(before, now), sets)
        residents.mark_applied()
        before = now
        everything = {}
        apply(residents.all(now), everything)
        assert {place: keys for place, keys in sets.items() if keys} == everything
        assert zones == {now.profile(holder).zone for _, holder in held(residents)}


@given(steps)
def test_who_holds_what_is_what_was_told_last_and_the_machines_own_is_its_own(told):
    residents, known = AddressIndex("n1"), {}
    for feed, local, _, taken in told:
        residents.update(feed, local)
        if taken:
            residents.mark_applied()
        known = ({} if feed.replaces_all else known) | feed.changed
        for address in ADDRESSES:
            found = residents.holder(key_of(address))
            if address in local:
                assert isinstance(found, Node)
                assert found.name == "n1"
            else:
                assert found is known.get(key_of(address))


def held(residents):
    found = ((address, residents.holder(key_of(address))) for address in ADDRESSES)
    return [(address, holder) for address, holder in found if holder is not None]
