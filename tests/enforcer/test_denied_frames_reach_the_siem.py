"""Frames that a bridge's table denies: from a pod's wire, past a real kernel and the agent, to a record and an alert at the SIEM."""

import contextlib
import signal

import pytest

from mocks.lab import unavailable
from tests.enforcer import frame_attempts, frames
from tests.enforcer import smallcluster as cluster
from tests.enforcer.test_agent import PORT, ZONE, Stage
from tests.enforcer.test_denials_reach_the_siem import Denials

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def denials(tmp_path_factory):
    """A node with its pods on a bridge, of which an agent at work knows every port."""
    reason = unavailable()
    if reason is not None:
        pytest.fail(reason)
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, tmp_path_factory.mktemp("frames"), bridge=True)
        other = stage.node.pod("other")
        stage.kubelet.report(other, "shop", labels={ZONE: "web"})
        cluster.publish(stage.kubernetes, cluster.tier(1, PORT))
        agent = stage.start()
        yield Denials(stage, {"other": other, "web": stage.web, "db": stage.db, "node": stage.node}, stack)
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(30) == 0, stage.log()


@pytest.fixture
def enforced(denials, until):
    until(lambda: denials.stage.node_state().get("revision") == 1, 60)
    until(lambda: not denials.stage.reaches(PORT + 1) and denials.stage.reaches(PORT), 30)
    return denials


@pytest.mark.parametrize("attempt", frame_attempts.ATTEMPTS, ids=lambda each: each.name)
def test_a_denied_frame_reaches_nobody_and_is_a_record_of_both_ends_and_an_alert(enforced, until, attempt):
    sent = attempt.make(enforced)
    (lie,) = sent.packets
    with contextlib.closing(frames.line(enforced.db)) as heard, contextlib.closing(frames.line(sent.pod)) as line:
        before = len(enforced.flows(sent, attempt.rule))
        line.send(lie)
        flow = until(lambda: enforced.flows(sent, attempt.rule)[before:], 30)[0]
        assert not frames.hears({"db": heard}, lie[14:], seconds=0.1)
    assert (flow["verdict"], flow["enforced"], flow["node"], flow["cluster"]) == ("deny", True, "n1", "lab")
    alerts = until(lambda: [each for each in enforced.stage.alerts("denied-flow") if each["rule"] == flow["rule"]])
    assert {(each["verdict"], each["enforced"]) for each in alerts} == {("deny", True)}


def test_the_other_end_of_a_frame_is_told_with_its_names(enforced, until):
    attempt = next(each for each in frame_attempts.ATTEMPTS if each.name == "pod-sends-a-foreign-kind")
    sent = attempt.make(enforced)
    with contextlib.closing(frames.line(sent.pod)) as line:
        before = len(enforced.flows(sent, attempt.rule))
        line.send(sent.packets[0])
        flow = until(lambda: enforced.flows(sent, attempt.rule)[before:], 30)[0]
    ends = [(end["workload"], end["zone"], end["namespace"]) for end in (flow["source"], flow["destination"])]
    assert ends == [("web", "web", "shop"), ("db", "db", "shop")]
    assert flow["protocol"] == "0x88b5"
