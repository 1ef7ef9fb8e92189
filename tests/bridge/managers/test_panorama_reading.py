"""What Panorama's XML means: objects, names, order. One reading a test."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigurationFileError, UnknownDeviceGroupError
from bridge.managers.panorama import ReadOptions, read_file
from bridge.managers.panorama.objects.addresses import AddressResolver
from bridge.managers.panorama.objects.applications import ApplicationObjects
from bridge.managers.panorama.objects.services import ServiceObjects
from bridge.managers.panorama.objects.tag_filter import TagFilterError, parse_filter
from bridge.managers.panorama.rulebase.document import DocumentError, parse
from bridge.managers.panorama.rulebase.rulebase import read_scope
from bridge.managers.panorama.rulebase.tree import scope_of
from tests.panorama_xml import config, config_text, entry, members, rule, rulebase, section
from zones.net import ICMP, TCP, UDP, AddressSet, parse_address, parse_ports
from zones.rules import L4, Action, FeedKind, Log, RuleType, ServiceChoice, TargetFirewalls
from zones.schedule import Weekly


def scope(shared="", dg="", **kwargs):
    return scope_of(config(shared, {"dg": dg}, predefined=kwargs.pop("predefined", "")), "dg", **kwargs)


def space(name, shared="", dg="", **kwargs):
    return AddressResolver(scope(shared, dg, **kwargs)).member(name)


def address(name, kind, value, *tags):
    return entry(name, f"<{kind}>{value}</{kind}>" + (members("tag", *tags) if tags else ""))


@pytest.mark.parametrize(
    ("kind", "value", "prefixes"),
    [
        ("ip-netmask", "10.1.0.0/16", ["10.1.0.0/16"]),
        ("ip-netmask", "10.0.0.1/8", ["10.0.0.0/8"]),
        ("ip-netmask", "192.0.2.1", ["192.0.2.1/32"]),
        ("ip-netmask", "2001:db8::/32", ["2001:db8::/32"]),
        ("ip-range", "10.0.0.4-10.0.0.7", ["10.0.0.4/30"]),
        ("ip-wildcard", "10.0.0.1/0.0.1.0", ["10.0.0.1/32", "10.0.1.1/32"]),
    ],
)
def test_address_kinds(kind, value, prefixes):
    assert space("a", section("address", address("a", kind, value))).space == AddressSet.parse(prefixes)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("ip-netmask", "10.0.0.0/33"), ("ip-range", "10.0.0.9-10.0.0.1"), ("ip-range", "10.0.0.1"), ("ip-wildcard", "x")],
)
def test_an_unreadable_address_is_unresolved_with_its_text(kind, value):
    found = space("a", section("address", address("a", kind, value)))
    assert not found.space
    assert value in found.unresolved[0].why


def test_literals_stand_for_themselves_but_an_object_of_that_name_wins():
    shared = section("address", address("10.0.0.1", "ip-netmask", "192.0.2.7"))
    assert space("10.0.0.2").space == AddressSet.parse(["10.0.0.2"])
    assert space("10.0.0.2-10.0.0.3").space == AddressSet.parse(["10.0.0.2/31"])
    assert space("10.0.0.1", shared).space == AddressSet.parse(["192.0.2.7"])
    assert space("nowhere").unresolved[0].name == "nowhere"


def test_the_nearest_object_wins_inside_groups_too_and_a_setting_reverses_it():
    shared = section("address", address("a", "ip-netmask", "10.0.0.1")) + section(
        "address-group", entry("g", members("static", "a"))
    )
    own = section("address", address("a", "ip-netmask", "10.0.0.2"))
    assert space("g", shared, own).space == AddressSet.parse(["10.0.0.2"])
    assert space("g", shared, own, ancestors_win=True).space == AddressSet.parse(["10.0.0.1"])


def test_circular_groups_are_the_union_of_what_else_they_hold():
    groups = section(
        "address-group",
        entry("g", members("static", "h", "10.0.0.1")),
        entry("h", members("static", "g", "10.0.0.2")),
        entry("self", members("static", "self")),
    )
    assert space("g", groups).space == space("h", groups).space == AddressSet.parse(["10.0.0.1", "10.0.0.2"])
    assert space("self", groups).hollow


def test_wide_and_deep_groups_are_walked_once():
    levels = [entry(f"g{n}", members("static", f"g{n + 1}", f"h{n + 1}")) for n in range(60)]
    levels += [entry(f"h{n}", members("static", f"g{n + 1}", f"h{n + 1}")) for n in range(60)]
    leaves = section("address", address("g60", "ip-netmask", "10.0.0.1"), address("h60", "ip-netmask", "10.0.0.2"))
    assert space("g0", section("address-group", *levels) + leaves).space == AddressSet.parse(["10.0.0.1", "10.0.0.2"])


def test_an_empty_group_is_hollow_at_any_depth():
    groups = section("address-group", entry("empty", "<static/>"), entry("g", members("static", "empty", "10.0.0.1")))
    assert space("empty", groups).hollow
    assert space("g", groups).hollow
    assert space("g", groups).space


def test_dynamic_groups_select_objects_and_registered_addresses_by_tag():
    shared = section(
        "address", address("a", "ip-netmask", "10.0.0.1", "x", "y"), address("b", "ip-netmask", "10.0.0.2", "x")
    ) + section("address-group", entry("g", "<dynamic><filter>'x' and ('y' or \"z\")</filter></dynamic>"))
    registered = {"10.9.9.9": frozenset({"x", "z"})}
    assert AddressResolver(scope(shared), registered).member("g").space == AddressSet.parse(["10.0.0.1", "10.9.9.9"])


def test_dynamic_groups_hold_tagged_groups_as_what_these_hold_but_never_themselves():
    shared = section(
        "address", address("a", "ip-netmask", "10.0.0.1"), address("b", "ip-netmask", "10.0.0.2", "x")
    ) + section(
        "address-group",
        entry("floor", members("static", "a", "10.0.0.9") + members("tag", "x")),
        entry("g", "<dynamic><filter>'x'</filter></dynamic>" + members("tag", "x", "y")),
        entry("h", "<dynamic><filter>'y'</filter></dynamic>"),
        entry("own", "<dynamic><filter>'z'</filter></dynamic>" + members("tag", "z")),
    )
    expected = AddressSet.parse(["10.0.0.1", "10.0.0.2", "10.0.0.9"])
    assert space("g", shared).space == space("h", shared).space == expected
    assert space("own", shared).hollow


TWO_KINDS = {
    "address": address("x", "ip-netmask", "10.0.0.1", "t"),
    "address-group": entry("x", members("static", "10.0.0.9")),
    "external-list": entry("x", "<type><ip><url>https://e.example/</url></ip></type>"),
    "region": entry("x", members("address", "10.0.0.7")),
}


@pytest.mark.parametrize("ancestors_win", [False, True])
@pytest.mark.parametrize("pair", [(a, b) for a in TWO_KINDS for b in TWO_KINDS if a != b])
def test_a_name_of_two_kinds_is_ambiguous_at_one_level_and_over_levels(pair, ancestors_win):
    near, far = (section(kind, TWO_KINDS[kind]) for kind in pair)
    for shared, own in ((far, near), ("", near + far)):
        (found,) = space("x", shared, own, ancestors_win=ancestors_win).unresolved
        assert "is both" in found.why
        assert ("(Shared)" in found.why) is bool(shared)
        assert "(dg)" in found.why


def test_groups_that_hold_or_select_an_ambiguous_name_are_unresolved_in_that_part():
    groups = entry("g", members("static", "x", "10.0.0.2")) + entry("d", "<dynamic><filter>t</filter></dynamic>")
    shared = section("address", TWO_KINDS["address"]) + section("address-group", groups, TWO_KINDS["address-group"])
    assert space("g", shared).space == AddressSet.parse(["10.0.0.2"])
    for name in ("g", "d"):
        assert [each.name for each in space(name, shared).unresolved] == ["x"]


def test_an_object_that_is_called_like_a_country_is_ambiguous():
    (found,) = space("DE", section("address", address("DE", "ip-netmask", "10.0.0.1"))).unresolved
    assert "country" in found.why
    assert not space("DB", section("address", address("DB", "ip-netmask", "10.0.0.1"))).unresolved


@pytest.mark.parametrize(
    ("kind", "value", "held", "not_held"),
    [
        ("ip-netmask", "::/0", ["0.0.0.0", "255.255.255.255", "2001:db8::1"], []),
        ("ip-netmask", "::/96", ["0.0.0.0", "255.255.255.255"], ["::1:0:0"]),
        ("ip-netmask", "::a01:0/112", ["10.1.0.0", "10.1.255.255"], ["10.0.255.255", "10.2.0.0"]),
        ("ip-range", "::a01:203-::a01:205", ["10.1.2.3", "10.1.2.5"], ["10.1.2.2", "10.1.2.6"]),
        ("ip-netmask", "fd00::/8", ["fd00::1"], ["0.0.0.0", "10.1.2.3"]),
        ("ip-netmask", "::ffff:10.1.2.3", ["::ffff:10.1.2.3"], ["10.1.2.3"]),
        ("ip-netmask", "0.0.0.0/0", ["10.1.2.3"], ["::a01:203", "2001:db8::1"]),
    ],
)
def test_an_ipv6_prefix_holds_the_ipv4_addresses_of_its_numbers(kind, value, held, not_held):
    for found in (space("a", section("address", address("a", kind, value))).space, space(value).space):
        assert all(parse_address(each) in found for each in held)
        assert not any(parse_address(each) in found for each in not_held)


@pytest.mark.parametrize(
    ("text", "tags", "holds"),
    [
        ("a", {"a"}, True),
        ("'a b' AND c", {"a b", "c"}, True),
        ("a or b and c", {"a"}, True),
        ("(a or b) and c", {"a"}, False),
        ("'or' or 'and'", {"and"}, True),
        ("a aNd b Or c", {"c"}, True),
    ],
)
def test_filters(text, tags, holds):
    assert parse_filter(text)(frozenset(tags)) is holds


@pytest.mark.parametrize(
    "text", ["", "a b", "and", "a or", "(a", "a)", "'a", "not a", "()", "(" * 200 + "a" + ")" * 200]
)
def test_bad_filters_are_problems(text):
    with pytest.raises(TagFilterError):
        parse_filter(text)


@given(st.text(alphabet="ab'\"() andor\n\x00é", max_size=60))
def test_no_filter_crashes(text):
    with suppress(TagFilterError):
        assert parse_filter(text)(frozenset({"a"})) in {True, False}


def test_feeds_are_named_not_resolved():
    shared = section("address", address("host", "fqdn", "www.example.com")) + section(
        "external-list",
        entry("edl", "<type><ip><url>https://e.example/</url></ip></type>"),
        entry("urls", "<type><url><url>https://e.example/</url></url></type>"),
    )
    assert space("host", shared).feeds == ("host",)
    assert space("edl", shared).feeds == ("edl",)
    assert "type 'url'" in space("urls", shared).unresolved[0].why


def test_lists_that_only_firewalls_get_are_said_to_be_so():
    own = section(
        "external-list", entry("mine", "<type><predefined-ip><url>panw-known-ip-list</url></predefined-ip></type>")
    )
    display = "Palo Alto Networks - Known malicious IP addresses"
    for name in ("panw-known-ip-list", "mine", display):
        found = AddressResolver(scope(own))
        assert found.member(name).feeds == ("panw-known-ip-list",)
        assert found.known.feeds["panw-known-ip-list"].kind is FeedKind.PROVIDED


def test_lists_that_the_site_has_itself_are_fetched_as_any_other():
    body = "<type><predefined-ip><url>panw-known-ip-list</url>{}</predefined-ip></type>"
    lists = section(
        "external-list",
        entry("but", body.format(members("exception-list", "192.0.2.1"))),
        entry("all", body.format("")),
    )
    found = AddressResolver(scope(lists), provided={"panw-known-ip-list": "https://lists.example.com/known"})
    assert [found.member(name).feeds for name in ("all", "but", "panw-torexit-ip-list")] == [
        ("panw-known-ip-list",), ("but",), ("panw-torexit-ip-list",),
    ]  # fmt: skip
    kinds = {name: (feed.kind, feed.exceptions) for name, feed in found.known.feeds.items()}
    assert kinds == {
        "panw-known-ip-list": (FeedKind.IP_LIST, ()),
        "but": (FeedKind.IP_LIST, ("192.0.2.1",)),
        "panw-torexit-ip-list": (FeedKind.PROVIDED, ()),
    }


def test_custom_regions_hold_their_addresses():
    region = section("region", entry("hq", members("address", "10.0.0.0/24", "10.0.1.0-10.0.1.255")))
    assert space("hq", region).space == AddressSet.parse(["10.0.0.0/23"])


def service(name, protocol, port, source_port=""):
    source = f"<source-port>{source_port}</source-port>" if source_port else ""
    return entry(name, f"<protocol><{protocol}><port>{port}</port>{source}</{protocol}></protocol>")


def test_services_and_groups():
    shared = section("service", service("a", "tcp", "80,8000-8010"), service("b", "udp", "53", "1024-65535")) + section(
        "service-group", entry("g", members("members", "a", "b", "g"))
    )
    found = ServiceObjects(scope(shared))
    a, b = L4(TCP, parse_ports("80,8000-8010")), L4(UDP, parse_ports("53"), parse_ports("1024-65535"))
    assert found.member("g").traffic == (a, b)
    assert found.member("service-http").traffic == (L4(TCP, parse_ports("80,8080")),)
    assert found.member("none").unresolved[0].why == "is defined nowhere"


@pytest.mark.parametrize("body", ["", "<protocol/>", "<protocol><tcp/></protocol>", "<protocol><gre/></protocol>"])
def test_an_unreadable_service_is_unresolved(body):
    assert ServiceObjects(scope(section("service", entry("a", body)))).member("a").unresolved


def app(name, *ports, **attributes):
    body = "".join(f"<{key}>{value}</{key}>" for key, value in attributes.items())
    return entry(name, body + (f"<default>{members('port', *ports)}</default>" if ports else ""))


def apps(names, shared="", predefined=""):
    return ApplicationObjects(scope(shared, predefined=predefined)).members(names)


def test_custom_applications_are_workloads_even_with_a_predefined_name():
    found = apps(("Cart_API", "mysql"), section("application", app("Cart_API", "tcp/80"), app("mysql")))
    assert [each.workload for each in found.members] == ["cart-api", "mysql"]
    assert found.members[0].ports == (L4(TCP, parse_ports("80")),)


def test_predefined_applications_are_their_ports_of_that_panoramas_content():
    content = section("application", app("mysql", "tcp/3307"), app("rpc", "udp/dynamic"), app("tunnel"))
    found = apps(("mysql", "rpc", "tunnel", "ssh", "never-heard"), predefined=content)
    by_name = {each.name: each for each in found.members}
    assert by_name["mysql"].workload is None
    assert by_name["mysql"].ports == (L4(TCP, parse_ports("3307")),)
    assert by_name["rpc"].unresolved[0].widened == (L4(UDP),)
    assert by_name["tunnel"].unresolved
    assert by_name["ssh"].ports == (L4(TCP, parse_ports("22")),)
    assert found.unresolved[0].name == "never-heard"


def test_application_groups_containers_and_filters():
    content = section(
        "application",
        app("chat-base", "tcp/443", category="collaboration", risk=3),
        app("chat-files", "tcp/443", category="collaboration", risk=5),
        app("dns", "udp/53", category="networking", risk=1),
    ) + section("application-container", entry("chat", members("functions", "chat-base", "chat-files")))
    shared = section("application-group", entry("g", members("members", "chat", "g", "dns"))) + section(
        "application-filter",
        entry("risky", members("category", "collaboration") + members("risk", "4", "5")),
        entry("odd", "<moon-phase>full</moon-phase>"),
    )
    assert [each.name for each in apps(("g",), shared, content).members] == ["chat-base", "chat-files", "dns"]
    assert [each.name for each in apps(("risky",), shared, content).members] == ["chat-files"]
    assert "moon-phase" in apps(("odd",), shared, content).unresolved[0].why


def test_what_a_filter_selects_is_unresolved_where_its_name_is_of_two_kinds():
    content = section("application", app("dns", "udp/53", category="it"), app("ntp", "udp/123", category="it"))
    shared = section("application-group", entry("dns", members("members", "ntp"))) + section(
        "application-filter", entry("f", members("category", "it"))
    )
    found = apps(("f",), shared, content)
    assert [each.name for each in found.members] == ["ntp"]
    assert [each.name for each in found.unresolved] == ["dns"]


def test_icmp_and_ip_protocol_applications():
    shared = section(
        "application",
        entry("ping", "<default><ident-by-icmp-type><type>8</type></ident-by-icmp-type></default>"),
        entry("code", "<default><ident-by-icmp-type><type>3</type><code>4</code></ident-by-icmp-type></default>"),
        entry("gre", "<default><ident-by-ip-protocol>47</ident-by-ip-protocol></default>"),
    )
    found = {each.name: each for each in apps(("ping", "code", "gre"), shared).members}
    assert found["ping"].ports == (L4(ICMP, icmp_type=8),)
    assert found["gre"].ports == (L4(47),)
    assert found["code"].unresolved[0].widened == (L4(ICMP, icmp_type=3),)


def test_services_and_applications_of_two_kinds_are_ambiguous():
    shared = section("service", service("s", "tcp", "80")) + section(
        "service-group", entry("s", members("members", "s")), entry("service-http", members("members", "s"))
    )
    for name in ("s", "service-http"):
        (found,) = ServiceObjects(scope(shared)).member(name).unresolved
        assert "is both" in found.why
    content = section("application", app("dns", "udp/53"))
    shared = section("application", app("cart")) + section(
        "application-group", entry("cart", members("members", "ssl")), entry("dns", members("members", "ssl"))
    )
    for name in ("cart", "dns"):
        (found,) = apps((name,), shared, content).unresolved
        assert "is both" in found.why


def read(shared="", groups=None, parents=None, device_group="dg", **kwargs):
    return read_scope(scope_of(config(shared, groups, parents), device_group), ReadOptions(**kwargs))


def first(xml, shared="", **kwargs):
    return read(groups={"dg": rulebase("pre", xml) + shared}, **kwargs).rules[0]


def test_rules_apply_in_panos_order_over_any_depth():
    levels = {f"l{n}": rulebase("pre", rule(f"pre {n}")) + rulebase("post", rule(f"post {n}")) for n in range(4)}
    parents = {f"l{n}": f"l{n - 1}" for n in range(1, 4)}
    shared = rulebase("pre", rule("pre shared")) + rulebase("post", rule("post shared"))
    names = [each.origin.name for each in read(shared, levels, parents, "l3").rules]
    down, up = [f"pre {n}" for n in range(4)], [f"post {n}" for n in (3, 2, 1, 0)]
    assert names == ["pre shared", *down, *up, "post shared"]


def test_rules_are_numbered_as_panorama_shows_a_rulebase_with_what_it_inherits():
    """Pre rules, post rules and default rules each from 1, over all levels."""
    levels = {
        name: rulebase("pre", rule(f"{name} 1"), rule(f"{name} 2")) + rulebase("post", rule(f"{name} 3"))
        for name in "pc"
    }
    shared = rulebase("pre", rule("s 1")) + rulebase("post", rule("s 3"))
    found = read(shared, levels, {"c": "p"}, "c")
    assert [(each.number, each.origin.name) for each in found.rules] == [
        (1, "s 1"), (2, "p 1"), (3, "p 2"), (4, "c 1"), (5, "c 2"), (1, "c 3"), (2, "p 3"), (3, "s 3"),
    ]  # fmt: skip
    assert (found.intrazone.number, found.interzone.number) == (1, 2)


def test_a_rule_keeps_its_origin_and_its_conditions():
    xml = rule(
        "r",
        "drop",
        from_=["web", "app"],
        to="data",
        extra="<rule-type>interzone</rule-type><log-start>yes</log-start><log-setting>siem</log-setting>"
        "<target><devices><entry name='001'/></devices><negate>yes</negate></target><negate-source>yes</negate-source>"
        + members("tag", "k8s-widen"),
    )
    found = first(xml)
    assert (found.origin.name, found.origin.uuid, found.origin.rulebase) == ("r", "uuid-r", "pre")
    assert found.action is Action.DROP
    assert found.rule_type is RuleType.INTERZONE
    assert (found.from_zones, found.to_zones) == (frozenset({"web", "app"}), frozenset({"data"}))
    assert found.log == Log(start=True, end=True, profile="siem")
    assert found.target == TargetFirewalls(frozenset({"001"}), negate=True)
    assert found.tags == {"k8s-widen"}
    assert found.sources.negate
    assert found.services is ServiceChoice.ANY


def test_an_empty_target_is_every_firewall():
    assert first(rule(extra="<target><negate>no</negate></target>")).target is None


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (members("source-user", "known-user"), "user: known-user"),
        (members("category", "gambling"), "URL category: gambling"),
        (members("source-hip", "patched"), "source device"),
        (members("hip-profiles", "patched"), "HIP"),
        ("<source-weather>rain</source-weather>", "element 'source-weather' is not known"),
        ("<target><tags><member>eu</member></tags></target>", "by tag"),
    ],
)
def test_what_narrows_a_rule_beyond_this_tier_is_a_condition(extra, words):
    assert words in first(rule(extra=extra)).conditions[0]


@pytest.mark.parametrize("tag", ["source-user", "category", "source-hip", "destination-hip", "hip-profiles"])
def test_any_narrows_nothing(tag):
    assert first(rule(extra=members(tag, "any"))).conditions == ()


@pytest.mark.parametrize("tag", ["from_", "to", "source", "destination", "application", "service"])
def test_a_missing_list_is_malformed(tag):
    found = first(rule(**{tag: None}))
    assert found.malformed == (f"it has no '{tag.rstrip('_')}'",)


def test_application_default_stands_alone_in_its_list():
    assert "beside other services" in first(rule(service=["application-default", "tcp-80"])).malformed[0]
    assert first(rule(service=["any", "application-default"])).services is ServiceChoice.ANY
    assert first(rule(service="application-default")).malformed == ()


def test_an_intrazone_rule_needs_no_destination_zone():
    found = first(rule(to=None, extra="<rule-type>intrazone</rule-type>"))
    assert found.malformed == ()


@pytest.mark.parametrize(("action", "words"), [("", "no action"), ("explode", "'explode' is not known")])
def test_an_unknown_or_missing_action_is_malformed(action, words):
    found = first(rule(action=action))
    assert found.action is None
    assert words in found.malformed[0]


def test_schedules_are_read_in_the_sites_time_zone():
    schedules = section(
        "schedule",
        entry(
            "s",
            "<schedule-type><recurring><weekly>"
            + members("monday", "08:00-24:00")
            + "</weekly></recurring></schedule-type>",
        ),
        entry(
            "bad",
            "<schedule-type><recurring><weekly>" + members("someday", "1-2") + "</weekly></recurring></schedule-type>",
        ),
    )
    found = first(rule(extra="<schedule>s</schedule>"), schedules, time_zone="Europe/Berlin").schedule
    assert found.time_zone == "Europe/Berlin"
    assert [type(window) for window in found.windows] == [Weekly]
    assert "someday" in first(rule(extra="<schedule>bad</schedule>"), schedules).schedule.why
    assert first(rule(extra="<schedule>gone</schedule>"), schedules).schedule.why == "is defined nowhere"


def default(name, body):
    return rulebase("post", defaults=[entry(name, body)])


def test_default_rules_inherit_each_attribute_from_the_nearest_level():
    shared = default("interzone-default", "<action>drop</action><log-end>yes</log-end><log-setting>a</log-setting>")
    groups = {
        "top": default("interzone-default", "<log-setting>b</log-setting>"),
        "dg": default("intrazone-default", "<action>deny</action>"),
    }
    found = read(shared, groups, {"dg": "top"})
    assert found.interzone.action is Action.DROP
    assert found.interzone.log == Log(end=True, profile="b")
    assert found.interzone.origin.device_group == "top"
    assert found.intrazone.action is Action.DENY
    assert found.intrazone.log == Log()


@pytest.mark.parametrize("level", ["top", "dg"])
def test_an_unknown_element_in_a_default_rule_is_a_problem(level):
    groups = {"top": "", "dg": ""} | {level: default("interzone-default", "<source-weather>rain</source-weather>")}
    found = read("", groups, {"dg": "top"})
    assert found.interzone.malformed == ("its element 'source-weather' is not known to this version",)
    assert found.intrazone.malformed == ()


def test_zones_of_templates_and_rules_are_known():
    zone = '<template><entry name="t"><config><devices><entry name="localhost.localdomain"><vsys><entry name="vsys1"><zone><entry name="lab"/></zone></entry></vsys></entry></devices></config></entry></template>'
    tree = config(rulebase("pre", rule(from_="web")), templates=zone)
    assert read_scope(scope_of(tree, "dg"), ReadOptions()).zones == {"lab", "web"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("<config><shared>", "ends in the middle"),
        ("<html><body>hi</body></html>", "web page"),
        ('<!DOCTYPE c [<!ENTITY a "b">]><config>&a;</config>', "entities"),
        ("not xml", "not well-formed"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text, words):
    path = tmp_path / "c.xml"
    path.write_text(text)
    with pytest.raises(ConfigurationFileError, match=words):
        read_file(path, "dg")


def test_a_missing_file_and_an_unknown_device_group_are_named(tmp_path):
    path = tmp_path / "c.xml"
    with pytest.raises(ConfigurationFileError, match=r"c\.xml.*No such file"):
        read_file(path, "dg")
    path.write_text(config_text(groups={"prod-eu-1": ""}))
    with pytest.raises(UnknownDeviceGroupError, match="'prod-eu-1'"):
        read_file(path, "prod-eu")


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(data):
    with suppress(DocumentError):
        assert parse(data).tag
