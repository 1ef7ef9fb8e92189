"""Zones: one for each that is known or claimed, counted by moves exactly as by a fresh count."""

import re
from collections import Counter
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from bridge.population.census import Census, object_name
from bridge.population.picture import Member, MemberMove
from zones.addresses.inventory import Pod

MEMBERS = st.builds(
    lambda zone, node, namespace, isolated: Member(
        Pod("u", namespace, "p", node, "Running", (ip_address("10.0.0.1"),), {}, "w"), zone, isolated
    ),
    st.sampled_from(["web", "Web Tier", "default", "odd"]),
    st.sampled_from(["n1", "n2"]),
    st.sampled_from(["shop", "lab"]),
    st.booleans(),
)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.none() | MEMBERS), max_size=20), st.sets(st.sampled_from(["web", "Web Tier", "idle"])))  # fmt: skip
def test_it_counts_as_if_it_had_just_begun(steps, known):
    census, live, written = Census("panorama", "default"), {}, {}
    touched = [*census, *census.know(frozenset({"web", "former"})), *census.know(frozenset(known))]
    for uid, after in steps:
        touched += census.move(MemberMove(live.pop(uid, None), after))
        if after is not None:
            live[uid] = after
    for name in touched:
        written[name] = census.render(name)
    written = {name: raw for name, raw in written.items() if raw is not None}
    claimed = Counter(member.claimed for member in live.values())
    assert {raw["spec"]["zone"] for raw in written.values()} == {"default", *known, *claimed}
    for name, raw in written.items():
        zone, status = raw["spec"]["zone"], raw["status"]
        inside = [member for member in live.values() if member.claimed == zone and not member.isolated]
        assert (name, raw["spec"]["known"]) == (object_name("panorama", zone), zone in {*known, "default"})
        assert status == {
            "pods": len(inside),
            "nodes": len({member.pod.node for member in inside}),
            "namespaces": len({member.pod.namespace for member in inside}),
            "isolated": claimed[zone] - len(inside),
        }
    assert set(census) == written.keys()


@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80), st.sampled_from(["panorama", "other-1"]))
def test_every_zone_has_a_name_of_its_own_that_kubernetes_takes(one, other, tier):
    name = object_name(tier, one)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", name)
    assert len(name) <= 253
    assert (name == object_name(tier, other)) is (one == other)


def test_a_plain_name_stays_as_it_is():
    assert object_name("panorama", "web-1") == "web-1"
    assert object_name("blue", "web-1") == "blue.web-1"
    assert re.fullmatch(r"web-servers-[0-9a-f]{8}", object_name("panorama", "Web Servers"))
