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


@pytest.mark.parametrize("condition", ["any-denied", "new-allow", "new-allow-from=web"])
def test_a_gate_on_what_changes_is_closed_where_that_is_not_known(preview, condition):
    refused = [rule("by user", "deny", extra=BY_USER)]
    code, _, err = preview(refused, [DENY], "--fail-on", condition)
    assert code == 1
    assert "the running configuration would be refused itself, so what changes is not known" in err
    assert preview(refused, [DENY], "--fail-on", "refused")[0] == 0


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


def night_shift(begin):
    hours = f"<daily><member>{begin}-05:00</member></daily>"
    return section("schedule", entry("night-shift", f"<schedule-type><recurring>{hours}</recurring></schedule-type>"))


def test_a_schedule_with_other_hours_is_told_by_its_hours(run, tmp_path):
    rules = rulebase("pre", rule("nightly", from_="web", to="db", extra="<schedule>night-shift</schedule>"))
    files = []
    for name, begin in (("running", "22:00"), ("candidate", "23:00")):
        path = tmp_path / f"{name}.xml"
        path.write_text(config_text(shared=night_shift(begin), groups={"dg": rules}))
        files += [f"--{name}", path]
    question = ("preview", *files, "--device-group", "dg", "--at", "2026-11-29T00:00:00Z")
    code, out, _ = run(*question)
    assert code == 0
    assert "any while night-shift (22:00-05:00 UTC, not 23:00-05:00 UTC)  allow (nightly)" in out
    (change,) = as_json(run(*question, "-o", "json"))["changes"]
    assert change["when"] == [
        {
            "active": ["night-shift"],
            "first": "2026-11-29T22:00:00+00:00",
            "schedules": [
                {"name": "night-shift", "windows": "22:00-05:00 UTC", "active": True},
                {"name": "night-shift", "windows": "23:00-05:00 UTC", "active": False},
            ],
        }
    ]


def test_a_schedule_of_one_content_is_told_by_its_name(run, tmp_path):
    rules = rule("nightly", from_="web", to="db", extra="<schedule>night-shift</schedule>")
    files = []
    for name, listed in (("running", [rules]), ("candidate", [])):
        path = tmp_path / f"{name}.xml"
        path.write_text(config_text(shared=night_shift("22:00"), groups={"dg": rulebase("pre", *listed)}))
        files += [f"--{name}", path]
    _, out, _ = run("preview", *files, "--device-group", "dg")
    assert "any while night-shift  allow (nightly)" in out


@pytest.mark.parametrize("matrix", ["", "not a matrix\n", "from,db\nweb,\n"])
def test_a_matrix_without_a_guard_rail_is_2(preview, tmp_path, matrix):
    path = tmp_path / "matrix.csv"
    path.write_text(matrix)
    code, out, err = preview([], [WEB], "--guardrails", path, "--fail-on", "guardrail")
    assert (code, out) == (2, "")
    assert "--guardrails: it has no guard rail" in err


def test_a_gate_on_what_was_seen_needs_what_was_seen(preview, tmp_path):
    code, out, err = preview([WEB], [], "--fail-on", "seen-denied")
    assert (code, out) == (2, "")
    assert "give it with --seen" in err
    path = tmp_path / "seen.jsonl"
    path.write_text("no record\n")
    code, out, err = preview([WEB], [], "--seen", path)
    assert (code, out) == (2, "")
    assert f"--seen '{path}': none of its 1 lines is a record of a flow" in err


def test_the_file_without_the_device_group_is_named(preview, run, tmp_path):
    preview([], [])
    other = tmp_path / "other.xml"
    other.write_text(config_text(groups={"dgs": ""}))
    files = "--running", tmp_path / "running.xml", "--candidate", other
    code, _, err = run("preview", *files, "--device-group", "dg")
    assert code == 2
    assert f"in '{other}': looking up device group 'dg'" in err


def test_a_zone_that_nobody_knows_is_told(preview, tmp_path):
    path = tmp_path / "matrix.csv"
    path.write_text("from,db,nodes\nwbe,never,never\nweb,never,\n")
    gate = "--guardrails", path, "--fail-on", "new-allow-from=wbe2", "--fail-on", "new-allow-from=web"
    code, _, err = preview([WEB], [WEB], *gate)
    unknown = "which no rule and no network knows; it is judged as any other zone"
    assert code == 0
    assert err.splitlines() == [
        f"zonebridge: preview: a guard rail names zone 'wbe', {unknown}",
        f"zonebridge: preview: --fail-on new-allow-from names zone 'wbe2', {unknown}",
    ]
