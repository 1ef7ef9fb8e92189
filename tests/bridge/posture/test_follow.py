"""The bridge watches a real API server: what changes is told once, with who changed it, and what ends is told, too."""

import asyncio
import json
from contextlib import suppress

import pytest

from bridge.alerts import Alerts
from bridge.posture import follow as following
from bridge.posture.catalogue import CHECKS
from bridge.posture.exceptions import PostureException
from bridge.posture.follow import PostureFollower
from bridge.posture.snapshot import PostureTerms
from tests.bridge.posture.cases import RBAC, bound, granted, made
from tests.realkube import RealKube
from zones.kube.client import ApiServer, ClusterAccess
from zones.siem.alerts import AlertKind, Severity

pytestmark = pytest.mark.apiserver


class Heard:
    """A sink that keeps what it gets."""

    def __init__(self):
        self.alerts = []

    async def send(self, alert):
        self.alerts.append(alert)

    def of(self, check):
        return [alert for alert in self.alerts if alert.subject == check]


@pytest.fixture(scope="module")
def own(programs):
    with RealKube(programs) as kube:
        yield kube


def watch(kubeconfig, scenario, exceptions=()):
    """`scenario` gets what was heard, the counts, and a way to wait; the follower runs meanwhile."""

    async def run():
        heard, counts = Heard(), {}
        alerts = Alerts("prod", "panorama", (heard,))
        server = ApiServer(ClusterAccess("", kubeconfig))
        follower = PostureFollower(server, PostureTerms(), exceptions, "2.0.1", alerts, settle=0.1)
        task = asyncio.create_task(follower.run(counts.update))

        async def until(condition, seconds=15):
            async with asyncio.timeout(seconds):
                while not condition():
                    assert not task.done(), task.result()
                    await asyncio.sleep(0.02)

        try:
            await until(lambda: counts)
            await scenario(heard, counts, until)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await follower.close()

    asyncio.run(run())


async def kubectl(kube, *arguments, objects=()):
    text = "\n---\n".join(json.dumps(each) for each in objects) or None
    await asyncio.to_thread(kube.kubectl, *arguments, stdin=text)


def test_a_right_that_is_given_is_told_within_moments_and_again_when_it_is_taken(own):
    objects = granted("snoop", ["get"], ["secrets"])

    async def scenario(heard, counts, until):
        assert sum(counts.values()) == len(CHECKS)
        assert heard.of("secret-readers") == []
        await kubectl(own, "apply", "-f", "-", objects=objects)
        await until(lambda: heard.of("secret-readers"))
        (alert,) = heard.of("secret-readers")
        assert alert.kind is AlertKind.CONFIGURATION_DRIFT
        assert alert.level is Severity.HIGH
        assert (
            "ClusterRoleBinding snoop → ClusterRole snoop → User ann (changed with kubectl-client-side-apply at 2"
            in alert.message
        )
        assert alert.about["before"] == "pass"
        assert alert.about["benchmark"] == "CIS 2.0.1 5.1.2"
        await kubectl(own, "apply", "-f", "-", objects=[bound("other", "snoop")])
        await until(lambda: len(heard.of("secret-readers")) == 2)
        more = heard.of("secret-readers")[1]
        assert (more.about["new"], more.about["count"]) == (1, 2)
        assert more.about["violations"][0]["object"] == "ClusterRoleBinding other"
        await kubectl(own, "delete", "clusterrolebinding", "snoop", "other")
        await until(lambda: len(heard.of("secret-readers")) >= 3 and heard.of("secret-readers")[-1].over)

    watch(own.kubeconfig, scenario)


def test_what_changes_nothing_is_not_told(own):
    async def scenario(heard, counts, until):
        before = len(heard.alerts)
        await kubectl(own, "apply", "-f", "-", objects=[made("ConfigMap", "any", "default", data={"a": "b"})])
        labels = {"app": "x"}
        await kubectl(
            own,
            "apply",
            "-f",
            "-",
            objects=[made("ServiceAccount", "quiet", "default", labels=labels, automountServiceAccountToken=False)],
        )
        await asyncio.sleep(0.5)  # it has had the time to
        assert len(heard.alerts) == before

    watch(own.kubeconfig, scenario)


def test_an_exception_that_ends_is_told(own):
    exception = PostureException("pod-admission", "*", "o", "r", following.datetime(2999, 1, 1).date())

    async def excepted(heard, counts, until):
        assert heard.of("pod-admission") == []

    async def expired(heard, counts, until):
        await until(lambda: heard.of("pod-admission"))

    watch(own.kubeconfig, excepted, [exception])
    ended = PostureException("pod-admission", "*", "o", "r", following.datetime(2020, 1, 1).date())
    watch(own.kubeconfig, expired, [ended])


def test_a_right_of_ours_that_is_missing_makes_unknown_and_comes_back(own, monkeypatch):
    monkeypatch.setattr(following, "REFUSED_SECONDS", 0.2)
    readable = [
        {"verbs": ["list", "watch"], "apiGroups": ["*"], "resources": ["*"]},
    ]
    user = {"kind": "User", "name": "half-blind", "apiGroup": RBAC.partition("/")[0]}
    namespaced = made(
        "ClusterRole",
        "half",
        None,
        RBAC,
        rules=[{**readable[0], "apiGroups": ["", "networking.k8s.io", "admissionregistration.k8s.io"]}],
    )

    async def scenario(heard, counts, until):
        await until(lambda: heard.of("secret-readers"))
        (alert,) = heard.of("secret-readers")
        assert alert.level is Severity.LOW
        assert "unknown: " in alert.message
        assert "forbidden" in alert.message
        await kubectl(own, "apply", "-f", "-", objects=[made("ClusterRole", "half", None, RBAC, rules=readable)])
        await until(lambda: heard.of("secret-readers")[-1] is not alert, 30)

    own.kubectl("apply", "-f", "-", stdin=json.dumps(namespaced))
    own.kubectl("apply", "-f", "-", stdin=json.dumps(bound("half", "half", user)))
    try:
        watch(own.kubeconfig_for("half-blind"), scenario)
    finally:
        own.kubectl("delete", "clusterrolebinding/half", "clusterrole/half")
