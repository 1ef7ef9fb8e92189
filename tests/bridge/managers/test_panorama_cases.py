"""What real Panoramas contain: small configurations after public reports, each with what is right."""

from xml.etree.ElementTree import fromstring

import pytest

from bridge.errors import ConfigurationFileError, UnknownDeviceGroupError
from bridge.managers.panorama.rulebase.rulebase import ReadOptions, read_scope
from bridge.managers.panorama.rulebase.tree import FROM_THE_FILE, Ancestry, scope_of
from tests.panorama_xml import config, entry, members, rule, rulebase, section
from zones.compile import compile_policy
from zones.net import TCP, AddressSet, parse_address
from zones.problems import RuleStatus
from zones.verdict import Endpoint, Flow, decide
from zones.zone import Zoning

OPEN = rule("open")
CONTENT = section(
    "application",
    entry("facebook-base", "<used-by-malware>yes</used-by-malware><default><port><member>tcp/80,443</member></port></default>"),
    entry("facebook-chat", "<evasive-behavior>yes</evasive-behavior><default><port><member>tcp/80,443</member></port></default>"),
    entry("chatty", "<category>collaboration</category><is-saas>yes</is-saas><default><port><member>tcp/7443</member></port></default>"),
    entry("ssl", "<default><port><member>tcp/443</member></port></default>"),
) + section("application-container", entry("facebook", members("functions", "facebook-base", "facebook-chat")))  # fmt: skip


def compiled(*rules, shared="", dg="", predefined="", **options):
    tree = config(shared, {"k8s": dg + rulebase("pre", *rules)}, predefined=predefined)
    reading = ReadOptions(**options)
    return compile_policy(read_scope(scope_of(tree, "k8s", ancestry=reading.ancestry), reading), Zoning())


def report_of(result, name):
    return next(report for report in result.reports if report.origin.name == name)


def ended(result):
    """Each rule's status, the default rules left out."""
    return {each.origin.name: each.status.value for each in result.reports if each.origin.rulebase != "default"}


def verdict(result, *, source="10.0.0.1", destination="10.0.0.2", port=443, zones=("a", "b"), protocol=TCP):
    ends = [Endpoint(zone, parse_address(each), "") for zone, each in zip(zones, (source, destination), strict=True)]
    decision = decide(result.policy, Flow(*ends, protocol=protocol, port=port, source_port=40000))
    return decision.verdict.value, decision.origin.name


def test_lists_of_only_any_narrow_nothing_whether_or_not_the_element_is_known():
    only_any = members("saas-user-list", "any") + members("saas-tenant-list", "any") + members("next-years-list", "any")
    result = compiled(
        rule("open web", service="service-https", extra=only_any), rule("close rest", "deny", extra=only_any)
    )
    assert verdict(result) == ("allow", "open web")
    assert verdict(result, port=80) == ("deny", "close rest")


@pytest.mark.parametrize("tag", ["saas-user-list", "saas-tenant-list", "next-years-list"])
def test_the_same_lists_with_members_are_conditions(tag):
    result = compiled(rule("some", "deny", extra=members(tag, "example.com")), OPEN)
    assert [each.origin.name for each in result.refusals] == ["some"]
    assert ended(compiled(rule("some", extra=members(tag, "any", "example.com")))) == {"some": "not enforced"}


def test_a_tagged_group_is_in_a_dynamic_group():
    objects = section("address", entry("h1", "<ip-netmask>10.1.1.1</ip-netmask>")) + section(
        "address-group",
        entry("floor", members("static", "h1") + members("tag", "bad")),
        entry("blocked", "<dynamic><filter>'bad'</filter></dynamic>"),
    )
    result = compiled(rule("block bad", "deny", source="blocked"), OPEN, dg=objects)
    assert verdict(result, source="10.1.1.1") == ("deny", "block bad")
    assert verdict(result, source="10.1.1.2") == ("allow", "open")


