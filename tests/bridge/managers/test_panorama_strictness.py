"""What is not as PAN-OS writes it is said, never guessed; numbers and dates have an end."""

import pytest

from bridge.errors import ManagerAnswerError
from bridge.managers.panorama.addresses import Addresses
from bridge.managers.panorama.applications import ApplicationObjects
from bridge.managers.panorama.manager import HIERARCHY, PanoramaManager
from bridge.managers.panorama.rulebase import ReadOptions, read_scope
from bridge.managers.panorama.tree import scope_of
from tests.panorama_xml import config, entry, members, rule, rulebase, section


def read(xml="", shared=""):
    return read_scope(scope_of(config(shared, {"dg": xml}), "dg"), ReadOptions())


def first(xml, shared=""):
    return read(rulebase("pre", xml), shared).rules[0]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (members("source", "10.0.0.1"), "'source' 2 times"),
        ("<action>deny</action>", "'action' 2 times"),
        (members("source-user", "any") + members("source-user", "anna"), "'source-user' 2 times"),
        ("<source-user>anna</source-user>", "'source-user' is no list of members"),
        ("<tag><entry name='k8s-ignore'/></tag>", "'tag' is no list of members"),
        ("<disabled>true</disabled>", "'disabled' is 'true', neither yes nor no"),
        ("<negate-source>Yes</negate-source>", "'negate-source' is 'Yes', neither yes nor no"),
        ("<negate-destination>1</negate-destination>", "'negate-destination' is '1', neither yes nor no"),
        ("<target><devices><entry name='1'/></devices><negate>not</negate></target>", "'target/negate' is 'not'"),
        ("<target><devices><member>1</member></devices></target>", "'target/devices' is no list of firewalls"),
        ("<target><devices><entry/></devices></target>", "'target/devices' is no list of firewalls"),
        ("<target><clusters><member>1</member></clusters></target>", "target's element 'clusters' is not known"),
    ],
)
def test_a_rule_that_is_not_shaped_as_panos_shapes_it_is_malformed(extra, words):
    assert words in first(rule(extra=extra)).malformed[0]


def test_a_list_with_something_between_its_members_is_malformed():
    xml = rule(source=None, extra="<source><member>10.0.0.1</member><group>g</group></source>")
    assert first(xml).malformed == ("its 'source' is no list of members",)


@pytest.mark.parametrize(
    "extra", ["<tag/>", "<source-user/>", "<hip-profiles/>", "<disabled/>", "<target/>", "<target><devices/></target>"]
)
def test_an_element_without_content_says_nothing(extra):
    found = first(rule(extra=extra))
    assert (found.malformed, found.conditions, found.target) == ((), (), None)


def test_a_default_rule_is_read_as_strictly():
    twice = entry("interzone-default", "<action>deny</action><action>allow</action>")
    assert "'action' 2 times" in read(rulebase("post", defaults=[twice])).interzone.malformed[0]


def application(name, body):
    shared = section("application", entry(name, f"<default>{body}</default>"))
    return ApplicationObjects(scope_of(config(shared), "dg")).members((name,)).members[0]


@pytest.mark.parametrize(
    "body",
    [
        "<ident-by-ip-protocol>256</ident-by-ip-protocol>",
        "<ident-by-ip-protocol>-1</ident-by-ip-protocol>",
        "<ident-by-icmp-type>256</ident-by-icmp-type>",
        "<ident-by-icmp6-type><type>999</type></ident-by-icmp6-type>",
    ],
)
def test_protocols_and_icmp_types_are_bytes(body):
    found = application("a", body)
    assert found.ports == ()
    assert "can't be read" in found.unresolved[0].why


@pytest.mark.parametrize("window", ["9999/12/31@00:00-9999/12/31@24:00", "0001/01/01@00:00-2026/01/01@00:00"])
def test_dates_at_the_end_of_the_calendar_are_a_problem_of_their_schedule(window):
    body = f"<schedule-type>{members('non-recurring', window)}</schedule-type>"
    found = first(rule(extra="<schedule>s</schedule>"), section("schedule", entry("s", body)))
    assert "beyond what a calendar holds" in found.schedule.why


@pytest.mark.parametrize(
    ("recurring", "words"),
    [
        ("<weekly><day-of-week>9</day-of-week></weekly>", "9 is no day of a weekly list"),
        ("<weekly><day-of-month>31</day-of-month></weekly>", "31 is no day of a weekly list"),
        ("<monthly><day-of-month>32</day-of-month></monthly>", "32 is no day of a monthly list"),
        ("<daily><at>24</at></daily>", "24 is no hour"),
    ],
)
def test_a_day_that_never_comes_is_a_problem_of_its_list(recurring, words):
    body = f"<type><ip><url>https://e.example/</url><recurring>{recurring}</recurring></ip></type>"
    found = Addresses(scope_of(config(section("external-list", entry("edl", body))), "dg")).member("edl")
    assert words in found.unresolved[0].why


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        ("ip-netmask", "10.0.0.0/33", "no IPv4 or IPv6 address or prefix"),
        ("ip-range", "10.0.0.9-10.0.0.1", "ends before it starts"),
    ],
)
def test_reasons_are_in_the_administrators_words(kind, value, words):
    shared = section("address", entry("a", f"<{kind}>{value}</{kind}>"))
    assert Addresses(scope_of(config(shared), "dg")).member("a").unresolved[0].why.endswith(words)


class Says:
    """A Panorama that answers each operational command with a part of what it was given."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = 0

    def check_active(self):
        pass

    def op(self, command):
        self.asked += 1
        assert self.asked < 100, "it asks for ever"
        return next(config_of(text) for name, text in self.answers.items() if f"<{name}" in command.replace("-", "_"))


def config_of(text):
    return config(f"<x>{text}</x>").find("shared/x")


def test_a_panorama_that_does_not_page_its_tagged_addresses_is_asked_no_more():
    page = "".join(entry("x", members("tag", "t"), ip=f"10.0.{n >> 8}.{n & 255}") for n in range(600))
    manager = PanoramaManager(Says(registered_ip=page), "dg")
    assert len(manager._registered()) == 600


@pytest.mark.parametrize("number", ["²", "9" * 5000, "-1", "x"])
def test_a_job_without_a_number_is_passed_over(number):
    jobs = "".join(f"<job><id>{each}</id><type>Commit</type><result>OK</result></job>" for each in (number, "7"))
    assert PanoramaManager(Says(jobs=jobs, devicegroups=""), "dg").version() == "7/gone"


def test_device_groups_nested_without_end_are_an_unusable_answer():
    deep = "<dg name='a'>" * 5000 + "</dg>" * 5000
    assert "dg_hierarchy" in HIERARCHY.replace("-", "_")
    with pytest.raises(ManagerAnswerError, match="nested deeper"):
        PanoramaManager(Says(dg_hierarchy=f"<dg-hierarchy>{deep}</dg-hierarchy>"), "dg")._chain()
