"""pan-os-python takes the mock for a Panorama: objects, rules, hierarchy, commits, devices, tags, HA. It never verifies TLS."""

from __future__ import annotations

import pytest
from panos.errors import PanDeviceXapiError, PanObjectMissing, PanURLError
from panos.objects import AddressObject
from panos.panorama import DeviceGroup, Panorama, PanoramaCommit, PanoramaCommitAll, Template
from panos.policies import PreRulebase, SecurityRule
from panos.predefined import Predefined

from tests.mocks.panoramas import SERIAL, served


@pytest.fixture
def server():
    with served() as running:
        yield running


@pytest.fixture
def device(server):
    return connect(server)


def connect(server) -> Panorama:
    return Panorama("127.0.0.1", "admin", "admin", port=server.port)


def test_create_from_device_sees_a_panorama(server):
    found = Panorama.create_from_device("127.0.0.1", "admin", "admin", port=server.port)
    assert isinstance(found, Panorama)
    assert found.version == "11.1.6"
    assert found.refresh_system_info().serial == server.panorama.identity.serial
    assert [call.type for call in server.panorama.traffic.calls][:2] == ["keygen", "op"]


def test_device_groups_with_their_rules_and_objects(device):
    groups = {group.name: group for group in DeviceGroup.refreshall(device)}
    assert list(groups) == ["EMEA", "K8s prod", "APAC"]
    rules = groups["K8s prod"].findall(PreRulebase)[0].findall(SecurityRule)
    assert [(rule.name, rule.action, rule.application, rule.uuid) for rule in rules] == [
        ("web to db", "allow", ["mysql"], "22222222-2222-4222-8222-222222222222"),
        ("drop the rest", "drop", ["any"], "33333333-3333-4333-8333-333333333333"),
    ]
    assert groups["EMEA"].find("office", AddressObject).value == "203.0.113.0/24"


def test_running_and_candidate_differ_until_the_commit(device):
    group = DeviceGroup("K8s prod")
    device.add(group)
    rulebase = PreRulebase()
    group.add(rulebase)
    rule = SecurityRule("created", fromzone=["web"], tozone=["any"], action="deny", log_end=True)
    rulebase.add(rule)
    rule.create()
    assert device.pending_changes() is True

    def running() -> list[str]:
        return [found.name for found in SecurityRule.refreshall(rulebase, running_config=True, add=False)]

    assert running() == ["web to db", "drop the rest"]
    result = device.commit(sync=True, exception=True)
    assert (result["success"], result["messages"]) == (True, ["Configuration committed successfully"])
    assert running() == ["web to db", "drop the rest", "created"]
    assert device.pending_changes() is False


def test_rules_are_applied_moved_renamed_and_deleted(device):
    group = DeviceGroup("K8s prod")
    device.add(group)
    rulebase = PreRulebase()
    group.add(rulebase)
    rules = {rule.name: rule for rule in SecurityRule.refreshall(rulebase)}
    rules["drop the rest"].move("top")
    rules["web to db"].action = "reset-client"
    rules["web to db"].apply()
    rules["drop the rest"].rename("dropped")
    again = SecurityRule.refreshall(rulebase)
    assert [(rule.name, rule.action) for rule in again] == [("dropped", "drop"), ("web to db", "reset-client")]
    again[0].delete()
    assert [rule.name for rule in SecurityRule.refreshall(rulebase)] == ["web to db"]
    with pytest.raises(PanObjectMissing):
        rulebase.add(SecurityRule("dropped")).refresh()


def test_a_partial_commit_with_a_description(server, device):
    device.add(AddressObject("shared-one", "192.0.2.1")).create()
    result = device.commit(sync=True, cmd=PanoramaCommit(description="one address", admins=["admin"]))
    assert result["success"]
    assert server.panorama.job(result["jobid"]).description == "one address"
    assert server.panorama.running.find("shared/address/entry[@name='shared-one']") is not None


def test_a_push_names_every_device(device):
    command = PanoramaCommitAll(PanoramaCommitAll.STYLE_DEVICE_GROUP, "EMEA")
    result = device.commit(sync=True, sync_all=True, cmd=command)
    assert result["success"]
    assert list(result["devices"]) == [SERIAL]
    assert result["devices"][SERIAL]["result"] == "OK"


