"""Connections from their beginning to their end, from messages that a test makes."""

import json
from dataclasses import replace
from ipaddress import ip_address

import pytest

from enforcer.cluster.view import ObjectPage, View, WatchedKind, WatchedObject
from enforcer.flows.connections import Connections, beginning
from enforcer.flows.flows import FlowNames
from enforcer.netlink.conntrack import ConntrackEvent, ConntrackMessage, TcpState
from enforcer.netlink.messages import attribute, nested, number
from enforcer.rules.chains.verdict_chains import VerdictChain
from enforcer.rules.connmark import REVOKED, ConnmarkLayout
from tests.enforcer import smallcluster
from tests.enforcer.wire.test_conntrack import counters, ports, way
from zones.addresses.inventory import Pod, UnownedAddress
from zones.net import TCP, UDP
from zones.policy import Verdict
from zones.rules import Log, Origin
from zones.siem.records import Stamp
from zones.tiers import slices
from zones.zone import ANY_ZONE, Zoning

RULE = VerdictChain(Origin("web to data", "uuid-1", "pre", "dg"), Verdict.ALLOW, Log(end=True, profile="siem"))
QUIET = VerdictChain(Origin("quiet", None, "pre", "dg"), Verdict.ALLOW, Log())
MARKS = ConnmarkLayout()
NOW = 1_700_000_100.0
CLIENT, SERVER = "10.0.0.1", "10.0.0.2"


def pod(name, address, zone):
    labels = {"zonebridge.io/zone": zone, "team": "shop"}
    return Pod(name, "shop", name, "n1", "Running", (ip_address(address),), labels, name, allowed=frozenset({ANY_ZONE}))


HELD = {each.addresses[0]: each for each in (pod("web", CLIENT, "web"), pod("db", SERVER, "data"))}
NAMES = FlowNames(HELD.get, Zoning(), "panorama", 7, ("team",))


def label(rule):
    return int(rule, 16).to_bytes(16, "little")


def begun(key, rule=RULE.id, *, event=ConntrackEvent.NEW, protocol=TCP):
    there, back = way(CLIENT, SERVER, protocol, *ports(key, 5432)), way(SERVER, CLIENT, protocol, *ports(5432, key))
    return ConntrackMessage(event, by_program=False, key=key, fields={1: there, 2: back, 22: label(rule)})


def ended(
    key,
    *,
    protocol=TCP,
    state=TcpState.TIME_WAIT,
    sent=(8, 900),
    received=(7, 2000),
    mark=0,
    times=(),
    by=False,
    back=None,
):
    held = dict(begun(key, protocol=protocol).fields) | {12: number(1, key)[4:]}
    del held[22]
    if back is not None:
        held[2] = back
    if state is not None:
        held[4] = nested(1, [attribute(1, bytes([state]))])
    if sent is not None:
        held |= {9: counters(*sent), 10: counters(*received)}
    if times:
        stamps = (
            attribute(at, (round(each * 1e6) * 1000).to_bytes(8, "big")) for at, each in enumerate(times, 1) if each
        )
        held[20] = b"".join(stamps)
    if mark:
        held[8] = mark.to_bytes(4, "big")
    return ConntrackMessage(ConntrackEvent.ENDED, by, key, held)


@pytest.fixture
def connections():
    made = Connections(MARKS, 10, remembered={TcpState.TIME_WAIT: 120.0})
    made.learn({RULE.id: RULE, QUIET.id: QUIET})
    return made


STAMP = Stamp("prod", "n1", "boot", 1)


def take(connections, *told, names=NAMES, now=NOW):
    return [json.loads(each) for each in connections.take(told, names, STAMP, now)]


def reason(connections, **more):
    (record,) = take(connections, begun(1), ended(1, **more))
    return record["reason"]


