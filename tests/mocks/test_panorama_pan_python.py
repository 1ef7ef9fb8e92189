"""pan-python, a client that nobody of this project wrote, takes the mock for a Panorama: as library and as command."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pan.xapi
import pytest

from mocks.panorama import PanoramaServer
from tests.mocks.panoramas import GROUPS, K8S, RULES, served


@pytest.fixture
def server():
    with served() as running:
        yield running


@pytest.fixture
def xapi(server):
    return client(server)


def client(server: PanoramaServer, **settings) -> pan.xapi.PanXapi:
    """TLS verified, unlike pan-python's default; its constructor would touch a deprecated part of ssl."""
    known = {"api_username": "admin", "api_password": "admin"} | settings
    made = pan.xapi.PanXapi(hostname="127.0.0.1", port=server.port, timeout=10, **known)
    made.ssl_context = ssl.create_default_context(cafile=str(server.ca_file))
    return made


def names(xapi: pan.xapi.PanXapi, path: str) -> list[str]:
    return [node.get("name") for node in xapi.element_result.findall(path)]


@pytest.mark.parametrize("use_get", [False, True])
def test_a_generated_key_opens_the_door_with_get_and_post(server, use_get):
    key = client(server, use_get=use_get).keygen()
    with_key = client(server, api_username=None, api_password=None, api_key=key, use_get=use_get)
    with_key.op("show system info", cmd_xml=True)
    assert with_key.element_result.findtext("system/sw-version") == "11.1.6"
    assert with_key.element_result.findtext("system/model") == "Panorama"


def test_a_wrong_password_is_refused_as_http_403(server):
    with pytest.raises(pan.xapi.PanXapiError, match="code: 403 reason: Invalid Credential"):
        client(server, api_password="wrong").keygen()


def test_show_reads_running_and_get_reads_candidate(server, xapi):
    server.panorama.set(f"{K8S}/address/entry[@name='new']", "<ip-netmask>192.0.2.9/32</ip-netmask>")
    xapi.get(f"{K8S}/address/entry[@name='new']")
    assert xapi.status_code == "19"
    assert xapi.element_result.attrib == {"total-count": "1", "count": "1"}
    with pytest.raises(pan.xapi.PanXapiError, match="No such node"):
        xapi.show(f"{K8S}/address/entry[@name='new']")


def test_get_of_nothing_is_success_with_code_7_and_an_empty_result(xapi):
    xapi.get(f"{K8S}/address/entry[@name='nobody']")
    assert (xapi.status, xapi.status_code, len(xapi.element_result)) == ("success", "7", 0)


def test_show_needs_exactly_one_node_but_get_takes_many(xapi):
    with pytest.raises(pan.xapi.PanXapiError, match="No such node"):
        xapi.show(f"{GROUPS}/entry/{RULES}/entry")
    assert xapi.status == "error"
    xapi.get(f"{GROUPS}/entry/{RULES}/entry")
    assert names(xapi, "entry") == ["web to db", "drop the rest"]
    assert xapi.element_result.get("count") == "2"


def test_uncommitted_nodes_carry_marks_until_the_commit_and_objects_their_group(xapi):
    path = f"{K8S}/{RULES}/entry[@name='fresh']"
    xapi.set(path, "<action>allow</action><from><member>any</member></from>")
    assert xapi.status_code == "20"
    xapi.get(f"{K8S}/{RULES}/entry")
    fresh, old = xapi.element_result.find("entry[@name='fresh']"), xapi.element_result.find("entry[@name='web to db']")
    assert {"admin", "dirtyId", "time", "loc", "uuid"} <= set(fresh.attrib)
    assert all({"admin", "dirtyId", "time"} <= set(node.attrib) for node in fresh.iter())
    assert old.attrib == {"name": "web to db", "uuid": "22222222-2222-4222-8222-222222222222", "loc": "K8s prod"}
    xapi.commit("<commit><description>a rule</description></commit>", sync=True, interval=0.01)
    assert xapi.element_result.findtext("job/result") == "OK"
    xapi.show(path)
    assert set(xapi.element_result.find("entry").attrib) == {"name", "uuid"}
    xapi.get(path)
    assert set(xapi.element_result.find("entry").attrib) == {"name", "uuid", "loc"}


