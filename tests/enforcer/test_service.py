"""The agent as a whole, against a Kubernetes and a SIEM in small, with a kernel that only remembers what it was told."""

import asyncio
import json
import os
import socket
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from types import SimpleNamespace

import httpx
import pytest

from enforcer import wiring
from enforcer.cluster import last_good
from enforcer.cluster.view import WatchedKind
from enforcer.cluster.watch import Cluster
from enforcer.enforcement import Pace
from enforcer.errors import EnforcerError, SpoolUnusableError
from enforcer.flows.log_audit import LogAudit
from enforcer.flows.loss_ledger import Reading
from enforcer.kernel.reconcile import Applied, AppliedAction, TableDrift
from enforcer.kernel.stance import Stance, TierAnswer
from enforcer.netlink import nflog
from enforcer.netlink.nflog import Packet
from enforcer.rules.options import Mode
from enforcer.rules.ruleset import VerdictChain
from enforcer.settings.models import EnforcementSettings, load
from enforcer.shipping.outbox import Outbox
from mocks.kubernetes import ApiError, KubernetesServer
from mocks.kubernetes.calls import Call
from mocks.serving import Fault
from mocks.siem import Siem
from tests.enforcer import smallcluster as world
from tests.enforcer.clocks import Clock
from tests.enforcer.smallcluster import eventually
from zones.addresses.inventory import Node, Pod
from zones.policy import Verdict
from zones.rules import Log
from zones.runtime.backoff import Backoff
from zones.runtime.supervise import supervised

SECRET = "6f1f4c1e-3c0a-4a3e-9a51-1f0f3f6f2f5b"


@dataclass
class FakeKernel:
    """What `Reconciler` promises, without nftables."""

    passes: list = field(default_factory=list)
    answers: list = field(default_factory=list)
    modes: list = field(default_factory=list)
    stance: Stance = Stance.ENFORCED
    drift: TableDrift | None = None
    problems: tuple = ()
    stopped: bool = False
    flushed: bool = False
    held: dict = field(default_factory=dict)
    quiet: int = field(default_factory=lambda: os.eventfd(0))
    terminals: dict = field(
        default_factory=lambda: {"7": VerdictChain(world.DENY_ALL, Verdict.DENY, Log(start=True), enforced=True)}
    )

    def fileno(self):
        return self.quiet

    def restore(self, feed=None):
        return Applied(None, AppliedAction.NONE, None)

    def apply(self, policy, feed, now, *, revision=None, answer=None, mode=None):
        self.held = ({} if feed.replaces_all else self.held) | feed.changed
        self.passes.append((policy, feed, revision))
        self.modes.append(mode)
        if policy is None:
            self.answers.append(answer)
        drift, self.drift = self.drift, None
        return Applied(
            revision,
            AppliedAction.SWAP,
            SimpleNamespace(terminals=self.terminals, next_change=None),
            drift,
            self.problems,
            self.stance,
        )

    def stop(self):
        self.stopped = True
        os.close(self.quiet)

    @property
    def revision(self):
        return self.passes[-1][2] if self.passes else None

    def pods(self):
        return {who.name for who in self.held.values() if isinstance(who, Pod)}

    def nodes(self):
        return {who.name for who in self.held.values() if isinstance(who, Node)}


class FakeLog:
    """An NFLOG socket that gives what a test puts in."""

    buffer_bytes = 1 << 20

    def __init__(self):
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self.waiting = []
        self.ours = self.lost = 0
        self.idle = True

    def put(self, *packets):
        self.waiting += packets
        os.write(self._write, b"x")

    def fileno(self):
        return self._read

    def read(self):
        with suppress(BlockingIOError):
            os.read(self._read, 4096)
        found, self.waiting = self.waiting, []
        return found

    def close(self):
        os.close(self._read)
        os.close(self._write)


def denied(source="10.1.0.10", destination="10.1.0.20", port=22, prefix="zb:7:o"):
    return Packet(prefix, ip_address(source), ip_address(destination), 6, 40000, port, length=60)