def test_an_end_is_told_as_it_began_with_both_directions_counted(connections):
    times = (1_700_000_000.25, 1_700_000_123.5)
    back = way(SERVER, "192.0.2.7", TCP, *ports(8443, 61022))
    (record,) = take(connections, begun(41022), ended(41022, times=times, back=back))
    assert record.pop("id")
    assert record == {
        "kind": "flow",
        "time": "2023-11-14T22:13:20.250000Z",
        "cluster": "prod",
        "node": "n1",
        "sequence": record["sequence"],
        "source": {
            "address": CLIENT, "port": 41022, "zone": "web", "namespace": "shop", "pod": "web", "workload": "web",
            "node": "n1", "labels": {"team": "shop"}, "natAddress": "192.0.2.7", "natPort": 61022,
        },
        "destination": {
            "address": SERVER, "port": 8443, "zone": "data", "namespace": "shop", "pod": "db", "workload": "db",
            "node": "n1", "labels": {"team": "shop"}, "natAddress": SERVER, "natPort": 5432,
        },
        "protocol": "tcp",
        "verdict": "allow",
        "enforced": True,
        "direction": "original",
        "rule": {"name": "web to data", "uuid": "uuid-1", "rulebase": "pre", "deviceGroup": "dg"},
        "logProfile": "siem",
        "tier": "panorama",
        "revision": 7,
        "end": "2023-11-14T22:13:23.500000Z",
        "moment": "end",
        "reason": "tcp-fin",
        "packets": 15,
        "bytes": 2900,
        "sent": {"packets": 8, "bytes": 900},
        "received": {"packets": 7, "bytes": 2000},
    }  # fmt: skip


def test_names_and_revision_are_those_of_the_beginning(connections):
    assert take(connections, begun(1)) == []
    later = FlowNames({}.get, Zoning(), "panorama", 8)
    (record,) = take(connections, ended(1), names=later)
    assert (record["source"]["zone"], record["revision"]) == ("web", 7)


def test_only_what_was_heard_to_begin_under_such_a_rule_is_told(connections):
    assert take(connections, ended(1)) == []
    assert take(connections, begun(2)._replace(fields=ended(2).fields), ended(2)) == []
    assert connections.unattributed == 0
    assert take(connections, begun(3, QUIET.id), ended(3), begun(4, "aaaaaaaaaaaa"), ended(4)) == []
    assert connections.unattributed == 2


def test_a_label_that_others_have_added_to_names_no_rule():
    both = int(RULE.id, 16) | int(QUIET.id, 16) | 1 << 100
    told = begun(1)._replace(fields=begun(1).fields | {22: both.to_bytes(16, "little")})
    assert beginning(told).rule not in {RULE.id, QUIET.id}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "tcp-fin"),
        ({"state": TcpState.CLOSE_WAIT}, "tcp-fin"),
        ({"state": TcpState.ESTABLISHED}, "aged-out"),
        ({"state": TcpState.SYN_SENT}, "aged-out"),
        ({"state": None}, "unknown"),
        ({"state": TcpState.CLOSE}, "tcp-rst"),
        ({"state": TcpState.CLOSE, "sent": (1, 60), "received": (1, 40)}, "tcp-rst-from-server"),
        ({"state": TcpState.CLOSE, "sent": (2, 100), "received": (0, 0)}, "tcp-rst-from-client"),
        ({"state": TcpState.CLOSE, "sent": None}, "tcp-rst"),
        ({"by": True}, "unknown"),
        ({"mark": MARKS.bits(REVOKED) | 0x80}, "policy-deny"),
        ({"mark": MARKS.bits(REVOKED), "by": True}, "policy-deny"),
        ({"mark": MARKS.bits(70)}, "tcp-fin"),
        ({"protocol": UDP, "state": None}, "aged-out"),
    ],
)
def test_the_reason_is_as_far_as_the_kernel_tells(connections, more, expected):
    assert reason(connections, **more) == expected


def test_without_counters_none_are_made_up(connections):
    (record,) = take(connections, begun(1), ended(1, sent=None))
    assert not record.keys() & {"packets", "bytes", "sent", "received"}