def test_edits_change_the_candidate_as_asked(xapi):
    rules = f"{K8S}/{RULES}"
    xapi.edit(f"{rules}/entry[@name='drop the rest']/action", "<action>reset-both</action>")
    xapi.clone(xpath=rules, xpath_from=f"{rules}/entry[@name='web to db']", newname="copy")
    xapi.rename(f"{rules}/entry[@name='copy']", newname="copied")
    xapi.move(f"{rules}/entry[@name='copied']", where="top")
    xapi.delete(f"{rules}/entry[@name='web to db']")
    xapi.get(f"{rules}/entry")
    assert names(xapi, "entry") == ["copied", "drop the rest"]
    assert xapi.element_result.findtext("entry[@name='drop the rest']/action") == "reset-both"
    assert xapi.element_result.find("entry").get("uuid") != "22222222-2222-4222-8222-222222222222"
    xapi.op("show config list changes", cmd_xml=True)
    assert [node.text for node in xapi.element_result.iter("action")] == ["EDIT", "CLONE", "RENAME", "MOVE", "DELETE"]


def test_edits_that_cannot_be_are_refused_with_a_code(xapi):
    rules = f"{K8S}/{RULES}"
    refusals = [
        (lambda: xapi.move(f"{rules}/entry[@name='web to db']", where="top"), "14"),
        (lambda: xapi.move(f"{rules}/entry[@name='web to db']", where="after", dst="nobody"), "13"),
        (lambda: xapi.rename(f"{rules}/entry[@name='nobody']", newname="x"), "7"),
        (lambda: xapi.rename(f"{rules}/entry[@name='web to db']", newname="drop the rest"), "12"),
        (lambda: xapi.set(f"{rules}/entry[@name='{'x' * 64}']", "<action>allow</action>"), "12"),
        (lambda: xapi.set(f"{rules}/entry[@name='x']", "<action>allow"), "12"),
        (lambda: xapi.edit(f"{rules}/entry[@name='x']", "<entry name='y'/>"), "12"),
        (lambda: xapi.set("not an xpath", "<a/>"), "6"),
    ]
    for refused, code in refusals:
        with pytest.raises(pan.xapi.PanXapiError):
            refused()
        assert xapi.status_code == code
    xapi.op("check pending-changes", cmd_xml=True)
    assert xapi.element_result.text == "no"


def test_deleting_nothing_is_success_with_code_7(xapi):
    xapi.delete(f"{K8S}/address/entry[@name='nobody']")
    assert (xapi.status, xapi.status_code) == ("success", "7")


def test_a_commit_without_changes_makes_no_job(xapi):
    xapi.commit("<commit/>")
    assert xapi.status_detail == "There are no changes to commit."


def test_a_job_waits_runs_and_ends(server, xapi):
    server.panorama.commit_seconds = 0.4
    seen = []
    xapi.set(f"{K8S}/tag/entry[@name='t']", "<comments>c</comments>")
    xapi.commit("<commit/>")
    number = xapi.element_result.findtext("job")
    while seen[-1:] != [("FIN", "OK", "100")]:
        xapi.op(f'show jobs id "{number}"', cmd_xml=True)
        job = xapi.element_result.find("job")
        state = (job.findtext("status"), job.findtext("result"), job.findtext("progress"))
        if [one[0] for one in seen[-1:]] != [state[0]]:
            seen.append(state)
    assert [state[0] for state in seen] == ["PEND", "ACT", "FIN"]
    assert all(result == "PEND" for _, result, _ in seen[:-1])
    xapi.op("show jobs all", cmd_xml=True)
    assert [node.text for node in xapi.element_result.iter("type")] == ["Commit", "AutoCom"]


def test_a_failing_commit_leaves_running_as_it_was(server, xapi):
    server.panorama.fail_commits = "rulebase -> security -> x is invalid"
    xapi.set(f"{K8S}/tag/entry[@name='t']", "<comments>c</comments>")
    xapi.commit("<commit/>", sync=True, interval=0.01)
    assert xapi.element_result.findtext("job/result") == "FAIL"
    assert "x is invalid" in xapi.status_detail
    with pytest.raises(pan.xapi.PanXapiError, match="No such node"):
        xapi.show(f"{K8S}/tag")


def test_unknown_things_are_errors_in_panoramas_words(xapi):
    with pytest.raises(pan.xapi.PanXapiError, match="job 4294967295 not found"):
        xapi.op('show jobs id "4294967295"', cmd_xml=True)
    with pytest.raises(pan.xapi.PanXapiError, match="show -> nonsense  is unexpected"):
        xapi.op("show nonsense", cmd_xml=True)
    with pytest.raises(pan.xapi.PanXapiError, match="show -> system  is incomplete"):
        xapi.op("show system", cmd_xml=True)
    with pytest.raises(pan.xapi.PanXapiError, match="Malformed command"):
        xapi.op("<show><system>")


def test_the_whole_running_configuration_by_op_and_by_export(server, xapi):
    xapi.op("show config running", cmd_xml=True)
    assert xapi.element_result.find("config").get("detail-version") == "11.1.6"
    xapi.export(category="configuration")
    assert xapi.element_root.tag == "config"
    assert xapi.element_root.find("mgt-config") is not None
    assert server.panorama.running_xml() == xapi.xml_document


