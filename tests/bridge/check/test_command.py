"""`zonebridge check` on a real API server: before the installation, and on one that is there."""

import json
import os

import pytest
from typer.testing import CliRunner

from bridge.cli import app

pytestmark = pytest.mark.apiserver


def check(kubeconfig, *arguments):
    return CliRunner().invoke(app, ["check", "--kubeconfig", str(kubeconfig), "-o", "json", *arguments])


def found(result, group):
    return [(each["status"], each["what"]) for each in json.loads(result.output)["findings"] if each["group"] == group]


def test_an_installation_without_a_bridge_at_work(guarded):
    """Nothing runs here, and the check says so; what is there is well."""
    result = check(guarded.kubeconfig)
    assert result.exit_code == 1
    assert [status for status, _ in found(result, "Kubernetes")] == ["ok", "ok"]
    assert ("ok", "Pod Security: only the enforcers' namespace is privileged") in found(result, "Installation")
    assert any(
        status == "ok" and "admission policies are in force" in what for status, what in found(result, "Installation")
    )
    assert any("of 2 bridges are ready" in what for _, what in found(result, "Installation"))
    assert {status for status, _ in found(result, "Rights")} == {"ok"}, found(result, "Rights")


def test_somebody_without_rights_gets_unknowns_and_no_ok_from_them(guarded):
    result = check(guarded.kubeconfig_for("nobody", ["system:authenticated"]))
    assert result.exit_code == 1
    statuses = {status for status, _ in found(result, "Installation")}
    assert "unknown" in statuses
    assert not json.loads(result.output)["good"]


def test_an_api_server_that_is_away(tmp_path, guarded):
    away = tmp_path / "kubeconfig"
    away.write_text(guarded.kubeconfig.read_text().replace(f":{guarded.port}", ":1"))
    result = check(away)
    assert result.exit_code == 1
    assert "no answer" in str(result.exception)


def test_settings_that_are_wrong_end_with_2(tmp_path, guarded):
    (tmp_path / "zonebridge.yaml").write_text("panorama: {hosts: []}\n")
    result = check(guarded.kubeconfig, "-c", str(tmp_path / "zonebridge.yaml"))
    assert getattr(result.exception, "exit_code", None) == 2
    assert os.fspath(tmp_path) in str(result.exception)