def test_without_the_kernels_times_it_is_when_we_heard(connections):
    connections.timed = False
    take(connections, begun(1), now=NOW)
    (record,) = take(connections, ended(1, state=TcpState.ESTABLISHED), now=NOW + 2.5)
    assert record["time"].endswith("15:00.000000Z")
    assert record["end"].endswith("15:02.500000Z")


def test_an_end_is_never_before_its_beginning(connections):
    (record,) = take(connections, begun(1), ended(1, times=(1_700_000_000.0, 1_700_000_010.0)))
    assert record["end"] == record["time"]


def test_the_oldest_make_room_and_are_counted(connections):
    take(connections, *map(begun, range(1, 13)))
    assert (len(connections), connections.lost) == (10, 2)
    assert take(connections, ended(1), ended(2)) == []
    assert len(take(connections, *map(ended, range(3, 13)))) == 10


def test_rules_that_are_gone_are_remembered(connections):
    connections.learn({})
    assert len(take(connections, begun(1), ended(1))) == 1


def living(*keys):
    return [beginning(begun(key, event=ConntrackEvent.CHANGED)) for key in keys]


def test_who_lives_already_is_learnt_from_the_kernel(connections):
    before = connections.count_anew()
    take(connections, begun(1), begun(2), ended(2))  # meanwhile
    connections.counted(before, living(1, 2, 3), NAMES, NOW)
    assert len(connections) == 2
    assert [each["source"]["port"] for each in take(connections, ended(1), ended(2), ended(3))] == [1, 3]


def test_who_is_gone_without_a_word_is_forgotten(connections):
    take(connections, begun(1), begun(2), begun(3))
    before = connections.count_anew()
    take(connections, begun(4), ended(2))
    connections.counted(before, living(3), NAMES, NOW)
    assert [each["source"]["port"] for each in take(connections, *map(ended, range(1, 5)))] == [3, 4]


STAMP_OF_A_START = Stamp("prod", "n1", "boot", 1000)
NAMELESS = FlowNames({}.get, Zoning(), "panorama", 7, ("team",), known=False)


def zones(record):
    return record["source"]["zone"], record["destination"]["zone"]


def test_a_connection_that_was_found_before_anybody_was_known_is_named_at_its_end(connections):
    """What an agent's restart told before: from outside, or from a zone that may nothing."""
    connections.count_anew()
    connections.counted((), [beginning(begun(1))], NAMELESS, NOW)
    (written,) = connections.take([ended(1)], NAMES, STAMP_OF_A_START, NOW)
    record = json.loads(written)
    assert zones(record) == ("web", "data")
    assert (record["source"]["pod"], record["destination"]["pod"]) == ("web", "db")


@pytest.mark.parametrize("stranger", UnownedAddress)
@pytest.mark.parametrize("names_when_found", ["names", "nameless"])
def test_a_pods_address_that_nobody_has_any_more_is_unknown_in_a_connection_that_was_found(
    connections, stranger, names_when_found
):
    """An agent starts after a drain: the kernel remembers connections of pods that are gone."""
    now = FlowNames((HELD | {ip_address(SERVER): stranger}).get, Zoning(), "panorama", 7, ("team",))
    connections.counted(connections.count_anew(), living(1), now if names_when_found == "names" else NAMELESS, NOW)
    (record,) = take(connections, ended(1), names=now)
    assert zones(record) == ("web", "zonebridge.io/unknown")
    assert record["destination"] == {"address": SERVER, "port": 5432, "zone": "zonebridge.io/unknown"}


def test_of_a_stranger_whose_connection_began_before_our_eyes_it_is_known_that_it_was_outside(connections):
    now = FlowNames((HELD | {ip_address(SERVER): UnownedAddress.UNKNOWN}).get, Zoning(), "panorama", 7, ("team",))
    (record,) = take(connections, begun(1), ended(1), names=now)
    assert zones(record) == ("web", "outside")


