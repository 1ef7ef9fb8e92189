"""A cluster registered at a Panorama: its device group and its addresses, against the mock over TLS."""

from dataclasses import replace
from datetime import timedelta

import pytest
from panos.panorama import Panorama as Client
from panos.userid import UserId

from bridge.errors import ManagerAnswerError, ManagerRefusedError, ManagerUnreachableError, RegistrationBlockedError
from bridge.explain.services import Selectors
from bridge.managers.panorama import PanoramaApi, PanoramaManager
from bridge.managers.panorama.registration.addresses import RegistrationTerms
from bridge.managers.panorama.registration.cluster import PanoramaRegistrar
from bridge.managers.panorama.registration.steps import WantedGroup
from bridge.managers.panorama.registration.tags import Naming
from mocks.panorama import Panorama, PanoramaServer, configuring, groups
from mocks.panorama.operations import OPERATIONS
from mocks.panorama.replies import result
from mocks.serving import Fault
from tests.bridge.managers.test_panorama_api import access
from tests.bridge.managers.test_registration_plan import member
from tests.panorama_xml import config_text, entry, rule, rulebase, section
from zones.net import AddressSet

GROUPS = "/config/devices/entry[@name='localhost.localdomain']/device-group"
WANTED = WantedGroup("k8s-prod", "prod", "zonebridge", "clusters", (("k8s-ignore", "not for clusters"),))
DESCRIPTION = "zonebridge: Kubernetes cluster prod; its rules are enforced in the cluster"
NO_SERVICES = Selectors()
TERMS = RegistrationTerms(Naming("prod", ("app",)))
ROLES = {"zonebridge": ["config", "op", "commit", "user-id"], "reader": ["config", "op"]}
WEB = section(
    "address-group",
    entry("k8s web", "<dynamic><filter>'k8s.cl_prod.zone_web' and 'k8s.cl_prod.ns_shop'</filter></dynamic>"),
)
CONFIG = config_text(groups={"clusters": "", "perimeter": WEB + rulebase("pre", rule("to web", destination="k8s web"))})


def staged(config=CONFIG, **settings):
    users = {"admin": "secret", "zonebridge": "secret", "reader": "secret"}
    return PanoramaServer(Panorama(config, users=users, rights=ROLES, **({"commit_seconds": 0} | settings)))


@pytest.fixture
def server():
    with staged() as running:
        yield running


@pytest.fixture
def panorama(server):
    return server.panorama


def registrar(*servers, wanted=WANTED, terms=TERMS, user="zonebridge", **more):
    return PanoramaRegistrar(PanoramaApi(access(*servers, username=user)), wanted, terms, **more)


def put(ours, members, selectors=NO_SERVICES):
    """The steps of registering these pods."""
    return ours.addresses(members, selectors)


def through(steps):
    """All steps, without waiting; how many there were."""
    return sum(1 for _ in steps)


def group_of(root, name="k8s-prod"):
    return root.find(f"devices/entry/device-group/entry[@name='{name}']")


def writes(panorama):
    counted = panorama.traffic.counted()
    return {kind: times for kind, times in counted.items() if kind not in {"op", "config/show", "config/get", "keygen"}}


def blocked(steps, match):
    with pytest.raises(RegistrationBlockedError, match=match):
        through(steps)


# the device group


def test_a_missing_device_group_appears_under_its_parent_and_is_committed(server, panorama):
    through(registrar(server).group())
    found = group_of(panorama.running)
    assert found.findtext("description") == DESCRIPTION
    assert found.find("tag/entry").get("name") == "k8s-ignore"
    facts = panorama.running.find("readonly/devices/entry/device-group/entry[@name='k8s-prod']")
    assert facts.findtext("parent-dg") == "clusters"
    assert writes(panorama) == {"config/set": 1, "commit/partial": 1}
    assert not panorama.pending
    assert panorama.versions[-1].description == "zonebridge: registers cluster prod"


def test_once_it_is_there_two_reads_are_all(server, panorama):
    ours = registrar(server)
    through(ours.group())
    panorama.traffic.clear()
    assert through(ours.group()) == 0
    assert panorama.traffic.counted() == {"op": 1, "config/show": 1}


