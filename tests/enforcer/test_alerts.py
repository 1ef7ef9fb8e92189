"""Alerts: the first at once, the rest counted, nothing uncounted, and never more state than allowed."""

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from enforcer import conditions
from enforcer.alerts import AlertKind, AlertTable, Condition, Severity, State
from enforcer.delivery import Progress
from enforcer.tier import Judgement, Standing
from tests.enforcer import cluster as world
from tests.enforcer.test_flows import named, stamp
from zones.inventory import Pod


def denied(table, at, **more):
    return list(table.denied(named(at=at, **more)))


def test_the_first_is_told_at_once_and_the_rest_as_one_count_a_window():
    table = AlertTable(60, 10)
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
    table = AlertTable(60, 10)
    denied(table, 0.0)
    assert list(table.take(60.0)) == []
    assert len(denied(table, 61.0)) == 1


def test_another_source_port_is_the_same_alert_and_another_port_is_not():
    table = AlertTable(60, 10)
    assert len(denied(table, 0.0, sport=1)) == 1
    assert denied(table, 0.0, sport=2) == []
    assert len(denied(table, 0.0, dport=8080)) == 1


def test_the_message_names_workloads_zones_port_and_rule():
    (alert,) = denied(AlertTable(60, 10), 0.0)
    assert alert.message == (
        "shop/web (zone web) to 203.0.113.9 (zone outside) tcp/443 denied by rule 'interzone-default'"
    )
    assert alert.severity is Severity.MEDIUM


def test_in_observe_mode_it_would_be_denied_and_is_less_severe():
    flow = named(at=0.0)
    (alert,) = AlertTable(60, 10).denied(replace(flow, seen=replace(flow.seen, enforced=False)))
    assert "would be denied" in alert.message
    assert alert.severity is Severity.LOW


def test_too_many_kinds_are_told_by_zone_pair():
    table = AlertTable(60, 3)
    told = [alert for port in range(1, 100) for alert in denied(table, 0.0, dport=port)]
    assert len(told) == 4
    assert told[-1].details["source"] == {"zone": "web"}
    (counted,) = table.take(60.0)
    assert counted.count == 95
    assert table.overflow == 0


@given(
    st.lists(st.tuples(st.floats(0, 300), st.integers(1, 8), st.sampled_from(["10.1.0.10", "192.0.2.1", "9.9.9.9"]))),
    st.integers(1, 5),
)
def test_every_denied_packet_is_counted_exactly_once(packets, capacity):
    table, told = AlertTable(60, capacity), []
    for at, port, source in sorted(packets):
        told += table.take(at)
        told += denied(table, at, dport=port, source=source)
        assert len(table._fine) <= capacity
        assert len(table._coarse) <= capacity
    told += table.take(1000.0)
    assert sum(alert.count for alert in told) == len(packets)
    told += table.take(2000.0)
    assert len(table._fine) == len(table._coarse) == 0


def test_events_repeat_like_flows():
    table = AlertTable(60, 10)
    (first,) = table.event(AlertKind.LOG_LOSS, "kernel", "lost", 0.0, 40)
    assert (first.count, first.severity) == (40, Severity.HIGH)
    assert list(table.event(AlertKind.LOG_LOSS, "kernel", "lost", 1.0, 2)) == []
    assert [alert.count for alert in table.take(60.0)] == [2]


def test_a_condition_is_told_when_it_begins_changes_and_ends_and_now_and_then():
    table = AlertTable(60, 10, remind=100)
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
        return [(each.kind, each.severity) for each in conditions.of_tier("t", Judgement(None, standing, why))]

    assert found(Standing.TAMPERED) == [(AlertKind.TIER_TAMPERED, None)]
    assert found(Standing.REFUSED) == [(AlertKind.TIER_REFUSED, None)]
    assert found(Standing.CURRENT) == [(AlertKind.TIER_TAMPERED, Severity.MEDIUM)]
    assert found(Standing.CURRENT, "") == found(Standing.WAITING) == found(Standing.NONE) == []


def test_silence_of_the_api_server():
    heard = {"pods": 0.0, "nodes": 90.0}
    assert list(conditions.of_sync(heard, 100.0, 200)) == []
    (condition,) = conditions.of_sync(heard, 100.0, 50)
    assert "of pods for" in condition.message
    assert condition == next(conditions.of_sync(heard, 101.0, 50))


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
    assert [each.subject for each in conditions.of_zones(world.policy(80), pods)] == ["lab/odd", "shop/odd"]
    assert list(conditions.of_zones(replace(world.policy(80), known_zones=frozenset()), pods)) == []


def test_a_zone_claimed_without_right_is_told_as_that_alone():
    def pod(uid, zone, allowed, phase="Running"):
        labels = {"zonebridge.io/zone": zone}
        return Pod(uid, "shop", uid, "n1", phase, (), labels, allowed=allowed)

    web = frozenset({"web"})
    pods = [pod("1", "db", web), pod("2", "db", web), pod("3", "odd", web), pod("4", "web", web)]
    pods.append(pod("5", "gone", web, phase="Succeeded"))
    found = list(conditions.of_zones(world.policy(80), pods))
    assert [(each.kind, each.subject) for each in found] == [
        (AlertKind.ZONE_CLAIMED, "shop/db"),
        (AlertKind.ZONE_CLAIMED, "shop/odd"),
    ]
    assert found[0].alert(1.0, State.RAISED).severity is Severity.HIGH
    (strict,) = conditions.of_zones(world.policy(80), [pod("1", "web", None)])
    assert "isn't entitled" in strict.message


def test_addresses_and_destinations():
    pods = tuple(Pod(name, "shop", name, "n1", "Running", (), {}) for name in "ba")
    (disputed,) = conditions.of_addresses([(ip_address("10.1.0.1"), pods)], "n1")
    assert list(conditions.of_addresses([(ip_address("10.1.0.1"), pods)], "n2")) == []
    (misplaced,) = conditions.of_places([(ip_address("10.9.0.1"), pods[0])], "n1")
    assert (misplaced.kind, misplaced.subject) == (AlertKind.ADDRESS_MISPLACED, "shop/b/10.9.0.1")
    assert "shop/a, shop/b" in disputed.message
    (held,) = conditions.of_destinations([Progress("a", trouble="away"), Progress("b", trouble="token", held=True)])
    assert held.subject == "b"