@dataclass
class Stage:
    """Everything around one running agent."""

    kubernetes: KubernetesServer
    siem: Siem
    kernel: FakeKernel
    log: FakeLog
    service: object

    def records(self, kind="", **wanted):
        found = [event.event for event in self.siem.hec.events]
        return [
            each
            for each in found
            if kind in ("", each["kind"]) and all(each.get(key) == value for key, value in wanted.items())
        ]

    def alerts(self, kind):
        return self.records("alert", alert=kind)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def kubernetes():
    with KubernetesServer(bookmark_seconds=0.2) as server:
        world.fill(server)
        yield server


@pytest.fixture
def siem():
    with Siem(SECRET) as running:
        yield running


@pytest.fixture
def settings(tmp_path, kubernetes, siem):
    file = tmp_path / "enforcer.yaml"
    destination = {
        "name": "siem",
        "type": "hec",
        "url": siem.hec.url,
        "tokenEnv": "TOKEN",
        "caFile": str(siem.ca_file),
    }
    content = {
        "cluster": "prod",
        "tier": world.TIER,
        "nodeName": "n1",
        "kubeconfig": str(kubernetes.kubeconfig),
        "stateDir": str(tmp_path / "state"),
        "reconcile": {"minInterval": "10ms", "maxInterval": "500ms"},
        "flows": {"window": "200ms", "labels": ["app"]},
        "metrics": {"address": f"127.0.0.1:{free_port()}"},
        "destinations": [destination],
    }
    file.write_text(json.dumps(content))
    return load(file, {"TOKEN": SECRET})


@asynccontextmanager
async def running(settings, kubernetes, siem, monkeypatch):
    """An agent between its start and its clean end."""
    monkeypatch.setattr("enforcer.service._TICK", 0.02)
    monkeypatch.setattr("enforcer.service._SURVEY", 0.02)
    monkeypatch.setattr("enforcer.status.node_state._TICK", 0.02)
    monkeypatch.setattr(nflog, "parse", lambda packet: packet)
    outbox = wiring.open_outbox(settings)
    cluster = await Cluster.connect(settings.kubeconfig)
    cluster._backoff = Backoff(0.01, 0.05)
    kernel, log = FakeKernel(), FakeLog()
    service = wiring.service(settings, {"TOKEN": SECRET}, outbox, cluster, kernel)
    service.parts.log.packets = lambda: log
    service.backoff = Backoff(0.01, 0.05)
    for delivery in service.parts.deliveries:
        delivery.backoff = Backoff(0.01, 0.05)
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    try:
        yield Stage(kubernetes, siem, kernel, log, service)
    finally:
        stop.set()
        await task


@pytest.fixture
def scene(settings, kubernetes, siem, monkeypatch):
    """Runs a scenario with an agent."""

    def play(scenario):
        async def run():
            async with running(settings, kubernetes, siem, monkeypatch) as stage:
                await scenario(stage)
            return stage

        return asyncio.run(run())

    return play


def test_a_published_revision_is_applied_and_reported(scene):
    async def scenario(stage):
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.kernel.revision == 1)
        assert stage.kernel.pods() == {"web-1", "db-0"}
        await eventually(lambda: node_state(stage)["revision"] == 1)
        world.publish(stage.kubernetes, world.tier(2, 5432, 5433))
        await eventually(lambda: node_state(stage)["revision"] == 2)
        assert node_state(stage)["digest"] == world.tier(2, 5432, 5433).digest
        world.add_pod(stage.kubernetes, world.pod("late", "10.1.0.30", "web"))
        await eventually(lambda: "late" in stage.kernel.pods())

    assert scene(scenario).kernel.stopped


def node_state(stage):
    resource = stage.kubernetes.catalog.by_kind("zonebridge.io/v1alpha1", "NodeState")
    try:
        body = stage.kubernetes.verbs.get(Call(resource, "", "n1")).body
    except ApiError:
        return {"revision": None}
    return body.get("status") or {"revision": None}


def test_nothing_is_applied_before_everything_is_known(scene, kubernetes):
    async def scenario(stage):
        kubernetes.faults.add(Fault("status", path="/api/v1/nodes", times=5, status=503))
        await eventually(lambda: stage.kernel.passes)
        assert stage.kernel.nodes()

    kubernetes.faults.add(Fault("status", path="/api/v1/nodes", times=5, status=503))
    scene(scenario)


