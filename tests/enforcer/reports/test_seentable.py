"""What is counted of connections: each once, in one place of the cluster, within bounds that are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.flows.attribution import Attribution
from enforcer.flows.departed_owners import Departed
from enforcer.flows.flows import FlowEnd, FlowNames, LoggedPacket, NamedPacket
from enforcer.flows.seen_table import SeenTable
from enforcer.netlink.conntrack import ConntrackEvent, FlowTuple
from enforcer.rules.chains.verdict_chains import VerdictChain
from enforcer.rules.connmark import REVOKED, ConnmarkLayout
from tests.enforcer.reports.test_connections import HELD, MARKS, NAMES, SERVER, begun, ended, pod
from tests.enforcer.wire.test_conntrack import ports, way
from zones.addresses.packed_pods import key_of
from zones.net import TCP, UDP, AddressSet, Ranges
from zones.policy import Entry, Policy, Traffic, Verdict
from zones.rules import NO_LOG, Origin
from zones.schedule import Schedule, Weekly
from zones.seen import SeenEnd
from zones.verdict import Endpoint, Flow, decide
from zones.zone import Zoning

NOW = 1_700_000_100.0
WEB, DATA = SeenEnd("web", "shop", "web"), SeenEnd("data", "shop", "db")
POLICY = Policy(
    Zoning(),
    (),
    (
        Entry(
            Origin("web to data", "uuid-1", "pre", "dg"),
            Verdict.ALLOW,
            from_zones=frozenset({"web"}),
            to_zones=frozenset({"data"}),
        ),
        Entry(Origin("rest", None, "default", "Shared"), Verdict.ALLOW),
    ),
)
ACCEPTED = MARKS.bits(70)
DENIAL = VerdictChain(Origin("no", "uuid-9", "pre", "dg"), Verdict.DENY, NO_LOG)


@pytest.fixture
def table():
    made = SeenTable("n1", MARKS, 10, 100)
    made.learn(POLICY)
    made.start(NOW)
    made.alive([], NAMES, NOW)
    return made


def over(key, mark=ACCEPTED, **more):
    return ended(key, mark=mark, **more)


def alive(key, mark=ACCEPTED):
    told = begun(key, event=ConntrackEvent.CHANGED)
    return told._replace(fields=told.fields | {8: mark.to_bytes(4, "big")})


def rows(table, now=NOW + 300):
    flows, counting = table.take(now)
    return {(each.key.source, each.key.destination, each.key.port): each for each in flows}, counting


def one(table):
    found, _ = rows(table)
    (row,) = found.values()
    return row


def test_connections_that_ended_are_one_row_with_all_that_they_carried(table):
    for key in (1, 2, 3):
        table.ended(over(key), NAMES, NOW + key)
    row = one(table)
    assert (row.key.source, row.key.destination, row.key.protocol, row.key.port) == (WEB, DATA, TCP, 5432)
    assert (row.key.rule, row.key.verdict, row.key.enforced) == (POLICY.entries[0].origin, Verdict.ALLOW, True)
    assert (row.connections, row.octets, row.living) == (3, 3 * 2900, 0)
    assert row.last == datetime.fromtimestamp(NOW + 3, UTC)


def test_a_connection_counts_once_however_long_it_lives(table):
    table.alive([alive(1), alive(2)], NAMES, NOW + 300)
    assert (one(table).connections, table.since) == (2, NOW)
    table.alive([alive(1), alive(2)], NAMES, NOW + 600)
    row = one(table)
    assert (row.connections, row.living, row.octets) == (0, 2, 0)
    table.ended(over(1), NAMES, NOW + 700)
    table.alive([alive(2)], NAMES, NOW + 900)
    row = one(table)
    assert (row.connections, row.living, row.octets) == (0, 1, 2900)


def test_what_ends_while_the_kernel_is_asked_is_not_counted_twice(table):
    table.look()
    table.ended(over(1), NAMES, NOW + 1)
    table.alive([alive(1)], NAMES, NOW + 2)
    assert one(table).connections == 1
    assert table._living == {}


def test_a_kernel_that_cant_be_asked_takes_nobody_from_the_living(table):
    table.alive([alive(1)], NAMES, NOW + 300)
    table.look()
    table.look_away()
    table.ended(over(1), NAMES, NOW + 400)
    assert one(table).connections == 1


def test_what_began_before_we_did_is_seen_and_not_counted():
    table = SeenTable("n1", MARKS, 10, 100)
    table.learn(POLICY)
    table.start(NOW)
    table.alive([alive(1)], NAMES, NOW)
    table.ended(over(2, times=(NOW - 60, NOW + 1)), NAMES, NOW + 2)
    row = one(table)
    assert (row.connections, row.living, row.octets) == (0, 1, 2900)
    assert row.first == datetime.fromtimestamp(NOW, UTC)


def test_times_are_those_of_the_kernel_where_it_notes_them(table):
    table.ended(over(1, times=(NOW + 10.5, NOW + 20.5)), NAMES, NOW + 140)
    row = one(table)
    assert (row.first, row.last) == (datetime.fromtimestamp(NOW + 10.5, UTC), datetime.fromtimestamp(NOW + 20.5, UTC))


def test_a_pod_that_is_gone_when_its_connection_ends_is_known_by_what_it_was(table):
    now = [0.0]
    departed = Departed(capacity=2, clock=lambda: now[0])
    table.former = departed.end
    client = ip_address("10.0.0.9")
    there, back = way("10.0.0.9", SERVER, TCP, *ports(7, 5432)), way(SERVER, "10.0.0.9", TCP, *ports(5432, 7))
    departed.gone(key_of(client), pod("job", "10.0.0.9", "batch"), "n2")
    told = over(7)
    told = told._replace(fields=told.fields | {1: there, 2: back})
    table.ended(told, NAMES, NOW + 1)
    assert one(table).key.source == SeenEnd("batch", "shop", "job")
    now[0] = 601.0
    assert departed.end(client, NAMES) is None
    for other in (11, 12, 13):
        departed.gone(other, pod("x", "10.0.0.9", "batch"), "n2")
    assert len(departed._pods) == 2


OUTSIDE = "203.0.113.7"


def between(source, server, *, seen_as=None):
    there = way(source, server, TCP, *ports(9, 443))
    back = way(server, seen_as or source, TCP, *ports(443, 9))
    told = over(9)
    return told._replace(fields=told.fields | {1: there, 2: back})


PLACES = {ip_address("10.9.0.1"): replace(pod("far", "10.9.0.1", "web"), node="n2")}
EVERYBODY = FlowNames((HELD | PLACES).get, NAMES.zoning)


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        (between("10.0.0.1", "10.0.0.2"), True),  # both here
        (between("10.9.0.1", "10.0.0.2"), True),  # the server is here
        (between("10.0.0.1", "10.9.0.1"), False),  # the server's node counts it
        (between("10.0.0.1", "10.9.0.1", seen_as="10.9.9.9"), True),  # which sees another client
        (between(OUTSIDE, "10.0.0.2"), True),
        (between(OUTSIDE, "10.9.0.1"), False),
        (between("10.0.0.1", OUTSIDE), True),
        (between("10.9.0.1", OUTSIDE), False),  # that pod's node counts it
    ],
)
def test_each_connection_is_counted_by_one_node(table, told, counted):
    table.ended(told, EVERYBODY, NOW + 1)
    found, counting = rows(table)
    assert len(found) == counted
    assert counting.unattributed == 0


def test_what_cant_be_attributed_is_counted_as_that(table):
    table.ended(over(2), replace(NAMES, known=False), NOW)
    table.ended(over(3, mark=0), NAMES, NOW)  # no rule of ours accepted it
    table.alive([alive(4, mark=0), alive(5, mark=MARKS.bits(REVOKED))], NAMES, NOW)  # nor these any more
    table.learn(CLOSED)
    table.learn(replace(CLOSED))
    table.ended(over(6), NAMES, NOW)
    found, counting = rows(table)
    assert (found, counting.unattributed) == ({}, 2)


CLOSED = replace(POLICY, entries=(replace(POLICY.entries[-1], verdict=Verdict.DENY),))


def test_a_connection_that_the_policy_would_not_accept_any_more_began_under_the_one_before(table):
    table.learn(CLOSED)
    table.ended(over(1, mark=MARKS.bits(REVOKED)), NAMES, NOW)
    row = one(table)
    assert (row.key.rule.name, row.connections) == ("web to data", 1)


def test_where_no_bit_of_the_mark_is_ours_the_connections_of_pods_count():
    table = SeenTable("n1", ConnmarkLayout(0))
    table.learn(POLICY)
    table.start(NOW)
    table.ended(over(1, mark=0), NAMES, NOW)
    table.ended(between("192.0.2.1", "192.0.2.2"), NAMES, NOW)
    assert one(table).key.source == WEB


@given(
    st.lists(
        st.sampled_from(["tcp 80", "tcp 443", "udp 53", "10.0.0.1", "app", "source port", "evening"]), unique=True
    ),
    st.data(),
)
def test_the_rule_is_the_one_that_decide_names(narrow, data):
    """Entries in any order, each narrower in some way; asked many times, as what was said is remembered."""
    entries = (*(NARROW[each] for each in narrow), POLICY.entries[-1])
    policy = replace(POLICY, entries=entries)
    attribution = Attribution()
    attribution.learn(policy)
    source, destination = NAMES.end(ip_address("10.0.0.1")), NAMES.end(ip_address(SERVER))
    for _ in range(6):
        protocol, port, own, hour = data.draw(
            st.tuples(
                st.sampled_from([TCP, UDP]),
                st.sampled_from([53, 80, 443]),
                st.sampled_from([5, 500]),
                st.sampled_from([3, 20]),
            )
        )
        there = FlowTuple(source.address, destination.address, protocol, own, port)
        at = datetime(2026, 3, 2, hour, tzinfo=UTC)
        ends = [
            Endpoint(each.zone, each.address, each.workload, each.namespace, each.node)
            for each in (source, destination)
        ]
        expected = decide(policy, Flow(*ends, protocol, port, own, at=at)).origin
        assert attribution.rule(source, destination, there, port, at.timestamp()) == expected


def narrow(name, *traffic, **more):
    return Entry(Origin(name, name, "pre", "dg"), Verdict.ALLOW, traffic=traffic or (Traffic(),), **more)


NARROW = {
    "tcp 80": narrow("tcp 80", Traffic(TCP, Ranges(((80, 80),)))),
    "tcp 443": narrow("tcp 443", Traffic(TCP, Ranges(((443, 443),)))),
    "udp 53": narrow("udp 53", Traffic(UDP, Ranges(((53, 53),)))),
    "10.0.0.1": narrow("10.0.0.1", sources=AddressSet.of([ip_network("10.0.0.9/32")])),
    "app": narrow("app", Traffic(destination_workload="db", protocol=TCP)),
    "source port": narrow("source port", Traffic(TCP, source_ports=Ranges(((0, 100),)))),
    "evening": narrow("evening", schedule=Schedule("evening", (Weekly(0, time(18), time(23)),))),
}


def denied(address, port=22):
    end = FlowEnd(ip_address(address), "outside")
    server = FlowEnd(ip_address(SERVER), "data", "shop", "db", "db", "n1")
    seen = LoggedPacket(NOW, 60, DENIAL, DENIAL.id, end.address, server.address, TCP, 5000, port)
    return NamedPacket(seen, end, 5000, server, port, "panorama", 7)


def test_denials_are_counted_beside_them(table):
    table.denied(denied(OUTSIDE))
    table.denied(denied(OUTSIDE))
    row = one(table)
    assert row.key.source == SeenEnd("outside", network=ip_network("203.0.113.7/32"))
    assert (row.key.verdict, row.key.rule.name, row.connections, row.octets) == (Verdict.DENY, "no", 2, 120)


def test_many_addresses_are_folded_into_networks_and_then_into_zones_and_that_is_told(table):
    for number in range(4):
        table.denied(denied(f"203.0.{number}.7"))
    table.denied(denied("2001:db8::1"))
    for number in range(60):
        table.denied(denied(f"198.51.{number % 20}.{number}"))
    flows, counting = table.take(NOW + 300)
    assert sum(each.connections for each in flows) == 65
    assert len(flows) == 11  # five addresses, five networks, and one for all others
    networks = [each.key.source.network for each in flows]
    assert [each.prefixlen for each in networks if each] == [32, 32, 32, 32, 128, 24, 24, 24, 24, 24]
    assert (networks[-1], flows[-1].key.port) == (None, None)
    assert counting.folded == 60


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 65535)), max_size=200))
def test_whatever_comes_rows_are_bounded_and_nothing_is_lost(attempts):
    table = SeenTable("n1", MARKS, 10)
    for address, port in attempts:
        table.denied(denied(ip_address(address), port))
    flows, counting = table.take(NOW)
    assert len(flows) <= 20
    assert sum(each.connections for each in flows) + counting.unattributed == len(attempts)


def test_a_window_begins_where_the_last_one_ended(table):
    table.missed = 3
    _, first = rows(table, NOW + 300)
    _, second = rows(table, NOW + 600)
    assert (first.begin.timestamp(), first.end.timestamp(), first.missed) == (NOW, NOW + 300, 3)
    assert (second.begin.timestamp(), second.end.timestamp(), second.missed) == (NOW + 300, NOW + 600, 0)
    assert first.since == second.since == datetime.fromtimestamp(NOW, UTC)
