"""The report: every rule with what became of it, stable as JSON, whole as a table."""

import csv
import io
from dataclasses import replace

import pytest

from bridge.compilation.report import refusal_lines, report_json, verdict_line
from bridge.compilation.report_table import report_csv, report_lines
from bridge.compilation.shadows import Shadow, shadowed_allows
from bridge.errors import RevisionRefusedError
from bridge.pages import compile_page, page_html
from tests.bridge.world import inexpressible, rule, rulebase
from zones.compile import CompileOptions, DenyByPorts, compile_policy
from zones.net import TCP, UDP, AddressSet, parse_ports
from zones.rules import (
    L4,
    Action,
    Addresses,
    AddressObject,
    Application,
    Applications,
    RuleType,
    Service,
    ServiceChoice,
)
from zones.zone import Zoning


def compiled(*rules):
    return compile_policy(rulebase(*rules), Zoning())


def test_the_json_names_every_rule_and_every_status():
    found = report_json(compiled(rule("a"), rule("off", disabled=True)), "dg")
    assert found["refused"] is False
    assert found["summary"] == {
        "total": 4,
        "enforced": 3,
        "enforced_at_l4": 0,
        "enforced_in_part": 0,
        "not_applicable": 1,
        "not_enforced": 0,
        "refusing": 0,
        "would_be_enforced": 0,
    }
    assert found["rules"][1] == {
        "name": "off",
        "uuid": "uuid-off",
        "rulebase": "pre",
        "device_group": "dg",
        "action": "allow",
        "status": "not applicable",
        "number": None,
        "reasons": ["it is disabled"],
        "notes": [],
        "shadows": [],
        "shadows_in_part": [],
        "refuses": False,
        "attention": False,
    }


def test_a_refusing_rule_says_why_and_the_way_out():
    refused = compiled(rule("a"), inexpressible("by user"))
    assert report_json(refused, "dg")["refused"] is True
    (line,) = refusal_lines(refused)
    assert "rule 'by user' (pre of dg)" in line
    assert "k8s-widen" in line
    assert "bob" in line


def test_the_table_begins_with_the_verdict_and_cuts_nothing_off():
    long = "a very long reason " * 20
    refused = compiled(rule("x", Action.DENY, conditions=(long,)), rule("y"))
    first, empty, head, *rows = report_lines(refused, "dg")
    assert first.startswith("REFUSED: 1 of the 4 rules of 'dg'")
    assert (empty, head.split()) == ("", ["NO.", "RULE", "RULEBASE", "DEVICE", "GROUP", "ACTION", "STATUS", "WHY"])
    assert long.strip() in rows[0]
    wrapped = list(report_lines(refused, "dg", width=100))
    assert max(map(len, wrapped[2:])) <= 100
    assert "".join(long.split()) in "".join("".join(wrapped).split())
    assert max(map(len, list(report_lines(refused, "dg", width=140))[2:])) <= 140


def test_no_row_of_a_refused_revision_says_enforced():
    refused = compiled(rule("x", Action.DENY, conditions=("no",)), rule("y"))
    rows = list(report_lines(refused, "dg"))[3:]
    assert [("would be enforced" in row, "refuses the revision" in row) for row in rows] == [
        (False, True), (True, False), (True, False), (True, False),
    ]  # fmt: skip
    assert ",enforced," not in report_csv(refused)
    found = report_json(refused, "dg")
    assert [each["status"] for each in found["rules"]] == ["refuses the revision", *["would be enforced"] * 3]
    assert (found["summary"]["enforced"], found["summary"]["would_be_enforced"]) == (0, 3)
    page = page_html(compile_page(refused, "dg"))
    assert "would be enforced" in page
    assert 'data-choices="enforced"' not in page


def test_only_what_needs_attention_and_by_reason():
    some = compiled(
        *(rule(f"u{n}", conditions=("by user",)) for n in range(3)), rule("fine"), rule("off", disabled=True)
    )
    lines = list(report_lines(some, "dg", only_attention=True))
    assert "3 to look at" in lines[0]
    assert [line.split()[0] for line in lines[3:]] == ["u0", "u1", "u2"]
    grouped = list(report_lines(some, "dg", only_attention=True, by_reason=True))
    assert grouped[2:4] == ["3 rules: by user", "    rule 'u0' (pre of dg): not enforced"]


def test_parts_without_effect_are_a_footnote_and_no_trouble():
    some = compiled(rule("a", notes=("security profiles",)), rule("b", notes=("security profiles", "options")))
    assert (
        list(report_lines(some, "dg"))[-1]
        == "No effect on the verdict: options (1 rules), security profiles (2 rules)."
    )
    found = report_json(some, "dg")["rules"][0]
    assert (found["reasons"], found["notes"]) == ([], ["security profiles have no effect on the verdict"])
    assert "none to look at" in verdict_line(some, "dg")


def test_as_csv_no_cell_is_a_formula():
    some = compiled(rule("=cmd()", conditions=('x, "y"',)), rule("<script>"))
    first, second = list(csv.reader(io.StringIO(report_csv(some))))[1:3]
    assert (first[1], first[7], second[1]) == ("'=cmd()", 'x, "y"', "<script>")


def app_id(name, *ports):
    return Application(name, None, tuple(L4(TCP, parse_ports(each)) for each in ports))