def test_a_tier_that_is_on_its_way_into_the_kernel_is_not_said_to_be_missing(scene, kubernetes):
    """An agent that starts with nothing in the kernel: between its reading the tier and its rules' being there."""
    said = []

    async def scenario(stage):
        enforcement, apply = stage.service.parts.enforcement, stage.kernel.apply
        stage.kernel.stance = Stance.NOTHING

        def watched(policy, *others, **more):
            if policy is not None:
                said.append(enforcement.without_tier)
            return apply(policy, *others, **more)

        stage.kernel.apply = watched
        await eventually(lambda: "there is no tier" in enforcement.without_tier)
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.kernel.revision == 1)

    scene(scenario)
    assert set(said) == {""}


def test_an_api_server_that_can_not_be_asked_is_told_and_the_kernel_part_decides(scene, kubernetes):
    """A list that is refused time and again is none that is on its way; once it comes, all is well."""

    async def scenario(stage):
        enforcement = stage.service.parts.enforcement
        enforcement.pace = Pace(0.01, 0.1, unheard=0.2)
        stage.kernel.stance = Stance.CLOSED
        await eventually(lambda: "API server has not told everything" in enforcement.without_tier)
        assert not enforcement.view.complete
        assert set(stage.kernel.answers) == {TierAnswer.SILENT}
        await eventually(lambda: "there is no tier" in enforcement.without_tier)
        stage.kernel.stance = Stance.ENFORCED
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.kernel.revision == 1)
        await eventually(lambda: enforcement.without_tier == "")

    kubernetes.faults.add(Fault("status", path="/api/v1/nodes", times=100, status=503))
    scene(scenario)


def test_an_agent_is_ready_once_the_kernel_holds_what_it_should(scene, settings):
    """Without a tier too; not with one that it can't read, nor where the kernel refuses it."""

    async def scenario(stage):
        async with httpx.AsyncClient(base_url=f"http://{settings.metrics.address}") as client:

            async def answer():
                try:
                    told = await client.get("/readyz")
                except httpx.ConnectError:
                    return 0, "not serving yet"
                return told.status_code, told.text.strip()

            async def until(*wanted):
                async with asyncio.timeout(20):
                    while (told := await answer())[0] != wanted[0] or wanted[-1] not in told[1]:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)

            stage.kernel.stance = Stance.NOTHING
            await until(200, "ready")
            stage.kernel.stance = None
            stage.kernel.problems = ("the kernel refuses",)
            world.publish(stage.kubernetes, world.tier(1))
            await until(503, "the kernel refuses")
            stage.kernel.stance, stage.kernel.problems = Stance.ENFORCED, ()
            await until(200, "ready")
            stage.kernel.problems = ("what is saved can't be written",)  # a disk is no reason to stop a rollout
            world.publish(stage.kubernetes, world.tier(2, 80))
            await eventually(lambda: stage.kernel.revision == 2)
            await until(200, "ready")

    scene(scenario)