def test_a_name_of_two_kinds_is_left_out_of_an_allow_and_refuses_a_deny():
    shared = section("address-group", entry("servers", members("static", "10.9.0.0/16"))) + section(
        "service-group", entry("ports", members("members", "service-https"))
    )
    own = section("address", entry("servers", "<ip-netmask>10.1.1.1</ip-netmask>")) + section(
        "service", entry("ports", "<protocol><tcp><port>8443</port></tcp></protocol>")
    )
    result = compiled(rule("to servers", destination="servers", service="ports"), shared=shared, dg=own)
    report = report_of(result, "to servers")
    assert report.status is RuleStatus.NOT_ENFORCED
    assert any("an address (k8s) and an address group (Shared)" in reason for reason in report.reasons)
    assert any("a service (k8s) and a service group (Shared)" in reason for reason in report.reasons)
    assert compiled(rule("no", "deny", destination="servers"), OPEN, shared=shared, dg=own).policy is None


TWO_GROUPS = {
    "corp": rulebase("pre", rule("no telnet", "deny", service="telnet"))
    + section("service", entry("telnet", "<protocol><tcp><port>23</port></tcp></protocol>")),
    "k8s": rulebase("pre", OPEN),
}


def cut(ancestry=FROM_THE_FILE, groups=TWO_GROUPS, **kwargs):
    """An export without its read-only part."""
    scope = scope_of(config("", groups, hierarchy=False, **kwargs), "k8s", ancestry=ancestry)
    return compile_policy(read_scope(scope, ReadOptions()), Zoning())


def test_a_file_without_hierarchy_is_refused_unless_it_is_told():
    with pytest.raises(ConfigurationFileError, match=r"what 'k8s' is under.*--parent.*--flat"):
        cut()
    with pytest.raises(ConfigurationFileError, match="what 'corp' is under"):
        cut(Ancestry({"k8s": "corp"}))
    told = cut(Ancestry({"k8s": "corp", "corp": "Shared"}))
    assert verdict(told, port=23) == ("deny", "no telnet")
    assert verdict(cut(Ancestry({"k8s": "corp"}, flat=True)), port=23) == ("deny", "no telnet")
    assert verdict(cut(Ancestry(flat=True)), port=23) == ("allow", "open")


def test_a_part_of_a_hierarchy_is_no_hierarchy():
    tree = config("", TWO_GROUPS, {"k8s": "corp"})
    above = tree.find("readonly/devices/entry/device-group")
    above.remove(above[0])
    with pytest.raises(ConfigurationFileError, match="what 'corp' is under"):
        scope_of(tree, "k8s")


def test_a_hierarchy_that_says_two_things_is_none():
    tree = config("", {"p": "", "k8s": ""}, {"k8s": "p"})
    tree.find("readonly/devices/entry/device-group").append(fromstring('<entry name="k8s"/>'))
    with pytest.raises(
        ConfigurationFileError, match="'k8s': the configuration says that it is under 'p' and under 'Shared'"
    ):
        scope_of(tree, "k8s")


def test_what_needs_no_hierarchy_is_read_without_one():
    assert verdict(cut(groups={"k8s": TWO_GROUPS["k8s"]}))[1] == "open", "one group can only be under Shared"
    old = config("", TWO_GROUPS, hierarchy=False)
    old.set("version", "6.1.0")
    assert [level.name for level in scope_of(old, "k8s").levels] == ["k8s", "Shared"], "before 7.0 there was none"


def test_what_is_told_never_overrides_the_file():
    tree = config("", TWO_GROUPS, {"k8s": "corp"})
    assert [level.name for level in scope_of(tree, "k8s", ancestry=Ancestry(flat=True)).levels][1] == "corp"
    with pytest.raises(ConfigurationFileError, match="the configuration says 'corp'"):
        scope_of(tree, "k8s", ancestry=Ancestry({"k8s": "Shared"}))
    with pytest.raises(UnknownDeviceGroupError, match="'prod'"):
        scope_of(tree, "k8s", ancestry=Ancestry({"prod": "corp"}))


def test_shared_is_no_device_group():
    for name in ("Shared", "shared"):
        with pytest.raises(UnknownDeviceGroupError, match=r"Shared is no device group.*'corp' or 'k8s'"):
            scope_of(config("", TWO_GROUPS), name)


