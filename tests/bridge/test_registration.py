"""Registering as a task: what is due and when, trouble that is told and tried again; and the whole service with both mocks."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import structlog
import yaml

from bridge.alerts import Alerts
from bridge.errors import ManagerRefusedError, ManagerUnreachableError, RegistrationBlockedError, RegistrationWaitsError
from bridge.evidence.database import Database
from bridge.evidence.store import NodeRecord, Store
from bridge.managers.wanted_tags import WantedTags
from bridge.metrics import Metrics
from bridge.population import Population
from bridge.population.picture import FollowedKind
from bridge.registration import Registration, Rhythm, Watched, pause
from bridge.service import one_at_a_time, run_until, shipping
from bridge.settings.file import Purpose, load
from bridge.wiring.clusters import works
from bridge.wiring.siem import siem_sink
from mocks.kubernetes import KubernetesServer
from mocks.panorama import Panorama, PanoramaServer
from tests.bridge.test_cluster import CRDS
from tests.bridge.test_service import reached
from tests.bridge.world import RecordingSink, run_here
from tests.panorama_xml import config_text, entry, members, rule, rulebase, section
from zones.kube.errors import ClusterRefusedError
from zones.kube.watch import Changed, Listed
from zones.policy import Verdict
from zones.rules import Origin
from zones.runtime.errors import SettingsError
from zones.seen import Counting, SeenEnd, SeenFlow, SeenKey
from zones.siem.alerts import AlertKind
from zones.tiers.quarantines import Quarantine
from zones.zone import Zoning


def pod(name, ip, phase="Running"):
    metadata = {"name": name, "namespace": "shop", "uid": name, "labels": {"zonebridge.io/zone": "web"}}
    return {"metadata": metadata, "spec": {"nodeName": "n1"}, "status": {"phase": phase, "podIPs": [{"ip": ip}]}}


def filled(*pods):
    population = Population(Zoning())
    population.fold(FollowedKind.NODES, Listed([{"metadata": {"name": "n1"}}]))
    population.fold(FollowedKind.NAMESPACES, Listed([]))
    population.fold(FollowedKind.PODS, Listed(pods))
    return population


class FakeRegistrar:
    """Does what it is told; `trouble` is raised by the part it is given for."""

    def __init__(self):
        self.calls = []
        self.trouble = {}

    def forget(self):
        self.calls.append("forget")

    def group(self):
        return self._steps("group")

    def addresses(self, members, selectors):
        people = sorted("/".join((member.pod.name, *selectors.of(member.pod))) for member in members)
        return self._steps("addresses", *people)

    def rule_tags(self, wanted):
        return self._steps("tags", *sorted(wanted.tags))

    def _steps(self, *what):
        yield 0.0
        self.calls.append(" ".join(what))
        if what[0] in self.trouble:
            raise self.trouble[what[0]]


class Stage:
    def __init__(self, *pods, services=None, tags=None):
        self.registrar = FakeRegistrar()
        self.population = filled(*pods)
        self.sink = RecordingSink()
        self.now = 0.0
        self.figures = []
        alerts = Alerts("c1", "panorama", [self.sink])
        self.registration = Registration(
            self.registrar,
            Watched(lambda: self.population, services, tags),
            alerts,
            run_here,
            rhythm=Rhythm(),
            clock=lambda: self.now,
        )

    def once(self):
        """What one look asked for."""
        self.registrar.calls.clear()
        asyncio.run(self.registration.once(self.figures.append))
        return self.registrar.calls


def test_the_group_and_the_addresses_and_then_nothing_until_a_pod_changes():
    stage = Stage(pod("web-1", "10.0.0.1"))
    assert stage.once() == ["group", "addresses web-1"]
    assert stage.once() == []
    stage.population.fold(FollowedKind.PODS, Changed(pod("web-2", "10.0.0.2")))
    assert stage.once() == ["addresses web-1 web-2"]
    assert (stage.figures[-1].pods, stage.figures[-1].good) == (2, True)


def test_everything_is_compared_again_after_a_while():
    stage = Stage()
    stage.once()
    stage.now += 299
    assert stage.once() == []
    stage.now += 2
    assert stage.once() == ["forget", "group", "addresses"]


def test_nothing_is_taken_away_before_the_cluster_was_listed():
    stage = Stage()
    stage.population = Population(Zoning())
    assert stage.once() == ["group"]
    assert stage.once() == []
    stage.population = filled(pod("web-1", "10.0.0.1"))
    assert stage.once() == ["addresses web-1"]


def test_one_parts_trouble_is_told_once_and_keeps_nothing_else_from_being_done():
    stage = Stage(pod("web-1", "10.0.0.1"))
    stage.registrar.trouble["group"] = RegistrationBlockedError("a commit lock of bob")
    assert stage.once() == ["group", "addresses web-1"]
    assert stage.once() == ["group"]
    stage.registrar.trouble.clear()
    assert stage.once() == ["group"]
    assert stage.once() == []
    assert [(alert.kind, alert.over, alert.message) for alert in stage.sink.alerts] == [
        (AlertKind.REGISTRATION_FAILED, False, "a commit lock of bob"),
        (AlertKind.REGISTRATION_FAILED, True, "the cluster is registered"),
    ]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ManagerRefusedError("it refuses our credentials"), "the rights to Configuration, Commit and User-ID Agent"),
        (ManagerUnreachableError("no answer"), "no answer"),
    ],
)
def test_both_parts_trouble_is_told_together(error, told):
    stage = Stage()
    stage.registrar.trouble |= {"group": RegistrationBlockedError("locked"), "addresses": error}
    stage.once()
    (alert,) = stage.sink.alerts
    assert alert.message.startswith("locked; ")
    assert told in alert.message


async def known():
    return WantedTags({"uuid-1": frozenset()}, usage_known=True)


def test_rules_are_tagged_once_in_an_interval():
    stage = Stage(tags=known)
    assert stage.once() == ["group", "addresses", "tags uuid-1"]
    stage.now += 299
    assert stage.once() == []
    stage.now += 2
    assert stage.once() == ["forget", "group", "addresses"]
    stage.now = 86_400
    assert stage.once() == ["forget", "group", "addresses", "tags uuid-1"]


def test_where_others_are_at_work_tags_wait_a_minute_and_nobody_is_alarmed():
    stage = Stage(tags=known)
    stage.registrar.trouble["tags"] = RegistrationWaitsError("a commit lock of bob")
    assert stage.once() == ["group", "addresses", "tags uuid-1"]
    stage.now += 59
    assert stage.once() == []
    stage.registrar.trouble.clear()
    stage.now += 2
    assert stage.once() == ["tags uuid-1"]
    assert stage.sink.alerts == []


def test_tags_that_cannot_be_written_are_told_until_they_are():
    stage = Stage(tags=known)
    stage.registrar.trouble["tags"] = RegistrationBlockedError("the commit failed")
    assert stage.once() == ["group", "addresses", "tags uuid-1"]
    stage.population.fold(FollowedKind.PODS, Changed(pod("web-1", "10.0.0.1")))
    assert stage.once() == ["addresses web-1"], "another part that goes well ends no trouble of the tags"
    stage.registrar.trouble.clear()
    stage.now += 61
    assert stage.once() == ["tags uuid-1"]
    assert [(alert.over, alert.message) for alert in stage.sink.alerts] == [
        (False, "the commit failed"),
        (True, "the cluster is registered"),
    ]


def test_before_it_is_known_what_rules_are_used_for_none_is_tagged():
    async def unknown():
        return None

    stage = Stage(tags=unknown)
    assert stage.once() == ["group", "addresses"]


def service(name, **selector):
    return {"metadata": {"namespace": "shop", "name": name}, "spec": {"selector": selector}}


def test_services_are_waited_for_and_their_changes_count():
    stage = Stage(pod("web-1", "10.0.0.1"), services=lambda: None)
    assert stage.once() == ["group"]
    assert stage.once() == []
    services = stage.registration._services
    services.fold(Listed([service("front", **{"zonebridge.io/zone": "web"})]))
    assert stage.once() == ["addresses web-1/front"]
    assert stage.once() == []
    services.fold(Changed(service("front", **{"zonebridge.io/zone": "db"})))
    assert stage.once() == ["addresses web-1"]


def test_quarantines_are_part_of_what_is_registered_and_who_cannot_be_read_changes_nothing():
    stage = Stage(pod("web-1", "10.0.0.1"), pod("web-2", "10.0.0.2"))
    current, seen = [], []

    async def quarantines():
        if current is None:
            raise ClusterRefusedError("listing Quarantines: 403")
        return current

    stage.registration._watched = Watched(lambda: stage.population, quarantines=quarantines)
    stage.registrar.addresses = lambda members, _selectors: iter(
        [seen.append(sorted(member.pod.name for member in members if member.pod.quarantined)) or 0.0]
    )
    stage.once()
    held = Quarantine("q", "", "shop", pod="web-1", pod_uid="web-1", seconds=60, created=time.time())
    current.extend([held, replace(held, pod="web-2", pod_uid="web-2", held="3 of 4 pods")])
    stage.once()
    stage.once()
    assert seen == [[], ["web-1"]], "one that waits for an approval is not cut off"
    current[:] = [replace(held, created=time.time() - 61)]
    stage.once()
    assert seen[2:] == [[]]
    current = None
    stage.once()
    assert len(seen) == 3


def test_services_that_may_not_be_listed_are_told():
    async def refused():
        raise ClusterRefusedError("listing services: 403")
        yield

    stage = Stage(pod("web-1", "10.0.0.1"), services=refused)

    async def run():
        task = asyncio.create_task(stage.registration.run())
        await reached(lambda: stage.sink.alerts)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    assert stage.registrar.calls == ["forget", "forget", "group"]
    assert "listing services: 403" in stage.sink.alerts[0].message


def test_failures_are_tried_again_ever_less_often():
    assert pause(0, 2.0) == 2.0
    assert all(1.0 <= pause(1, 0.0) <= 2.0 and 150 <= pause(99, 0.0) <= 300 for _ in range(50))


def test_whoever_leads_anew_trusts_nothing():
    stage = Stage()
    stage.once()

    async def run():
        task = asyncio.create_task(stage.registration.run())
        await reached(lambda: "addresses" in stage.registrar.calls)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stage.registrar.calls.clear()
    asyncio.run(run())
    assert stage.registrar.calls == ["forget", "group", "addresses"]


# the whole service

WEB = section("address-group", entry("k8s web", "<dynamic><filter>'k8s.cl_prod.zone_web'</filter></dynamic>"))
CONFIG = config_text(
    shared=rulebase("pre", rule("everybody")),
    groups={"clusters": "", "perimeter": WEB + rulebase("pre", rule("to web", destination="k8s web"))},
)
WRITES = {"config/set", "commit", "commit/partial", "user-id"}


@pytest.fixture
def panorama():
    users = {"admin": "secret", "reader": "secret", "zonebridge": "secret"}
    rights = {"reader": ["config", "op"]}
    config = Panorama(CONFIG, users=users, rights=rights, read_only=("reader",), commit_seconds=0)
    with PanoramaServer(config) as server:
        yield server


@pytest.fixture
def cluster():
    with KubernetesServer() as server:
        server.install(sorted(CRDS.glob("*.yaml")))
        for name in ("shop", "zonebridge-system"):
            metadata = {"name": name, "annotations": {"zonebridge.io/zones": "web"}}
            server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        server.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
        yield server


def run_pod(cluster, name, ip):
    metadata = {"name": name, "namespace": "shop", "labels": {"zonebridge.io/zone": "web"}}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    cluster.create(made | {"spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}})
    cluster.set_status(made | {"status": {"phase": "Running", "podIPs": [{"ip": ip}]}})
    return made


def settings_of(
    tmp_path,
    panorama,
    cluster,
    device_group="k8s-prod",
    *,
    destinations=(),
    evidence=None,
    clusters=("prod",),
    **registration,
):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    written = {
        "panorama": {
            "hosts": [f"127.0.0.1:{panorama.port}"],
            "username": "reader",
            "passwordFile": str(secret),
            "caFile": str(panorama.ca_file),
            "pollInterval": "200ms",
        },
        "clusters": [
            {"name": name, "deviceGroup": device_group, "kubeconfig": str(cluster.kubeconfig)} for name in clusters
        ],
        "registration": {key: str(secret) if value is ... else value for key, value in registration.items()},
        **({} if evidence is None else {"evidence": evidence}),
        "metrics": {"address": None},
        "siem": {"kubernetesEvents": False, "destinations": list(destinations)},
        "lease": {"duration": "5s", "renew": "1s"},
    }
    path = tmp_path / "zonebridge.yaml"
    path.write_text(yaml.safe_dump(written))
    return load(path, {}, Purpose.SERVICE)


class Service:
    """The service from its settings, in a loop of its own; `until` waits for something outside of it."""

    def __init__(self, settings):
        self._settings = settings
        self.metrics = Metrics()

    def run(self, scenario):
        async def main():
            stop = asyncio.Event()
            siem = siem_sink(self._settings.siem, self.metrics.shipped)
            async with one_at_a_time() as run_blocking, shipping(siem):
                self.works = made = tuple(works(self._settings, run_blocking, siem))
                service = asyncio.create_task(run_until(stop, made, 0.2, self.metrics))
                try:
                    await scenario(lambda condition: reached(condition, 60))
                finally:
                    stop.set()
                    await service

        asyncio.run(main())


def tagged(panorama, tag="zone_web"):
    return {ip for ip, tags in panorama.panorama.mappings.registered() if f"k8s.cl_prod.{tag}" in tags}


def writes(panorama):
    return {kind: times for kind, times in panorama.panorama.traffic.counted().items() if kind in WRITES}


def test_a_cluster_becomes_a_device_group_and_its_pods_become_tags(tmp_path, panorama, cluster):
    made = run_pod(cluster, "web-1", "10.0.0.1")
    writer = {"username": "zonebridge", "passwordFile": ...}
    service = Service(settings_of(tmp_path, panorama, cluster, enabled=True, parent="clusters", **writer))

    async def scenario(until):
        await until(lambda: tagged(panorama) == {"10.0.0.1"})
        await until(
            lambda: panorama.panorama.running.find(".//device-group/entry[@name='k8s-prod']/description") is not None
        )
        run_pod(cluster, "web-2", "10.0.0.2")
        await until(lambda: tagged(panorama) == {"10.0.0.1", "10.0.0.2"})
        spec = {"selector": {"zonebridge.io/zone": "web"}, "ports": [{"port": 80}]}
        metadata = {"name": "front", "namespace": "shop"}
        cluster.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
        await until(lambda: tagged(panorama, "ns_shop.svc_front") == {"10.0.0.1", "10.0.0.2"})
        cluster.delete(made)
        await until(lambda: tagged(panorama) == {"10.0.0.2"})
        await until(lambda: b'zonebridge_registration_good{cluster="prod"} 1.0' in service.metrics.text())

    service.run(scenario)
    writers = {call.user for call in panorama.panorama.traffic.calls if call.type in {"user-id", "commit"}}
    assert writers == {"zonebridge"}
    assert writes(panorama) == {"config/set": 1, "commit/partial": 1, "user-id": writes(panorama)["user-id"]}


RULES = ("used", "unused", "by user")
TAGGED = config_text(
    shared=rulebase("pre", rule("everybody")),
    groups={
        "k8s-prod": rulebase(
            "pre", *(rule(name, extra=members("source-user", "bob") if name == "by user" else "") for name in RULES)
        )
    },
)


def counted(url):
    """All nodes have counted for a hundred days; the last connection by the rule `used` was an hour ago."""
    now = datetime.now(UTC)
    store = Store(Database(url, None))
    store.open()
    end = SeenEnd("web", "shop", "front")
    key = SeenKey(end, end, 6, 443, Origin("used", "uuid-used", "pre", "k8s-prod"), Verdict.ALLOW)
    last = now - timedelta(hours=1)
    store.take(
        "prod",
        [
            NodeRecord("n1", 1, Counting(now - timedelta(days=100), now - timedelta(minutes=5), now)),
            NodeRecord("n1", 2, SeenFlow(key, 7, 700, 0, last, last)),
        ],
        now,
    )
    store.close()


def rule_tags(panorama):
    return {
        each.get("name"): [tag.text for tag in each.iterfind("tag/member")]
        for each in panorama.panorama.running.iterfind(".//security/rules/entry")
    }


def test_rules_are_tagged_in_panorama_and_no_revision_follows(tmp_path, cluster):
    url = f"sqlite:///{tmp_path}/evidence.db"
    counted(url)
    users = {"reader": "secret", "zonebridge": "secret"}
    with PanoramaServer(Panorama(TAGGED, users=users, rights={"reader": ["config", "op"]}, commit_seconds=0)) as server:
        writer = {
            "enabled": True,
            "username": "zonebridge",
            "passwordFile": ...,
            "addresses": False,
            "deviceGroup": False,
        }
        settings = settings_of(
            tmp_path, server, cluster, evidence={"url": url}, ruleTags={"unusedFor": "30d"}, **writer
        )
        service = Service(settings)

        async def scenario(until):
            (work,) = service.works
            await until(lambda: work.sync.reading is not None)
            policy = work.sync.reading.compiled.policy
            await until(lambda: rule_tags(server)["unused"])
            job = server.panorama.jobs.all[-1].id
            await until(lambda: work.sync.reading.provenance.newest_job == job)
            assert work.sync.reading.compiled.policy is policy
            assert work.sync.in_force[0] == 1

        service.run(scenario)
        assert rule_tags(server) == {
            "everybody": [],  # the rule of a group above is others', too
            "used": [],
            "unused": ["k8s-unused-30d"],
            "by user": ["k8s-not-enforced"],
        }
        assert {call.user for call in server.panorama.traffic.calls if call.type == "commit"} == {"zonebridge"}
        assert not server.panorama.pending


def test_two_clusters_of_one_device_group_can_not_tag_its_rules(tmp_path, panorama, cluster):
    writer = {"enabled": True, "username": "zonebridge", "passwordFile": ...}
    with pytest.raises(SettingsError, match="'k8s-prod' is the device group of more than one cluster"):
        settings_of(tmp_path, panorama, cluster, clusters=("prod", "stage"), ruleTags={}, **writer)
    settings_of(tmp_path, panorama, cluster, clusters=("prod", "stage"), **writer)


@pytest.mark.parametrize("length", ["36h", "12h", "11000d"])
def test_rules_are_unused_for_whole_days(tmp_path, panorama, cluster, length):
    with pytest.raises(SettingsError, match="unusedFor"):
        settings_of(tmp_path, panorama, cluster, ruleTags={"unusedFor": length})


def test_without_opting_in_there_is_not_one_write(tmp_path, panorama, cluster):
    run_pod(cluster, "web-1", "10.0.0.1")
    service = Service(settings_of(tmp_path, panorama, cluster, "perimeter", username="zonebridge", passwordFile=...))

    async def scenario(until):
        await until(
            lambda: b'zonebridge_sync_passes_total{cluster="prod",result="unchanged"}' in service.metrics.text()
        )
        await until(lambda: b'zonebridge_pods{cluster="prod"} 1.0' in service.metrics.text())

    service.run(scenario)
    assert writes(panorama) == {}
    assert {call.user for call in panorama.panorama.traffic.calls} == {"reader"}


def test_wrong_rights_are_told_and_the_sync_goes_on(tmp_path, panorama, cluster):
    run_pod(cluster, "web-1", "10.0.0.1")
    service = Service(settings_of(tmp_path, panorama, cluster, "perimeter", enabled=True, username="reader"))
    with structlog.testing.capture_logs() as logs:

        async def scenario(until):
            await until(lambda: any(each.get("alert") == "RegistrationFailed" for each in logs))
            await until(lambda: b'result="unchanged"' in service.metrics.text())

        service.run(scenario)
    (told,) = {each["message"] for each in logs if each.get("alert") == "RegistrationFailed"}
    assert "it refuses our credentials" in told
    assert "needs the rights to Configuration, Commit and User-ID Agent" in told
    assert panorama.panorama.mappings.registered() == []
    assert not panorama.panorama.pending
