"""What is not as PAN-OS writes it is said, never guessed; numbers and dates have an end."""

import pytest

from bridge.errors import ManagerAnswerError
from bridge.managers.panorama.manager import HIERARCHY, PanoramaManager
from bridge.managers.panorama.objects.addresses import AddressResolver
from bridge.managers.panorama.objects.applications import ApplicationObjects
from bridge.managers.panorama.rulebase.rulebase import ReadOptions, read_scope
from bridge.managers.panorama.rulebase.tree import scope_of
from tests.panorama_xml import config, entry, members, rule, rulebase, section
from zones.rules import Unresolved


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
    found = AddressResolver(scope_of(config(section("external-list", entry("edl", body))), "dg")).member("edl")
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
    assert AddressResolver(scope_of(config(shared), "dg")).member("a").unresolved[0].why.endswith(words)


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


TCP_80 = "<tcp><port>80</port></tcp>"
LISTED = "<type><ip><url>https://lists.example.com/one</url>{}</ip></type>"


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("address", "<ip-netmask>10.0.0.0/8</ip-netmask><moon-phase/>", "has the element 'moon-phase', which is not known"),
        ("address", "<ip-netmask>10.0.0.0/8</ip-netmask><fqdn>a.example.com</fqdn>", "is both 'ip-netmask' and 'fqdn'"),
        ("address", "<ip-netmask>10.0.0.0/8</ip-netmask><ip-netmask>11.0.0.0/8</ip-netmask>", "has 'ip-netmask' twice"),
        ("address", "<ip-netmask>10.0.0.1<b/>2</ip-netmask>", "has a 'ip-netmask' that is no text"),
        ("address", "<ip-netmask>10.0.0.0/0.0.0.255</ip-netmask>", "'0.0.0.255' is no mask of a network"),
        ("address-group", "<member>10.0.0.1</member>", "has the element 'member', which is not known"),
        ("address-group", members("static", "10.0.0.1", ""), "has a 'static' that is no list of members"),
        ("address-group", members("static", "10.0.0.1") + members("static", "10.0.0.2"), "has 'static' twice"),
        ("address-group", members("static", "10.0.0.1") + "<dynamic><filter>a</filter></dynamic>", "is both 'static' and 'dynamic'"),
        ("external-list", LISTED.format("<only-new>yes</only-new>"), "has the element 'only-new', which is not known"),
        ("external-list", f"{LISTED.format('')}<type><domain/></type>", "has 'type' twice"),
        ("region", "<address><member>10.0.0.1</member>10.0.0.2</address>", "has a 'address' that is no list of members"),
    ],
)  # fmt: skip
def test_an_address_that_is_not_shaped_as_panos_shapes_it_is_unresolved(kind, body, words):
    denied = first(rule(action="deny", source="x"), section(kind, entry("x", body)))
    assert words in denied.sources.members[0].unresolved[0].why


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("service", f"<protocol>{TCP_80}<udp><port>53</port></udp></protocol>", "is both 'tcp' and 'udp'"),
        (
            "service",
            f"<protocol>{TCP_80}</protocol><protocol><udp><port>53</port></udp></protocol>",
            "has 'protocol' twice",
        ),
        ("service", "<protocol><tcp><port>80</port><port>443</port></tcp></protocol>", "has 'port' twice"),
        ("service", "<protocol><tcp><port>80</port><moon-phase/></tcp></protocol>", "has the element 'moon-phase'"),
        ("service-group", "<member>service-http</member>", "has the element 'member', which is not known"),
        ("service-group", members("members", "service-http", ""), "has a 'members' that is no list of members"),
    ],
)
def test_a_service_that_is_not_shaped_as_panos_shapes_it_is_unresolved(kind, body, words):
    denied = first(rule(action="deny", service="x"), section(kind, entry("x", body)))
    assert words in denied.services[0].unresolved[0].why


def test_an_application_group_that_is_not_shaped_as_panos_shapes_it_is_unresolved():
    denied = first(
        rule(action="deny", application="x"), section("application-group", entry("x", "<member>ssl</member>"))
    )
    assert [each.why for each in denied.applications.unresolved] == [
        "has the element 'member', which is not known to this version"
    ]


def test_an_object_with_a_tag_that_is_written_twice_has_both():
    tagged = entry("t", "<ip-netmask>10.0.0.1</ip-netmask>" + members("tag", "a") + members("tag", "b"))
    group = entry("g", "<dynamic><filter>b</filter></dynamic>")
    xml = section("address", tagged) + section("address-group", group)
    (found,) = first(rule(action="deny", source="g"), xml).sources.members
    assert [each.why for each in found.unresolved] == ["has 'tag' twice"]


@pytest.mark.parametrize("tag", ["source", "destination", "from", "to", "application", "service"])
def test_an_empty_member_of_a_rule_is_no_member_that_can_be_passed_over(tag):
    assert first(rule(action="deny", **{tag: ["x", ""]})).malformed == (f"its '{tag}' is no list of members",)


@pytest.mark.parametrize(
    "body",
    [
        "<recurring/>", "<non-recurring/>", "<recurring><daily/></recurring>", "<recurring><weekly/></recurring>",
        "<recurring><weekly><monday/></weekly></recurring>",
        "<non-recurring><member>2026/12/31@00:00-2026/01/01@00:00</member></non-recurring>",
        "<recurring><daily><member>08:00-17:00</member><member/></daily></recurring>",
    ],
)  # fmt: skip
def test_a_schedule_that_can_never_run_is_unresolved_and_no_deny_without_effect(body):
    shared = section("schedule", entry("never", f"<schedule-type>{body}</schedule-type>"))
    assert isinstance(first(rule(action="deny", extra="<schedule>never</schedule>"), shared).schedule, Unresolved)
