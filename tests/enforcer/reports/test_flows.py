"""Packets to flow records: who, which rule, how much; every packet is counted exactly once."""

import json
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.flows.flow_table import FlowTable
from enforcer.flows.flows import FlowNames, described, name, read
from enforcer.netlink.nflog import Packet
from enforcer.rules.ruleset import VerdictChain
from tests.enforcer.clocks import Clock
from tests.enforcer.smallcluster import ALLOW_WEB, DENY_ALL
from zones.addresses.inventory import Node, Pod, UnownedAddress
from zones.policy import Verdict
from zones.rules import Log
from zones.siem.records import Stamp, timestamp
from zones.zone import Zoning

WEB = Pod(
    "1",
    "shop",
    "web-7d-x",
    "n1",
    "Running",
    (ip_address("10.1.0.10"),),
    {"zonebridge.io/zone": "web"},
    "web",
    allowed=frozenset({"*"}),
)
HOLDERS = {
    ip_address("10.1.0.10"): WEB,
    ip_address("192.0.2.1"): Node("n1", (ip_address("192.0.2.1"),)),
    ip_address("10.1.0.66"): UnownedAddress.DISPUTED,
}
NAMES = FlowNames(HOLDERS.get, Zoning(), "panorama", 7, ("team",))
TERMINALS = {
    "d": VerdictChain(DENY_ALL, Verdict.DENY, Log(start=True), enforced=True),
    "a": VerdictChain(ALLOW_WEB, Verdict.ALLOW, Log(start=True, profile="siem"), enforced=True),
}


def stamp():
    return Stamp("prod", "n1", "boot", 1000)


def packet(source="10.1.0.10", destination="203.0.113.9", sport=40000, dport=443, prefix="zb:d:o", **more):
    return Packet(prefix, ip_address(source), ip_address(destination), 6, sport, dport, **({"length": 60} | more))


def named(*args, at=10.0, names=NAMES, **more):
    return name(read(packet(*args, **more), TERMINALS, at), names)


def recorded(table, *packets):
    marks = stamp()
    early = [record for each in packets if (record := table.add(each, marks))]
    return [json.loads(record) for record in [*early, *table.take_all(marks)]]


def test_a_record_names_both_ends_the_rule_and_the_revision():
    (record,) = recorded(FlowTable(5, 10), named(length=100))
    assert record == {
        "kind": "flow",
        "id": record["id"],
        "time": "1970-01-01T00:00:10.000000Z",
        "end": "1970-01-01T00:00:10.000000Z",
        "cluster": "prod",
        "node": "n1",
        "sequence": 1000,
        "source": {
            "address": "10.1.0.10",
            "port": 40000,
            "zone": "web",
            "namespace": "shop",
            "pod": "web-7d-x",
            "workload": "web",
            "node": "n1",
        },
        "destination": {"address": "203.0.113.9", "port": 443, "zone": "outside"},
        "protocol": "tcp",
        "verdict": "deny",
        "enforced": True,
        "direction": "original",
        "moment": "start",
        "rule": {"name": "interzone-default", "rulebase": "default"},
        "tier": "panorama",
        "revision": 7,
        "packets": 1,
        "bytes": 100,
    }
    assert json.loads(json.dumps(record)) == record


def test_a_packet_against_the_connection_is_turned_round():
    (record,) = recorded(FlowTable(5, 10), named("203.0.113.9", "10.1.0.10", 443, 40000, prefix="zb:a:r"))
    assert (record["source"]["workload"], record["source"]["port"]) == ("web", 40000)
    assert (record["destination"]["port"], record["direction"]) == (443, "reply")
    assert record["logProfile"] == "siem"


def test_a_node_and_an_address_that_nobody_can_be_trusted_to_have():
    found = named("192.0.2.1", "10.1.0.66")
    assert (found.source.zone, found.source.node) == ("nodes", "n1")
    assert (found.destination.zone, found.destination.workload) == ("outside", "")


def test_a_prefix_that_is_not_ours_names_no_rule():
    for prefix in ("", "zb:gone:o", "else:d:o", "zb", "zb:", "d"):
        assert read(packet(prefix=prefix), TERMINALS, 1.0) is None


