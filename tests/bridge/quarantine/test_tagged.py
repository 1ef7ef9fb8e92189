"""A tag in Panorama: acted on once, for the pod that has the address then, and never for the one that gets it later."""

import asyncio
import time
from ipaddress import ip_address

import pytest

from bridge.alerts import Alerts
from bridge.errors import ManagerUnreachableError
from bridge.managers.panorama import PanoramaApi
from bridge.managers.panorama.tagged import TaggedAddresses
from bridge.population import Population
from bridge.population.picture import FollowedKind
from bridge.quarantine.client import QuarantineClient
from bridge.quarantine.tagged import TagFollower, TagTerms
from mocks.kubernetes import KubernetesServer
from mocks.panorama import Panorama, PanoramaServer
from tests.bridge.managers.test_panorama_api import CONFIG, access
from tests.bridge.test_cluster import CRDS
from tests.bridge.world import RecordingSink, run_here
from zones.kube.client import ApiServer, ClusterAccess
from zones.kube.watch import Listed
from zones.siem.alerts import AlertKind
from zones.zone import Zoning

NODE = {"metadata": {"name": "n1"}, "spec": {"podCIDRs": ["10.1.0.0/24"]}}
ONE, TWO = ip_address("10.1.0.10"), ip_address("10.1.0.11")


@pytest.fixture(scope="module")
def served():
    with KubernetesServer() as server:
        server.install([CRDS])
        server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        yield server


