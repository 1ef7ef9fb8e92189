"""Events on pods in a real API server, by the enforcer's own rights: what an application team reads with kubectl."""

import asyncio
import json
from ipaddress import ip_address

import pytest

from enforcer.cluster import pod_events
from enforcer.cluster.pod_events import PodEvents
from enforcer.cluster.watch import Cluster
from tests.apiserver.installed import namespace, pod
from tests.config.test_deploy import ENFORCER
from tests.enforcer.clocks import Clock
from tests.enforcer.cluster.test_podevents import WEB, named
from zones.kube.errors import ClusterRefusedError

pytestmark = pytest.mark.apiserver
PLACE = "refused"


@pytest.fixture(scope="module")
def web(guarded):
    """A pod to tell of, in a namespace of this test's own."""
    with guarded.client() as admin:
        admin.post("/api/v1/namespaces", json=namespace(PLACE)).raise_for_status()
        account = {"metadata": {"name": "default"}}
        admin.post(f"/api/v1/namespaces/{PLACE}/serviceaccounts", json=account).raise_for_status()
        made = admin.post(f"/api/v1/namespaces/{PLACE}/pods", json=pod("web-0")).raise_for_status().json()
    return pod_events.Pod(made["metadata"]["uid"], PLACE, "web-0", "n1", "Running", WEB.addresses, {}, "web")


def post(guarded, *events):
    async def work():
        cluster = await Cluster.connect(guarded.kubeconfig_for(ENFORCER, ["system:authenticated"]))
        try:
            for event in events:
                await cluster.post(event)
        finally:
            await cluster.close()

    asyncio.run(work())


def told(web, at):
    """A denial, and as often as it is written: at once, and with a count."""
    clock = Clock()
    table = PodEvents("n1", {ip_address("10.1.0.10"): web}.get, clock=clock)
    for number in range(3):
        now, clock.now = at + 200 * number, 200.0 * number
        table.denied(named(destination="203.0.113.9", at=now, names={web.addresses[0]: web}))
        for series in table.due():
            yield series.event("n1")
            table.wrote(series, series.count)


def test_kubectl_describe_shows_why_and_how_often(guarded, web):
    first, *later = told(web, 1_795_260_148.0)
    post(guarded, first)
    shown = guarded.kubectl("describe", "pod", "web-0", "-n", PLACE)
    assert "ZoneDenied" in shown
    assert first["note"] in shown
    post(guarded, *later, later[-1])
    assert "(x3 over " in guarded.kubectl("describe", "pod", "web-0", "-n", PLACE)
    listed = json.loads(guarded.kubectl("get", "events.events.k8s.io", "-n", PLACE, "-o", "json"))["items"]
    (event,) = (each for each in listed if each["reason"] == "ZoneDenied")
    assert event["series"]["count"] == 3
    assert event["regarding"]["uid"] == web.uid
    assert event["reportingController"] == "zonebridge.io/zone-enforcer"


def lasting(table, web, reason, note):
    for _ in range(2):
        table.states([(web, pod_events.EventText(reason, "Zone", note))], 1_795_260_148.0)
    return table.due()


def test_the_state_of_a_pod_is_told_too_with_the_longest_names_there_are(guarded, web):
    table = PodEvents("n" * 253, {}.get)
    post(guarded, *(series.event(table.node) for series in lasting(table, web, "ZoneNotEntitled", "x" * 1000)))
    assert "ZoneNotEntitled" in guarded.kubectl("describe", "pod", "web-0", "-n", PLACE)


def test_a_namespace_that_is_gone_is_refused(guarded, web):
    (series,) = lasting(PodEvents("n1", {}.get), web, "ZoneUnknown", "why")
    event = series.event("n1")
    event["metadata"]["namespace"] = event["regarding"]["namespace"] = "no-such-place"
    with pytest.raises(ClusterRefusedError):
        post(guarded, event)
