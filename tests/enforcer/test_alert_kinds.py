"""Every kind of alert that a node raises, from its cause to the SIEM's record; and what the pods concerned are told."""

import re
from pathlib import Path

import pytest

from enforcer import wiring
from enforcer.cluster.view import WatchedKind
from enforcer.flows.seen_table import SeenTable
from enforcer.rules.chains.verdict_chains import VerdictChain
from enforcer.rules.connmark import ConnmarkLayout
from enforcer.settings.detection import DetectionSettings
from mocks.kubernetes.calls import Call
from mocks.serving import Fault
from tests.enforcer import smallcluster as world
from tests.enforcer import test_service as agent
from tests.enforcer.smallcluster import eventually
from zones.policy import Blocklists, Verdict
from zones.rules import NO_LOG, Origin
from zones.siem.alerts import OF_THE_NODES, SEVERITIES, AlertKind, Severity
from zones.tiers import native

# The whole agent and what stands around it.
kubernetes, siem, settings, scene = agent.kubernetes, agent.siem, agent.settings, agent.scene
RECORDS = (
    (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8").split("The bridge tells of")[0]
)
BLOCKING = Origin("known bad", None, "pre", "k8s-prod")
PROVED_ELSEWHERE = {
    AlertKind.DENIED_FLOW: agent.test_a_denied_flow_is_an_alert_at_once_and_a_flow_record,
    AlertKind.TIER_TAMPERED: agent.test_a_deleted_tier_opens_nothing_and_is_told,
    AlertKind.KERNEL_TAMPERED: agent.test_what_somebody_did_to_the_kernel_is_told,
    AlertKind.NODE_PROBLEM: agent.test_what_the_kernel_refuses_is_told_and_tried_again,
    AlertKind.ZONE_UNKNOWN: agent.test_conditions_begin_and_end,
    AlertKind.ADDRESS_DISPUTED: agent.test_conditions_begin_and_end,
}


async def in_force(stage):
    world.publish(stage.kubernetes, world.tier(1))
    await eventually(lambda: stage.kernel.revision == 1)


def stranger(namespace):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}


async def blocklist_hit(stage):
    lists = Blocklists((), ("bad-ips",))
    stage.kernel.terminals["b"] = VerdictChain(BLOCKING, Verdict.DENY, NO_LOG, blocklists=lists)
    await in_force(stage)
    stage.log.put(agent.denied(destination="203.0.113.9", port=443, prefix="zb:b:o"))
    yield {
        "blocklists": {"destinations": ["bad-ips"]},
        "rule": {"name": "known bad", "rulebase": "pre", "deviceGroup": "k8s-prod"},
    }


async def storm(stage):
    """Limits so small that even zone pairs are too many."""
    await in_force(stage)
    table = stage.service.parts.reporter.alerts
    table._budget.take = lambda *_: False
    stage.log.put(agent.denied())
    yield {"subject": "alerts", "count": 1}


async def tier_refused(stage):
    """What an administrator wrote who also worked out the digest."""
    await in_force(stage)
    made = world.tier(2).tier
    content = {name: value for name, value in made["spec"].items() if name not in {"revision", "digest", "source"}}
    content |= {"zoning": content["zoning"] | {"entitlement": "whatever"}}
    spec = made["spec"] | content | {"digest": native.digest(content)}
    world.replace_spec(stage.kubernetes, made | {"spec": spec})
    yield {"subject": "panorama"}


async def zone_claimed(stage):
    await in_force(stage)
    stage.kubernetes.create(stranger("lab"))
    world.add_pod(stage.kubernetes, world.pod("thief", "10.1.0.60", "db", namespace="lab"))
    yield {"subject": "lab/db"}
    (event,) = await eventually(lambda: events(stage, "ZoneNotEntitled"))
    assert event["involvedObject"]["name"] == "thief"
    assert "isn't entitled to the zone 'db'" in event["message"]


