"""What a report says: exceptions, results of kube-bench, and each form by what its readers demand."""

import csv
import io
import json
from datetime import UTC, date, datetime

import jsonschema
import pytest
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from bridge import pages
from bridge.commands.posture import report_of
from bridge.posture import kube_bench
from bridge.posture.catalogue import CHECKS
from bridge.posture.check import CheckResult
from bridge.posture.forms.findings_ocsf import compliance_findings
from bridge.posture.forms.open_report import cluster_report
from bridge.posture.forms.report_text import report_csv, report_lines
from bridge.posture.report import report_json
from bridge.posture.snapshot import Input
from bridge.settings.models import PostureSettings
from tests.bridge.posture.cases import GOOD, bound, granted, pod
from tests.bridge.posture.test_checks import snapshot
from zones.runtime.errors import InputError

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOSTILE = "</script><svg onload=alert(1)>"
EXCEPTION = {
    "check": "secret-readers",
    "object": "ClusterRoleBinding vault*",
    "owner": "platform team",
    "reason": "it syncs Secrets",
    "until": "2026-12-31",
}


def report(*objects, exceptions=(), imported=(), hidden=None, at=AT):
    seen = snapshot(*GOOD, *objects)
    if hidden is not None:
        seen = seen.without(hidden, "forbidden")
    settings = PostureSettings.model_validate({"exceptions": list(exceptions)})
    return report_of("prod", seen, settings, imported, at)


def outcome(made, name):
    return next(each for each in made.outcomes if each.check.id == name)


def kube_bench_output(*results, version="cis-1.12"):
    listed = [
        {
            "test_number": number,
            "status": status,
            "reason": why,
            "test_desc": "the benchmark's own text",
            "actual_value": "s3cret",
        }
        for number, status, why in results
    ]
    return json.dumps(
        {"Controls": [{"version": version, "tests": [{"section": "1.1", "results": listed}]}], "Totals": {}}
    )


class TestExceptions:
    def test_a_violation_that_somebody_answers_for_is_no_failure(self):
        made = report(*granted("vault-sync", ["get"], ["secrets"]), exceptions=[EXCEPTION])
        looked_at = outcome(made, "secret-readers")
        assert (looked_at.result, looked_at.why) == (CheckResult.PASS, "but for 1 exception")
        (excepted,) = looked_at.excepted
        assert (excepted.owner, excepted.reason, excepted.until) == ("platform team", "it syncs Secrets", "2026-12-31")

    def test_others_stay_violations(self):
        both = [*granted("vault-sync", ["get"], ["secrets"]), *granted("snoop", ["get"], ["secrets"])]
        looked_at = outcome(report(*both, exceptions=[EXCEPTION]), "secret-readers")
        assert looked_at.result is CheckResult.FAIL
        assert [str(each.of) for each in looked_at.violations] == ["ClusterRoleBinding snoop"]
        assert len(looked_at.excepted) == 1

    @pytest.mark.parametrize(("day", "result"), [(31, CheckResult.PASS), (32, CheckResult.FAIL)])
    def test_it_holds_for_its_last_day_and_no_longer(self, day, result):
        at = datetime(2026, 12, 31, 23, 59, tzinfo=UTC) if day == 31 else datetime(2027, 1, 1, tzinfo=UTC)
        made = report(*granted("vault-sync", ["get"], ["secrets"]), exceptions=[EXCEPTION], at=at)
        assert outcome(made, "secret-readers").result is result
        assert [each.until for each in made.exceptions.expired] == ([] if day == 31 else [date(2026, 12, 31)])

    def test_one_of_another_check_is_of_no_use_and_told(self):
        made = report(*granted("vault-sync", ["create"], ["pods"]), exceptions=[EXCEPTION])
        assert outcome(made, "pod-creators").result is CheckResult.FAIL
        assert [each.object for each in made.exceptions.unused] == ["ClusterRoleBinding vault*"]
        assert "exception of nothing that is wrong: secret-readers" in "\n".join(report_lines(made))

    def test_what_is_unknown_cant_be_excepted(self):
        made = report(exceptions=[EXCEPTION | {"object": "*"}], hidden=Input.ROLES)
        assert outcome(made, "secret-readers").result is CheckResult.UNKNOWN

    def test_a_check_that_there_isnt_is_a_fault(self):
        with pytest.raises(ValueError, match="there is no check 'secrets'"):
            report(exceptions=[EXCEPTION | {"check": "secrets"}])


