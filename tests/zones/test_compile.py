"""The readings of the specification, one test each: what becomes of a rule."""

from dataclasses import replace

import pytest

from zones import canonical
from zones.compile import TAG_EXPECTED, TAG_WIDEN, AppIdSide, CompileOptions, OnInexpressibleDeny, compile_policy
from zones.net import ANY_ADDRESS, ICMP, TCP, UDP, AddressSet, parse_ports
from zones.policy import ANY_TRAFFIC, Blocklists, Traffic, Verdict
from zones.problems import RuleStatus
from zones.rules import (
    L4,
    Action,
    Addresses,
    AddressObject,
    Application,
    Applications,
    Feed,
    FeedKind,
    Origin,
    Rule,
    Rulebase,
    RuleType,
    Service,
    ServiceChoice,
    TargetFirewalls,
    Unresolved,
)
from zones.zone import Zoning

CORP = AddressObject("corp", AddressSet.parse(["10.0.0.0/8"]))
GONE = AddressObject("gone", unresolved=(Unresolved("gone", "is defined nowhere"),))
EMPTY = AddressObject("empty", hollow=True)
CART = Application("Cart", "cart", (L4(TCP, parse_ports("8080")),))
PORTLESS = Application("db", "db")
DNS = Application("dns", None, (L4(TCP, parse_ports("53")), L4(UDP, parse_ports("53"))))
DYNAMIC = Application("rpc", None, (), (Unresolved("tcp/dynamic", "uses tcp/dynamic", (L4(TCP),)),))
HTTP = Service("http", (L4(TCP, parse_ports("80")),))
NO_SERVICE = Service("lost", unresolved=(Unresolved("lost", "is defined nowhere"),))


def rule(name="rule", action=Action.ALLOW, **fields):
    return Rule(Origin(name, None, "pre", "dg"), action, **fields)


def compiled(*rules, options=None, feeds=None, known=()):
    default = Rule(Origin("interzone-default", None, "default", "Shared"), Action.DENY)
    intrazone = Rule(Origin("intrazone-default", None, "default", "Shared"), Action.ALLOW, RuleType.INTRAZONE)
    base = Rulebase("dg", rules, intrazone, default, frozenset(), known)
    return compile_policy(base, Zoning(), options or CompileOptions(), feeds=feeds)


def one(rule, **kwargs):
    """The entry (or None) and the report of a single rule."""
    result = compiled(rule, **kwargs)
    entries = () if result.policy is None else result.policy.entries
    return next((entry for entry in entries if entry.origin == rule.origin), None), result.reports[0], result


@pytest.mark.parametrize(
    ("action", "verdict"),
    [
        (Action.ALLOW, Verdict.ALLOW),
        (Action.DENY, Verdict.DENY),
        (Action.DROP, Verdict.DENY),
        (Action.RESET_CLIENT, Verdict.RESET),
        (Action.RESET_SERVER, Verdict.RESET),
        (Action.RESET_BOTH, Verdict.RESET),
    ],
)
def test_actions(action, verdict):
    entry, report, _ = one(rule(action=action))
    assert entry.verdict is verdict
    assert report.status is RuleStatus.ENFORCED


def test_order_is_kept_and_the_defaults_come_last():
    result = compiled(rule("a"), rule("b"))
    assert [entry.origin.name for entry in result.policy.entries] == [
        "a",
        "b",
        "intrazone-default",
        "interzone-default",
    ]


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"disabled": True}, CompileOptions()),
        ({"tags": frozenset({"k8s-ignore"}), "malformed": ("broken",)}, CompileOptions()),
        ({"target": TargetFirewalls(frozenset({"001"}))}, CompileOptions()),
        ({"target": TargetFirewalls(frozenset({"001"}))}, CompileOptions(serial="002")),
        ({"target": TargetFirewalls(frozenset({"001"}), negate=True)}, CompileOptions(serial="001")),
        (
            {"from_zones": frozenset({"elsewhere"}), "to_zones": frozenset({"there"}), "conditions": ("user",)},
            CompileOptions(cluster_zones=frozenset({"web"})),
        ),
    ],
)
def test_not_applicable_comes_before_anything_can_refuse(fields, options):
    entry, report, result = one(rule(action=Action.DENY, **fields), options=options)
    assert entry is None
    assert report.status is RuleStatus.NOT_APPLICABLE
    assert result.policy is not None


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"target": TargetFirewalls(frozenset({"001"}))}, CompileOptions(serial="001")),
        ({"target": TargetFirewalls(frozenset({"001"}), negate=True)}, CompileOptions()),
        (
            {"from_zones": frozenset({"untrust"}), "to_zones": frozenset({"web"})},
            CompileOptions(cluster_zones=frozenset({"web"})),
        ),
        ({"from_zones": frozenset({"untrust"})}, CompileOptions(cluster_zones=frozenset({"web"}))),
    ],
)
def test_applicable(fields, options):
    entry, report, _ = one(rule(**fields), options=options)
    assert entry is not None
    assert report.status is RuleStatus.ENFORCED