def test_ipv6_prefixes_hold_ipv4_and_all_of_them_negated_is_nothing():
    objects = section(
        "address", entry("all-v6", "<ip-netmask>::/0</ip-netmask>"), entry("low", "<ip-netmask>::/96</ip-netmask>")
    )
    result = compiled(
        rule("no v6 any", "deny", from_="a", to="b", source="all-v6"),
        rule("low v6 only", "deny", from_="c", to="d", source="low"),
        rule("outside v6", from_="e", to="f", source="all-v6", extra="<negate-source>yes</negate-source>"),
        rule("open", from_=["a", "c"], to=["b", "d"]),
        dg=objects,
    )  # fmt: skip
    assert verdict(result, zones=("a", "b")) == ("deny", "no v6 any")
    assert verdict(result, zones=("c", "d")) == ("deny", "low v6 only")
    assert verdict(result, source="2001:db8::1", destination="2001:db8::2", zones=("c", "d")) == ("allow", "open")
    assert verdict(result, zones=("e", "f")) == ("deny", "interzone-default")
    assert report_of(result, "outside v6").reasons == ("its source is outside of every address, which is nothing",)


def custom(name, default):
    return entry(name, f"<default>{default}</default><category>general-internet</category>")


@pytest.mark.parametrize(
    ("default", "protocol", "held", "not_held"),
    [
        ("<ident-by-icmp-type><type>0,8</type></ident-by-icmp-type>", 1, [0, 8], [1, 7]),
        ("<ident-by-icmp-type><type>3-5</type></ident-by-icmp-type>", 1, [3, 4, 5], [2, 6]),
        ("<ident-by-icmp6-type><type>128-129,1</type></ident-by-icmp6-type>", 58, [1, 128, 129], [0, 130]),
        (members("port", "icmp/8"), 1, [8], [0]),
        (members("port", "icmp/any"), 1, [0, 8, 255], []),
    ],
)
def test_icmp_types_are_range_lists(default, protocol, held, not_held):
    result = compiled(
        rule("r", application="a", service="application-default"), shared=section("application", custom("a", default))
    )
    assert ended(result) == {"r": "enforced"}
    (entry_of_r,) = result.policy.entries[:1]
    types = {each.icmp_type for each in entry_of_r.traffic}
    assert {each.protocol for each in entry_of_r.traffic} == {protocol}
    assert all(number in types or None in types for number in held)
    assert not any(number in types or None in types for number in not_held)


@pytest.mark.parametrize(("text", "numbers"), [("50-51", {50, 51}), ("47,50", {47, 50}), ("6", {6})])
def test_ip_protocols_are_range_lists(text, numbers):
    default = f"<ident-by-ip-protocol>{text}</ident-by-ip-protocol>"
    result = compiled(
        rule("r", application="a", service="application-default"), shared=section("application", custom("a", default))
    )
    assert {each.protocol for each in result.policy.entries[0].traffic} == numbers


@pytest.mark.parametrize("text", ["", "256", "8-3", "all", "1,,2", "-1"])
def test_what_is_no_range_list_is_unresolved(text):
    default = f"<ident-by-ip-protocol>{text}</ident-by-ip-protocol>"
    result = compiled(
        rule("r", application="a", service="application-default"), shared=section("application", custom("a", default))
    )
    assert ended(result) == {"r": "not enforced"}


def test_ports_beside_dynamic_stay_and_ports_inside_tls_are_none():
    default = members("port", "tcp/5000-5010,dynamic") + members("extended-port", "tcp/443/secure")
    result = compiled(
        rule("r", application="a", service="application-default"), shared=section("application", custom("a", default))
    )
    assert ended(result) == {"r": "enforced in part"}
    assert [str(each.ports) for each in result.policy.entries[0].traffic] == ["5000-5010"]


def filtered(criteria, action="allow", predefined=CONTENT, more=""):
    shared = section("application-filter", entry("f", criteria)) + more
    result = compiled(
        rule("r", action, application="f", service="application-default"), OPEN, shared=shared, predefined=predefined
    )
    return result, report_of(result, "r")


def test_filters_select_by_what_the_content_has():
    result, report = filtered("<is-saas>yes</is-saas>" + members("category", "collaboration"))
    assert report.status is RuleStatus.ENFORCED_AT_L4
    assert verdict(result, port=7443) == ("allow", "r")


@pytest.mark.parametrize(
    ("criteria", "words"),
    [
        (f"<tagging>{members('tag', 'Sanctioned')}</tagging>", "by tags of App-IDs"),
        ("<tagging><no-tag>yes</no-tag></tagging>", "by tags of App-IDs"),
        ("<new-appid>yes</new-appid>", "new App-IDs"),
        (members("saas-certifications", "hipaa"), "certifications"),
        ("<moon-phase>full</moon-phase>", "moon-phase"),
        ("<evasive>perhaps</evasive>", "neither yes nor no"),
        (members("exclude", "ssl"), "without a criterion"),
        ("", "without a criterion"),
    ],
)
def test_filters_by_what_nobody_here_knows_select_nothing_and_say_so(criteria, words):
    _, report = filtered(criteria)
    assert report.status is RuleStatus.NOT_ENFORCED
    assert words in report.reasons[0]
    assert filtered(criteria, "deny")[0].policy is None


