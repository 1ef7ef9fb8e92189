"""Tags on the rules in Panorama: only they, only by our own administrator, all or nothing, against the mock over TLS."""

from datetime import timedelta

import pytest
from panos.panorama import DeviceGroup
from panos.panorama import Panorama as Client
from panos.policies import PreRulebase, SecurityRule

from bridge.errors import ManagerError, RegistrationBlockedError, RegistrationWaitsError
from bridge.managers.panorama import PanoramaApi, PanoramaManager
from bridge.managers.panorama.registration import jobs
from bridge.managers.panorama.registration.rule_tagging import RuleTagging, TaggedGroup
from bridge.managers.panorama.rulebase.own_tags import NOT_ENFORCED, PARTLY, is_own_tag, unused_tag
from bridge.managers.wanted_tags import WantedTags
from mocks.panorama import Panorama, PanoramaServer
from mocks.serving import Fault
from tests.bridge.managers.test_panorama_api import access
from tests.panorama_xml import config_text, entry, members, rule, rulebase, section

UNUSED = "k8s-unused-90d"
GROUP = "/config/devices/entry[@name='localhost.localdomain']/device-group/entry[@name='k8s-prod']"
PRE = f"{GROUP}/pre-rulebase/security/rules"
ROLES = {"zonebridge": ["config", "op", "commit"]}
DEFINED = section("tag", entry("crown-jewels"))
CONFIG = config_text(
    shared=rulebase("pre", rule("everybody")),
    groups={
        "k8s-prod": DEFINED
        + rulebase("pre", rule("web", extra=members("tag", "crown-jewels")), rule("db"), rule("old"))
        + rulebase("post", rule("last", "deny")),
        "other": rulebase("pre", rule("elsewhere")),
    },
)
WANTED = {"uuid-web": {PARTLY}, "uuid-db": set(), "uuid-old": {UNUSED}, "uuid-last": {NOT_ENFORCED, UNUSED}}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(jobs, "JOB_POLL", 0.01)


@pytest.fixture
def server():
    users = {"admin": "secret", "zonebridge": "secret"}
    with PanoramaServer(Panorama(CONFIG, users=users, rights=ROLES, commit_seconds=0)) as running:
        yield running


@pytest.fixture
def panorama(server):
    return server.panorama


def tagging(server, **limits):
    api = PanoramaApi(access(server, username="zonebridge", attempts=1, **limits))
    return RuleTagging(api, TaggedGroup("k8s-prod", "prod", "zonebridge"))


def wanted(tags=None, *, usage_known=True):
    tags = WANTED if tags is None else tags
    return WantedTags({uuid: frozenset(some) for uuid, some in tags.items()}, usage_known)


def settle(ours, *args, **more):
    for _ in ours.settle(wanted(*args, **more)):
        pass


def tags_in(root):
    """The tags of each rule of the cluster's device group, in the order in which it has them."""
    group = root.find("devices/entry/device-group/entry[@name='k8s-prod']")
    return {
        each.get("name"): [member.text for member in each.iterfind("tag/member")]
        for each in group.iterfind("*/security/rules/entry")
    }


def writes(panorama):
    counted = panorama.traffic.counted()
    return {kind: times for kind, times in counted.items() if kind not in {"op", "config/show", "config/get", "keygen"}}


BEFORE = {"web": ["crown-jewels"], "db": [], "old": [], "last": []}
AFTER = {"web": ["crown-jewels", PARTLY], "db": [], "old": [UNUSED], "last": [NOT_ENFORCED, UNUSED]}


def untouched(panorama):
    assert tags_in(panorama.running) == BEFORE
    assert panorama.candidate is panorama.running
    assert not panorama.pending


def test_rules_are_tagged_with_one_partial_commit(server, panorama):
    settle(tagging(server))
    assert tags_in(panorama.running) == AFTER
    assert not panorama.pending
    assert writes(panorama) == {"config/set": 3, "commit/partial": 1}
    assert panorama.versions[-1].admin == "zonebridge"
    assert panorama.versions[-1].description == "zonebridge: what cluster prod does with rules, as tags"
    defined = panorama.running.find("devices/entry/device-group/entry[@name='k8s-prod']/tag")
    assert [each.get("name") for each in defined] == ["crown-jewels", NOT_ENFORCED, PARTLY, UNUSED]