def test_a_connection_that_was_found_has_neither_a_revision_nor_a_start_that_nobody_knows(connections):
    """What the kernel doesn't say of its start is no later than when it was found, and no earlier time is invented."""
    connections.counted(connections.count_anew(), living(1), NAMES, NOW - 60)
    (record,) = take(connections, ended(1, times=(None, NOW)))
    assert "revision" not in record
    assert record["tier"] == "panorama"
    assert record["time"] == "2023-11-14T22:14:00.000000Z"


def test_one_that_ends_before_anybody_is_known_says_so(connections):
    assert list(connections.take([begun(1)], NAMELESS, STAMP_OF_A_START, NOW)) == []
    (written,) = connections.take([ended(1)], NAMELESS, STAMP_OF_A_START, NOW)
    record = json.loads(written)
    assert zones(record) == ("zonebridge.io/unknown", "zonebridge.io/unknown")
    assert record["source"]["address"] == CLIENT
    assert "pod" not in record["source"]


@pytest.mark.parametrize(
    ("started", "begun_at", "zone"),
    [
        (1_700_000_000, 1_699_999_990.0, "zonebridge.io/unknown"),
        (1_700_000_000, 1_700_000_000.9, "zonebridge.io/unknown"),  # startTime has whole seconds
        (1_700_000_000, 1_700_000_001.0, "data"),
        (1_700_000_000, None, "data"),
        (None, 1_699_999_990.0, "data"),
    ],
)
@pytest.mark.parametrize("known_when_found", [True, False])
def test_a_pod_that_began_after_a_connection_that_was_found_is_not_the_one_that_had_it(
    connections, started, begun_at, zone, known_when_found
):
    later = replace(HELD[ip_address(SERVER)], started=started)
    names = FlowNames((HELD | {ip_address(SERVER): later}).get, Zoning(), "panorama", 7, ("team",))
    (found,) = living(1)
    at_start = names if known_when_found else NAMELESS
    connections.counted(connections.count_anew(), [found._replace(start=begun_at)], at_start, NOW)
    times = () if begun_at is None else (begun_at, begun_at + 5)
    (record,) = take(connections, ended(1, times=times), names=names)
    assert zones(record) == ("web", zone)
    assert record["destination"].get("pod") == (None if "/" in zone else "db")


@pytest.mark.parametrize(("begun_at", "zone"), [(1_699_999_990.0, "zonebridge.io/unknown"), (1_700_000_010.0, "data")])
def test_a_pod_of_another_node_that_began_later_is_not_the_one_that_had_it_either(connections, begun_at, zone):
    """As its node's PodSlice tells it, from the object on."""
    view = View("panorama", node="n1")
    namespace = {"metadata": {"name": "shop", "uid": "s", "annotations": {"zonebridge.io/zones": "*"}}}
    nodes = [smallcluster.node("n1", "192.0.2.1", "10.0.1.0/24"), smallcluster.node("n2", "192.0.2.2", "10.0.0.0/24")]
    view.fold(ObjectPage(WatchedKind.NAMESPACES, [namespace]))
    view.fold(
        ObjectPage(
            WatchedKind.NODES,
            [each | {"metadata": each["metadata"] | {"uid": each["metadata"]["name"]}} for each in nodes],
        )
    )
    later = replace(pod("db", SERVER, "data"), node="n2", started=1_700_000_000)
    view.fold(
        WatchedObject(WatchedKind.SLICES, slices.render("panorama", "0.n2", "n2", [later], ["zonebridge.io/zone"]))
    )
    names = FlowNames(view.holders.of, Zoning(), "panorama", 7, ())
    (found,) = living(1)
    connections.counted(connections.count_anew(), [found._replace(start=begun_at)], names, NOW)
    (record,) = take(connections, ended(1, times=(begun_at, begun_at + 5)), names=names)
    assert record["destination"]["zone"] == zone
    assert record["destination"].get("pod") == (None if "/" in zone else "db")