def in_quarantine(**spec):
    async def cause(stage):
        await in_force(stage)
        world.add_pod(stage.kubernetes, world.pod("held", "10.1.0.61", "web"))
        resource = stage.kubernetes.catalog.by_kind("v1", "Pod")
        uid = stage.kubernetes.verbs.get(Call(resource, "shop", "held")).body["metadata"]["uid"]
        stage.kubernetes.create(world.quarantine("q", pod=("held", uid), **spec))
        yield {"subject": "q/shop/held"}
        if not spec:
            await eventually(lambda: events(stage, "ZoneQuarantined"))
        kind = stage.kubernetes.catalog.by_kind(native.API_VERSION, "Quarantine")
        stage.kubernetes.verbs.delete(Call(kind, "", "q"), {})
        told = AlertKind.QUARANTINE_HELD if spec else AlertKind.QUARANTINED
        await eventually(lambda: [each for each in stage.alerts(told.value) if each["state"] == "resolved"])

    return cause


async def address_misplaced(stage):
    await in_force(stage)
    world.add_pod(stage.kubernetes, world.pod("elsewhere", "10.9.0.1", "db"))
    yield {"subject": "shop/elsewhere/10.9.0.1"}
    (event,) = await eventually(lambda: events(stage, "ZoneAddressNotTrusted"))
    assert event["involvedObject"]["name"] == "elsewhere"


def detecting(stage):
    """The agent with detectors, as its settings would have them."""
    parts = stage.service.parts
    section = DetectionSettings.model_validate({"portScan": {"ports": 3}})
    settings = parts.settings.model_copy(update={"detection": section})
    return settings, wiring.detectors(settings, parts.reporter, SeenTable("n1", ConnmarkLayout()))


async def detected(stage):
    await in_force(stage)
    stage.service.parts.reporter.refused = detecting(stage)[1].denied
    for port in (21, 22, 23):
        stage.log.put(agent.denied(port=port))
    yield {"detector": "port-scan", "value": 3, "threshold": 3, "targets": ["tcp/21", "tcp/22", "tcp/23"]}


async def detection_limited(stage):
    await in_force(stage)
    parts, (settings, detection) = stage.service.parts, detecting(stage)
    wiring.detection_watch(settings, detection, parts.reporter, parts.enforcement).limited(7)
    yield {"subject": "detection", "count": 7}


async def network_disputed(stage):
    await in_force(stage)
    other = world.node("n9", "192.0.2.9", "10.1.0.128/25")
    stage.kubernetes.create(other)
    yield {"subject": "n1/10.1.0.0/24"}
    stage.kubernetes.delete(other)


async def sync_stale(stage):
    await in_force(stage)
    parts = stage.service.parts
    short = parts.settings.alerts.model_copy(update={"stale_seconds": 1e-6})
    parts.settings = parts.settings.model_copy(update={"alerts": short})
    yield {"subject": "api-server"}


async def log_loss(stage):
    await in_force(stage)
    stage.service.parts.outbox.lost_in_memory += 40
    yield {"subject": "memory", "count": 40}


class Limited:
    """An audit that finds packets of a rule which its limit kept from the log."""

    def __init__(self, before):
        self.before, self.found = before, [("7", 12)]

    def begin(self):
        self.before.begin()

    def lost(self, source):
        return self.before.lost(source)

    async def held_back(self):
        found, self.found = self.found, []
        return found

    def close(self):
        self.before.close()


async def log_limited(stage):
    """As `enforcer.flows.log_audit` finds it in the rules' counters."""
    await in_force(stage)
    stage.service.parts.log.audit = Limited(stage.service.parts.log.audit)
    yield {"subject": "interzone-default", "count": 12}


async def destination_trouble(stage):
    """The records of the trouble itself arrive once it is over."""
    await in_force(stage)
    stage.siem.hec.disable(agent.SECRET)
    stage.log.put(agent.denied())
    await eventually(lambda: stage.service.parts.deliveries[0].progress.on_hold)
    await eventually(lambda: stage.service.parts.reporter.alerts.holding)
    stage.siem.hec.enable(agent.SECRET)
    yield {"subject": "siem"}


CAUSES = {
    AlertKind.BLOCKLIST_HIT: blocklist_hit,
    AlertKind.ALERT_STORM: storm,
    AlertKind.TIER_REFUSED: tier_refused,
    AlertKind.ZONE_CLAIMED: zone_claimed,
    AlertKind.QUARANTINED: in_quarantine(),
    AlertKind.QUARANTINE_HELD: in_quarantine(held="2 of 2 pods of shop/web"),
    AlertKind.ADDRESS_MISPLACED: address_misplaced,
    AlertKind.NETWORK_DISPUTED: network_disputed,
    AlertKind.DETECTION: detected,
    AlertKind.DETECTION_LIMITED: detection_limited,
    AlertKind.SYNC_STALE: sync_stale,
    AlertKind.LOG_LOSS: log_loss,
    AlertKind.DESTINATION_TROUBLE: destination_trouble,
    AlertKind.LOG_LIMITED: log_limited,
}