def test_nobody_elses_changes_are_committed(server, panorama):
    panorama.set(f"{GROUPS}/entry[@name='perimeter']", "<description>half done</description>", admin="admin")
    through(registrar(server).group())
    assert group_of(panorama.running) is not None
    assert group_of(panorama.running, "perimeter").findtext("description") is None
    assert [change.admin for change in panorama.journal] == ["admin"]


@pytest.mark.parametrize("dies_after", range(1, 12))
def test_a_bridge_that_dies_anywhere_is_finished_by_the_next(dies_after):
    with staged() as server:
        steps = registrar(server).group()
        for _, _ in zip(range(dies_after), steps, strict=False):
            pass
        steps.close()
        through(registrar(server).group())
        assert group_of(server.panorama.running).findtext("description") == DESCRIPTION
        assert not server.panorama.pending


def test_a_panorama_whose_hierarchy_follows_the_candidate(server, panorama, monkeypatch):
    """What a real one does is not proven."""

    def hierarchy(appliance, _node, _user):
        return result(groups.hierarchy(groups.read_groups(appliance.candidate)))

    monkeypatch.setitem(OPERATIONS, ("show", "dg-hierarchy"), hierarchy)
    through(registrar(server).group())
    assert group_of(panorama.running).findtext("description") == DESCRIPTION
    assert not panorama.pending


def test_a_panorama_that_writes_its_readonly_lines_at_the_commit(server, panorama, monkeypatch):
    """Nor is this."""
    real = configuring.get

    def get(appliance, xpath):
        return configuring.show(appliance, xpath) if "readonly" in xpath else real(appliance, xpath)

    monkeypatch.setattr(configuring, "get", get)
    through(registrar(server).group())
    facts = panorama.running.find("readonly/devices/entry/device-group/entry[@name='k8s-prod']")
    assert facts.findtext("parent-dg") == "clusters"
    assert not panorama.pending


def test_two_clusters_of_one_administrator_step_by_step(server, panorama):
    both = [registrar(server, wanted=replace(WANTED, name=name, cluster=name)).group() for name in ("one", "two")]
    while both:
        both = [steps for steps in both if next(steps, None) is not None]
    names = {each.get("name") for each in panorama.running.iterfind("devices/entry/device-group/entry")}
    assert names >= {"one", "two"}
    assert not panorama.pending


def test_what_an_administrator_wrote_stays():
    with staged(
        config_text(groups={"clusters": "", "k8s-prod": "<description>ours, do not touch</description>"})
    ) as server:
        through(registrar(server, wanted=replace(WANTED, parent=None)).group())
        assert writes(server.panorama) == {}


@pytest.mark.parametrize("held", ["", "<description>zonebridge: of an older version</description>"])
def test_an_empty_description_or_one_of_ours_is_written_anew(held):
    config = config_text(groups={"clusters": "", "k8s-prod": held}, parents={"k8s-prod": "clusters"})
    with staged(config) as server:
        through(registrar(server).group())
        assert group_of(server.panorama.running).findtext("description") == DESCRIPTION
        assert group_of(server.panorama.running).find("tag") is None, "tags are for groups that we create"


def test_a_group_that_stands_elsewhere_is_told_and_not_moved(server, panorama):
    through(registrar(server).group())
    panorama.reparent("k8s-prod", None, "admin")
    panorama.commit()
    panorama.finish_jobs()
    panorama.traffic.clear()
    blocked(registrar(server).group(), "stands under Shared, registration.parent says 'clusters'")
    assert writes(panorama) == {}


def test_a_missing_parent_is_told_and_nothing_is_made(server, panorama):
    blocked(registrar(server, wanted=replace(WANTED, parent="nowhere")).group(), "the parent device group 'nowhere'")
    assert writes(panorama) == {}


def test_a_group_that_somebody_else_has_not_committed_is_left_to_them(server, panorama):
    panorama.set(f"{GROUPS}/entry[@name='k8s-prod']", "<description/>", admin="admin")
    blocked(registrar(server).group(), "was created by 'admin' and is not committed")
    assert writes(panorama) == {}


