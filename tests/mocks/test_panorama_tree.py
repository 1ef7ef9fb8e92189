"""The parts of the mock Panorama below its wire: XPath, edits that share what they leave alone, settling, loading."""

from __future__ import annotations

import random
from xml.etree.ElementTree import fromstring, tostring

import pytest

from mocks.panorama import ConfigError, Panorama
from mocks.panorama.handlers import Ask, answer
from mocks.panorama.tree import MARKS, load_config
from mocks.panorama.xpath import XPathError, parse, select
from tests.exports import each_export
from tests.mocks.panoramas import CONFIG, EMEA, GROUPS, K8S, RULES

ROOT = load_config(CONFIG)


def found(xpath: str) -> list[str]:
    return [trail[-1].get("name") or trail[-1].tag for trail in select(ROOT, parse(xpath))]


@pytest.mark.parametrize(
    ("xpath", "expected"),
    [
        ("/config", ["config"]),
        ("/other", []),
        ("/config/shared/address/entry", ["dns-server", "office"]),
        ("/config/shared/*", ["address", "tag", "pre-rulebase"]),
        (f"{GROUPS}/entry[@name='K8s prod']", ["K8s prod"]),
        (f'{GROUPS}/entry[@name="K8s prod"]/{RULES}/entry', ["web to db", "drop the rest"]),
        (f"{GROUPS}/entry[@name='EMEA' or @name='APAC']", ["EMEA", "APAC"]),
        (f"{GROUPS}/entry[(@name='EMEA' or @name='APAC') and devices]", ["EMEA"]),
        (f"{GROUPS}/entry[not(devices)]", ["K8s prod", "APAC"]),
        (f"{GROUPS}/entry[2]", ["K8s prod"]),
        (f"{GROUPS}/entry[last()]", ["APAC"]),
        (f"{K8S}/{RULES}/entry[action='drop' or application/member='mysql']", ["web to db", "drop the rest"]),
        (f"{K8S}/{RULES}/entry[from/member='web'][action='allow']", ["web to db"]),
        (f"{K8S}/{RULES}/entry[action!='drop']", ["web to db"]),
        (f"{K8S}/{RULES}/entry/to/member[text()='db']", ["member", "member"]),
        ("/config/shared/address/entry[contains(@name,'serv')]", ["dns-server"]),
        ("/config/shared/address/entry[starts-with(ip-netmask,'198.')]", ["office"]),
        ("/config/shared/address/entry[@nothing]", []),
        ("//address/entry[@name='office']", ["office", "office"]),
        ("/config/devices/entry/device-group//entry[@name='drop the rest']", ["drop the rest"]),
        ("/config/shared/*[contains(local-name(), 'addr')]/entry", ["dns-server", "office"]),
    ],
)
def test_xpath_selects(xpath, expected):
    assert found(xpath) == expected


@pytest.mark.parametrize(
    "xpath",
    [
        "",
        "config",
        "/",
        "/config/",
        "/config[",
        "/config[@name]x",
        "/config[@name='x]",
        "/config/shared[foo(1,2)]",
        "/a[()]",
        "/config/text()",
        "/config/@name",
        "/a" * 20_000,
        "/a[" + "(" * 500 + "b" + ")" * 500 + "]",
        "/config\x00",
    ],
)
def test_what_is_no_xpath_is_refused(xpath):
    with pytest.raises(XPathError):
        parse(xpath)


@pytest.fixture
def panorama():
    return Panorama(CONFIG)


def commit(panorama: Panorama) -> None:
    panorama.commit()
    panorama.finish_jobs()


def marks(panorama: Panorama) -> list[str]:
    return [node.tag for node in panorama.candidate.iter() if set(node.attrib) & set(MARKS)]


def test_an_edit_copies_its_path_and_shares_the_rest(panorama):
    before = panorama.running
    text = tostring(before)
    panorama.set(f"{K8S}/tag/entry[@name='t']", "<comments>c</comments>")
    assert tostring(panorama.running) == text
    assert panorama.candidate is not before
    assert panorama.candidate.find("shared") is before.find("shared")
    assert panorama.candidate.find("mgt-config") is before.find("mgt-config")


