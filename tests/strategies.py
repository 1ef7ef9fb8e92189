"""Hypothesis strategies for values of the language: small universes, so that overlaps and edges are common."""

from datetime import UTC, datetime, time
from ipaddress import ip_address, ip_network

from hypothesis import strategies as st

from zones.net import ALL_PORTS, ANY_ADDRESS, ICMP, TCP, UDP, AddressSet, Ranges
from zones.policy import Blocklists, Entry, Policy, Traffic, Verdict, usual_infrastructure
from zones.rules import Log, Origin, RuleType
from zones.schedule import Absolute, Schedule, Weekly
from zones.verdict import Endpoint, Flow
from zones.zone import Zoning

ZONES = ("web", "app", "data", "default", "nodes", "untrust")
WORKLOADS = ("cart", "orders", "db")
OF_NAMESPACES = ("shop/cart", "shop/orders", "kube-system/orders")
PORTS = (22, 80, 443, 8080)

prefixes = st.sampled_from(
    ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "192.0.2.0/25", "0.0.0.0/0", "::/0", "fd00::/8"]
).map(ip_network)
addresses = st.sampled_from(["10.1.2.3", "10.1.2.4", "10.9.9.9", "192.0.2.1", "192.0.2.200", "fd00::1", "2001:db8::1"])
address_sets = st.one_of(
    st.just(ANY_ADDRESS),
    st.lists(prefixes, min_size=1, max_size=3).map(AddressSet.of),
    st.lists(prefixes, min_size=1, max_size=2).map(lambda some: AddressSet.of(some).complement()),
)
port_sets = st.one_of(st.just(ALL_PORTS), st.sampled_from(PORTS).map(lambda port: Ranges(((port, port),))))
workloads = st.one_of(st.none(), st.sampled_from(WORKLOADS + OF_NAMESPACES))


@st.composite
def traffics(draw):
    protocol = draw(st.sampled_from([None, TCP, UDP, ICMP]))
    with_ports = protocol in {TCP, UDP}
    return Traffic(
        protocol,
        ports=draw(port_sets) if with_ports else ALL_PORTS,
        source_ports=draw(port_sets) if with_ports else ALL_PORTS,
        icmp_type=draw(st.sampled_from([None, 0, 8])) if protocol == ICMP else None,
        source_workload=draw(workloads),
        destination_workload=draw(workloads),
    )


weeklies = st.builds(
    Weekly, st.integers(0, 6), st.sampled_from([time(0), time(22, 30)]), st.sampled_from([time(6), time(12)])
)
absolutes = st.just(Absolute(datetime(2026, 1, 1), datetime(2026, 6, 1, 12)))
schedules = st.builds(
    Schedule,
    st.just("shift"),
    st.lists(st.one_of(weeklies, absolutes), max_size=2).map(tuple),
    st.sampled_from(["UTC", "Europe/Berlin"]),
)
zone_sets = st.one_of(st.none(), st.frozensets(st.sampled_from(ZONES), min_size=1, max_size=3))


@st.composite
def entries(draw, name="rule"):
    return Entry(
        origin=Origin(name, draw(st.sampled_from([None, "0b1f5a6e-0000-4000-8000-000000000001"])), "pre", "dg"),
        verdict=draw(st.sampled_from(Verdict)),
        pairing=draw(st.sampled_from(RuleType)),
        from_zones=draw(zone_sets),
        to_zones=draw(zone_sets),
        sources=draw(address_sets),
        destinations=draw(address_sets),
        traffic=tuple(draw(st.lists(traffics(), min_size=1, max_size=2, unique=True))),
        schedule=draw(st.one_of(st.none(), schedules)),
        log=Log(draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from([None, "siem"]))),
        feeds=draw(st.sampled_from([(), ("threats",)])),
        blocklists=draw(
            st.sampled_from([Blocklists(), Blocklists(("threats",)), Blocklists((), ("a", "b"), mixed=True)])
        ),
    )


INTRAZONE = Entry(Origin("intrazone-default", None, "default", "Shared"), Verdict.ALLOW, RuleType.INTRAZONE)
INTERZONE = Entry(Origin("interzone-default", None, "default", "Shared"), Verdict.DENY)
NETWORKS = {"corp": [ip_network("10.0.0.0/8")], "untrust": [ip_network("0.0.0.0/0"), ip_network("::/0")]}


@st.composite
def policies(draw):
    rules = [draw(entries(f"rule {number}")) for number in range(draw(st.integers(0, 6)))]
    infrastructure = usual_infrastructure(
        frozenset({"kube-system"}), frozenset({"kube-system"}), frozenset({"coredns", "kube-dns"})
    )
    return Policy(
        zoning=Zoning.of(draw(st.sampled_from([{}, NETWORKS]))),
        infrastructure=draw(st.sampled_from([(), infrastructure])),
        entries=(*rules, INTRAZONE, INTERZONE),
        known_zones=draw(st.frozensets(st.sampled_from(ZONES))),
    )


@st.composite
def endpoints(draw):
    return Endpoint(
        zone=draw(st.sampled_from(ZONES)),
        address=ip_address(draw(addresses)),
        workload=draw(st.sampled_from(["", *WORKLOADS])),
        namespace=draw(st.sampled_from(["shop", "kube-system"])),
        node=draw(st.sampled_from(["", "node-1"])),
        is_node=draw(st.booleans()),
    )


@st.composite
def flows(draw):
    protocol = draw(st.sampled_from([TCP, UDP, ICMP]))
    with_ports = protocol in {TCP, UDP}
    return Flow(
        source=draw(endpoints()),
        destination=draw(endpoints()),
        protocol=protocol,
        port=draw(st.sampled_from(PORTS)) if with_ports else None,
        source_port=draw(st.sampled_from([40000, *PORTS])) if with_ports else None,
        icmp_type=draw(st.sampled_from([0, 8])) if protocol == ICMP else None,
        at=draw(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))),
    )