def test_a_group_that_somebody_is_deleting_is_not_made_again(server, panorama):
    through(registrar(server).group())
    panorama.delete(f"{GROUPS}/entry[@name='k8s-prod']/description")
    panorama.commit()
    panorama.finish_jobs()
    panorama.delete(f"{GROUPS}/entry[@name='k8s-prod']")
    panorama.traffic.clear()
    blocked(registrar(server).group(), "is deleted in the candidate")
    assert writes(panorama) == {}


@pytest.mark.parametrize("kind", ["commit", "config"])
def test_a_lock_is_respected_until_it_is_released(server, panorama, kind):
    panorama.locks.add(kind, "admin", "maintenance")
    ours = registrar(server)
    blocked(ours.group(), "lock of admin")
    assert writes(panorama) == {}
    panorama.locks.remove(kind, "admin")
    through(ours.group())
    assert group_of(panorama.running) is not None


def test_a_lock_that_comes_in_between_is_panoramas_refusal(server, panorama):
    steps = registrar(server).group()
    next(steps)
    next(steps)  # it has looked for locks
    panorama.locks.add("config", "admin")
    with pytest.raises(ManagerAnswerError, match="Configuration is locked by admin"):
        through(steps)


def test_a_commit_that_fails_is_told_with_panoramas_reason(server, panorama):
    panorama.fail_commits = "device-group k8s-prod is invalid"
    ours = registrar(server)
    blocked(ours.group(), r"committing it: Panorama's job \d+ failed: device-group k8s-prod is invalid; Commit failed")
    panorama.fail_commits = None
    through(ours.group())
    assert group_of(panorama.running) is not None


def test_a_name_with_a_quote():
    with staged() as server:
        through(registrar(server, wanted=replace(WANTED, name="bob's")).group())
        assert {each.get("name") for each in server.panorama.running.iterfind("devices/entry/device-group/entry")} >= {
            "bob's"
        }


def test_wrong_rights_are_told_and_change_nothing(server, panorama):
    ours = registrar(server, user="reader")
    panorama.read_only.add("reader")
    for steps in (ours.group(), put(ours, [member()])):
        with pytest.raises(ManagerRefusedError, match=r"refuses our credentials: .*(Unauthorized|not authorized)"):
            through(steps)
    assert group_of(panorama.candidate) is None
    assert panorama.mappings.registered() == []


# the addresses


def test_a_dynamic_group_of_the_perimeter_resolves_to_the_pods(server, panorama):
    pods = [member("web-1", "10.0.0.1"), member("web-2", "2001:db8::1"), member("db-0", "10.0.0.3", zone="db")]
    through(put(registrar(server), pods))
    reading = PanoramaManager(PanoramaApi(access(server)), "perimeter")
    (destination,) = reading.rulebase().rules[0].destinations.members
    assert destination.space == AddressSet.parse(["10.0.0.1/32", "2001:db8::1/128"])
    assert writes(panorama) == {"user-id": 1}


def test_pan_os_python_reads_the_same(server, panorama):
    through(put(registrar(server), [member("web-1", "10.0.0.1", app="shop")]))
    client = Client("127.0.0.1", "admin", "secret", port=server.port)
    found = UserId(client).get_registered_ip()
    assert {ip: set(tags) for ip, tags in found.items()} == {
        "10.0.0.1": {
            "k8s.cl_prod.zone_web",
            "k8s.cl_prod.ns_shop",
            "k8s.cl_prod.ns_shop.wl_web",
            "k8s.cl_prod.ns_shop.app.shop",
        }
    }


def test_only_differences_are_sent(server, panorama):
    ours = registrar(server)
    pods = [member(f"web-{n}", f"10.0.{n // 250}.{n % 250 + 1}") for n in range(1200)]
    through(put(ours, pods))
    panorama.traffic.clear()
    through(put(ours, pods))
    assert panorama.traffic.counted() == {}, "it remembers what it has said"
    through(put(ours, [*pods[1:], member("new", "10.9.0.1")]))
    assert panorama.traffic.counted() == {"user-id": 2}
    ours.forget()
    panorama.traffic.clear()
    through(put(ours, pods[1:]))
    assert panorama.traffic.counted() == {"op": 3, "user-id": 1}, "three pages, then what is gone"
    assert len(panorama.mappings.registered()) == 1199


