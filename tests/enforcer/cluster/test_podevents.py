"""Events on pods: why a connection was refused, told once and counted, never more of them than an API server likes."""

import asyncio
from dataclasses import replace
from ipaddress import ip_address

import pytest

from enforcer.cluster import pod_events
from enforcer.cluster.event_writer import EventWriter
from enforcer.cluster.pod_events import EventText, PodEvents
from enforcer.flows.flows import FlowNames, name, read
from enforcer.rules.chains.verdict_chains import SPOOFED, VerdictChain
from tests.enforcer import smallcluster as world
from tests.enforcer.clocks import Clock
from tests.enforcer.reports.test_flows import packet
from tests.enforcer.smallcluster import eventually
from zones.addresses.inventory import Pod
from zones.kube.errors import ClusterError, ClusterRefusedError
from zones.policy import Verdict
from zones.rules import NO_LOG, Log, Origin
from zones.runtime.backoff import Backoff
from zones.zone import Zoning


def pod(uid, address, zone, *, namespace="shop", node="n1", workload="", allowed=frozenset({"*"})):
    labels = {"zonebridge.io/zone": zone} if zone else {}
    addresses = (ip_address(address),)
    return Pod(uid, namespace, f"{uid}-0", node, "Running", addresses, labels, workload or uid, allowed=allowed)


WEB, DB = pod("web", "10.1.0.10", "web"), pod("db", "10.1.0.20", "db")
CART = pod("cart", "10.1.0.30", "web")
AWAY = pod("away", "10.2.0.10", "db", namespace="other", node="n2")
HOLDERS = {each.addresses[0]: each for each in (WEB, DB, CART, AWAY)}
TERMINALS = {
    "d": VerdictChain(world.DENY_ALL, Verdict.DENY, Log(start=True)),
    "o": VerdictChain(world.DENY_ALL, Verdict.DENY, Log(start=True), enforced=False),
    "s": VerdictChain(SPOOFED[0], Verdict.DENY, NO_LOG),
    "evil": VerdictChain(Origin("rule\n" + "x" * 5000, None, "pre", ""), Verdict.DENY, NO_LOG),
}


def named(source="10.1.0.10", destination="10.1.0.20", at=0.0, key="d", names=HOLDERS, **more):
    found = packet(source, destination, prefix=f"zb:{key}:o", **more)
    return name(read(found, TERMINALS, at), FlowNames(names.get, Zoning()))


class Events(PodEvents):
    """On a machine whose time nobody sets: both clocks go alike."""

    def __init__(self, holders, limits):
        self.clock = Clock()
        super().__init__("n1", holders.get, limits, self.clock)

    def denied(self, named):
        self.clock.now = named.seen.at
        super().denied(named)

    def states(self, states, now):
        self.clock.now = now
        super().states(states, now)


def events(holders=HOLDERS, **limits):
    return Events(holders, pod_events.PodEventLimits(**limits))


def written(table, now):
    """What is due, and as it would be written."""
    found = []
    table.clock.now = now
    for series in table.due():
        found.append(series.event(table.node))
        table.wrote(series, series.count)
    return found


def test_both_pods_of_this_node_are_told_each_of_its_own_side():
    table = events()
    table.denied(named(dport=5432))
    source, destination = written(table, 0.0)
    assert source["regarding"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "shop",
        "name": "web-0",
        "uid": "web",
    }
    assert (source["reason"], source["type"], source["action"]) == ("ZoneDenied", "Warning", "Connect")
    assert source["note"] == (
        "tcp/5432 to 10.1.0.20 (zone 'db', workload 'db') denied by rule 'interzone-default'; this pod is in zone 'web'"
    )
    assert destination["regarding"]["name"] == "db-0"
    assert destination["action"] == "Accept"
    assert "tcp/5432 from 10.1.0.10 (zone 'web', workload 'web')" in destination["note"]