def test_a_nodes_labels_choose_whether_it_enforces(settings, kubernetes, siem, monkeypatch):
    """Before they are known nothing is said; a Node that is gone opens nothing."""
    chosen = settings.model_copy(update={"enforcement": EnforcementSettings(node_selector={"pool": "canary"})})

    def label(value):
        item = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"pool": value}}}
        call = Call(kubernetes._resource(item), "", "n1", agent="admin")
        live = kubernetes.verbs.get(call).body
        kubernetes.verbs.update(call, live | {"metadata": live["metadata"] | {"labels": {"pool": value}}})

    async def scenario():
        async with running(chosen, kubernetes, siem, monkeypatch) as stage:
            await eventually(lambda: stage.kernel.modes and stage.kernel.modes[-1] is Mode.OBSERVE)
            await eventually(lambda: node_state(stage).get("mode") == "observe")
            label("canary")
            await eventually(lambda: stage.kernel.modes[-1] is Mode.ENFORCE)
            await eventually(lambda: node_state(stage)["mode"] == "enforce")
            passes = len(stage.kernel.modes)
            kubernetes.delete({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
            await eventually(lambda: len(stage.kernel.modes) > passes + 1)
            assert stage.kernel.modes[-1] is Mode.ENFORCE

    asyncio.run(scenario())


def test_a_zone_to_enforce_that_nobody_knows_is_a_problem(settings, kubernetes, siem, monkeypatch):
    wrong = settings.model_copy(update={"enforcement": EnforcementSettings(zones=("web", "default", "wbe"))})

    async def scenario():
        async with running(wrong, kubernetes, siem, monkeypatch) as stage:
            world.publish(stage.kubernetes, world.tier(1))
            await eventually(lambda: node_state(stage)["revision"] == 1)
            assert node_state(stage)["enforcedZones"] == ["default", "wbe", "web"]
            told = "enforcement.zones names wbe, which Panorama doesn't know"
            await eventually(lambda: node_state(stage).get("problems") == [told])

    asyncio.run(scenario())


def test_a_tier_that_can_not_be_used_is_waited_for_and_then_told_to_the_kernel(scene):
    async def scenario(stage):
        enforcement = stage.service.parts.enforcement
        enforcement.pace = Pace(0.01, 0.1, unheard=0.5)
        stage.kernel.stance = Stance.NOTHING
        world.publish(stage.kubernetes, world.tier(1), parts=False)
        await eventually(lambda: TierAnswer.WAITING in stage.kernel.answers)
        assert TierAnswer.UNREADABLE not in stage.kernel.answers
        stage.kernel.stance = Stance.CLOSED
        await eventually(lambda: stage.kernel.answers[-1] is TierAnswer.UNREADABLE)
        await eventually(lambda: "can't be used" in enforcement.without_tier)
        assert "can't be used" in enforcement.unready

    scene(scenario)


def test_half_a_revision_waits_and_the_rest_completes_it(scene):
    async def scenario(stage):
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.kernel.revision == 1)
        second = world.tier(2, 80)
        world.publish(stage.kubernetes, second, parts=False)
        await eventually(lambda: stage.service.parts.enforcement.judgement.standing == "waiting")
        assert stage.kernel.revision == 1
        for part in second.parts:
            world.create_once(stage.kubernetes, part)
        await eventually(lambda: stage.kernel.revision == 2)
        assert stage.alerts("tier-tampered") == []

    scene(scenario)


def test_a_deleted_tier_opens_nothing_and_is_told(scene):
    async def scenario(stage):
        rendered = world.tier(3)
        world.publish(stage.kubernetes, rendered)
        await eventually(lambda: stage.kernel.revision == 3)
        stage.kubernetes.delete(rendered.tier)
        (alert,) = await eventually(lambda: stage.alerts("tier-tampered"))
        assert alert["severity"] == "critical"
        assert stage.kernel.revision == 3
        assert stage.kernel.passes[-1][0] == world.policy(5432)
        world.publish(stage.kubernetes, world.tier(4))
        await eventually(lambda: stage.kernel.revision == 4)

    scene(scenario)


def test_an_older_revision_is_never_applied_even_after_a_restart(scene, settings):
    async def first(stage):
        world.publish(stage.kubernetes, world.tier(5))
        await eventually(lambda: stage.kernel.revision == 5)

    async def second(stage):
        world.publish(stage.kubernetes, world.tier(4, 80))
        await eventually(lambda: stage.alerts("tier-tampered"))
        assert {revision for _, _, revision in stage.kernel.passes} == {5}

    scene(first)
    assert last_good.load(settings.state_dir, world.TIER).number == 5
    scene(second)


def test_a_denied_flow_is_an_alert_at_once_and_a_flow_record(scene):
    async def scenario(stage):
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.kernel.revision == 1)
        stage.log.put(*[denied()] * 5)
        (alert,) = await eventually(lambda: stage.alerts("denied-flow"))
        assert alert["rule"] == {"name": "interzone-default", "rulebase": "default"}
        assert alert["source"]["workload"] == "web-1"
        assert alert["destination"] | {"labels": {}} == {
            "address": "10.1.0.20",
            "port": 22,
            "zone": "db",
            "namespace": "shop",
            "pod": "db-0",
            "workload": "db-0",
            "node": "n1",
            "labels": {},
        }
        (flow,) = await eventually(lambda: stage.records("flow"))
        assert (flow["packets"], flow["bytes"], flow["revision"], flow["verdict"]) == (5, 300, 1, "deny")
        assert flow["source"]["labels"] == {"app": "web-1"}

    scene(scenario)