def test_set_merges_members_entries_and_choices(panorama):
    rule = f"{K8S}/{RULES}/entry[@name='web to db']"
    panorama.set(rule, "<from><member>web</member><member>app</member></from><action>deny</action>")
    panorama.set(
        f"{EMEA}/address", "<entry name='office'><fqdn>example.org</fqdn></entry><entry name='b'><fqdn>b</fqdn></entry>"
    )
    node = panorama.candidate.find(".//entry[@name='web to db']")
    assert [member.text for member in node.findall("from/member")] == ["web", "app"]
    assert node.findtext("action") == "deny"
    assert node.findtext("to/member") == "db"
    addresses = panorama.candidate.find(".//entry[@name='EMEA']/address")
    assert [(entry.get("name"), [child.tag for child in entry]) for entry in addresses] == [
        ("office", ["fqdn"]),
        ("b", ["fqdn"]),
    ]


def test_an_edited_rule_keeps_its_uuid_and_a_cloned_one_gets_its_own(panorama):
    rules = f"{K8S}/{RULES}"
    panorama.edit(f"{rules}/entry[@name='web to db']", "<entry name='web to db'><action>deny</action></entry>")
    panorama.clone(rules, f"{rules}/entry[@name='web to db']", "copy")
    panorama.set(
        f"{EMEA}/pre-rulebase", "<security><rules><entry name='r'><action>deny</action></entry></rules></security>"
    )
    uuids = {entry.get("name"): entry.get("uuid") for entry in panorama.candidate.iterfind(".//rules/entry")}
    assert uuids["web to db"] == "22222222-2222-4222-8222-222222222222"
    assert len(set(uuids.values())) == 5
    assert all(len(value) == 36 for value in uuids.values())


def test_a_delete_may_take_many(panorama):
    panorama.delete(f"{K8S}/{RULES}/entry[@name='web to db' or @name='drop the rest']")
    panorama.delete("//address/entry[@name='office']")
    assert panorama.candidate.find(".//entry[@name='K8s prod']//rules/entry") is None
    assert panorama.candidate.find(".//address/entry[@name='office']") is None
    assert panorama.candidate.find(".//address/entry[@name='dns-server']") is not None


def test_a_delete_takes_what_lies_under_and_beside_each_other(panorama):
    panorama.delete("//*[@name='edge' or contains(local-name(), 'zone') or @name='stack' or @name='web to db']")
    left = {node.get("name") for node in panorama.candidate.iter()} | {node.tag for node in panorama.candidate.iter()}
    assert not left & {"edge", "zone", "stack", "web to db"}
    assert {"template", "template-stack", "drop the rest"} <= left
    panorama.revert()
    panorama.delete("//member[text()='db']")
    panorama.delete("/config/devices//*[@name='trust' or @name='EMEA']")
    assert panorama.candidate.find("devices//zone/entry") is None
    assert panorama.candidate.find("devices//entry[@name='EMEA']") is None


def test_device_groups_that_go_leave_the_readonly_part_too(panorama):
    panorama.delete(f"{GROUPS}/entry[@name='APAC']")
    panorama.set(f"{GROUPS}/entry[@name='new']", "<devices/>")
    lines = panorama.candidate.findall("readonly//device-group/entry")
    assert [(line.get("name"), line.findtext("id")) for line in lines] == [
        ("EMEA", "11"),
        ("K8s prod", "12"),
        ("new", "13"),
    ]


def test_a_commit_takes_what_was_there_when_it_was_asked(panorama):
    panorama.set(f"{K8S}/tag/entry[@name='early']", "<comments>c</comments>", admin="alice")
    number = panorama.commit("alice", "first")
    panorama.set(f"{K8S}/tag/entry[@name='late']", "<comments>c</comments>", admin="bob")
    panorama.finish_jobs()
    assert panorama.job(number).result == "OK"
    assert panorama.running.find(".//tag/entry[@name='early']") is not None
    assert panorama.running.find(".//tag/entry[@name='late']") is None
    assert panorama.pending
    late = panorama.candidate.find(".//tag/entry[@name='late']")
    assert late.get("admin") == "bob"
    assert panorama.candidate.find(".//tag/entry[@name='early']").attrib == {"name": "early"}
    commit(panorama)
    assert not panorama.pending
    assert marks(panorama) == []
    assert panorama.candidate is panorama.running


def test_revert_forgets(panorama):
    panorama.delete(f"{K8S}/{RULES}")
    panorama.revert()
    assert panorama.candidate is panorama.running
    assert not panorama.pending


def test_a_loaded_candidate_is_marked_where_it_differs(panorama):
    panorama.set_candidate(CONFIG)
    assert not panorama.pending
    assert panorama.candidate is panorama.running
    panorama.set_candidate(CONFIG.replace("<action>drop</action>", "<action>deny</action>"))
    assert panorama.pending
    assert marks(panorama) == ["action"]
    panorama.set_candidate(CONFIG.replace("<member>db</member>", "", 1))
    assert marks(panorama) == ["to"]
    commit(panorama)
    assert marks(panorama) == []