def test_pan_os_python_sees_them(server):
    settle(tagging(server))
    device = Client("127.0.0.1", "admin", "secret", port=server.port)
    group, base = device.add(DeviceGroup("k8s-prod")), PreRulebase()
    group.add(base)
    rules = {each.name: each for each in SecurityRule.refreshall(base)}
    assert (rules["web"].tag, rules["old"].tag) == (["crown-jewels", PARTLY], [UNUSED])
    assert (rules["web"].fromzone, rules["web"].action) == (["any"], "allow")


def test_what_is_as_wanted_is_only_read(server, panorama):
    settle(tagging(server))
    panorama.traffic.clear()
    settle(tagging(server))
    assert writes(panorama) == {}


def test_tags_that_no_longer_hold_go_and_everybody_elses_stay(server, panorama):
    settle(tagging(server))
    settle(tagging(server), {uuid: set() for uuid in WANTED})
    assert tags_in(panorama.running) == BEFORE
    assert panorama.running.find(".//entry[@name='old']/tag") is None, "no empty list is left"


def test_another_number_of_days_takes_the_place_of_the_one_before(server, panorama):
    settle(tagging(server))
    settle(tagging(server), WANTED | {"uuid-old": {"k8s-unused-30d"}})
    assert tags_in(panorama.running) == AFTER | {"old": ["k8s-unused-30d"]}


def test_where_nobody_knows_what_was_hit_what_tells_of_it_stays(server, panorama):
    settle(tagging(server))
    settle(tagging(server), {"uuid-web": set(), "uuid-old": set(), "uuid-last": {NOT_ENFORCED}}, usage_known=False)
    assert tags_in(panorama.running) == AFTER | {"web": ["crown-jewels"]}


def test_a_rule_that_nobody_asked_about_and_other_groups_rules_are_left_alone(server, panorama):
    settle(tagging(server), {"uuid-db": {PARTLY}, "uuid-elsewhere": {PARTLY}, "uuid-everybody": {PARTLY}})
    assert tags_in(panorama.running) == BEFORE | {"db": [PARTLY]}
    assert panorama.running.find(".//entry[@name='elsewhere']/tag") is None
    assert panorama.running.find("shared//entry[@name='everybody']/tag") is None


def test_rules_that_somebody_is_editing_are_left_until_that_is_committed(server, panorama):
    panorama.set(f"{PRE}/entry[@name='old']", "<description>to be removed</description>", admin="admin")
    panorama.rename(f"{PRE}/entry[@name='web']", "the web", admin="admin")
    settle(tagging(server))
    assert tags_in(panorama.running) == BEFORE | {"last": [NOT_ENFORCED, UNUSED]}
    assert {change.admin for change in panorama.journal} == {"admin"}, "and their edits are as they were"
    panorama.commit()
    panorama.finish_jobs()
    settle(tagging(server))
    assert tags_in(panorama.running)["the web"] == ["crown-jewels", PARTLY]


@pytest.mark.parametrize("kind", ["commit", "config"])
def test_somebody_elses_lock_is_waited_for(server, panorama, kind):
    panorama.locks.add(kind, "admin", "maintenance")
    with pytest.raises(RegistrationWaitsError, match="lock of admin"):
        settle(tagging(server))
    assert writes(panorama) == {}
    untouched(panorama)
    panorama.locks.remove(kind, "admin")
    settle(tagging(server))
    assert tags_in(panorama.running) == AFTER


def test_a_commit_in_progress_is_waited_for(server, panorama):
    panorama.set("/config/shared", "<tag><entry name='new'/></tag>", admin="admin")
    panorama.commit_seconds = 1000
    panorama.commit()
    with pytest.raises(RegistrationWaitsError, match="job 2 is not done"):
        settle(tagging(server))
    assert writes(panorama) == {}


