"""`zonebridge posture` on a real API server, and its exit codes."""

import json

import pytest
from typer.testing import CliRunner

from bridge.cli import app

pytestmark = pytest.mark.apiserver


def posture(*arguments):
    return CliRunner().invoke(app, ["posture", *map(str, arguments)])


@pytest.fixture(scope="module")
def seen(guarded):
    return posture("--kubeconfig", guarded.kubeconfig, "-o", "json")


def test_trouble_ends_with_1_and_every_check_is_answered(seen):
    assert seen.exit_code == 1
    value = json.loads(seen.output)
    unknown = {check["id"] for check in value["checks"] if check["result"] == "unknown"}
    not_to_be_seen = ("api-server-", "controller-manager-", "scheduler-", "etcd-", "kubelet-")
    # Tests that share the server leave nodes there of which no enforcer speaks.
    assert {name for name in unknown if not name.startswith(not_to_be_seen)} <= {"unseen-traffic"}
    assert value["hidden"] == []
    results = {check["id"]: check for check in value["checks"]}
    assert results["admission-in-force"]["result"] == "pass"
    wildcards = {violation["what"] for violation in results["wildcard-roles"]["violations"]}
    assert "ClusterRole operator has a * in its API groups, resources" in wildcards


def test_somebody_without_rights_gets_unknowns(guarded):
    result = posture("--kubeconfig", guarded.kubeconfig_for("nobody", ["system:authenticated"]), "-o", "json")
    assert result.exit_code == 1
    assert json.loads(result.output)["counts"]["pass"] == 0


def test_an_exception_of_the_settings_holds(guarded, tmp_path):
    exceptions = [
        {"check": "wildcard-roles", "object": "*", "owner": "o", "reason": "r", "until": "2999-01-01"},
    ]
    (tmp_path / "zonebridge.yaml").write_text(json.dumps({"posture": {"exceptions": exceptions}}))
    result = posture("--kubeconfig", guarded.kubeconfig, "-c", tmp_path / "zonebridge.yaml", "-o", "json")
    results = {check["id"]: check["result"] for check in json.loads(result.output)["checks"]}
    assert results["wildcard-roles"] == "pass"


@pytest.mark.parametrize("form", ["table", "csv", "html", "ocsf", "openreports"])
def test_every_form_can_be_had(guarded, form):
    result = posture("--kubeconfig", guarded.kubeconfig, "-o", form)
    assert result.exit_code == 1
    assert "cluster-admins" in result.output


def test_bad_input_ends_with_2(tmp_path, guarded):
    (tmp_path / "n1.json").write_text("{}")
    result = posture("--kubeconfig", guarded.kubeconfig, "--kube-bench", tmp_path / "n1.json")
    assert getattr(result.exception, "exit_code", None) == 2


def test_an_api_server_that_is_away_is_unknown_in_all(tmp_path, guarded):
    away = tmp_path / "kubeconfig"
    away.write_text(guarded.kubeconfig.read_text().replace(f":{guarded.port}", ":1"))
    result = posture("--kubeconfig", away, "-o", "json")
    assert result.exit_code == 1
    value = json.loads(result.output)
    assert value["counts"]["unknown"] == len(value["checks"])