def events(stage, reason):
    """As core/v1 has them, and so `kubectl describe`."""
    resource = stage.kubernetes.catalog.by_kind("v1", "Event")
    found = stage.kubernetes.verbs.list(Call(resource, "", "")).body["items"]
    return [event for event in found if event["reason"] == reason]


@pytest.mark.parametrize("kind", CAUSES, ids=str)
def test_a_cause_becomes_a_record(scene, kind):
    async def scenario(stage):
        cause = CAUSES[kind](stage)
        wanted = await anext(cause)
        alert = (await eventually(lambda: stage.alerts(kind.value)))[0]
        assert (alert["severity"], alert["state"]) == (SEVERITIES[kind].value, "raised")
        assert {key: alert[key] for key in wanted} == wanted
        assert alert["message"]
        async for _ in cause:
            pass

    scene(scenario)


def test_no_kind_is_without_a_proof():
    assert CAUSES.keys() | PROVED_ELSEWHERE.keys() == OF_THE_NODES
    assert set(SEVERITIES.values()) <= set(Severity)


def test_a_denied_connection_is_told_at_both_pods(scene):
    async def scenario(stage):
        await in_force(stage)
        stage.log.put(*[agent.denied()] * 5)
        await eventually(lambda: len(events(stage, "ZoneDenied")) == 2)
        by_pod = {event["involvedObject"]["name"]: event for event in events(stage, "ZoneDenied")}
        assert "tcp/22 to 10.1.0.20" in by_pod["web-1"]["message"]
        assert "tcp/22 from 10.1.0.10" in by_pod["db-0"]["message"]
        uids = {pod.name: pod.uid for pod in stage.service.parts.view.own_pods()}
        assert {name: event["involvedObject"]["uid"] for name, event in by_pod.items()} == uids
        await eventually(lambda: stage.service.survey.status["pod_events"]["written"] == 2)

    scene(scenario)


def test_events_on_pods_can_be_switched_off(scene, settings):
    quiet = settings.pod_events.model_copy(update={"enabled": False})
    object.__setattr__(settings, "pod_events", quiet)

    async def scenario(stage):
        await in_force(stage)
        stage.log.put(agent.denied())
        await eventually(lambda: stage.alerts("denied-flow"))
        assert stage.service.parts.event_writer is None
        assert events(stage, "ZoneDenied") == []

    scene(scenario)


def test_an_api_server_that_takes_no_events_holds_up_nothing(scene, kubernetes):
    refused = Fault("status", path="/apis/events.k8s.io/", times=1000, status=403)
    kubernetes.faults.add(refused)

    async def scenario(stage):
        await in_force(stage)
        stage.log.put(agent.denied())
        await eventually(lambda: stage.service.parts.event_writer.failed)
        await eventually(lambda: stage.alerts("denied-flow"))
        world.publish(stage.kubernetes, world.tier(2, 80))
        await eventually(lambda: stage.kernel.revision == 2)

    scene(scenario)


def test_a_node_says_now_and_then_that_it_is_there(scene, monkeypatch):
    monkeypatch.setattr("enforcer.status.node_state._HEARTBEAT", 0.0)

    async def scenario(stage):
        await in_force(stage)
        first = await eventually(lambda: agent.node_state(stage).get("reportedAt"))
        await eventually(lambda: agent.node_state(stage)["reportedAt"] != first)

    scene(scenario)


def test_every_kind_of_object_has_its_silence_told(scene):
    async def scenario(stage):
        await eventually(lambda: "silence" in stage.service.survey.status)
        assert stage.service.survey.status["silence"].keys() == {kind.name.lower() for kind in WatchedKind}

    scene(scenario)


def test_the_documentation_has_each_kind_with_its_severity():
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (informational|low|medium|high|critical)\b", RECORDS, re.MULTILINE))
    assert rows == {kind.value: SEVERITIES[kind].value for kind in OF_THE_NODES}