def test_pods_of_other_nodes_are_told_by_their_own_and_named_to_their_own_namespace_alone():
    table = events()
    table.denied(named(destination="10.2.0.10"))
    (event,) = written(table, 0.0)
    assert event["regarding"]["name"] == "web-0"
    assert "10.2.0.10 (zone 'db')" in event["note"]
    assert "away" not in event["note"]


def test_a_site_may_keep_rule_names_to_itself():
    table = events(rules=False)
    table.denied(named(destination="203.0.113.9"))
    (event,) = written(table, 0.0)
    assert "denied by the firewall; this pod" in event["note"]
    assert "interzone" not in event["note"]


def test_what_happens_again_is_one_event_with_a_count_and_seldom_written():
    table = events()
    for second in range(300):
        table.denied(named(destination="203.0.113.9", at=float(second), sport=second))
    (first,) = written(table, 300.0)
    assert first["series"]["count"] == 300
    table.denied(named(destination="203.0.113.9", at=301.0))
    assert written(table, 301.0) == []
    (again,) = written(table, 421.0)
    assert again["metadata"] == first["metadata"]
    assert again["series"] == {"count": 301, "lastObservedTime": "1970-01-01T00:05:01.000000Z"}
    assert written(table, 600.0) == []


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_events_are_written_as_ever_while_the_machine_s_time_is_set(step):
    clock, found = Clock(), []
    table = PodEvents("n1", HOLDERS.get, pod_events.PodEventLimits(), clock)
    for second in range(500):
        clock.now = float(second)
        wall = 1_795_260_148.0 + second + (step if second >= 10 else 0.0)
        table.denied(named(destination="203.0.113.9", at=wall))
        for series in table.due():
            found.append(series.event("n1"))
            table.wrote(series, series.count)
    assert [event.get("series", {}).get("count", 1) for event in found] == [1, 121, 241, 361, 481]
    assert all(event["series"]["lastObservedTime"] >= event["eventTime"] for event in found[1:])


def test_after_a_quiet_while_it_is_an_event_of_its_own():
    table = events()
    table.denied(named(destination="203.0.113.9"))
    (first,) = written(table, 0.0)
    assert written(table, 700.0) == []
    assert len(table) == 0
    table.denied(named(destination="203.0.113.9", at=701.0))
    (second,) = written(table, 701.0)
    assert second["metadata"]["name"] != first["metadata"]["name"]
    assert "series" not in second


def test_a_pod_that_scans_is_told_five_things_and_that_there_are_more():
    table = events(per_minute=600)
    for port in range(10_000):
        table.denied(named(destination="203.0.113.9", dport=port))
    found = written(table, 0.0)
    assert len(found) == 6
    assert sum(event.get("series", {"count": 1})["count"] for event in found) == 10_000
    assert sum("more connections denied" in event["note"] for event in found) == 1


def many_pods(many):
    addresses = [f"10.1.{n // 250}.{n % 250 + 1}" for n in range(many)]
    return {ip_address(address): pod(f"p{n}", address, "web") for n, address in enumerate(addresses)}


def test_a_storm_of_pods_is_so_many_events_a_minute_and_none_is_forgotten():
    pods = many_pods(500)
    table = events(pods, per_minute=30)
    for address in pods:
        table.denied(named(str(address), "203.0.113.9", names=pods))
    assert table.waiting == 500
    counts = [len(written(table, float(second))) for second in range(301)]
    assert counts[0] == 30
    assert sum(counts) <= 30 + 300 / 2
    assert sum(counts[1:]) >= 140


def test_memory_is_bounded_and_what_has_no_room_is_counted():
    pods = many_pods(2_500)
    table = events(pods)
    for address in pods:
        table.denied(named(str(address), "203.0.113.9", names=pods))
    assert len(table) == 2_000
    assert table.suppressed == 500


def test_a_pod_that_is_gone_or_another_with_its_address_is_told_nothing():
    holders = dict(HOLDERS)
    table = events(holders)
    table.denied(named(destination="203.0.113.9"))
    holders[WEB.addresses[0]] = CART
    assert written(table, 0.0) == []
    assert table.waiting == 0


