"""`zone-enforcer run` as a process on a node of the lab: real kernel, Kubernetes and SIEM in small."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from mocks.kubernetes import ApiError, KubernetesServer
from mocks.kubernetes.calls import Call
from mocks.lab import Lab
from mocks.lab.kubelet import Kubelet
from mocks.lab.probe import Outcome, connect
from mocks.siem import Siem
from tests.enforcer import smallcluster as cluster
from zones.rules import Log
from zones.tiers import native

pytestmark = pytest.mark.kernel
SECRET = "6f1f4c1e-3c0a-4a3e-9a51-1f0f3f6f2f5b"
ZONE = "zonebridge.io/zone"
PORT = 5432


class Stage:
    """One node with a web and a db pod, an API server and a SIEM that the node reaches through its own loopback."""

    def __init__(self, stack, directory, *, bridge=False):
        self.directory = directory
        self.kubernetes = stack.enter_context(KubernetesServer(directory, bookmark_seconds=0.5))
        for definition in cluster.definitions():
            self.kubernetes.create(definition)
        self.siem = stack.enter_context(Siem(SECRET))
        self.lab = stack.enter_context(Lab("agent"))
        self.node = self.lab.node("n1", bridge=bridge)
        for server in (self.kubernetes.url, self.siem.hec.url):
            self.lab.relay(int(server.rsplit(":", 1)[1]), where=self.node)
        self.web, self.db = self.node.pod("web"), self.node.pod("db")
        self.lab.listen(self.db, PORT, 22)
        self.kubelet = stack.enter_context(
            Kubelet.connect(self.kubernetes.url, self.kubernetes.token, self.kubernetes.ca_file)
        )
        self.kubelet.register(self.node)
        self.kubelet.namespace("shop", annotations={"zonebridge.io/zones": "*"})
        self.kubelet.report(self.web, "shop", labels={ZONE: "web"})
        self.kubelet.report(self.db, "shop", labels={ZONE: "db"})
        self.settings = self._settings()
        self.agents = []
        stack.callback(self.end_all)

    def _settings(self):
        token = self.directory / "token"
        token.write_text(SECRET)
        path = self.directory / "enforcer.json"
        destination = {
            "name": "siem",
            "type": "hec",
            "url": self.siem.hec.url,
            "tokenFile": str(token),
            "caFile": str(self.siem.ca_file),
        }
        content = {
            "cluster": "lab",
            "tier": cluster.TIER,
            "nodeName": "n1",
            "kubeconfig": str(self.kubernetes.kubeconfig),
            "stateDir": str(self.directory / "state"),
            "destinations": [destination],
            "flows": {"window": "500ms"},
        }
        path.write_text(json.dumps(content))
        return path

    def call(self, *arguments):
        return [sys.executable, "-c", "from enforcer.cli import main; main()", *arguments, "-c", str(self.settings)]

    def start(self):
        with (self.directory / f"agent-{len(self.agents)}.log").open("wb") as log:
            agent = subprocess.Popen(self.node.command(self.call("run")), stdout=log, stderr=log)
        self.agents.append(agent)
        return agent

    def ask(self, *arguments):
        command = self.node.command(self.call(*arguments))
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def node_state(self):
        resource = self.kubernetes.catalog.by_kind("zonebridge.io/v1alpha1", "NodeState")
        try:
            return self.kubernetes.verbs.get(Call(resource, "", "n1")).body.get("status", {})
        except ApiError:
            return {}

    def last_log(self):
        return (self.directory / f"agent-{len(self.agents) - 1}.log").read_text()

    def end_all(self):
        for agent in self.agents:
            if agent.poll() is None:
                agent.kill()
                agent.wait()

    def reaches(self, port):
        return connect(self.web, self.db.ip, port, timeout=0.3) is Outcome.ALLOWED

    def alerts(self, kind):
        return [event.event for event in self.siem.hec.events if event.event.get("alert") == kind]

    def flows(self):
        return [event.event for event in self.siem.hec.events if event.event["kind"] == "flow"]

    def log(self):
        return "".join(path.read_text() for path in sorted(self.directory.glob("agent-*.log")))[-4000:]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Stage(stack, tmp_path_factory.mktemp("agent"))


@pytest.fixture
def agent(stage, until):
    process = stage.start()
    until(lambda: '"running"' in stage.last_log(), 60)
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, stage.log()


def test_a_node_of_a_cluster_that_never_had_a_tier_is_open_and_says_so(stage, agent, until):
    (alert,) = until(lambda: [each for each in stage.alerts("node-problem") if "no tier" in each["message"]], 20)
    assert "nothing is enforced on this node until the bridge publishes one" in alert["message"]
    assert stage.reaches(PORT)
    state = until(lambda: stage.node_state().get("problems"))
    assert state == ["there is no tier 'panorama' yet; nothing is enforced on this node until the bridge publishes one"]
    until(lambda: "no tier 'panorama'" in stage.ask("status").stdout)
    assert stage.ask("status").returncode == 1


def test_a_published_tier_is_enforced_and_a_denied_flow_reported_by_name(stage, agent, until):
    cluster.publish(stage.kubernetes, cluster.tier(1, PORT))
    until(lambda: not stage.reaches(22), 20)
    assert stage.reaches(PORT)
    alert = until(lambda: [each for each in stage.alerts("denied-flow") if each.get("revision")])[0]
    assert (alert["source"]["workload"], alert["source"]["zone"]) == ("web", "web")
    assert (alert["destination"]["workload"], alert["destination"]["port"]) == ("db", 22)
    assert alert["rule"]["name"] == "interzone-default"
    assert (alert["revision"], alert["verdict"], alert["enforced"]) == (1, "deny", True)
    flow = until(stage.flows)[0]
    assert flow["packets"] >= 1
    assert flow["bytes"] >= 60


def test_a_killed_agent_leaves_the_rules_and_its_successor_takes_over(stage, agent, until):
    until(lambda: stage.reaches(PORT), 20)
    agent.kill()
    agent.wait()
    assert stage.reaches(PORT)
    assert not stage.reaches(22)
    successor = stage.start()
    until(lambda: '"running"' in stage.last_log(), 60)
    cluster.publish(stage.kubernetes, cluster.tier(2, PORT, 22))
    until(lambda: stage.reaches(22), 20)
    successor.send_signal(signal.SIGTERM)
    assert successor.wait(15) == 0, stage.log()
    assert stage.reaches(22)


def test_a_flushed_table_is_put_back_and_told(stage, agent, until):
    until(lambda: stage.reaches(PORT), 20)
    cluster.publish(stage.kubernetes, cluster.tier(3, PORT))
    until(lambda: not stage.reaches(22), 20)
    before = len(stage.alerts("kernel-tampered"))
    stage.node.nft("delete table inet zonebridge")
    until(lambda: len(stage.alerts("kernel-tampered")) > before, 40)
    until(lambda: not stage.reaches(22))


def test_a_second_agent_on_the_node_is_refused_in_one_line(stage, agent, until):
    until(lambda: stage.reaches(PORT), 20)
    done = subprocess.run(
        stage.node.command(stage.call("run")), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_the_status_command_tells_what_is_in_force(stage, agent, until):
    def told():
        done = subprocess.run(
            stage.node.command(stage.call("status", "-o", "json")), capture_output=True, text=True, check=False
        )
        return done.returncode == 0 and json.loads(done.stdout)

    status = until(lambda: (found := told()) and found["complete"] and found, 20, every=0.5)
    assert status["revision"] == 3
    assert status["zones"] == {"db": 1, "web": 1}


def ends_told(revision, *ports):
    """The same, and connections from web to db are told when they are over."""
    policy = cluster.policy(*ports)
    allow, *others = policy.entries
    entries = (replace(allow, log=Log(end=True)), *others)
    return native.render(replace(policy, entries=entries), cluster.TIER, revision)


def test_connections_are_counted_before_any_rule_wants_their_ends(stage, agent):
    """What was so without it: the first connections under such a rule ended without `sent` and `received`."""
    done = stage.node.netns.run(["sysctl", "-n", "net.netfilter.nf_conntrack_acct"])
    assert done.stdout.strip() == "1"


def test_a_connection_that_is_over_is_told_with_what_it_carried(stage, agent, until):
    for state in ("time_wait", "close"):
        stage.node.netns.write_sysctl(f"net/netfilter/nf_conntrack_tcp_timeout_{state}", 1)
    cluster.publish(stage.kubernetes, ends_told(4, PORT))

    def over():
        """To list the connections makes the kernel forget those whose time is over."""
        stage.reaches(PORT)
        stage.node.netns.run(["conntrack", "-L"])
        return [each for each in stage.flows() if each["moment"] == "end"]

    record = until(over, 60, every=0.5)[0]
    assert (record["source"]["workload"], record["destination"]["workload"]) == ("web", "db")
    assert (record["verdict"], record["rule"]["uuid"]) == ("allow", cluster.ALLOW_WEB.uuid)
    assert record["sent"]["packets"] >= 2
    assert record["reason"] in {"tcp-fin", "tcp-rst"}
    assert record["bytes"] == record["sent"]["bytes"] + record["received"]["bytes"]


def test_a_pod_in_quarantine_is_cut_off_without_a_bridge_until_it_is_let_out(stage, agent, until, capsys):
    """From the object on, its live connection too; also by an agent that has begun anew."""
    cluster.publish(stage.kubernetes, cluster.tier(90, PORT))
    until(lambda: stage.reaches(PORT), 20)
    resource = stage.kubernetes.catalog.by_kind("v1", "Pod")
    uid = stage.kubernetes.verbs.get(Call(resource, "shop", "web")).body["metadata"]["uid"]
    with contextlib.closing(stage.lab.conversation(stage.web, stage.db.ip, PORT, every=0.02, silence=0.3)) as talk:
        until(lambda: talk.replies > 3)
        since = time.monotonic()
        stage.kubernetes.create(cluster.quarantine("q", pod=("web", uid)))
        assert talk.wait(alive=False, timeout=20)
        with capsys.disabled():
            print(f"\na live connection of a pod in quarantine is dead after {max(0.0, talk.died_at - since):.3f} s")
    assert not stage.reaches(PORT)
    agent.kill()
    agent.wait()
    another = stage.start()
    try:
        until(lambda: '"running"' in stage.last_log(), 60)
        assert not stage.reaches(PORT)
        kind = stage.kubernetes.catalog.by_kind(native.API_VERSION, "Quarantine")
        stage.kubernetes.verbs.delete(Call(kind, "", "q"), {})
        until(lambda: stage.reaches(PORT), 20)
    finally:
        another.send_signal(signal.SIGTERM)
        assert another.wait(15) == 0, stage.log()