def test_filters_by_tags_that_content_or_administrators_gave():
    tagged = section(
        "application",
        entry("meet", members("tag", "[Web App]") + "<default><port><member>tcp/90</member></port></default>"),
    )
    result, report = filtered(f"<tagging>{members('tag', '[Web App]')}</tagging>", predefined=tagged)
    assert (report.status, verdict(result, port=90)[1]) == (RuleStatus.ENFORCED_AT_L4, "r")
    site = section("application-tag", entry("chatty", members("tag", "Sanctioned")))
    result, report = filtered(f"<tagging>{members('tag', 'Sanctioned')}</tagging>", more=site)
    assert (report.status, verdict(result, port=7443)[1]) == (RuleStatus.ENFORCED_AT_L4, "r")


def test_two_characteristics_are_a_doubt_that_refuses_a_deny():
    both = "<evasive>yes</evasive><used-by-malware>yes</used-by-malware>"
    result, report = filtered(both, "deny")
    assert result.policy is None
    assert "all or any" in report.reasons[0]
    assert filtered(both)[1].status is RuleStatus.NOT_ENFORCED
    assert filtered("<evasive>yes</evasive>", "deny")[1].status is RuleStatus.ENFORCED_AT_L4
    assert filtered(both + members("category", "collaboration"), "deny")[1].status is RuleStatus.ENFORCED, (
        "none either way"
    )


def test_a_container_is_its_functions():
    result = compiled(rule("no facebook", "deny", application="facebook"), OPEN, predefined=CONTENT)
    assert verdict(result, port=80) == ("deny", "no facebook")
    assert verdict(result, port=7443) == ("allow", "open")


def test_an_export_has_no_content_and_a_file_may_give_it():
    deny = rule("no facebook", "deny", application="facebook")
    reason = report_of(compiled(deny, OPEN), "no facebook").reasons[0]
    assert "App-ID content is not in an export" in reason
    assert "--predefined" in reason
    given = config("", {"k8s": ""}, predefined=CONTENT).find("predefined")
    tree = config("", {"k8s": rulebase("pre", deny, OPEN)})
    tree.append(given)
    assert compile_policy(read_scope(scope_of(tree, "k8s"), ReadOptions()), Zoning()).policy is not None


def test_a_disabled_app_id_is_left_out_of_an_allow_and_blocks_in_a_deny():
    status = section("application-status", entry("chatty", status="disabled"), entry("ssl", status="enabled"))
    chat = rule("chat", application=["chatty", "ssl"], service="application-default")
    result = compiled(chat, shared=status, predefined=CONTENT)
    assert report_of(result, "chat").reasons[0] == "application 'chatty' is a disabled App-ID"
    assert verdict(result, port=7443) == ("deny", "interzone-default")
    assert verdict(result, port=443) == ("allow", "chat")
    deny = rule("no chat", "deny", application="chatty", service="application-default")
    assert verdict(compiled(deny, OPEN, shared=status, predefined=CONTENT), port=7443) == ("deny", "no chat")


@pytest.mark.parametrize("name", ["unknown-tcp", "unknown-udp", "unknown-p2p", "non-syn-tcp", "incomplete"])
def test_traffic_that_app_id_cant_name_is_the_firewalls_to_know(name):
    result = compiled(rule("no unknown", "deny", application=name), OPEN, predefined=CONTENT)
    assert result.policy is None
    assert "can't name" in report_of(result, "no unknown").reasons[0]