def test_the_hierarchy_is_read_and_changed(device):
    assert device.opstate.dg_hierarchy.fetch() == {"EMEA": None, "K8s prod": "EMEA", "APAC": None}
    group = device.add(DeviceGroup("K8s prod"))
    group.opstate.dg_hierarchy.refresh()
    assert group.opstate.dg_hierarchy.parent == "EMEA"
    group.opstate.dg_hierarchy.parent = "APAC"
    assert group.opstate.dg_hierarchy.update()["success"]
    device.commit(sync=True)
    assert device.opstate.dg_hierarchy.fetch()["K8s prod"] == "APAC"


def test_a_new_device_group_gets_a_place_in_the_hierarchy(device):
    device.add(DeviceGroup("born")).create()
    device.commit(sync=True)
    assert device.opstate.dg_hierarchy.fetch()["born"] is None


def test_devices_with_their_groups(device):
    found = device.refresh_devices()
    groups = [one for one in found if isinstance(one, DeviceGroup)]
    firewalls = {group.name: [child.serial for child in group.children] for group in groups}
    assert firewalls == {"EMEA": [SERIAL], "K8s prod": [], "APAC": []}


def test_templates(device):
    assert [template.name for template in Template.refreshall(device, running_config=True)] == ["edge"]


def test_predefined_applications(device):
    known = Predefined(device)
    known.refreshall_applications()
    assert known.application("mysql").default_port == ["tcp/3306"]
    assert known.application("ping").default_icmp_type == 8


def test_registered_addresses_page_by_500_and_leave_again(device):
    device.userid.batch_start()
    for number in range(1200):
        device.userid.register(f"10.0.{number // 250}.{number % 250 + 1}", ["k8s.cl_a"])
    device.userid.batch_end()
    device.userid.register("10.0.0.1", ["other"])
    device.userid.register("10.0.0.1", ["other"])  # twice is told, and ignored by the client
    found = device.userid.get_registered_ip()
    assert len(found) == 1200
    assert found["10.0.0.1"] == ["k8s.cl_a", "other"]
    assert device.userid.get_registered_ip(tags="other") == {"10.0.0.1": ["other"]}
    assert device.userid.get_registered_ip(ip="10.0.4.200") == {"10.0.4.200": ["k8s.cl_a"]}
    device.userid.unregister("10.0.0.1", ["k8s.cl_a"])
    assert device.userid.get_registered_ip(ip="10.0.0.1") == {"10.0.0.1": ["other"]}
    device.userid.clear_registered_ip()
    assert device.userid.get_registered_ip() == {}


def test_registered_addresses_time_out():
    now = [1000.0]
    with served(clock=lambda: now[0]) as server:
        device = connect(server)
        device.userid.register("192.0.2.7", "brief", timeout=60)
        assert device.userid.get_registered_ip() == {"192.0.2.7": ["brief"]}
        now[0] += 61
        assert device.userid.get_registered_ip() == {}


@pytest.mark.parametrize("state", ["primary-active", "secondary-passive"])
def test_ha_states_are_panoramas_own(server, device, state):
    server.panorama.set_ha(state)
    assert device.show_highavailability_state()[0] == state


def test_without_ha_it_is_disabled(device):
    assert device.show_highavailability_state() == ("disabled", None)


def test_a_passive_peer_reads_but_does_not_write(server, device):
    server.panorama.set_ha("secondary-passive")
    assert [group.name for group in DeviceGroup.refreshall(device, running_config=True)]
    with pytest.raises(PanDeviceXapiError, match="secondary-passive"):
        device.add(AddressObject("no", "192.0.2.1")).create()


def test_one_who_may_only_read_is_told_so():
    with served(users={"reader": "secret"}, read_only=("reader",)) as server:
        device = Panorama("127.0.0.1", "reader", "secret", port=server.port)
        assert len(DeviceGroup.refreshall(device)) == 3
        with pytest.raises(PanDeviceXapiError, match="Unauthorized"):
            device.commit()


def test_expired_and_revoked_keys_are_http_errors(server, device):
    device.refresh_system_info()
    server.panorama.expire_keys()
    with pytest.raises(PanURLError, match="400 reason: Key Expired"):
        device.refresh_system_info()
    fresh = connect(server)
    fresh.refresh_system_info()
    server.panorama.revoke_keys()
    with pytest.raises(PanURLError, match="403 reason: Invalid Credential"):
        fresh.refresh_system_info()