def test_a_pod_that_came_back_under_its_name_has_events_of_its_own():
    holders = dict(HOLDERS)
    table = events(holders)
    table.denied(named(destination="203.0.113.9"))
    (first,) = written(table, 0.0)
    holders[WEB.addresses[0]] = replace(WEB, uid="another")
    table.denied(named(destination="203.0.113.9", at=200.0))
    assert written(table, 200.0) == []
    table.denied(named(destination="203.0.113.9", at=201.0))
    (second,) = written(table, 201.0)
    assert [event["regarding"]["uid"] for event in (first, second)] == ["web", "another"]
    assert second["metadata"]["name"] != first["metadata"]["name"]


def test_what_a_spoofed_address_did_is_not_told_to_the_pod_whose_it_is():
    table = events()
    table.denied(named(key="s"))
    assert written(table, 0.0) == []


def test_in_observe_mode_it_would_be_denied_and_is_no_warning():
    table = events()
    table.denied(named(destination="203.0.113.9", key="o"))
    (event,) = written(table, 0.0)
    assert (event["reason"], event["type"]) == ("ZoneWouldDeny", "Normal")
    assert "would be denied" in event["note"]


def test_no_name_can_break_or_swell_a_note():
    table = events()
    table.denied(named(destination="203.0.113.9", key="evil"))
    (event,) = written(table, 0.0)
    assert len(event["note"]) <= 1000
    assert "\n" not in event["note"]


def test_why_a_pod_is_cut_off_is_told_while_it_lasts():
    policy = world.policy(80)
    cut_off = pod("cut", "10.1.0.40", "db", allowed=frozenset({"web"}))
    odd = pod("odd", "10.1.0.41", "nowhere")
    states = list(pod_events.of_zones(policy, [WEB, cut_off, odd]))
    assert [(who.uid, told.reason) for who, told in states] == [("cut", "ZoneNotEntitled"), ("odd", "ZoneUnknown")]
    table, found = events(), []
    for second in range(0, 3000, 5):
        table.states(states[:1], float(second))
        found += written(table, float(second))
    assert [event.get("series", {}).get("count", 1) for event in found] == [1, 2]
    assert "isn't entitled to the zone 'db'" in found[0]["note"]


def test_what_was_so_for_a_moment_is_not_told():
    """A new namespace's pod may be known before the namespace is."""
    table = events()
    table.states([(WEB, EventText("ZoneNotEntitled", "Zone", "why"))], 0.0)
    table.states([], 5.0)
    assert [written(table, at) for at in (0.0, 5.0, 300.0, 700.0)] == [[], [], [], []]
    assert len(table) == 0


def test_an_address_that_is_not_trusted_is_told_to_its_pod():
    ((who, told),) = pod_events.of_places([(ip_address("10.9.0.1"), WEB)], "n1")
    assert (who, told.reason) == (WEB, "ZoneAddressNotTrusted")


class Board:
    """An API server that answers as it is told."""

    def __init__(self, *answers):
        self.answers, self.posted = list(answers), []

    async def post(self, event):
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.posted.append(event)


@pytest.mark.parametrize(
    ("trouble", "arrives"), [(ClusterError("away"), True), (ClusterRefusedError("the namespace ends"), False)]
)
def test_trouble_is_waited_out_and_a_refusal_is_not_asked_again(trouble, arrives):
    async def run():
        board, table = Board(trouble, trouble), events()
        for _ in range(2):
            table.states([(WEB, EventText("A", "Zone", "a"))], 0.0)
        writer = EventWriter(table, board, Backoff(0.001, 0.001))
        task = asyncio.create_task(writer.run())
        await eventually(lambda: table.waiting == 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(board.posted) == writer.written == int(arrives)
        assert writer.failed == (2 if arrives else 1)

    asyncio.run(run())