def test_the_sum_of_a_group_follows_the_committed_policy_above_it(xapi):
    def sums() -> dict[str, str]:
        xapi.op("show devicegroups", cmd_xml=True)
        entries = xapi.element_result.findall("devicegroups/entry")
        return {entry.get("name"): entry.findtext("shared-policy-md5sum") for entry in entries}

    before = sums()
    assert list(before) == ["EMEA", "K8s prod", "APAC"]
    xapi.set(f"{GROUPS}/entry[@name='EMEA']/tag/entry[@name='t']", "<comments>c</comments>")
    assert sums() == before
    xapi.commit("<commit/>", sync=True, interval=0.01)
    after = sums()
    assert after["EMEA"] != before["EMEA"]
    assert after["K8s prod"] != before["K8s prod"]
    assert after["APAC"] == before["APAC"]
    xapi.set("/config/shared/tag/entry[@name='u']", "<comments>c</comments>")
    xapi.commit("<commit/>", sync=True, interval=0.01)
    assert all(sums()[name] != after[name] for name in after)


def test_a_push_brings_the_firewall_in_sync(xapi):
    def status() -> str:
        xapi.op("show devicegroups", cmd_xml=True)
        return xapi.element_result.findtext("devicegroups/entry[@name='EMEA']/devices/entry/shared-policy-status")

    assert status() == "Out of Sync"
    push = "<commit-all><shared-policy><device-group><entry name='EMEA'/></device-group></shared-policy></commit-all>"
    xapi.commit(push, action="all", sync=True, interval=0.01)
    job = xapi.element_result.find("job")
    assert (job.findtext("type"), job.findtext("dgname"), job.findtext("devices/entry/result")) == (
        "CommitAll",
        "EMEA",
        "OK",
    )
    assert status() == "In Sync"


def test_predefined_applications_are_read_by_get(xapi):
    xapi.get("/config/predefined/application/entry[@name='mysql']")
    assert xapi.element_result.findtext("entry/default/port/member") == "tcp/3306"
    xapi.get("/config/predefined/application/entry[@name='dns' or @name='ssh']/default/port/member")
    assert sorted(node.text for node in xapi.element_result) == ["tcp/22", "tcp/53", "udp/53"]
    with pytest.raises(pan.xapi.PanXapiError, match="No such node"):
        xapi.show("/config/predefined")


def test_logs_are_asynchronous(xapi):
    xapi.set(f"{K8S}/tag/entry[@name='t']", "<comments>c</comments>")
    xapi.delete(f"{K8S}/tag/entry[@name='t']")
    xapi.log(log_type="config", filter="( cmd eq delete )", interval=0.01)
    entries = xapi.element_result.findall("log/logs/entry")
    assert [(entry.findtext("cmd"), entry.findtext("admin")) for entry in entries] == [("delete", "admin")]
    assert K8S in entries[0].findtext("path")


def test_templates_stacks_audit_and_version(xapi):
    xapi.op("show templates", cmd_xml=True)
    assert names(xapi, "templates/entry") == ["edge"]
    xapi.op("show template-stack", cmd_xml=True)
    assert xapi.element_result.findtext("template-stack/entry/templates/member") == "edge"
    xapi.op("show config audit info", cmd_xml=True)
    assert [node.text for node in xapi.element_result.iter("name")] == ["1"]
    xapi.ad_hoc("type=version", modify_qs=True)
    assert xapi.element_result.findtext("sw-version") == "11.1.6"


def test_the_commands_own_tool_reads_the_configuration(server):
    def panxapi(*words: str) -> subprocess.CompletedProcess[str]:
        tool = Path(sys.executable).parent / "panxapi.py"
        door = ["-h", "127.0.0.1", "-P", str(server.port), "-l", "admin:admin"]
        environment = {**os.environ, "HOME": "/nonexistent"}
        return subprocess.run(
            [tool, *door, *words], check=False, capture_output=True, text=True, timeout=60, env=environment
        )

    shown = panxapi("-xs", f"{K8S}/{RULES}")
    assert shown.returncode == 0, shown.stderr
    assert 'entry name="web to db"' in shown.stdout
    assert "show: success" in shown.stderr
    missing = panxapi("-xs", f"{K8S}/nothing")
    assert missing.returncode == 1
    assert "No such node" in missing.stderr
    written = panxapi("-S", "<comments>c</comments>", f"{K8S}/tag/entry[@name='t']")
    assert 'set: success [code="20"]: "command succeeded"' in written.stderr
    committed = panxapi("-C", "<commit/>", "--sync", "--interval", "0.01")
    assert "Configuration committed successfully" in committed.stderr
    assert panxapi("-xs", f"{K8S}/tag").returncode == 0