INEXPRESSIBLE = [
    {"conditions": ("a cluster can't know its user",)},
    {"malformed": ("it has no 'from'",)},
    {"schedule": Unresolved("shift", "is defined nowhere")},
    {"sources": Addresses((CORP, GONE), negate=True)},
    {"sources": Addresses((CORP, EMPTY), negate=True)},
    {"destinations": Addresses((GONE,))},
    {"services": (NO_SERVICE,)},
    {"applications": Applications(unresolved=(Unresolved("x", "is defined nowhere"),))},
    {"applications": Applications((DYNAMIC,)), "services": ServiceChoice.APPLICATION_DEFAULT},
]


@pytest.mark.parametrize("fields", INEXPRESSIBLE)
def test_an_allow_that_cant_be_expressed_is_left_out(fields):
    entry, report, result = one(rule(**fields))
    assert entry is None
    assert report.status is RuleStatus.NOT_ENFORCED
    assert report.reasons
    assert result.policy is not None


@pytest.mark.parametrize("fields", INEXPRESSIBLE)
def test_a_deny_that_cant_be_expressed_refuses_the_revision(fields):
    _, report, result = one(rule(action=Action.DENY, **fields))
    assert result.policy is None
    assert result.refusals == (report,)
    assert report.status is RuleStatus.NOT_ENFORCED


@pytest.mark.parametrize("fields", [fields for fields in INEXPRESSIBLE if "malformed" not in fields])
def test_k8s_widen_applies_a_deny_without_the_condition(fields):
    tags = frozenset({"k8s-widen"})
    entry, report, result = one(rule(action=Action.DENY, tags=tags, **fields))
    assert result.policy is not None
    assert entry.sources == ANY_ADDRESS
    assert entry.schedule is None
    assert any("blocks more than written" in reason for reason in report.reasons)


def test_a_site_can_widen_or_ignore_every_such_deny():
    broken = rule(action=Action.DENY, conditions=("user",))
    widened, _, _ = one(broken, options=CompileOptions(inexpressible_deny=OnInexpressibleDeny.WIDEN))
    ignored, report, result = one(broken, options=CompileOptions(inexpressible_deny=OnInexpressibleDeny.IGNORE))
    assert widened.verdict is Verdict.DENY
    assert ignored is None
    assert report.status is RuleStatus.NOT_ENFORCED
    assert result.policy is not None


def test_a_malformed_deny_has_no_way_out_but_to_ignore_it():
    _, _, result = one(rule(action=Action.DENY, malformed=("it has no 'to'",), tags=frozenset({"k8s-widen"})))
    assert result.policy is None


@pytest.mark.parametrize("way", OnInexpressibleDeny)
def test_an_unknown_action_refuses_whatever_the_site_settled(way):
    _, report, result = one(
        rule(action=None, malformed=("its action is not known",)), options=CompileOptions(inexpressible_deny=way)
    )
    assert result.policy is None
    assert report.malformed


def test_widened_tcp_dynamic_is_any_tcp_port():
    entry, _, _ = one(
        rule(
            action=Action.DENY,
            tags=frozenset({"k8s-widen"}),
            applications=Applications((DYNAMIC,)),
            services=ServiceChoice.APPLICATION_DEFAULT,
        )
    )
    assert entry.traffic == (Traffic(TCP),)


def test_a_widened_service_is_any_port_for_a_predefined_application_too():
    # Its default ports would block less than written: the service that is not known could be any other port.
    tags = frozenset({"k8s-widen"})
    entry, _, _ = one(
        rule(action=Action.DENY, tags=tags, applications=Applications((DNS,)), services=(HTTP, NO_SERVICE))
    )
    assert entry.traffic == ANY_TRAFFIC


def test_a_side_without_zones_could_be_any_so_the_cluster_list_does_not_excuse_the_rule():
    fields = {"from_zones": frozenset({"elsewhere"}), "to_zones": frozenset(), "malformed": ("it has no 'to'",)}
    _, report, _ = one(rule(action=Action.DENY, **fields), options=CompileOptions(cluster_zones=frozenset({"web"})))
    assert report.refuses


