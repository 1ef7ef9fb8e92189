"""Many flows at once are answered as each is alone, and every line that can't be is told by its number."""

import json

import pytest
from hypothesis import given

from bridge.explain.flow_list import Judge, answers, flows_in
from tests.bridge.world import rule, rulebase, workload
from tests.strategies import flows, policies
from zones.compile import compile_policy
from zones.net import AddressSet
from zones.rules import Action
from zones.runtime.errors import InputError
from zones.verdict import UndeterminedError, decide
from zones.zone import Zoning

WEB_TO_DB = {"from_zone": "web", "to_zone": "db", "protocol": "tcp", "port": 5432}


def policy(*rules):
    return compile_policy(rulebase(*rules), Zoning()).policy


def asked(text, *rules):
    return list(answers(text, policy(*rules), Zoning()))


def outcome(ask):
    try:
        return ask()
    except UndeterminedError as error:
        return error.origin, error.missing


@given(policies(), flows())
def test_a_judge_decides_as_the_policy_means(some, flow):
    ours, theirs = outcome(lambda: Judge(some).decide(flow)), outcome(lambda: decide(some, flow))
    if isinstance(theirs, tuple):
        assert ours == theirs
    else:
        assert (ours.verdict, ours.origin, ours.log) == (theirs.verdict, theirs.origin, theirs.log)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(WEB_TO_DB) + "\n" + json.dumps(WEB_TO_DB | {"to-zone": "x", "to_zone": None}) + "\n",
        "from-zone,to-zone,protocol,port\nweb,db,tcp,5432\nweb,x,tcp,\n",
        "\ufeff--from-zone,--to-zone,--protocol,--port\r\nweb,db,TCP,5432\r\nweb,x,tcp,80\r\n",
    ],
)
def test_csv_and_json_lines(text):
    deny = rule("no db", Action.DENY, from_zones=frozenset({"web"}), to_zones=frozenset({"db"}))
    first, second = asked(text, deny, rule("rest"))
    assert (first["verdict"], first["rule"]["name"], first["line"]) == (
        "deny",
        "no db",
        1 if text.startswith("{") else 2,
    )
    assert (second["verdict"], second["rule"]["name"]) == ("allow", "rest")
    assert first["log"] == {"start": False, "end": False, "profile": None} or first["log"]["end"] in {True, False}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ("{}", "no protocol"),
        ('{"protocol": "tcp"}', "--from-zone and --to-zone"),
        ('{"protocol": "tcp", "colour": "red"}', "'colour' is not known"),
        (json.dumps(WEB_TO_DB | {"port": "http"}), "port 'http' is no number"),
        (json.dumps(WEB_TO_DB | {"port": True}), "'port' is true, neither text nor a number"),
        (json.dumps(WEB_TO_DB | {"from_zone": ["web"]}), "'from_zone' is [\"web\"], neither text nor a number"),
        (json.dumps(WEB_TO_DB | {"from-zone": "db"}), "one thing twice"),
        (json.dumps(WEB_TO_DB | {"port": 99999}), "not within"),
        (json.dumps(WEB_TO_DB | {"source": "here"}), "no IP address"),
        (json.dumps(WEB_TO_DB | {"at": "noon"}), "RFC 3339"),
        (json.dumps(WEB_TO_DB | {"source": {"a": 1}}), "neither text nor a number"),
    ],
)
def test_a_line_that_cant_be_read_is_told_and_the_others_are_answered(line, words):
    good = json.dumps(WEB_TO_DB)
    first, bad, last = asked(f"{good}\n{line}\n\n{good}", rule("rest"))
    assert words in bad["error"]
    assert (bad["line"], "needs" in bad) == (2, False)
    assert (first["verdict"], last["verdict"], last["line"]) == ("allow", "allow", 4)


def test_what_a_rule_needs_and_was_not_given_is_named():
    by_schedule = rule("by app", applications=workload("orders"))
    (found,) = asked(json.dumps(WEB_TO_DB), by_schedule)
    assert found["needs"] == ["--app"]
    assert found["rule"]["name"] == "by app"


def test_a_column_that_is_not_known_is_refused_at_once():
    with pytest.raises(InputError, match="column 'colour'"):
        list(flows_in("protocol,colour\ntcp,red\n"))
    assert list(flows_in("")) == []


def test_csv_with_too_many_cells_or_an_open_quote_is_told():
    assert [given for _, given in flows_in("protocol,port\ntcp,80,90\n")] == [
        "it has more cells than the header has columns"
    ]
    ((_, told),) = flows_in('protocol,port\n"tcp,80\n')
    assert "no line of CSV" in told


SERVICES = AddressSet.parse(["10.96.0.0/12", "fd00:10:96::/112"])
TO_SERVICE = {"from_zone": "web", "to_zone": "outside", "protocol": "tcp", "port": 80, "destination": "10.96.0.77"}


@pytest.mark.parametrize(
    ("change", "verdict", "by"),
    [
        ({}, "reset", "infrastructure/untranslated-service"),
        ({"destination": "fd00:10:96::7"}, "reset", "infrastructure/untranslated-service"),
        ({"destination": "192.0.2.1"}, "allow", "to anywhere"),
        ({"from_zone": "outside"}, "allow", "to anywhere"),
        ({"from_zone": "nodes"}, "allow", "to anywhere"),
    ],
)
def test_what_a_pod_sends_to_an_untranslated_service_is_refused_in_a_list_too(change, verdict, by):
    some = policy(rule("to anywhere", to_zones=frozenset({"outside"})))
    (found,) = answers(json.dumps(TO_SERVICE | change), some, Zoning(), SERVICES)
    assert (found["verdict"], found["rule"]["name"]) == (verdict, by)
