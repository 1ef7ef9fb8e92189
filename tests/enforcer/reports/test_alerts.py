"""Alerts: the first at once, the rest counted, nothing uncounted, and never more state or alerts than allowed."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.cluster.tier import TierJudgement, TierStanding
from enforcer.flows.flows import name, read
from enforcer.netlink.nflog import Frame
from enforcer.reports.alert_table import AlertLimits, AlertTable
from enforcer.rules.chains.verdict_chains import SPOOFED, VerdictChain
from enforcer.shipping.delivery import DeliveryProgress
from enforcer.status import problems
from tests.enforcer import smallcluster as world
from tests.enforcer.clocks import Clock
from tests.enforcer.reports.test_flows import NAMES, TERMINALS, named, packet, stamp
from zones.addresses.inventory import Node, Pod
from zones.addresses.pod_networks import Doubt
from zones.policy import Blocklists
from zones.siem.alerts import SEVERITIES, AlertKind, Condition, Severity, State


class Alerts(AlertTable):
    """A table on a machine whose time nobody sets: both clocks go alike."""

    def __init__(self, limits=None):
        self.clock = Clock()
        super().__init__(limits, self.clock)

    def denied(self, named):
        self.clock.now = named.seen.at
        return super().denied(named)

    def event(self, kind, subject, message, at, count=1):
        self.clock.now = at
        return super().event(kind, subject, message, at, count)

    def conditions(self, current, now):
        self.clock.now = now
        return super().conditions(current, now)

    def take(self, now):
        self.clock.now = now
        return super().take(now)


def denied(table, at, **more):
    return list(table.denied(named(at=at, **more)))


def test_the_first_is_told_at_once_and_the_rest_as_one_count_a_window():
    table = Alerts(AlertLimits(60, 10))
    (first,) = denied(table, 0.0)
    assert (first.state, first.count) == (State.RAISED, 1)
    for at in range(1, 60):
        assert denied(table, float(at)) == []
    assert list(table.take(59.9)) == []
    (counted,) = table.take(60.0)
    assert (counted.state, counted.count, counted.since) == (State.COUNTED, 59, 0.0)
    record = counted.record(stamp())
    assert (record["count"], record["suppressed"], record["alert"]) == (59, 59, "denied-flow")


def test_what_stopped_is_new_again_afterwards():
    table = Alerts(AlertLimits(60, 10))
    denied(table, 0.0)
    assert list(table.take(60.0)) == []
    assert len(denied(table, 61.0)) == 1


def test_another_source_port_is_the_same_alert_and_another_port_is_not():
    table = Alerts(AlertLimits(60, 10))
    assert len(denied(table, 0.0, sport=1)) == 1
    assert denied(table, 0.0, sport=2) == []
    assert len(denied(table, 0.0, dport=8080)) == 1


def test_the_message_names_workloads_zones_port_and_rule():
    (alert,) = denied(Alerts(AlertLimits(60, 10)), 0.0)
    assert alert.message == (
        "shop/web (zone web) to 203.0.113.9 (zone outside) tcp/443 denied by rule 'interzone-default'"
    )
    assert alert.severity is Severity.MEDIUM


def test_in_observe_mode_it_would_be_denied_and_is_less_severe():
    flow = named(at=0.0)
    observed = replace(flow.seen.terminal, enforced=False)
    (alert,) = Alerts(AlertLimits(60, 10)).denied(flow._replace(seen=flow.seen._replace(terminal=observed)))
    assert "would be denied" in alert.message
    assert alert.severity is Severity.LOW


def test_too_many_kinds_are_told_by_source_and_then_by_zone_pair():
    table = Alerts(AlertLimits(60, 3))
    told = [alert for host in range(1, 100) for alert in denied(table, 0.0, source=f"198.51.100.{host}")]
    assert [sorted(alert.details["source"]) for alert in told] == [
        *[["address", "port", "zone"]] * 3,
        *[["address", "zone"]] * 3,
        ["zone"],
    ]
    assert told[-1].message == "many flows from zone outside to zone outside denied by rule 'interzone-default'"
    (counted,) = table.take(60.0)
    assert counted.count == 92
    assert table.suppressed == 96


def test_a_pod_that_scans_ten_thousand_ports_is_few_records_and_not_one_try_is_uncounted():
    table = Alerts(AlertLimits())
    told = [alert for port in range(10_000) for alert in denied(table, port / 1000, dport=port)]
    assert len(told) == 21
    assert told[-1].message == "many connections of shop/web (zone web) denied by rule 'interzone-default'"
    assert told[-1].details["source"] == {"zone": "web", "namespace": "shop", "workload": "web"}
    assert told[-1].record(stamp())["rule"]["name"] == "interzone-default"
    (counted,) = table.take(70.0)
    assert sum(alert.count for alert in (*told, counted)) == 10_000


def test_beside_a_scan_another_pods_first_denial_is_told_at_once():
    table = Alerts(AlertLimits())
    for port in range(10_000):
        denied(table, port / 1000, dport=port)
    (alert,) = denied(table, 10.0, source="192.0.2.1")
    assert alert.details["source"]["address"] == "192.0.2.1"


def test_in_a_storm_of_sources_there_are_only_so_many_alerts_a_second_and_the_rest_is_counted():
    limits = AlertLimits(rate=10, burst=100)
    table, told = Alerts(limits), []
    addresses = [f"198.51.{high}.{low}" for high in range(40) for low in range(250)]
    for number, address in enumerate(addresses):
        at = number / 1000
        told += denied(table, at, source=address)
        told += table.take(at)
        assert len(told) <= limits.burst + limits.rate * at + 1
    quiet = [alert for second in range(10, 1000) for alert in table.take(float(second))]
    assert sum(alert.count for alert in (*told, *quiet)) == len(addresses)
    assert len(table) == 0


def test_when_not_even_zones_can_be_told_apart_the_storm_is_one_alert_and_then_a_count():
    table = Alerts(AlertLimits(60, 1))
    told = [*denied(table, 0.0), *denied(table, 0.0, source="192.0.2.1")]
    told += denied(table, 0.0, source="198.51.100.1")
    assert {alert.kind for alert in told} == {AlertKind.DENIED_FLOW}
    (storm,) = denied(table, 0.0, source="198.51.100.2", destination="10.1.0.10")
    assert (storm.kind, storm.severity, storm.count) == (AlertKind.ALERT_STORM, Severity.HIGH, 1)
    for host in range(3, 50):
        assert denied(table, 1.0, source=f"198.51.100.{host}", destination="10.1.0.10") == []
    (counted,) = (alert for alert in table.take(60.0) if alert.kind is AlertKind.ALERT_STORM)
    assert counted.count == 47


def test_a_storm_of_denials_leaves_room_for_what_matters_more():
    table = Alerts(AlertLimits(capacity=1000, rate=0.001, burst=50))
    for host in range(250):
        denied(table, 0.0, source=f"198.51.100.{host}")
    condition = Condition(AlertKind.TIER_TAMPERED, "t", "set back")
    assert [alert.kind for alert in table.conditions(iter([condition]), 1.0)] == [AlertKind.TIER_TAMPERED]
    assert [alert.kind for alert in table.event(AlertKind.KERNEL_TAMPERED, "r", "flushed", 1.0)] == [
        AlertKind.KERNEL_TAMPERED
    ]


def test_events_about_too_many_subjects_are_told_in_one_and_each_kind_is_told():
    table = Alerts(AlertLimits(rate=0.001, burst=10))
    told = [
        alert
        for rule in range(100)
        for alert in table.event(AlertKind.LOG_LIMITED, f"rule {rule}", "held back", 0.0, 2)
    ]
    assert [alert.details["subject"] for alert in told] == [*(f"rule {number}" for number in range(10)), "others"]
    (other,) = table.event(AlertKind.KERNEL_TAMPERED, "ruleset", "flushed", 0.0)
    assert other.details["subject"] == "ruleset"
    told += [alert for at in range(60, 100_000, 1000) for alert in table.take(float(at))]
    assert sum(alert.count for alert in told) == 200
    assert len(table) == 0


def test_conditions_beyond_the_limit_are_told_later():
    table = Alerts(AlertLimits(rate=1, burst=10))
    many = [Condition(AlertKind.ADDRESS_MISPLACED, str(number), "!") for number in range(25)]
    assert len(list(table.conditions(iter(many), 0.0))) == 10
    assert len(list(table.conditions(iter(many), 5.0))) == 5
    assert len(list(table.conditions(iter(many), 100.0))) == 10
    assert len(list(table.conditions(iter([]), 200.0))) == 10
    assert table.holding == 15


LISTED = Blocklists((), ("bad-ips",))


def listed(blocklists, **terminal):
    flow = named(at=0.0)
    changed = replace(flow.seen.terminal, blocklists=blocklists, **terminal)
    (alert,) = Alerts().denied(flow._replace(seen=flow.seen._replace(terminal=changed)))
    return alert


def test_what_a_rule_denies_to_a_list_is_a_blocklist_hit():
    alert = listed(LISTED)
    assert (alert.kind, alert.severity) == (AlertKind.BLOCKLIST_HIT, Severity.HIGH)
    assert alert.message.endswith("tcp/443 denied by rule 'interzone-default', which blocks 'bad-ips'")
    record = alert.record(stamp())
    assert record["blocklists"] == {"destinations": ["bad-ips"]}
    assert record["destination"]["address"] == "203.0.113.9"


def test_where_it_need_not_be_in_the_list_that_is_said():
    alert = listed(replace(LISTED, mixed=True))
    assert alert.message.endswith("which blocks 'bad-ips' and other addresses")
    assert alert.record(stamp())["blocklists"]["mixed"] is True


def test_a_blocklist_hit_in_observe_mode_is_less_severe():
    assert listed(LISTED, enforced=False).severity is Severity.MEDIUM


@pytest.mark.parametrize("kind", AlertKind)
def test_every_kind_has_a_severity(kind):
    assert kind in SEVERITIES


@given(
    st.lists(st.tuples(st.floats(0, 300), st.integers(1, 8), st.sampled_from(["10.1.0.10", "192.0.2.1", "9.9.9.9"]))),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(2, 200),
)
def test_every_denied_packet_is_counted_exactly_once(packets, capacity, per_source, burst):
    table, told = Alerts(AlertLimits(60, capacity, per_source, 0.1, burst)), []
    for at, port, source in sorted(packets):
        told += table.take(at)
        told += denied(table, at, dport=port, source=source)
        assert len(table) <= 3 * capacity + 1
    for end in range(1000, 20_000, 100):
        told += table.take(float(end))
    assert sum(alert.count for alert in told) == len(packets)
    assert len(table) == 0


@pytest.mark.parametrize("step", [-3600.0, -30.0, 3600.0])
def test_alerts_go_on_as_ever_while_the_machine_s_time_is_set(step):
    clock, told = Clock(), []
    table = AlertTable(AlertLimits(60, 1000, rate=1, burst=20), clock)
    silent = Condition(AlertKind.SYNC_STALE, "api", "silent")
    for second in range(600):
        clock.now = float(second)
        wall = 1_795_260_148.0 + second + (step if second >= 100 else 0.0)
        told += denied(table, wall)
        told += denied(table, wall, source=f"198.51.100.{second % 200}")
        told += table.conditions(iter([silent] if second < 300 else []), wall)
        told += table.take(wall)
    counted = [alert for alert in told if alert.state is State.COUNTED]
    assert len([alert for alert in counted if "shop/web" in alert.message]) == 9
    assert [alert.state for alert in told if alert.kind is AlertKind.SYNC_STALE] == [State.RAISED, State.RESOLVED]
    assert all(alert.since is None or alert.since <= alert.at for alert in told)
    clock.now = 5000.0
    told += table.take(wall)
    assert sum(alert.count for alert in told if alert.kind is AlertKind.DENIED_FLOW) == 1200


FORGED = VerdictChain(*SPOOFED)


def forged(table, at, number, link=7):
    """A packet from an address that nobody used before, by one of two ways to name a link."""
    seen = named(at=at, source=f"198.51.{number // 256}.{number % 256}", sport=number).seen
    seen = seen._replace(terminal=FORGED, rule="forged", link=link)
    return list(table.denied(name(seen, NAMES)))


def test_who_forges_a_new_address_for_each_packet_is_one_source_and_hides_nobody():
    table = Alerts(AlertLimits(rate=20, burst=200, per_source=20))
    told = [alert for number in range(20_000) for alert in forged(table, number / 10_000, number)]
    assert len(told) == 21
    assert "many forged addresses on one link" in told[-1].message
    (theirs,) = denied(table, 2.0)
    assert theirs.state is State.RAISED
    assert "shop/web" in theirs.message
    (other_link,) = forged(table, 2.0, 60_000, link=8)
    assert other_link.state is State.RAISED
    rest = [*table.take_all(100.0)]
    assert sum(alert.count for alert in (*told, *rest)) == 20_000


def test_a_frames_link_is_the_bridges_port():
    said = packet(prefix="zb:d:o")._replace(indev=3)
    assert read(said, TERMINALS, 1.0).link == 3
    assert read(said._replace(frame=Frame(9, b"", b"")), TERMINALS, 1.0).link == 9


def test_events_repeat_like_flows():
    table = Alerts(AlertLimits(60, 10))
    (first,) = table.event(AlertKind.LOG_LOSS, "kernel", "lost", 0.0, 40)
    assert (first.count, first.severity) == (40, Severity.HIGH)
    assert list(table.event(AlertKind.LOG_LOSS, "kernel", "lost", 1.0, 2)) == []
    assert [alert.count for alert in table.take(60.0)] == [2]


def test_a_condition_is_told_when_it_begins_changes_and_ends_and_now_and_then():
    table = Alerts(AlertLimits(60, 10, remind=100))
    condition = Condition(AlertKind.SYNC_STALE, "api", "silent")

    def told(*current, at):
        return [(alert.state, alert.message) for alert in table.conditions(iter(current), at)]

    assert told(condition, at=0.0) == [(State.RAISED, "silent")]
    assert told(condition, at=50.0) == []
    assert told(condition, at=100.0) == [(State.RAISED, "silent")]
    assert told(replace(condition, message="very silent"), at=110.0) == [(State.RAISED, "very silent")]
    assert told(at=120.0) == [(State.RESOLVED, "very silent")]
    assert told(at=130.0) == []


def test_the_standings_of_a_tier():
    def found(standing, why="because"):
        return [(each.kind, each.severity) for each in problems.of_tier("t", TierJudgement(None, standing, why))]

    assert found(TierStanding.TAMPERED) == [(AlertKind.TIER_TAMPERED, None)]
    assert found(TierStanding.REFUSED) == [(AlertKind.TIER_REFUSED, None)]
    assert found(TierStanding.CURRENT) == [(AlertKind.TIER_TAMPERED, Severity.MEDIUM)]
    assert found(TierStanding.CURRENT, "") == found(TierStanding.WAITING) == found(TierStanding.NONE) == []


def test_silence_of_the_api_server():
    heard = {"pods": 0.0, "nodes": 90.0}
    assert list(problems.of_sync(heard, 100.0, 200)) == []
    (condition,) = problems.of_sync(heard, 100.0, 50)
    assert "of pods for" in condition.message
    assert condition == next(problems.of_sync(heard, 101.0, 50))


def test_zones_that_panorama_does_not_know():
    def pod(uid, zone, namespace="shop"):
        labels = {"zonebridge.io/zone": zone} if zone else {}
        return Pod(uid, namespace, uid, "n1", "Running", (), labels, allowed=frozenset({"*"}))

    pods = [
        pod("1", "web"),
        pod("2", "odd"),
        pod("3", "odd"),
        pod("4", ""),
        pod("5", "odd", "lab"),
        pod("6", "default"),
    ]
    assert [each.subject for each in problems.of_zones(world.policy(80), pods)] == ["lab/odd", "shop/odd"]
    assert list(problems.of_zones(replace(world.policy(80), known_zones=frozenset()), pods)) == []


def test_a_zone_claimed_without_right_is_told_as_that_alone():
    def pod(uid, zone, allowed, phase="Running"):
        labels = {"zonebridge.io/zone": zone}
        return Pod(uid, "shop", uid, "n1", phase, (), labels, allowed=allowed)

    web = frozenset({"web"})
    pods = [pod("1", "db", web), pod("2", "db", web), pod("3", "odd", web), pod("4", "web", web)]
    pods.append(pod("5", "gone", web, phase="Succeeded"))
    found = list(problems.of_zones(world.policy(80), pods))
    assert [(each.kind, each.subject) for each in found] == [
        (AlertKind.ZONE_CLAIMED, "shop/db"),
        (AlertKind.ZONE_CLAIMED, "shop/odd"),
    ]
    assert found[0].alert(1.0, State.RAISED).severity is Severity.HIGH
    (strict,) = problems.of_zones(world.policy(80), [pod("1", "web", None)])
    assert "isn't entitled" in strict.message


def test_addresses_and_destinations():
    pods = tuple(Pod(name, "shop", name, "n1", "Running", (), {}) for name in "ba")
    (disputed,) = problems.of_addresses([(ip_address("10.1.0.1"), pods)], "n1")
    assert list(problems.of_addresses([(ip_address("10.1.0.1"), pods)], "n2")) == []
    (misplaced,) = problems.of_places([(ip_address("10.9.0.1"), pods[0])], "n1")
    assert (misplaced.kind, misplaced.subject) == (AlertKind.ADDRESS_MISPLACED, "shop/b/10.9.0.1")
    (intruder,) = problems.of_intruders([(ip_address("10.1.0.7"), Node("n9", ()))], "n1")
    (overlap,) = problems.of_networks([Doubt(ip_network("10.1.0.0/24"), ("n9",))], "n1")
    assert (overlap.kind, overlap.subject) == (AlertKind.NETWORK_DISPUTED, "n1/10.1.0.0/24")
    assert "10.1.0.0/24 overlaps a pod network of n9" in overlap.message
    assert (intruder.kind, intruder.subject) == (AlertKind.ADDRESS_MISPLACED, "n9/10.1.0.7")
    assert "shop/a, shop/b" in disputed.message
    (held,) = problems.of_destinations(
        [DeliveryProgress("a", trouble="away"), DeliveryProgress("b", trouble="token", on_hold=True)]
    )
    assert held.subject == "b"