@pytest.mark.parametrize("kind", ["commit", "config"])
def test_a_lock_that_comes_after_the_edit_gets_the_edit_taken_back(server, panorama, kind):
    """With a configuration lock not even that may be done: it is by the next look, when the lock is released."""
    ours = tagging(server)
    real = ours._refuse_others_edits

    def locked_meanwhile(*args):
        real(*args)
        panorama.locks.add(kind, "admin", "maintenance")

    ours._refuse_others_edits = locked_meanwhile
    with pytest.raises(RegistrationWaitsError, match="lock of admin"):
        settle(ours)
    assert tags_in(panorama.running) == BEFORE
    if kind == "config":
        assert panorama.pending
        panorama.locks.remove(kind, "admin")
        settle(tagging(server), {})
    untouched(panorama)


@pytest.mark.parametrize("kind", ["commit", "config"])
def test_a_lock_that_comes_right_before_the_commit_is_panoramas_refusal(server, panorama, kind):
    ours = tagging(server)
    real = ours._api.commit

    def locked_meanwhile(command):
        panorama.locks.add(kind, "admin", "maintenance")
        return real(command)

    ours._api.commit = locked_meanwhile
    with pytest.raises(RegistrationWaitsError, match="lock of admin"):
        settle(ours)
    assert tags_in(panorama.running) == BEFORE
    panorama.locks.remove(kind, "admin")
    settle(tagging(server), {})
    untouched(panorama)


def test_a_commit_that_fails_is_told_and_the_edit_is_taken_back(server, panorama):
    panorama.automatic_commit_lock = True
    panorama.fail_commits = "tag is invalid"
    with pytest.raises(RegistrationBlockedError, match=r"Panorama's job \d+ failed: tag is invalid"):
        settle(tagging(server))
    untouched(panorama)
    assert panorama.locks.commit == {}, "nor is the lock left that Panorama took for it"
    panorama.fail_commits = None
    settle(tagging(server))
    assert tags_in(panorama.running) == AFTER
    assert panorama.locks.commit == {}


@pytest.mark.parametrize("kind", ["reset", "status"])
@pytest.mark.parametrize("after", range(11))  # from the first edit to the last look at the job
def test_a_network_fault_anywhere_leaves_nothing_half_applied(server, panorama, kind, after):
    """From the first edit on the call after so many others fails, and at last nothing answers for a while."""
    ours, calls = tagging(server), []
    real = ours._api._once

    def once(what, call):
        if calls or what.startswith("set"):
            calls.append(what)
        if len(calls) == after + 1:
            server.faults.add(Fault(kind, times=3, status=502))
        return real(what, call)

    ours._api._once = once
    with pytest.raises(ManagerError):
        settle(ours)
    server.faults.queue.clear()
    panorama.finish_jobs()
    assert tags_in(panorama.running) in (BEFORE, AFTER)
    settle(tagging(server), {})  # the next look asks for nothing and takes back what is left
    assert tags_in(panorama.running) in (BEFORE, AFTER)
    assert not panorama.pending
    assert panorama.candidate is panorama.running
    settle(tagging(server))
    assert tags_in(panorama.running) == AFTER


def test_a_fault_right_after_the_edit_reverts_it_at_once(server, panorama):
    ours = tagging(server)
    real = ours._api.get

    def get(xpath):
        if panorama.pending:
            ours._api.get = real
            server.faults.add(Fault("reset"))
        return real(xpath)

    ours._api.get = get
    with pytest.raises(ManagerError):
        settle(ours)
    untouched(panorama)


def test_a_rule_that_is_deleted_meanwhile_does_not_come_back_hollow(server, panorama):
    ours = tagging(server)
    real, done = ours._api.set, []

    def set_(xpath, element):
        if not done and "pre-rulebase" in xpath:
            done.append(panorama.delete(f"{PRE}/entry[@name='old']", admin="admin"))
        real(xpath, element)

    ours._api.set = set_
    with pytest.raises(RegistrationWaitsError, match="somebody is editing rule 'old'"):
        settle(ours)
    assert "old" not in tags_in(panorama.candidate)
    assert {change.admin for change in panorama.journal} == {"admin"}
    assert tags_in(panorama.running) == BEFORE