def test_what_somebody_did_to_the_kernel_is_told(scene):
    async def scenario(stage):
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.kernel.revision == 1)
        stage.kernel.drift = TableDrift(("the table was gone",))
        (alert,) = await eventually(lambda: stage.alerts("kernel-tampered"))
        assert (alert["revision"], alert["configuration"]) == (1, "zonebridge show 1")
        assert "the table was gone" in alert["message"]

    scene(scenario)


def test_what_the_kernel_refuses_is_told_and_tried_again(scene):
    async def scenario(stage):
        stage.service.parts.enforcement.pace = Pace(0.01, 60.0, Backoff(0.02, 0.05))
        stage.kernel.problems = ("nft refused",)
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.alerts("node-problem"))
        await eventually(lambda: len(stage.kernel.passes) > 5)
        stage.kernel.problems = ()
        await eventually(lambda: {each["state"] for each in stage.alerts("node-problem")} == {"raised", "resolved"})

    scene(scenario)


def test_conditions_begin_and_end(scene):
    async def scenario(stage):
        world.publish(stage.kubernetes, world.tier(1))
        stranger = world.pod("lost", "10.1.0.40", "unheard-of")
        twin = world.pod("twin", "10.1.0.10", "db")
        world.add_pod(stage.kubernetes, stranger)
        world.add_pod(stage.kubernetes, twin)
        await eventually(lambda: stage.alerts("zone-unknown") and stage.alerts("address-disputed"))
        assert stage.alerts("zone-unknown")[0]["subject"] == "shop/unheard-of"
        stage.kubernetes.delete(twin)
        stage.kubernetes.delete(stranger)
        await eventually(lambda: {each["state"] for each in stage.alerts("zone-unknown")} == {"raised", "resolved"})
        await eventually(lambda: len(stage.alerts("address-disputed")) == 2)

    scene(scenario)


def test_a_bridge_that_is_gone_is_told_and_one_that_is_back_too(scene, settings, monkeypatch):
    monkeypatch.setattr("enforcer.status.survey._RENEWALS", 1)
    settings = settings.model_copy(update={"alerts": settings.alerts.model_copy(update={"stale_seconds": 1.0})})

    async def scenario(stage):
        stage.service.parts.settings = settings
        rendered = world.tier(1)
        world.publish(stage.kubernetes, rendered)
        (alert,) = await eventually(lambda: stage.records("alert", alert="sync-stale", subject="bridge"))
        assert "no bridge is at work" in alert["message"]
        assert stage.kernel.revision == 1
        world.publish(stage.kubernetes, world.tier(2, 80))
        await eventually(lambda: stage.records("alert", alert="sync-stale", subject="bridge", state="resolved"))

    scene(scenario)


def test_a_siem_that_is_away_changes_nothing_for_enforcement(scene, siem):
    async def scenario(stage):
        siem.hec.stop()
        try:
            world.publish(stage.kubernetes, world.tier(1))
            await eventually(lambda: stage.kernel.revision == 1)
            stage.log.put(*[denied(port=port) for port in range(1, 500)])
            world.publish(stage.kubernetes, world.tier(2, 80))
            await eventually(lambda: stage.kernel.revision == 2)
            await eventually(lambda: stage.service.parts.outbox.backlog("siem") >= 499)
        finally:
            siem.hec.start()
        await eventually(lambda: len(stage.records("flow")) == 499)

    scene(scenario)