def test_the_kernels_time_stands_above_ours():
    assert named(timestamp=3.5, at=9.0).seen.at == 3.5


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(40, 1500), st.floats(0, 20)), max_size=60), st.integers(1, 4))
def test_every_packet_is_in_exactly_one_record(packets, capacity):
    clock, marks, records = Clock(), stamp(), []
    table = FlowTable(5, capacity, clock)
    for port, length, at in sorted(packets, key=lambda each: each[2]):
        clock.now = at
        records += map(json.loads, table.take(marks))
        if early := table.add(named(dport=port, length=length, at=at), marks):
            records.append(json.loads(early))
        assert len(table) <= capacity
    records += map(json.loads, table.take_all(marks))
    assert sum(record["packets"] for record in records) == len(packets)
    assert sum(record["bytes"] for record in records) == sum(length for _, length, _ in packets)
    assert [record["sequence"] for record in records] == list(range(1000, 1000 + len(records)))
    assert len({record["id"] for record in records}) == len(records)


ICMP_FLOW = {"sport": None, "dport": None, "icmp_type": 8}


@given(
    st.sampled_from(["10.1.0.10", "203.0.113.9", "192.0.2.1", "10.1.0.66"]),
    st.sampled_from(["10.1.0.10", "203.0.113.9", "fd00::1"]),
    st.sampled_from(["zb:d:o", "zb:d:r", "zb:a:o"]),
    st.sampled_from([{}, ICMP_FLOW]),
    st.floats(0, 4e9),
)
def test_a_record_written_in_parts_is_what_its_parts_say(source, destination, prefix, more, at):
    each = named(source, destination, prefix=prefix, at=at, **more)
    (written,) = recorded(FlowTable(5, 10), each)
    counted = {"end": timestamp(at), "moment": "start", "packets": 1, "bytes": 60}
    assert written == stamp().record("flow", at) | described(each) | counted
    assert list(written) == list(stamp().record("flow", at) | described(each) | counted)


@given(st.floats(0, 4e9))
def test_a_time_is_rounded_to_the_microsecond(at):
    assert timestamp(at) == datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def test_names_hold_until_they_are_made_anew():
    asked = []

    def holder(address):
        asked.append(address)
        return HOLDERS.get(address)

    names = FlowNames(holder, Zoning())
    assert [names.end(ip_address("10.1.0.10")).pod for _ in range(3)] == ["web-7d-x"] * 3
    assert len(asked) == 1


def test_a_window_ends_by_time():
    clock, marks = Clock(), stamp()
    table = FlowTable(5, 10, clock)
    table.add(named(at=10.0), marks)
    clock.now = 2.0
    table.add(named(at=12.0), marks)
    clock.now = 4.9
    assert list(table.take(marks)) == []
    clock.now = 5.0
    (record,) = map(json.loads, table.take(marks))
    assert (record["packets"], record["end"]) == (2, timestamp(12.0))


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_window_is_as_long_as_ever_while_the_machine_s_time_is_set(step):
    clock, marks = Clock(), stamp()
    table = FlowTable(5, 100, clock)
    told = []
    for second in range(60):
        clock.now = float(second)
        wall = 1_795_260_148.0 + second + (step if second >= 10 else 0.0)
        table.add(named(at=wall, sport=second), marks)
        table.add(named(at=wall, sport=99), marks)
        told += map(json.loads, table.take(marks))
        assert len(table) <= 7
    told += map(json.loads, table.take_all(marks))
    assert sum(record["packets"] for record in told) == 120
    assert all(record["end"] >= record["time"] for record in told)


def test_ids_are_the_same_for_the_same_place_in_the_order_and_differ_elsewhere():
    def first(**more):
        return Stamp(**({"cluster": "c", "node": "n", "boot_id": "b", "start": 1} | more)).record("flow", 0)["id"]

    assert first() == first()
    assert len({first(), first(node="m"), first(boot_id="x"), first(start=2), first(cluster="d")}) == 5