class Stage:
    def __init__(self, server):
        self.server = server
        self.tagged = set()
        self.pods = []
        self.sink = RecordingSink()
        self.restart()

    def restart(self):
        """Another bridge, which knows nothing."""
        self.api = ApiServer(ClusterAccess("c1", self.server.kubeconfig))
        alerts = Alerts("c1", "panorama", [self.sink])
        terms = TagTerms("k8s-quarantine")
        self.follower = TagFollower(
            terms, lambda: self.tagged, self._population, QuarantineClient(self.api), alerts, run_here
        )

    def _population(self):
        population = Population(Zoning())
        population.fold(FollowedKind.NODES, Listed([NODE]))
        population.fold(FollowedKind.NAMESPACES, Listed([]))
        population.fold(FollowedKind.PODS, Listed(self.pods))
        return population

    def add(self, name, *addresses, namespace="shop", workload="web"):
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": workload, "uid": "s", "controller": True}
        metadata = {"name": name, "namespace": namespace, "ownerReferences": [owner]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        made = self.server.create(pod | {"spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "n1"}})
        ips = [{"ip": address} for address in addresses]
        status = {"phase": "Running", "podIP": addresses[0], "podIPs": ips}
        self.pods.append(self.server.set_status(pod | {"status": status}) | {})
        return made["metadata"]["uid"]

    def remove(self, name, namespace="shop"):
        self.pods = [pod for pod in self.pods if pod["metadata"]["name"] != name]
        self.server.delete({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}})

    def look(self, times=1):
        async def looked():
            for _ in range(times):
                await self.follower.once()
            return await self.follower.client.all()

        async def closed():
            try:
                return await looked()
            finally:
                await self.api.close()
                self.api = ApiServer(ClusterAccess("c1", self.server.kubeconfig))
                self.follower.client = QuarantineClient(self.api)

        return asyncio.run(closed())

    def refusals(self):
        return [alert.message for alert in self.sink.alerts if alert.kind is AlertKind.QUARANTINE_REFUSED]


@pytest.fixture
def stage(served):
    stage = Stage(served)
    yield stage
    for name, namespace in [(pod["metadata"]["name"], pod["metadata"]["namespace"]) for pod in stage.pods]:
        stage.remove(name, namespace)
    stage.tagged = set()
    stage.look(2)
    assert stage.look() == []


def test_who_has_a_tagged_address_is_held_by_uid_and_once(stage):
    uid = stage.add("web-0", "10.1.0.10", "fd00::10")
    stage.tagged = {ONE}
    (quarantine,) = stage.look(3)
    assert (quarantine.pod, quarantine.pod_uid, quarantine.source) == ("web-0", uid, "panorama-tag")
    assert (quarantine.requested_by, quarantine.duration, quarantine.held) == ("panorama", "4h", "")
    assert quarantine.reference == "tag k8s-quarantine on 10.1.0.10"


def test_who_gets_the_address_later_is_left_alone_by_this_bridge_and_by_the_next(stage):
    uid = stage.add("web-0", "10.1.0.10")
    stage.tagged = {ONE}
    stage.look()
    stage.remove("web-0")
    stage.add("web-1", "10.1.0.10")
    stage.restart()
    (quarantine,) = stage.look(2)
    assert quarantine.pod_uid == uid


def test_a_tag_on_an_address_that_nobody_has_waits_for_nobody(stage):
    stage.tagged = {ONE, ip_address("192.0.2.1")}
    assert stage.look(2) == []
    (message,) = stage.refusals()
    assert "10.1.0.10" in message
    stage.add("web-0", "10.1.0.10")
    assert stage.look() == []


def test_two_pods_that_claim_it_are_told_and_neither_is_cut_off(stage):
    stage.add("web-0", "10.1.0.10")
    stage.add("web-1", "10.1.0.10")
    stage.tagged = {ONE}
    assert stage.look(2) == []
    (message,) = stage.refusals()
    assert "shop/web-0, shop/web-1" in message


def test_exempt_pods_are_told(stage):
    stage.add("dns", "10.1.0.10", namespace="kube-system")
    stage.tagged = {ONE}
    assert stage.look(2) == []
    assert "exempt" in stage.refusals()[0]


def test_beyond_the_budget_it_waits_for_a_person(stage):
    stage.add("web-0", "10.1.0.10")
    stage.add("web-1", "10.1.0.11")
    stage.tagged = {ONE, TWO}
    assert sorted(bool(quarantine.held) for quarantine in stage.look()) == [False, True]


def test_a_tag_that_goes_lets_out_at_the_second_look_and_one_that_flickers_does_not(stage):
    stage.add("web-0", "10.1.0.10")
    stage.tagged = {ONE}
    assert len(stage.look()) == 1
    stage.tagged = set()
    assert len(stage.look()) == 1
    stage.tagged = {ONE}
    assert len(stage.look()) == 1
    stage.tagged = set()
    assert len(stage.look()) == 1
    assert stage.look() == []


def test_who_was_let_out_by_a_person_stays_out_while_the_tag_stays(stage):
    stage.add("web-0", "10.1.0.10")
    stage.tagged = {ONE}
    (quarantine,) = stage.look()
    stage.server.delete(
        {"apiVersion": "zonebridge.io/v1alpha1", "kind": "Quarantine", "metadata": {"name": quarantine.name}}
    )
    assert stage.look(2) == []


def test_a_panorama_that_is_away_lets_nobody_out(stage):
    stage.add("web-0", "10.1.0.10")
    stage.tagged = {ONE}
    stage.look()

    def away():
        raise ManagerUnreachableError("no answer")

    stage.follower.tagged = away
    for _ in range(3):
        with pytest.raises(ManagerUnreachableError):
            stage.look()
    stage.follower.tagged = lambda: stage.tagged
    assert len(stage.look()) == 1


def test_the_tag_is_read_page_by_page_and_ranges_are_nobodys():
    with PanoramaServer(Panorama(CONFIG, users={"reader": "secret"}, commit_seconds=0)) as server:
        mappings = server.panorama.mappings
        for number in range(1203):
            mappings.register(f"10.2.{number // 250}.{number % 250}", "k8s-quarantine")
        mappings.register("10.9.0.1", "other")
        mappings.register("10.9.0.0-10.9.0.9", "k8s-quarantine")
        began = time.monotonic()
        tagged = TaggedAddresses(PanoramaApi(access(server)), "k8s-quarantine").read()
        assert len(tagged) == 1203
        assert time.monotonic() - began < 10