@pytest.mark.parametrize("dies_after", range(1, 6))
def test_a_bridge_that_dies_anywhere_is_finished_by_the_next(server, panorama, dies_after):
    ours, calls = tagging(server), []
    real = ours._api._once

    def once(what, call):
        if panorama.pending or what.startswith("set"):
            calls.append(what)
        if len(calls) > dies_after:
            raise KeyboardInterrupt
        return real(what, call)

    ours._api._once = once
    with pytest.raises(KeyboardInterrupt):
        settle(ours)
    assert panorama.pending, "its edits are left in the candidate"
    settle(tagging(server))
    assert tags_in(panorama.running) == AFTER
    assert not panorama.pending


@pytest.mark.parametrize(
    "edit",
    [
        lambda panorama: panorama.set(f"{PRE}/entry[@name='db']", "<disabled>yes</disabled>", admin="zonebridge"),
        lambda panorama: panorama.set(PRE, rule("new"), admin="zonebridge"),
        lambda panorama: panorama.delete(f"{PRE}/entry[@name='db']", admin="zonebridge"),
        lambda panorama: panorama.set(f"{GROUP}/tag", "<entry name='mine'/>", admin="zonebridge"),
        lambda panorama: panorama.set("/config/shared/tag", "<entry name='mine'/>", admin="zonebridge"),
        lambda panorama: panorama.delete(f"{GROUP}/tag/entry[@name='crown-jewels']", admin="zonebridge"),
    ],
)
def test_edits_of_somebody_who_uses_our_administrator_are_neither_committed_nor_reverted(server, panorama, edit):
    edit(panorama)
    candidate = panorama.candidate
    with pytest.raises(RegistrationBlockedError, match="'zonebridge' has other uncommitted changes"):
        settle(tagging(server))
    assert panorama.candidate is candidate
    assert writes(panorama) == {}


def test_to_the_bridge_its_own_tags_say_nothing(server, panorama):
    """The rulebase is the very same: what follows from it, revisions, digests and previews, can't be another."""
    manager = PanoramaManager(PanoramaApi(access(server, username="admin")), "k8s-prod")
    before, version = manager.rulebase(), manager.version()
    settle(tagging(server))
    assert manager.version() != version, "Panorama has committed, so it is read again"
    assert manager.rulebase() is before
    assert {rule.origin.name: sorted(rule.tags) for rule in before.rules} == {"everybody": []} | {
        name: [tag for tag in tags if not is_own_tag(tag)] for name, tags in BEFORE.items()
    }
    fresh = PanoramaManager(PanoramaApi(access(server, username="admin")), "k8s-prod").rulebase()
    assert fresh == before
    panorama.set(f"{PRE}/entry[@name='db']/tag", f"<member>{PARTLY}</member>", admin="zonebridge")
    assert manager.candidate() == before


def test_names():
    assert unused_tag(timedelta(days=90)) == UNUSED
    assert all(map(is_own_tag, (PARTLY, NOT_ENFORCED, "k8s-unused-1d", "k8s-unused-3650d")))
    assert not any(map(is_own_tag, ("k8s-ignore", "k8s-widen", "k8s-unused-0d", "k8s-unused", "k8s-unused-90d ")))


def test_hundreds_of_rules_are_a_few_calls():
    many = [rule(f"rule {number}") for number in range(300)]
    users = {"admin": "secret", "zonebridge": "secret"}
    config = config_text(groups={"k8s-prod": rulebase("pre", *many)})
    with PanoramaServer(Panorama(config, users=users, rights=ROLES, commit_seconds=0)) as server:
        tags = {f"uuid-rule {number}": {UNUSED} for number in range(300)}
        settle(tagging(server), tags)
        assert all(some == [UNUSED] for some in tags_in(server.panorama.running).values())
        assert writes(server.panorama) == {"config/set": 2, "commit/partial": 1}
        server.panorama.traffic.clear()
        settle(tagging(server), {uuid: set() for uuid in tags})
        assert not any(tags_in(server.panorama.running).values())
        assert writes(server.panorama) == {"config/delete": 2, "commit/partial": 1}
