"""Elastic's content: each field is one that `ecs` sends and can be counted by, each rule finds what it is for, all is well formed."""

import fnmatch
import json
import re

import pytest

from tests.splunk.test_app import CHECKPOINT, RECORDS
from tools import elastic
from zones.siem.alerts import AlertKind
from zones.siem.formats.registry import FORMATS, FormatName
from zones.siem.values import flat

DOCUMENTS = [(record, dict(flat(FORMATS[FormatName.ECS].render(record)))) for record in (*RECORDS, CHECKPOINT)]
FIELDS = {name for _, document in DOCUMENTS for name in document}
OBJECTS, RULES = elastic.objects(), elastic.rules()
TERM = re.compile(r'([\w.]+): (?:"([^"]*)"|\(([^)]*)\)|(\*))')


def finds(query, document):
    """As much of KQL as our queries are: terms that all must hold, or two in parentheses of which one must."""
    if query.startswith("("):
        return any(finds(part.strip("()"), document) for part in query.split(") or ("))
    assert re.fullmatch(f"{TERM.pattern}(?: and {TERM.pattern})*", query), query
    return all(_holds(*term.groups(), document) for term in TERM.finditer(query))


def _holds(name, value, values, star, document):
    wanted = [value] if value is not None else re.findall(r'"([^"]*)"', values or "")
    held = document.get(name, [])
    held = held if isinstance(held, list) else [held]
    return bool(held) if star else any(each in wanted for each in held)


def visualizations():
    for each in OBJECTS:
        if each["type"] == "visualization":
            attributes = each["attributes"]
            source = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
            yield json.loads(attributes["visState"]), source["query"]["query"]


def kind_of_field(name):
    """By the index template: explicit, or a name's, or a number."""
    part = elastic.template()["template"]["mappings"]
    for step in name.split("."):
        part = part.get("properties", {}).get(step, {})
    values = [document[name] for _, document in DOCUMENTS if name in document]
    plain = "keyword" if isinstance(values[0], str) or (isinstance(values[0], list) and values[0]) else "long"
    return part.get("type", plain)


def test_each_field_is_sent_and_can_be_counted_by():
    used = {name for _, query in visualizations() for name, *_ in TERM.findall(query)}
    used |= {name for rule in RULES for name, *_ in TERM.findall(rule["query"])}
    counted = {
        aggregation["params"]["field"]
        for state, _ in visualizations()
        for aggregation in state["aggs"]
        if "field" in aggregation["params"]
    }
    for rule in RULES:
        threshold = rule.get("threshold", {"field": [], "cardinality": []})
        counted |= {*threshold["field"], *(each["field"] for each in threshold["cardinality"])}
        counted |= set(rule.get("new_terms_fields", ()))
    assert len(used) > 6
    assert len(counted) > 15
    assert used | counted <= FIELDS
    assert {kind_of_field(name) for name in counted} <= {"keyword", "ip", "long", "date"}
    assert kind_of_field("source.ip") == "ip"
    assert kind_of_field("zonebridge.source.labels") == "flattened"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["rule_id"])
def test_each_rule_finds_something_and_names_kinds_that_are_there(rule):
    found = [record for record, document in DOCUMENTS if finds(rule["query"], document)]
    assert found
    assert len(found) < len(DOCUMENTS) / 2
    named = re.search(r"event\.code: \(([^)]*)\)", rule["query"])
    if named:
        kinds = set(re.findall(r'"([^"]*)"', named[1]))
        assert kinds <= set(AlertKind)
        assert kinds == {record["alert"] for record in found}
    else:
        assert all(record["verdict"] in ("deny", "reset") for record in found)
        assert any(not record["enforced"] for record in found)


def test_each_panel_shows_something():
    for state, query in visualizations():
        found = [document for _, document in DOCUMENTS if finds(query, document)]
        assert found, state["title"]
        names = [each["params"]["field"] for each in state["aggs"] if each["type"] == "terms"]
        assert all(any(name in document for document in found) for name in names), state["title"]


def test_only_words_stand_for_a_value_that_is_missing():
    buckets = [each["params"] for state, _ in visualizations() for each in state["aggs"] if each["type"] == "terms"]
    missing = {params["field"] for params in buckets if params.get("missingBucket")}
    assert "zonebridge.source.namespace" in missing
    assert {kind_of_field(name) for name in missing} == {"keyword"}
    assert {kind_of_field(params["field"]) for params in buckets} >= {"ip", "long"}


def test_objects_refer_to_each_other():
    known = {(each["type"], each["id"]) for each in OBJECTS}
    assert len(known) == len(OBJECTS)
    assert all((each["type"], each["id"]) in known for owner in OBJECTS for each in owner["references"])
    for each in OBJECTS:
        if each["type"] == "dashboard":
            panels = json.loads(each["attributes"]["panelsJSON"])
            wanted = {f"{panel['panelIndex']}:{panel['panelRefName']}" for panel in panels}
            assert wanted == {reference["name"] for reference in each["references"]}
            places = {(panel["gridData"]["x"], panel["gridData"]["y"]) for panel in panels}
            assert len(places) == len(panels)
            assert all(panel["gridData"]["x"] + panel["gridData"]["w"] <= 48 for panel in panels)


def test_rules_are_whole_off_and_read_our_indices():
    assert len({rule["rule_id"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert {"name", "description", "risk_score", "severity", "type", "query", "index", "version"} <= rule.keys()
        assert rule["enabled"] is False
        assert (rule["type"] == "threshold") == ("threshold" in rule)
        assert (rule["type"] == "new_terms") == ("history_window_start" in rule)
        assert len(rule.get("new_terms_fields", ())) <= 3
        assert fnmatch.fnmatch("logs-zonebridge-default", rule["index"][0])
    assert fnmatch.fnmatch("logs-zonebridge-default", elastic.template()["index_patterns"][0])


@pytest.mark.parametrize("name", elastic.files())
def test_what_is_made_is_in_the_tree_as_it_would_be_made(name):
    assert (elastic.FOLDER / name).read_text() == elastic.files()[name], "run make generate"
