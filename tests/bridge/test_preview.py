"""What a candidate changes, as `zonebridge preview` says it."""

import json

import pytest

from tests.panorama_xml import config_text, entry, rule, rulebase, section

ORDERS = section("application", entry("orders", "<category>business-systems</category>"))
BY_USER = "<source-user><member>bob</member></source-user>"
DISABLED = "<disabled>yes</disabled>"
WEB = rule("web to db", from_="web", to="db", application="orders", service="application-default")
DENY = rule("no db", "drop", to="db")
ANY = rule("db to web", from_="db", to="web")


@pytest.fixture
def preview(run, tmp_path):
    """Preview a list of rules against another one; exit code, output and errors."""

    def go(running, candidate, *more):
        files = []
        for name, rules in (("running", running), ("candidate", candidate)):
            path = tmp_path / f"{name}.xml"
            path.write_text(config_text(shared=ORDERS, groups={"dg": rulebase("pre", *rules)}))
            files += [f"--{name}", path]
        return run("preview", *files, "--device-group", "dg", *more)

    return go


def as_json(answer, code=0):
    assert answer[0] == code, answer
    return json.loads(answer[1])


def test_a_new_rule_opens_what_it_says(preview):
    seen = as_json(preview([DENY], [WEB, DENY], "-o", "json"))
    assert [(each["name"], each["change"]) for each in seen["rules"]] == [("web to db", "added")]
    (tcp_and_udp,) = seen["changes"]
    assert (tcp_and_udp["from"], tcp_and_udp["to"], tcp_and_udp["intrazone"]) == ("web", "db", False)
    assert tcp_and_udp["workload"] == {"in": ["orders"]}
    assert tcp_and_udp["protocols"] == "6,17"
    assert (tcp_and_udp["old"]["verdict"], tcp_and_udp["old"]["rule"]["name"]) == ("deny", "no db")
    assert (tcp_and_udp["new"]["verdict"], tcp_and_udp["new"]["rule"]["name"]) == ("allow", "web to db")
    assert "infrastructure/node-to-own-pods" in tcp_and_udp["unless"]
    assert seen["summary"] == {
        "rules": 1,
        "zone_pairs_closed": 0,
        "zone_pairs_opened": 1,
        "objects": 0,
        "workload_pairs": None,
        "seen_denied": None,
        "violations": 0,
        "new_violations": 0,
    }


def test_a_rule_behind_a_deny_changes_nothing(preview):
    code, out, err = preview([DENY], [DENY, WEB])
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "No flow changes its verdict; 1 rules change"


def test_the_table_has_zones_traffic_and_both_rules(preview):
    code, out, _ = preview([ANY], [rule("db to web", from_="db", to="web", source="10.0.0.0/8")])
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("1 rules change; 1 zone pairs lose something allowed today, 0 get")
    row = next(line for line in lines if line.startswith("db "))
    assert row.split("  ")[0] == "db"
    assert "all but 10.0.0.0/8" in row
    assert "allow (db to web)" in row
    assert row.endswith("deny (interzone-default)")
    assert lines[-1].startswith("What these allow stays as it is: infrastructure/")


def test_rows_beyond_the_most_are_counted(preview):
    rules = [rule(f"rule {number}", from_="web", to=f"zone{number}") for number in range(4)]
    _, out, _ = preview([], rules, "--most", "1")
    assert "3 more; --most 4 or -o json has them all" in out


def test_a_candidate_that_would_be_refused_is_the_headline_and_1(preview):
    code, out, err = preview([DENY], [rule("by user", "deny", extra=BY_USER), DENY])
    assert code == 1
    assert out.splitlines()[0].startswith("WOULD BE REFUSED: 1 rules")
    assert "by user" in out
    assert "the candidate would be refused" in err
    seen = as_json(preview([DENY], [rule("by user", "deny", extra=BY_USER)], "-o", "json"), code=1)
    assert (seen["refused"], seen["changes"]) == (True, [])


def test_a_running_configuration_that_is_refused_is_told(preview):
    code, out, _ = preview([rule("by user", "deny", extra=BY_USER)], [DENY])
    assert code == 0
    assert out.startswith("The running configuration is refused as it is")


@pytest.mark.parametrize(
    ("condition", "running", "candidate", "code"),
    [
        ("any-denied", [WEB], [], 1),
        ("any-denied", [], [WEB], 0),
        ("new-allow", [], [WEB], 1),
        ("new-allow", [WEB], [], 0),
    ],
)
def test_a_pipeline_can_gate_on_it(preview, condition, running, candidate, code):
    assert preview(running, candidate, "--fail-on", condition)[0] == code


def test_a_rule_that_is_disabled_has_its_change_of_status(preview):
    seen = as_json(preview([ANY], [rule("db to web", from_="db", to="web", extra=DISABLED)], "-o", "json"))
    (change,) = seen["rules"]
    assert (change["change"], change["old"]["status"], change["new"]["status"]) == (
        "edited",
        "enforced",
        "not applicable",
    )
    assert seen["summary"]["zone_pairs_closed"] == 1


def test_bad_input_is_2(preview):
    assert preview([], [], "--at", "tomorrow")[0] == 2
    assert preview([], [], "--fail-on", "weather")[0] == 2