def test_jobs_run_one_after_the_other():
    now = [0.0]
    panorama = Panorama(CONFIG, commit_seconds=10, clock=lambda: now[0])
    first, second = panorama.commit(), panorama.commit()
    states = []
    for moment in (0, 5, 10, 11, 15, 20):
        now[0] = moment
        states.append((panorama.job(first).status(moment), panorama.job(second).status(moment)))
    assert states == [
        ("PEND", "PEND"),
        ("ACT", "PEND"),
        ("FIN", "PEND"),
        ("FIN", "PEND"),
        ("FIN", "ACT"),
        ("FIN", "FIN"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not xml",
        "<a/>",
        "<config>",
        "<!DOCTYPE c [<!ENTITY e 'x'>]><config>&e;</config>",
        "<a>" * 999 + "</a>" * 999,
    ],
)
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(ConfigError, match="the configuration text"):
        Panorama(text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.xml"):
        Panorama(tmp_path / "absent.xml")


def test_an_answer_that_holds_a_configuration_will_do():
    inner = CONFIG.removeprefix('<?xml version="1.0"?>\n')
    wrapped = Panorama(f'<response status="success"><result>{inner}</result></response>')
    assert wrapped.running_xml() == Panorama(CONFIG).running_xml()


def test_predefined_content_comes_from_the_file_before_the_built_in():
    content = "<config><predefined><application><entry name='odd'><default><port><member>tcp/1</member></port></default></entry></application></predefined></config>"
    panorama = Panorama(CONFIG, predefined=content)
    names = [entry.get("name") for entry in panorama.readable.iterfind("predefined/application/entry")]
    assert names == ["odd"]
    assert len(Panorama(CONFIG).readable.findall("predefined/application/entry")) >= 25


def test_twins_in_a_file_are_one_node_when_it_is_loaded():
    group = (
        "<device-group><entry name='a'><tag><entry name='x'/></tag></entry><entry name='a'><tag><entry name='y'/></tag>"
    )
    text = f"<config><devices><entry name='localhost.localdomain'>{group}</entry></device-group></entry></devices></config>"
    entries = Panorama(text).running.findall("devices/entry/device-group/entry")
    assert [[tag.get("name") for tag in entry.findall("tag/entry")] for entry in entries] == [["x", "y"]]


@pytest.mark.parametrize("path", each_export())
def test_configurations_of_others_serve(path):
    panorama = Panorama(path)
    panorama.keys.valid["k"] = "admin"

    def ask(**params: str):
        return fromstring(answer(panorama, Ask("POST", {"key": "k", **params})).body)

    shown = ask(type="config", action="show", xpath="/config/shared")
    assert len(shown.find("result/shared"))
    sums = ask(type="op", cmd="<show><devicegroups/></show>").findall("result/devicegroups/entry")
    assert [entry.get("name") for entry in sums] == [
        entry.get("name") for entry in panorama.running.findall("devices/entry/device-group/entry")
    ]
    xpath = f"{GROUPS}/entry[@name='added']/tag/entry[@name='t']"
    assert ask(type="config", action="set", xpath=xpath, element="<comments>c</comments>").get("code") == "20"
    commit(panorama)
    assert ask(type="config", action="show", xpath=xpath).get("status") == "success"


def test_random_edits_and_their_commit_equal_a_plain_tree():
    """Path copying against the obvious: the same edits on a tree that is really copied each time."""
    chance = random.Random(7)
    panorama = Panorama(CONFIG)
    for number in range(200):
        group = chance.choice(["EMEA", "K8s prod", "APAC"])
        path = f"{GROUPS}/entry[@name='{group}']/address/entry[@name='a{chance.randrange(20)}']"
        was = tostring(panorama.running)
        if chance.random() < 0.3 and select(panorama.candidate, parse(path)):
            panorama.delete(path)
            assert not select(panorama.candidate, parse(path))
        else:
            panorama.set(path, f"<ip-netmask>192.0.2.{number}/32</ip-netmask>")
            assert select(panorama.candidate, parse(path))[0][-1].findtext("ip-netmask") == f"192.0.2.{number}/32"
        assert tostring(panorama.running) == was
        if chance.random() < 0.1:
            commit(panorama)
            assert panorama.candidate is panorama.running
            assert marks(panorama) == []