def test_palo_altos_own_lists_have_one_reason_and_one_content_by_whatever_name():
    names = ["risky", "panw-highrisk-ip-list", "Palo Alto Networks - High risk IP addresses"]
    own = entry("risky", "<type><predefined-ip><url>panw-highrisk-ip-list</url></predefined-ip></type>")
    tree = config(
        section("external-list", own),
        {"k8s": rulebase("pre", *(rule(f"no {name}", "deny", source=name) for name in names), OPEN)},
    )
    base = read_scope(scope_of(tree, "k8s"), ReadOptions())
    refused = compile_policy(base, Zoning())
    reasons = {report.reasons for report in refused.refusals}
    assert len(refused.refusals) == len(names)
    assert len(reasons) == 1
    assert all(word in str(reasons) for word in ("provides to firewalls only", "--prefixes", "feeds.provided"))
    given = compile_policy(base, Zoning(), feeds={"panw-highrisk-ip-list": AddressSet.parse(["192.0.2.0/24"])})
    assert verdict(given, source="192.0.2.7") == ("deny", "no risky")
    assert verdict(given) == ("allow", "open")


def test_an_empty_dynamic_group_of_an_export_says_what_could_be_in_it():
    groups = section("address-group", entry("pods", "<dynamic><filter>'k8s.cl_c1'</filter></dynamic>"))
    offline = compiled(rule("r", source="pods"), dg=groups)
    assert "tagged at run time are not in an export" in report_of(offline, "r").reasons[0]
    live = compiled(rule("r", source="pods"), dg=groups, registered={})
    assert report_of(live, "r").reasons == ("source 'pods' holds no address",)


@pytest.mark.parametrize(
    ("tag", "name", "words"),
    [
        ("source-hip", "ip-cameras", "source device: ip-cameras"),
        ("destination-hip", "no-hip", "destination device: no-hip"),
        ("source-user", "unknown", "user: unknown"),
        ("category", "my-list", "URL category: my-list"),
    ],
)
def test_conditions_are_called_as_panorama_calls_them(tag, name, words):
    result = compiled(rule("r", extra=members(tag, name)))
    assert report_of(result, "r").reasons == (f"a cluster can't know its {words}",)


WIDE, LONG, APART = "10.0.0.0/0.255.255.255", "10.0.5.0/0.255.0.255", "11.0.5.0/0.255.0.255"
MASKS = section("address", *(entry(name, f"<ip-wildcard>{text}</ip-wildcard>") for name, text in (("wide", WIDE), ("long", LONG), ("apart", APART))))  # fmt: skip
MASKS += section("address-group", entry("both", members("static", "wide", "10.9.9.9")))


def test_of_overlapping_masks_the_longer_ones_rule_decides_wherever_it_stands():
    rules = rule("open wide", source="both"), rule("close", "deny", source="long"), rule("rest", source="192.0.2.1")
    result = compiled(*rules, dg=MASKS)
    assert ended(result) == {"open wide": "enforced in part", "close": "enforced", "rest": "enforced"}
    assert "objects.wildcardTopDown" in report_of(result, "open wide").reasons[0]
    assert verdict(result, source="10.1.5.1") == ("deny", "close")
    assert verdict(result, source="10.9.9.9") == ("allow", "open wide")
    top_down = compiled(*rules, dg=MASKS, wildcard_top_down=True)
    assert ended(top_down)["open wide"] == "enforced"
    assert verdict(top_down, source="10.1.5.1") == ("allow", "open wide")


@pytest.mark.parametrize(
    ("one", "other", "status"),
    [
        ({"source": "long"}, {"source": "wide"}, "enforced"),
        ({"source": "wide"}, {"source": "apart"}, "enforced"),
        ({"source": "wide"}, {"source": "wide"}, "enforced"),
        ({"source": "wide"}, {"destination": "long"}, "enforced"),
        ({"source": "wide"}, {"source": "long", "from_": "a"}, "not enforced"),
        ({"source": "wide", "from_": "b"}, {"source": "long", "from_": "a"}, "enforced"),
        ({"source": "wide"}, {"source": "long", "extra": "<disabled>yes</disabled>"}, "enforced"),
        ({"destination": "wide"}, {"destination": "long", "extra": "<negate-destination>yes</negate-destination>"}, "not enforced"),
    ],
)  # fmt: skip
def test_an_allow_keeps_a_mask_that_no_other_rule_may_take(one, other, status):
    assert ended(compiled(rule("one", **one), rule("other", "drop", **other), dg=MASKS))["one"] == status


def test_a_deny_keeps_its_masks():
    result = compiled(rule("close", "deny", source="wide"), rule("open", source="long"), dg=MASKS)
    assert ended(result) == {"close": "enforced", "open": "enforced"}
    assert verdict(result, source="10.1.5.1") == ("deny", "close")
