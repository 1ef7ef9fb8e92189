"""Each denial that no zone rule opens: a pod's packet on a real kernel, the agent's record of both ends at the SIEM, an alert."""

import contextlib
import signal
import socket
from dataclasses import dataclass, field

import pytest

from mocks.lab import unavailable
from tests.enforcer import frames
from tests.enforcer import smallcluster as cluster
from tests.enforcer import wire_attempts as wire
from tests.enforcer.frames import frame, ip_kind, mac
from tests.enforcer.test_agent import PORT, ZONE, Stage
from tests.enforcer.wire_attempts import Sent

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]


@dataclass
class Denials:
    """A node with an agent at work: pods of two zones, one that nobody reports, and one that is isolated."""

    stage: Stage
    pods: dict
    leave: contextlib.ExitStack
    talks: list = field(default_factory=list)

    def __getattr__(self, name):
        return self.pods[name]

    def talk(self):
        """The ports of a connection between `db` and `other`, which stays."""
        if not self.talks:
            with self.other.netns.inside():
                self.talks.append(self.leave.enter_context(socket.create_connection((self.db.ip, PORT), timeout=10)))
        return PORT, self.talks[0].getsockname()[1]

    def put(self, sent):
        """From a pod's own stack onto its wire."""
        router = mac(self.stage.node, sent.pod.link)
        with frames.line(sent.pod) as line:
            for packet in sent.packets:
                line.send(frame(router, mac(sent.pod), ip_kind(packet), packet))

    def flows(self, sent, rule):
        """The records of one rule between two addresses."""
        ends = sent.source, sent.destination
        told = (flow for flow in self.stage.flows() if flow["rule"]["name"] == rule)
        return [each for each in told if (each["source"]["address"], each["destination"]["address"]) == ends]

    def told(self, attempt, until):
        """What the SIEM is told of an attempt."""
        sent = attempt.make(self)
        self.put(sent)
        return until(lambda: self.flows(sent, attempt.rule), 30)[0]


@pytest.fixture(scope="module")
def denials(tmp_path_factory):
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, tmp_path_factory.mktemp("denials"))
        stage.node.netns.write_sysctl("net/ipv4/conf/all/route_localnet", 1)
        others = {name: stage.node.pod(name) for name in ("other", "stranger", "thief")}
        second = stage.lab.node("n2")
        stage.kubelet.register(second)
        stage.kubelet.namespace("lab", annotations={"zonebridge.io/zones": "web"})
        stage.kubelet.report(others["other"], "shop", labels={ZONE: "web"})
        stage.kubelet.report(others["thief"], "lab", labels={ZONE: "db"})
        cluster.publish(stage.kubernetes, cluster.tier(1, PORT))
        agent = stage.start()
        yield Denials(stage, others | {"web": stage.web, "db": stage.db, "node": stage.node, "second": second}, stack)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(30) == 0, stage.log()


@pytest.fixture
def enforced(denials, until):
    until(lambda: denials.stage.node_state().get("revision") == 1, 60)
    until(lambda: not denials.stage.reaches(PORT + 1) and denials.stage.reaches(PORT), 30)
    return denials


@pytest.mark.parametrize("attempt", wire.ATTEMPTS, ids=lambda each: each.name)
def test_a_denial_is_a_record_of_both_ends_and_an_alert(enforced, until, attempt):
    flow = enforced.told(attempt, until)
    assert (flow["verdict"], flow["enforced"], flow["node"], flow["cluster"]) == ("deny", True, "n1", "lab")
    assert flow["packets"] >= 1
    alerts = until(lambda: [each for each in enforced.stage.alerts("denied-flow") if each["rule"] == flow["rule"]])
    assert {(each["verdict"], each["enforced"], each["revision"]) for each in alerts} == {("deny", True, 1)}


def test_who_the_ends_are_is_told_with_their_addresses(enforced, until):
    attempt = next(each for each in wire.ATTEMPTS if each.name == "pod-scans-by-fin")
    flow = enforced.told(attempt, until)
    ends = [(end["workload"], end["zone"], end["namespace"]) for end in (flow["source"], flow["destination"])]
    assert ends == [("web", "web", "shop"), ("db", "db", "shop")]
    assert (flow["protocol"], flow["destination"]["port"]) == ("tcp", wire.PORT)


def test_a_datagram_in_pieces_is_told_with_its_port(enforced, until):
    attempt = next(each for each in wire.ATTEMPTS if each.name == "pod-sends-in-pieces")
    enforced.told(attempt, until)
    sent = attempt.make(enforced)
    ports = {(each["protocol"], each["destination"].get("port")) for each in enforced.flows(sent, attempt.rule)}
    assert ("udp", wire.PORT) in ports


@pytest.mark.parametrize("attempt", wire.STOPPED, ids=lambda each: each.name)
def test_what_the_kernel_itself_stops_reaches_nobody_and_has_no_record(enforced, until, attempt):
    """What is sent after it is told, so it would have been told before."""
    sent = attempt.make(enforced)
    with contextlib.ExitStack() as stack:
        heard = {"db": stack.enter_context(contextlib.closing(frames.line(enforced.db)))}
        with enforced.node.netns.inside():
            heard["node"] = stack.enter_context(contextlib.closing(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)))
        heard["node"].bind(("::", wire.PORT))
        heard["node"].setblocking(False)
        enforced.put(sent)
        after = Sent(enforced.web, (wire.udp(enforced.web.ip, enforced.db.ip),), enforced.web.ip, enforced.db.ip)
        before = len(enforced.flows(after, "interzone-default"))
        enforced.put(after)
        until(lambda: len(enforced.flows(after, "interzone-default")) > before, 30)
        assert frames.hears(heard, wire.MARK, seconds=0.1) == set()
    assert wire.MARKED_PORT not in {each["source"].get("port") for each in enforced.stage.flows()}
