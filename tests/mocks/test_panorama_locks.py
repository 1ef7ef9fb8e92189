"""Locks, roles and commits of one's own part, as pan-os-python and pan-python see them on the mock."""

from __future__ import annotations

import pan.xapi
import pytest
from panos.errors import PanDeviceXapiError, PanLockError
from panos.objects import AddressObject, Tag
from panos.panorama import DeviceGroup, Panorama, PanoramaCommit
from panos.policies import PreRulebase, SecurityRule
from panos.userid import UserId

from tests.mocks.panoramas import K8S, RULES, served
from tests.mocks.test_panorama_pan_python import client


@pytest.fixture
def server():
    with served(
        users={"admin": "admin", "bob": "bob", "agent": "agent"}, rights={"agent": ["op", "user-id"]}
    ) as running:
        yield running


def connect(server, user="admin") -> Panorama:
    return Panorama("127.0.0.1", user, user, port=server.port)


def tag(device, name):
    made = Tag(name, color="color1")
    device.add(made)
    made.create()


def partial(device, *admins):
    return device.commit(cmd=PanoramaCommit("mine", admins=list(admins)), sync=True)


def test_a_partial_commit_takes_ones_own_changes_only(server):
    admin, bob = connect(server), connect(server, "bob")
    tag(admin, "of admin")
    tag(bob, "of bob")
    result = partial(bob, "bob")
    assert (result["success"], result["messages"]) == (True, ["Configuration committed successfully"])
    assert [each.get("name") for each in server.panorama.running.iterfind("shared/tag/entry")] == ["site", "of bob"]
    assert admin.pending_changes() is True
    marks = {each.get("name"): each.get("admin") for each in server.panorama.candidate.iterfind("shared/tag/entry")}
    assert marks == {"site": None, "of admin": "admin", "of bob": None}
    admin.commit(sync=True)
    names = [each.get("name") for each in server.panorama.running.iterfind("shared/tag/entry")]
    assert names == ["site", "of admin", "of bob"]
    assert server.panorama.candidate is server.panorama.running


def revert(device, *admins):
    members = "".join(f"<member>{name}</member>" for name in admins)
    device.op(f"<revert><config><partial><admin>{members}</admin></partial></config></revert>", cmd_xml=False)


def test_ones_own_changes_are_reverted_and_others_stay(server):
    admin, bob = connect(server), connect(server, "bob")
    tag(admin, "of admin")
    tag(bob, "of bob")
    revert(bob, "bob")
    marks = {each.get("name"): each.get("admin") for each in server.panorama.candidate.iterfind("shared/tag/entry")}
    assert marks == {"site": None, "of admin": "admin"}
    assert partial(bob, "bob") is None
    assert partial(admin, "admin")["success"] is True
    tag(bob, "of bob")
    revert(bob, "bob")
    assert admin.pending_changes() is False
    assert server.panorama.candidate is server.panorama.running


def test_a_revert_of_nobody_and_one_under_somebody_elses_lock_are_refused(server):
    admin, bob = connect(server), connect(server, "bob")
    tag(bob, "of bob")
    with pytest.raises(PanDeviceXapiError, match="incomplete"):
        revert(bob)
    admin.add_config_lock()
    with pytest.raises(PanLockError, match="Configuration is locked by admin"):
        revert(bob, "bob")
    assert bob.pending_changes() is True


def test_a_commit_lock_that_comes_by_itself_goes_with_the_commit(server):
    server.panorama.automatic_commit_lock = True
    admin, bob = connect(server), connect(server, "bob")
    tag(bob, "of bob")
    assert admin.check_commit_locks() is True
    with pytest.raises(PanDeviceXapiError, match="holding device wide commit locks: bob"):
        admin.commit(sync=True)
    assert partial(bob, "bob")["success"] is True
    assert admin.check_commit_locks() is False


def test_there_is_nothing_of_ones_own_to_commit(server):
    tag(connect(server), "of admin")
    assert partial(connect(server, "bob"), "bob") is None
    assert server.panorama.running.find("shared/tag/entry[@name='of admin']") is None


