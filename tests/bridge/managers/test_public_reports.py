"""What others reported of Palo Alto's tools, tried here: each with its number in `public_reports.md`."""

import pytest

from tests.bridge.managers.test_panorama_cases import CONTENT, OPEN, compiled, ended, report_of, verdict
from tests.panorama_xml import entry, members, rule, section
from zones.problems import RuleStatus

TARGET = "<target><devices><entry name='001'><vsys><entry name='vsys2'/></vsys></entry></devices><negate>no</negate></target>"


def test_1_a_target_of_a_virtual_system_is_a_target():
    assert ended(compiled(rule("r", extra=TARGET))) == {"r": "not applicable"}


def test_2_a_target_of_nothing_but_negate_no_is_every_firewall():
    assert ended(compiled(rule("r", extra="<target><negate>no</negate></target>"))) == {"r": "enforced"}


@pytest.mark.parametrize("tag", ["hip-profiles", "source-hip", "destination-hip"])
def test_3_device_lists_are_read_as_each_release_writes_them(tag):
    assert ended(compiled(rule("r", extra=members(tag, "any")))) == {"r": "enforced"}


@pytest.mark.parametrize("port", ["any", "0-65535", "1-65535"])
def test_5_a_service_of_every_port(port):
    shared = section("service", entry("all", f"<protocol><tcp><port>{port}</port></tcp></protocol>"))
    status = "not enforced" if port == "any" else "enforced"
    assert ended(compiled(rule("r", service="all"), shared=shared)) == {"r": status}


def test_6_icmp_beside_tcp_in_one_rule_opens_no_more_than_both():
    apps = section(
        "application",
        entry("echo", "<default><ident-by-icmp-type><type>8</type></ident-by-icmp-type></default>"),
        entry("web", f"<default>{members('port', 'tcp/443')}</default>"),
    )
    result = compiled(rule("r", application=["echo", "web"], service="application-default"), shared=apps)
    assert {(each.protocol, each.icmp_type, str(each.ports)) for each in result.policy.entries[0].traffic} == {
        (1, 8, "0-65535"),
        (6, None, "443"),
    }


def test_8_any_application_on_its_default_ports_is_any_port():
    assert report_of(compiled(rule("r", service="application-default")), "r").status is RuleStatus.ENFORCED_AT_L4


def test_9_a_deny_by_app_id_blocks_and_says_that_it_blocks_more():
    result = compiled(rule("no", "deny", application="facebook-base"), OPEN, predefined=CONTENT)
    assert verdict(result, port=443) == ("deny", "no")
    assert "more than written" in report_of(result, "no").reasons[0]


def test_11_a_dynamic_group_that_carries_a_tag_is_a_member_of_others_by_it():
    groups = section(
        "address-group",
        entry("first", "<dynamic><filter>'role'</filter></dynamic>" + members("tag", "kept")),
        entry("second", "<dynamic><filter>'kept'</filter></dynamic>"),
    ) + section("address", entry("h", "<ip-netmask>10.1.1.1</ip-netmask>" + members("tag", "role")))
    result = compiled(rule("no", "deny", source="second"), OPEN, dg=groups)
    assert verdict(result, source="10.1.1.1") == ("deny", "no")


@pytest.mark.parametrize(
    "extra",
    [
        "<group-tag>red</group-tag>",
        f"<profile-setting>{members('group')}</profile-setting>",
        f"<profile-setting><profiles>{members('virus', 'default')}</profiles></profile-setting>",
        "<icmp-unreachable>yes</icmp-unreachable>",
    ],
)
def test_12_what_groups_rules_and_inspects_traffic_has_no_effect(extra):
    assert ended(compiled(rule("r", "drop", extra=extra))) == {"r": "enforced"}


def test_13_a_dynamic_user_group_is_a_user():
    assert (
        "user: risky-users"
        in report_of(compiled(rule("r", extra=members("source-user", "risky-users"))), "r").reasons[0]
    )


def test_14_an_application_group_may_hold_a_container_and_a_filter_of_its_members_category():
    shared = section("application-group", entry("g", members("members", "facebook", "f"))) + section(
        "application-filter", entry("f", members("category", "collaboration"))
    )
    result = compiled(rule("no", "deny", application="g"), OPEN, shared=shared, predefined=CONTENT)
    assert verdict(result, port=80) == verdict(result, port=7443) == ("deny", "no")


@pytest.mark.parametrize(
    ("kind", "tag"), [("address-group", "source"), ("service-group", "service"), ("application-group", "application")]
)
def test_18_a_group_of_an_old_release_is_no_empty_group(kind, tag):
    old = section(kind, entry("g", "<member>x</member>"))
    result = compiled(rule("no", "deny", **{tag: "g"}), OPEN, dg=old)
    assert [each.origin.name for each in result.refusals] == ["no"]
