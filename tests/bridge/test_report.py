"""The report: every rule with what became of it, stable as JSON, whole as a table."""

from bridge.output import table_text
from bridge.report import COLUMNS, refusal_lines, report_json, rows
from tests.bridge.world import inexpressible, rule, rulebase
from zones.compile import compile_policy
from zones.rules import Action
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
    }
    assert found["rules"][1] == {
        "name": "off",
        "uuid": "uuid-off",
        "rulebase": "pre",
        "device_group": "dg",
        "action": "allow",
        "status": "not applicable",
        "reasons": ["it is disabled"],
        "refuses": False,
    }


def test_a_refusing_rule_says_why_and_the_way_out():
    refused = compiled(rule("a"), inexpressible("by user"))
    assert report_json(refused, "dg")["refused"] is True
    (line,) = refusal_lines(refused)
    assert "rule 'by user' (pre of dg)" in line
    assert "k8s-widen" in line
    assert "bob" in line


def test_the_table_cuts_nothing_off():
    long = "a very long reason " * 20
    text = table_text(COLUMNS, rows(compiled(rule("x", Action.DENY, conditions=(long,))).reports))
    assert long.strip() in text
    assert text.splitlines()[0].split() == ["RULE", "RULEBASE", "DEVICE", "GROUP", "ACTION", "STATUS", "WHY"]