def test_a_deny_by_app_id_says_what_it_blocks_and_which_allows_it_leaves_without_effect():
    facebook = Applications((app_id("facebook-base", "80,443"),))
    web = Applications((app_id("ssl", "443"), app_id("web-browsing", "80")))
    more = Applications((app_id("ssl", "443"), app_id("ssh", "22")))
    some = compiled(
        rule("no facebook", Action.DENY, applications=facebook),
        rule("web", applications=web, services=ServiceChoice.APPLICATION_DEFAULT),
        rule("more", applications=more),
        rule("to db", applications=web, to_zones=frozenset({"db"})),
    )
    found = report_json(some, "dg")["rules"]
    (reason,) = found[0]["reasons"]
    blocks = "application 'facebook-base' blocks tcp/80,443 whatever the application: more than written"
    assert reason == f"{blocks}, and on other ports nothing"
    assert [each["name"] for each in found[0]["shadows"]] == ["web", "to db"]
    assert [each["name"] for each in found[0]["shadows_in_part"]] == ["more"]
    assert found[1]["notes"][0] == "application 'ssl' is enforced as tcp/443"
    assert found[1]["reasons"] == []
    row = list(report_lines(some, "dg"))[3]
    assert "nothing is left of the allows after it: 'web', 'to db'; less is left of the allows after it: 'more'" in row
    assert "less is left of the allows after it: 'more'" in "".join(report_lines(some, "dg", by_reason=True))


def test_on_its_default_ports_alone_a_deny_blocks_all_that_it_says():
    ssl = Applications((app_id("ssl", "443"),))
    for services in (ServiceChoice.APPLICATION_DEFAULT, (Service("s", (L4(TCP, parse_ports("8443")),)),)):
        (reason,) = compiled(rule("no ssl", Action.DENY, applications=ssl, services=services)).reports[0].reasons
        assert reason.endswith("whatever the application: more than written")


@pytest.mark.parametrize(
    ("deny", "allow", "meets"),
    [
        ({}, {}, True),
        ({"from_zones": frozenset({"a"})}, {"from_zones": frozenset({"b"})}, False),
        ({"to_zones": frozenset({"a", "b"})}, {"to_zones": frozenset({"b"})}, True),
        ({"rule_type": RuleType.INTRAZONE, "from_zones": frozenset({"a"})}, {"to_zones": frozenset({"b"})}, False),
        ({"rule_type": RuleType.INTRAZONE, "from_zones": frozenset({"a"})}, {"rule_type": RuleType.INTERZONE}, False),
        ({"rule_type": RuleType.INTERZONE, "from_zones": frozenset({"a"})}, {"to_zones": frozenset({"a"})}, False),
        ({"sources": Addresses((AddressObject("x", AddressSet.parse(["10.0.0.0/8"])),))},
         {"sources": Addresses((AddressObject("y", AddressSet.parse(["11.0.0.0/8"])),))}, False),
        ({"sources": Addresses((AddressObject("x", AddressSet.parse(["10.0.0.0/8"])),))}, {}, True),
        ({}, {"services": (Service("s", (L4(TCP, parse_ports("22")),)),)}, False),
        ({}, {"services": (Service("s", (L4(UDP, parse_ports("443")),)),)}, False),
        ({}, {"services": (Service("s", (L4(TCP, parse_ports("400-500")),)),)}, True),
    ],
)  # fmt: skip
def test_a_deny_takes_from_the_allows_that_it_meets(deny, allow, meets):
    ssl = Applications((app_id("ssl", "443"),))
    some = compiled(rule("no ssl", Action.DENY, applications=ssl, **deny), rule("open", **allow))
    shadow = shadowed_allows(some).get(some.reports[0].origin, Shadow())
    assert bool(shadow) is meets


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width):
    long = compiled(
        rule(
            "a name of sixty-three characters, as long as Panorama takes any..", Action.DENY, conditions=("why " * 60,)
        )
    )
    for by_reason in (False, True):
        lines = list(report_lines(long, "a device group", width=width, by_reason=by_reason))
        assert max(map(len, lines)) <= width
        assert "would be enforced" in " ".join(lines) or by_reason


HOSTILE = "a\nb\x9b31m\u202ec\r\t"


def test_no_name_steers_a_terminal_or_makes_a_line():
    some = compiled(rule(HOSTILE, conditions=(HOSTILE,)), rule("deny", Action.DENY, conditions=(HOSTILE,)))
    written = [
        *report_lines(some, HOSTILE), *report_lines(some, HOSTILE, by_reason=True), *report_lines(some, "dg", width=60),
        *refusal_lines(some), *report_csv(some).splitlines(), *page_html(compile_page(some, HOSTILE)).splitlines(),
    ]  # fmt: skip
    assert all(line.isprintable() for line in written)
    assert any("a\\nb\\x9b31m\\u202ec\\r\\t" in line for line in written)


@pytest.mark.parametrize("name", ["=1+1", " =1+1", "\uff1d1", "\n=1", "@x", "-1", "+1"])
def test_no_name_is_a_formula(name):
    cell = next(csv.reader(io.StringIO(report_csv(compiled(rule(name))).split("\n", 1)[1])))[1]
    assert cell.startswith(("'", "\\n"))


def test_a_site_may_refuse_denies_by_ports():
    deny = rule("no facebook", Action.DENY, applications=Applications((app_id("facebook-base", "80,443"),)))
    refused = compile_policy(rulebase(deny), Zoning(), CompileOptions(deny_by_ports=DenyByPorts.REFUSE))
    assert refused.policy is None
    assert "appId.denyByPorts" in refused.refusals[0].reasons[0]
    widened = replace(deny, tags=frozenset({"k8s-widen"}))
    assert (
        compile_policy(rulebase(widened), Zoning(), CompileOptions(deny_by_ports=DenyByPorts.REFUSE)).policy is not None
    )


def test_of_many_refusals_the_text_has_five_and_the_error_has_all():
    refused = compiled(*(rule(f"r{n}", Action.DENY, conditions=("x",)) for n in range(120)))
    error = RevisionRefusedError("InexpressibleDeny", *refusal_lines(refused))
    assert len(error.why) == 120
    assert str(error).endswith("; and 115 more")
    assert len(str(error)) < 1200