def test_everybody_elses_tags_and_those_of_other_clusters_stay(server, panorama):
    for ip, tag in (
        ("10.0.0.1", "quarantine"),
        ("10.0.0.2", "k8s.cl_prod2.ns_shop"),
        ("10.0.0.3", "k8s.cl_prod.ns_old"),
    ):
        panorama.mappings.register(ip, tag)
    other = registrar(server, terms=RegistrationTerms(Naming("prod2")))
    through(put(registrar(server), [member("a", "10.0.0.1")]))
    through(put(other, [member("b", "10.0.0.1"), member("c", "10.0.0.4")]))
    through(put(registrar(server), []))
    theirs = {"k8s.cl_prod2.zone_web", "k8s.cl_prod2.ns_shop", "k8s.cl_prod2.ns_shop.wl_web"}
    found = {ip: set(tags) for ip, tags in panorama.mappings.registered()}
    assert found == {"10.0.0.1": {"quarantine", *theirs}, "10.0.0.4": theirs}


def test_a_panorama_that_forgot_is_told_again(server, panorama):
    ours = registrar(server)
    through(put(ours, [member()]))
    panorama.mappings.tags.clear()
    server.faults.add(Fault("reset", path="type=user-id", times=9))
    with pytest.raises(ManagerUnreachableError):
        through(put(ours, [member("more", "10.0.0.2")]))
    server.faults.queue.clear()
    through(put(ours, [member("more", "10.0.0.2"), member()]))
    assert {ip for ip, _ in panorama.mappings.registered()} == {"10.0.0.1", "10.0.0.2"}


def test_after_a_failover_the_other_peer_is_read_and_told():
    with staged() as first, staged() as second:
        first.panorama.set_ha("primary-active")
        second.panorama.set_ha("secondary-passive")
        api = PanoramaApi(replace(access(first, second, username="zonebridge"), verify=False))
        ours = PanoramaRegistrar(api, WANTED, TERMS)
        through(put(ours, [member()]))
        assert second.panorama.mappings.registered() == []
        second.panorama.mappings.register("10.0.0.7", "k8s.cl_prod.ns_gone")
        first.panorama.set_ha("primary-passive")
        second.panorama.set_ha("secondary-active")
        through(put(ours, [member()]))
        assert [ip for ip, _ in second.panorama.mappings.registered()] == ["10.0.0.1"]


def test_a_timeout_is_said_again_before_it_is_over():
    now = [1000.0]
    with staged(clock=lambda: now[0]) as server:
        terms = replace(TERMS, timeout=timedelta(minutes=30))
        ours = registrar(server, terms=terms, clock=lambda: now[0])
        for _ in range(9):
            through(put(ours, [member()]))
            now[0] += 601
        assert server.panorama.traffic.counted()["user-id"] == 9
        assert len(server.panorama.mappings.registered()) == 1
        now[0] += 1800
        assert server.panorama.mappings.registered() == [], "a bridge that is gone leaves nothing behind"


def test_more_addresses_than_panorama_holds_are_told(server, panorama):
    ours = registrar(server, terms=replace(TERMS, most=2))
    blocked(put(ours, [member(f"w{n}", f"10.0.0.{n}") for n in (1, 2, 3)]), "1 of 3 addresses are not registered")
    assert len(panorama.mappings.registered()) == 2


def test_an_address_that_panorama_refuses_is_told_and_the_others_are_taken(server, panorama, monkeypatch):
    def refuse(ip):
        return ip != "10.0.0.1"

    monkeypatch.setattr("mocks.panorama.mappings.is_address", refuse)
    blocked(put(registrar(server), [member(), member("b", "10.0.0.2")]), "10.0.0.1: 10.0.0.1 is not a valid ip")
    assert [ip for ip, _ in panorama.mappings.registered()] == ["10.0.0.2"]


def test_parts_that_are_off_make_no_call(server, panorama):
    ours = PanoramaRegistrar(PanoramaApi(access(server, username="zonebridge")), None, None)
    ours.forget()
    assert through(ours.group()) == through(put(ours, [member()])) == 0
    assert panorama.traffic.calls == []