def test_packets_wait_while_records_come_faster_than_the_disk_takes_them(scene, monkeypatch):
    crowded = [True]
    monkeypatch.setattr(Outbox, "crowded", property(lambda _: crowded[0]))

    async def scenario(stage):
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.kernel.revision == 1)
        stage.log.put(*[denied(port=port) for port in range(1, 301)])
        await eventually(lambda: not stage.log.waiting)
        assert stage.service.parts.reporter.counts.packets == 0
        crowded[0] = False
        await eventually(lambda: stage.service.parts.reporter.counts.packets == 300)

    scene(scenario)


def test_what_was_read_is_reported_before_the_end(scene, monkeypatch):
    monkeypatch.setattr(Outbox, "crowded", property(lambda _: True))

    async def scenario(stage):
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.kernel.revision == 1)
        stage.log.put(*[denied(port=port) for port in range(1, 301)])
        await eventually(lambda: not stage.log.waiting)
        reporter.append(stage.service.parts.reporter)

    reporter = []
    scene(scenario)
    assert (reporter[0].counts.packets, reporter[0].counts.flows) == (300, 300)


def test_a_kernel_log_that_cannot_be_had_is_a_problem_not_an_end(scene, settings):
    async def scenario(stage):
        await eventually(lambda: stage.service.parts.log.source)
        broken = stage.service.parts.log.source
        stage.service.parts.log.packets = refuse
        broken.read = refuse
        stage.log.put(denied())
        await eventually(lambda: stage.alerts("node-problem"))
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.kernel.revision == 1)

    def refuse():
        raise OSError(1, "the group is taken")

    scene(scenario)


def test_metrics_and_readiness_are_served(scene):
    async def scenario(stage):
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.kernel.revision == 1)
        async with httpx.AsyncClient(
            base_url=f"http://{stage.service.parts.settings.metrics.address}", trust_env=False
        ) as client:
            await eventually(lambda: stage.service.survey.status["revision"] == 1)
            text = (await client.get("/metrics")).text
            assert "zonebridge_enforcer_tier_revision 1.0" in text
            assert 'zonebridge_enforcer_zone_pods{zone="web"} 1.0' in text
            assert (await client.get("/readyz")).status_code == 200
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/else")).status_code == 404
            assert (await client.post("/metrics")).status_code == 405

    scene(scenario)


def test_a_bridge_that_hides_what_pods_send_each_other_is_told_everywhere(scene, settings, monkeypatch):
    """Of this node's pods, and only while it is so."""
    asked, told = [], ["the bridge br0 hides; do this"]

    def problems(addresses):
        asked.append({str(address) for address in addresses})
        return list(told)

    monkeypatch.setattr("enforcer.node.bridge_netfilter.problems", problems)

    async def case(stage):
        (alert,) = await eventually(lambda: stage.alerts("node-problem"))
        assert (alert["message"], alert["state"]) == (told[0], "raised")
        await eventually(lambda: told[0] in node_state(stage).get("problems", ()))
        await eventually(lambda: {"10.1.0.10", "10.1.0.20"} in asked)
        file = settings.state_dir / "status.json"
        await eventually(lambda: file.exists() and told[0] in json.loads(file.read_text())["problems"])
        told.clear()
        await eventually(lambda: node_state(stage)["problems"] == [])
        await eventually(lambda: len(stage.alerts("node-problem")) == 2)

    scene(case)


def test_a_metrics_port_that_is_taken_is_a_problem_not_an_end(scene, settings):
    host, port = settings.metrics.address.split(":")

    async def scenario(stage):
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.kernel.revision == 1)
        (alert,) = await eventually(lambda: stage.alerts("node-problem"))
        assert "metrics" in alert["message"]
        await eventually(lambda: any("metrics" in each for each in node_state(stage).get("problems", ())))

    with socket.socket() as taken:
        taken.bind((host, int(port)))
        taken.listen()
        scene(scenario)


def test_the_status_file_says_what_is_going_on(scene, settings):
    async def scenario(stage):
        world.publish(stage.kubernetes, world.tier(1))
        path = settings.state_dir / "status.json"
        await eventually(lambda: path.exists() and json.loads(path.read_bytes())["revision"] == 1)
        told = json.loads(path.read_bytes())
        assert told["zones"] == {"db": 1, "web": 1}
        assert told["complete"] is True
        age = datetime.now(UTC) - datetime.fromisoformat(told["time"])
        assert age.total_seconds() < 60

    scene(scenario)