@pytest.mark.parametrize("default", ["intrazone", "interzone"])
@pytest.mark.parametrize("fields", [{"action": None}, {"action": Action.ALLOW, "malformed": ("strange",)}])
@pytest.mark.parametrize("way", OnInexpressibleDeny)
def test_a_default_rule_that_cant_be_read_refuses_whatever_the_site_says(default, fields, way):
    rules = {
        name: Rule(Origin(f"{name}-default", None, "default", "Shared"), Action.DENY)
        for name in ("intrazone", "interzone")
    }
    rules[default] = replace(rules[default], **fields)
    result = compile_policy(
        Rulebase("dg", (), rules["intrazone"], rules["interzone"], frozenset()),
        Zoning(),
        CompileOptions(inexpressible_deny=way),
    )
    assert result.policy is None
    assert [report.origin.name for report in result.refusals] == [f"{default}-default"]


def test_k8s_widen_on_an_allow_is_reported_and_does_nothing():
    entry, report, _ = one(rule(tags=frozenset({"k8s-widen"}), sources=Addresses((CORP, GONE))))
    assert entry.sources == CORP.space
    assert report.status is RuleStatus.ENFORCED_IN_PART
    assert "k8s-widen has no effect on an allow" in report.notes


def test_several_refusals_are_reported_together():
    result = compiled(rule("a", Action.DENY, conditions=("x",)), rule("b", Action.DENY, malformed=("y",)))
    assert [report.origin.name for report in result.refusals] == ["a", "b"]


def test_a_list_with_a_missing_member_leaves_an_allow_in_part():
    entry, report, _ = one(rule(sources=Addresses((CORP, GONE))))
    assert entry.sources == CORP.space
    assert report.status is RuleStatus.ENFORCED_IN_PART
    assert report.reasons == ("source 'gone' is defined nowhere",)


@pytest.mark.parametrize("action", Action)
def test_an_empty_group_matches_nothing_and_refuses_nothing(action):
    entry, report, result = one(rule(action=action, sources=Addresses((EMPTY,))))
    assert entry is None
    assert result.policy is not None
    assert report.status is RuleStatus.ENFORCED
    assert report.reasons == (f"source '{EMPTY.name}' holds no address",)


def test_negate_inverts_the_list_in_both_families():
    entry, _, _ = one(rule(sources=Addresses((CORP,), negate=True)))
    assert entry.sources == CORP.space.complement()


def test_negated_any_matches_nothing():
    entry, report, _ = one(rule(sources=Addresses(any=True, negate=True)))
    assert entry is None
    assert report.status is RuleStatus.ENFORCED


def test_feeds_are_filled_in_and_unknown_ones_are_unresolved():
    listed = rule(action=Action.DENY, sources=Addresses((AddressObject("edl", feeds=("edl",)),)))
    bad = AddressSet.parse(["192.0.2.0/24"])
    entry, _, _ = one(listed, feeds={"edl": bad})
    _, report, result = one(listed)
    assert entry.sources == bad
    assert entry.feeds == ("edl",)
    assert result.policy is None
    assert report.reasons == ("source 'edl' has not been resolved",)


def test_a_feed_that_is_empty_is_nothing_and_negated_it_is_a_problem():
    feed = AddressObject("edl", feeds=("edl",))
    entry, _, _ = one(rule(sources=Addresses((feed,))), feeds={"edl": AddressSet()})
    _, report, _ = one(rule(sources=Addresses((feed,), negate=True)), feeds={"edl": AddressSet()})
    assert entry is None
    assert report.status is RuleStatus.NOT_ENFORCED


LISTS = (
    Feed("bad-ips", FeedKind.IP_LIST, "https://feeds.example/ips"),
    Feed("bad-names", FeedKind.DOMAIN_LIST, "https://feeds.example/names"),
    Feed("mirror", FeedKind.FQDN, "mirror.example"),
)
HELD = {feed.name: AddressSet.parse([f"192.0.2.{number}/32"]) for number, feed in enumerate(LISTS)}


def member(*feeds, **more):
    return AddressObject(" ".join(feeds), feeds=feeds, **more)


def blocklists(**fields):
    entry, _, _ = one(rule(**({"action": Action.DENY} | fields)), feeds=HELD, known=LISTS)
    return entry.blocklists


def test_a_denial_says_which_external_lists_it_denies_to_and_from():
    to = Addresses((member("bad-ips", "bad-names"),))
    assert blocklists(destinations=to) == Blocklists((), ("bad-ips", "bad-names"))
    assert blocklists(sources=to, action=Action.RESET_BOTH) == Blocklists(("bad-ips", "bad-names"))
    assert not blocklists()
    assert not blocklists(destinations=to, action=Action.ALLOW)
    assert not blocklists(destinations=Addresses((member("mirror"),)))
    assert not blocklists(destinations=Addresses((member("bad-ips"),), negate=True))