def test_a_change_that_needs_somebody_elses_fails_its_partial_commit(server):
    admin, bob = connect(server), connect(server, "bob")
    new = AddressObject("new", "192.0.2.1")
    admin.add(new)
    new.create()
    server.panorama.rename("/config/shared/address/entry[@name='new']", "newer", admin="bob")
    result = partial(bob, "bob")
    assert result["success"] is False
    assert "Partial commit failed: Object not present" in result["messages"]
    assert admin.commit(sync=True)["success"] is True
    assert server.panorama.running.find("shared/address/entry[@name='newer']") is not None


def test_a_rule_keeps_its_uuid_in_a_partial_commit(server):
    device = connect(server)
    group = DeviceGroup("K8s prod")
    device.add(group)
    rulebase = PreRulebase()
    group.add(rulebase)
    rule = SecurityRule("new", action="deny")
    rulebase.add(rule)
    rule.create()
    assert partial(device, "admin")["success"] is True
    found = [
        root.find(f"devices/entry/device-group/entry[@name='K8s prod']/{RULES}/entry[@name='new']").get("uuid")
        for root in (server.panorama.running, server.panorama.candidate)
    ]
    assert found[0] == found[1]


def test_a_new_device_group_under_its_parent_in_a_partial_commit(server):
    admin, bob = connect(server), connect(server, "bob")
    tag(admin, "of admin")
    group = DeviceGroup("new")
    bob.add(group)
    group.create()
    group.opstate.dg_hierarchy.parent = "EMEA"
    group.opstate.dg_hierarchy.update()
    assert partial(bob, "bob")["success"] is True
    assert bob.opstate.dg_hierarchy.fetch()["new"] == "EMEA"
    assert server.panorama.running.find("shared/tag/entry[@name='of admin']") is None


def test_commit_locks(server):
    admin, bob = connect(server), connect(server, "bob")
    assert admin.check_commit_locks() is False
    assert admin.add_commit_lock(comment="maintenance") is True
    with pytest.raises(PanLockError, match="already held"):
        admin.add_commit_lock()
    assert bob.check_commit_locks() is True
    tag(bob, "of bob")
    with pytest.raises(PanDeviceXapiError, match="holding device wide commit locks: admin"):
        partial(bob, "bob")
    assert admin.remove_commit_lock() is True
    with pytest.raises(PanLockError, match="not currently held"):
        admin.remove_commit_lock()
    assert partial(bob, "bob")["success"] is True


def test_config_locks(server):
    admin, bob = connect(server), connect(server, "bob")
    assert admin.add_config_lock() is True
    with pytest.raises(PanLockError, match="currently locked by admin"):
        bob.add_config_lock()
    with pytest.raises(PanLockError, match="Configuration is locked by admin"):
        tag(bob, "of bob")
    tag(admin, "of admin")
    assert bob.check_config_locks() is True
    assert admin.remove_config_lock() is True
    assert bob.remove_config_lock(exceptions=False) is False
    tag(bob, "of bob")


def test_a_lock_is_broken_for_somebody_else(server):
    connect(server, "bob").add_commit_lock()
    assert connect(server).remove_commit_lock(admin="bob") is True


def test_a_role_allows_some_types_of_requests(server):
    agent = connect(server, "agent")
    UserId(agent).register("192.0.2.7", ["linux"])
    assert UserId(agent).get_registered_ip() == {"192.0.2.7": ["linux"]}
    xapi = client(server, api_username="agent", api_password="agent")
    for ask in (
        lambda: xapi.get(f"{K8S}/address"),
        lambda: xapi.commit("<commit/>"),
        lambda: xapi.show("/config/shared"),
    ):
        with pytest.raises(pan.xapi.PanXapiError, match=r"code: 403 reason: Type \[(config|commit)\] not authorized"):
            ask()


def test_a_partial_commit_by_pan_python(server):
    xapi = client(server)
    xapi.set("/config/shared/tag/entry[@name='mine']", "<color>color2</color>")
    xapi.commit(
        "<commit><partial><admin><member>admin</member></admin></partial></commit>",
        action="partial",
        sync=True,
        interval=0.01,
    )
    assert xapi.element_root.findtext("result/job/result") == "OK"
    assert server.panorama.running.find("shared/tag/entry[@name='mine']") is not None