class TestKubeBench:
    def read(self, text, file="n1.json"):
        return kube_bench.read_results(text, file, AT)

    def test_what_nobody_else_looked_at_is_taken_in_with_source_and_age(self):
        text = kube_bench_output(("1.1.9", "FAIL", ""), ("4.1.10", "WARN", "not run"), ("5.1.1", "PASS", ""))
        made = report(imported=self.read(text))
        assert [(each.number, each.result) for each in made.imported] == [
            ("1.1.9", CheckResult.FAIL),
            ("4.1.10", CheckResult.UNKNOWN),
        ]
        value = report_json(made)["imported"][0]
        assert value["source"] == "kube-bench"
        assert value["file"] == "n1.json"
        assert value["at"] == "2026-11-30T12:00:00+00:00"
        assert not made.good

    def test_where_our_own_check_is_unknown_it_counts(self):
        made = report(imported=self.read(kube_bench_output(("5.1.1", "PASS", ""))), hidden=Input.ROLES)
        assert [each.number for each in made.imported] == ["5.1.1"]
        assert outcome(made, "cluster-admins").result is CheckResult.UNKNOWN

    def test_numbers_of_another_benchmark_mean_something_else(self):
        made = report(imported=self.read(kube_bench_output(("5.1.1", "FAIL", ""), version="eks-1.8.0")))
        assert [each.reference for each in made.imported] == ["eks-1.8.0 5.1.1"]

    def test_neither_the_benchmarks_text_nor_values_are_repeated(self):
        text = json.dumps(report_json(report(imported=self.read(kube_bench_output(("1.1.9", "FAIL", ""))))))
        assert "own text" not in text
        assert "s3cret" not in text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[",
            "{}",
            "[1]",
            '{"Controls": [{}]}',
            kube_bench_output(("1.1.9", "GOOD", "")),
            kube_bench_output(("x", "PASS", "")),
            "[" * 5000,
        ],
    )
    def test_what_is_no_output_of_it_is_refused(self, text):
        with pytest.raises(InputError, match=r"n1\.json is no output of kube-bench"):
            self.read(text)


class TestForms:
    @pytest.fixture
    def mixed(self):
        objects = [
            *granted("vault-sync", ["get"], ["secrets"]),
            pod("strong", context={"privileged": True}),
            bound("a", "b"),
        ]
        return report(*objects, exceptions=[EXCEPTION], hidden=Input.SERVICES)

    def test_json_has_every_check_and_counts(self, mixed):
        value = report_json(mixed)
        assert [check["id"] for check in value["checks"]] == [check.id for check in CHECKS]
        assert sum(value["counts"].values()) == len(CHECKS)
        assert value["good"] is False
        assert value["hidden"] == ["services: forbidden"]
        privileged = next(check for check in value["checks"] if check["id"] == "privileged-pods")
        assert privileged["reference"] == "CIS 2.0.1 5.2.2"
        assert privileged["violations"][0]["object"] == {"kind": "Pod", "name": "strong", "namespace": "shop"}

    def test_csv_has_a_line_for_each_violation_and_check(self, mixed):
        rows = list(csv.DictReader(io.StringIO(report_csv(mixed))))
        assert {row["check"] for row in rows} == {check.id for check in CHECKS}
        (excepted,) = [row for row in rows if row["exception_owner"]]
        assert (excepted["check"], excepted["result"]) == ("secret-readers", "pass")

    def test_the_table_never_says_a_share(self, mixed):
        text = "\n".join(report_lines(mixed))
        assert "%" not in text
        assert "could not be read, so what needs it is unknown:" in text

    def test_ocsf_is_valid_by_the_published_schema(self, mixed):
        schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0"))
        validator = jsonschema.Draft202012Validator(schema.get_class_schema(class_name="compliance_finding"))
        findings = list(compliance_findings(mixed))
        assert [
            f"{error.json_path}: {error.message}" for each in findings for error in validator.iter_errors(each)
        ] == []
        assert len(findings) == len(CHECKS)
        statuses = {each["compliance"]["control"]: each["compliance"]["status_id"] for each in findings}
        assert statuses["privileged-pods"] == 3
        assert statuses["hidden-clients"] == 0
        assert statuses["secret-readers"] == 1

    def test_an_open_report_calls_what_is_unknown_an_error(self, mixed):
        value = cluster_report(mixed)
        assert value["summary"] == {
            "pass": mixed.counts()[CheckResult.PASS],
            "fail": mixed.counts()[CheckResult.FAIL],
            "warn": 0,
            "error": 1,
            "skip": mixed.counts()[CheckResult.NOT_APPLICABLE],
        }
        results = {each["policy"]: each for each in value["results"]}
        assert results["hidden-clients"]["result"] == "error"
        assert {each["severity"] for each in results.values()} <= {"critical", "high", "low", "medium", "info"}
        assert all(isinstance(text, str) for each in results.values() for text in each["properties"].values())

    def test_a_page_lets_no_name_out_of_its_cell(self):
        binding = bound(HOSTILE, "snoop")
        page = pages.page_html(pages.posture_page(report(*granted("snoop", ["get"], ["secrets"]), binding)))
        assert HOSTILE not in page
        assert "&lt;/script&gt;&lt;svg onload=alert(1)&gt;" in page

    def test_no_name_steers_a_terminal_or_a_spreadsheet(self):
        made = report(*granted("=cmd", ["get"], ["secrets"]), pod("\x1b[2J", hostIPC=True))
        assert "\x1b" not in "\n".join(report_lines(made))
        assert "\x1b" not in report_csv(made)