@pytest.mark.parametrize(
    "other",
    [AddressObject("office", AddressSet.parse(["10.0.0.0/8"])), member("mirror"), member("bad-ips", "mirror")],
)
def test_a_list_among_other_addresses_is_told_as_that(other):
    found = blocklists(sources=Addresses((member("bad-ips"), other)))
    assert found == Blocklists(("bad-ips",), mixed=True)


def test_other_addresses_on_the_side_without_a_list_make_no_doubt():
    office = Addresses((AddressObject("office", AddressSet.parse(["10.0.0.0/8"])),))
    assert not blocklists(sources=office, destinations=Addresses((member("bad-ips"),))).mixed


def test_what_is_widened_may_match_without_a_list():
    found = blocklists(
        destinations=Addresses((member("bad-ips"),)), tags=frozenset({TAG_WIDEN}), conditions=("source-user",)
    )
    assert found == Blocklists((), ("bad-ips",), mixed=True)


def traffic(applications, services, **kwargs):
    entry, report, _ = one(rule(applications=applications, services=services), **kwargs)
    return entry.traffic, report.status


EXPLICIT = (HTTP,)
ANY_APP = Applications(any=True)


def test_application_any():
    assert traffic(ANY_APP, ServiceChoice.ANY) == (ANY_TRAFFIC, RuleStatus.ENFORCED)
    assert traffic(ANY_APP, ServiceChoice.APPLICATION_DEFAULT) == (ANY_TRAFFIC, RuleStatus.ENFORCED_AT_L4)
    assert traffic(ANY_APP, EXPLICIT) == ((Traffic(TCP, parse_ports("80")),), RuleStatus.ENFORCED)


def test_a_predefined_application_is_its_ports_or_the_services():
    own = (Traffic(TCP, parse_ports("53")), Traffic(UDP, parse_ports("53")))
    apps = Applications((DNS,))
    assert traffic(apps, ServiceChoice.APPLICATION_DEFAULT) == (own, RuleStatus.ENFORCED_AT_L4)
    assert traffic(apps, ServiceChoice.ANY) == (own, RuleStatus.ENFORCED_AT_L4)
    assert traffic(apps, EXPLICIT) == ((Traffic(TCP, parse_ports("80")),), RuleStatus.ENFORCED_AT_L4)


def test_a_workload_application_selects_destination_pods():
    apps = Applications((CART,))
    on_8080 = Traffic(TCP, parse_ports("8080"), destination_workload="cart")
    assert traffic(apps, ServiceChoice.APPLICATION_DEFAULT) == ((on_8080,), RuleStatus.ENFORCED)
    assert traffic(apps, ServiceChoice.ANY) == ((Traffic(destination_workload="cart"),), RuleStatus.ENFORCED)
    assert traffic(apps, EXPLICIT) == (
        (Traffic(TCP, parse_ports("80"), destination_workload="cart"),),
        RuleStatus.ENFORCED,
    )


def test_a_workload_application_without_ports_is_any_tcp_or_udp_port_by_default():
    found, _ = traffic(Applications((PORTLESS,)), ServiceChoice.APPLICATION_DEFAULT)
    assert found == (Traffic(TCP, destination_workload="db"), Traffic(UDP, destination_workload="db"))


def test_the_side_of_app_ids_is_a_setting():
    apps = Applications((replace(CART, ports=()),))
    source, _ = traffic(apps, ServiceChoice.ANY, options=CompileOptions(app_id_side=AppIdSide.SOURCE))
    either, _ = traffic(apps, ServiceChoice.ANY, options=CompileOptions(app_id_side=AppIdSide.EITHER))
    assert source == (Traffic(source_workload="cart"),)
    assert either == (Traffic(destination_workload="cart"), Traffic(source_workload="cart"))


def test_icmp_types_reach_the_policy():
    ping = Application("ping", None, (L4(ICMP, icmp_type=8),))
    found, _ = traffic(Applications((ping,)), ServiceChoice.APPLICATION_DEFAULT)
    assert found == (Traffic(ICMP, icmp_type=8),)


def test_notes_are_told_and_change_nothing():
    entry, report, _ = one(rule(notes=("security profiles have no effect on the verdict",)))
    assert entry is not None
    assert report.status is RuleStatus.ENFORCED
    assert (report.reasons, report.without_effect) == ((), ("security profiles have no effect on the verdict",))


@pytest.mark.parametrize("action", [Action.ALLOW, Action.DENY])
def test_a_rule_that_is_expected_is_so_in_the_tier_too_and_no_other_is(action):
    entry, _, _ = one(rule(action=action, tags=frozenset({TAG_EXPECTED})))
    assert entry.expected
    assert canonical.entry_of(canonical.entry_json(entry, None, None)).expected
    plain, _, _ = one(rule(action=action))
    assert not plain.expected
    assert "expected" not in canonical.entry_json(plain, None, None)