def test_numbers_rise_over_a_restart_before_which_the_clock_was_set_back(scene, settings, monkeypatch):
    """By the wall clock alone the second agent's records came before the first one's, or had their ids."""
    sequences = []

    async def scenario(stage):
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.kernel.revision == 1)
        stage.log.put(denied())
        # A record of the first agent may come again: it wasn't told that it had arrived.
        flows = await eventually(lambda: [each for each in stage.records("flow") if each["sequence"] not in sequences])
        sequences.append(flows[-1]["sequence"])
        status = settings.state_dir / "status.json"
        await eventually(lambda: json.loads(status.read_bytes())["sequence"] >= flows[-1]["sequence"])

    scene(scenario)
    now = time.time_ns
    monkeypatch.setattr("enforcer.wiring.time.time_ns", lambda: now() - 6 * 3600 * 10**9)
    scene(scenario)
    assert sequences[1] > sequences[0]


@pytest.mark.parametrize(("lasts", "waits"), [(0.0, [1, 2, 4, 8, 8]), (9.0, [1, 1, 1, 1, 1])])
def test_a_task_that_did_well_for_a_while_is_started_again_as_if_it_had_never_failed(monkeypatch, lasts, waits):
    clock, pauses = Clock(), []

    async def work():
        clock.now += lasts
        raise EnforcerError("it ended")

    async def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == len(waits):
            raise asyncio.CancelledError

    monkeypatch.setattr("zones.runtime.supervise.time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr("zones.runtime.supervise.asyncio", SimpleNamespace(sleep=pause))
    with suppress(asyncio.CancelledError):
        asyncio.run(supervised("work", work, Steady(), EnforcerError))
    assert pauses == waits


class Steady(Backoff):
    """Leaves nothing to chance."""

    def __init__(self):
        super().__init__(1.0, 8.0)

    def seconds(self, failures, at_least=None, spread=None):
        return min(self.longest, self.first * 2.0**failures)


def test_two_agents_do_not_share_a_state_directory(settings):
    outbox = wiring.open_outbox(settings)
    with pytest.raises(SpoolUnusableError, match="another process"):
        wiring.open_outbox(settings)
    asyncio.run(outbox.close())


def test_every_kind_is_watched_once(scene, kubernetes):
    async def scenario(stage):
        await eventually(lambda: kubernetes.watches == len(WatchedKind))

    scene(scenario)
    assert all(kubernetes.counts()["list", kind.value] == 1 for kind in WatchedKind)


class FakeCounters:
    """The table's counters, as a test sets them."""

    def __init__(self):
        self.now, self.rules = Reading(1, 0, 0), {}

    def reading(self):
        return self.now

    def held_back(self):
        return self.rules

    def close(self):
        pass


def test_what_of_the_log_never_arrives_is_told_to_the_record(scene):
    """Lost, by their numbers while records come and by the counter when it is quiet; and held back by a rule's limit."""

    async def scenario(stage):
        counters = FakeCounters()
        stage.service.parts.log.audit = LogAudit(counters)
        stage.service.parts.log.audit.begin()
        world.publish(stage.kubernetes, world.tier(1))
        await eventually(lambda: stage.kernel.revision == 1)
        counters.now, stage.log.lost = Reading(1, 3, 0), 3
        await eventually(lambda: stage.alerts("log-loss"))
        counters.now, counters.rules = Reading(1, 10, 7), {"7": 7}
        await eventually(lambda: stage.service.losses.totals == {"kernel": 10, "limit": 7})
        await eventually(lambda: stage.alerts("log-limited"))

    stage = scene(scenario)
    (loss, *_), (limited,) = stage.alerts("log-loss"), stage.alerts("log-limited")
    assert (loss["subject"], loss["count"], loss["severity"]) == ("kernel", 3, "high")
    assert (limited["subject"], limited["count"], limited["severity"]) == ("interzone-default", 7, "medium")
