"""kubectl itself against both servers: what an administrator types."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.apiserver.programs import cache
from tests.contract.api import Api
from tests.contract.definitions import GATE_PATH, GROUP, config_map, gate

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def kubectl(api: Api, home: Path) -> Kubectl:
    built = cache() / "kubectl"
    program = str(built) if built.exists() else shutil.which("kubectl")
    if program is None:
        pytest.skip("no kubectl: install one, or run `python -m tests.realkube build`")

    def run(*arguments: str, stdin: Any = None, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [program, "--kubeconfig", str(api.kubeconfig), "--cache-dir", str(home / "cache"), *arguments]
        text = yaml.safe_dump(stdin) if stdin else None
        environment = os.environ | {"HOME": str(home)}
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, env=environment, timeout=60, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def test_get_shows_the_columns(kubectl: Kubectl, api: Api, name: str) -> None:
    api.post(GATE_PATH, gate(name, guards=["a"]))
    header, row = kubectl("get", "gates", name).stdout.splitlines()
    assert header.split() == ["NAME", "SIDE", "HEIGHT", "READY", "AGE"]
    assert row.split()[:3] == [name, "north", "3"]
    wide = kubectl("get", "ctgate", name, "-o", "wide").stdout.splitlines()
    assert wide[0].split() == ["NAME", "SIDE", "HEIGHT", "READY", "GUARDS", "AGE"]


def test_get_as_json_and_by_label(kubectl: Kubectl, api: Api, name: str) -> None:
    made = api.post(GATE_PATH, gate(name, {"kubectl": name}))
    body = json.loads(kubectl("get", f"gates.{GROUP}", "-l", f"kubectl={name}", "-o", "json").stdout)
    assert [item["metadata"]["uid"] for item in body["items"]] == [made["metadata"]["uid"]]


def test_apply_creates_configures_and_leaves_alone(kubectl: Kubectl, api: Api, name: str) -> None:
    known = f"gate.{GROUP}/{name}"
    assert kubectl("apply", "-f", "-", stdin=gate(name, height=4)).stdout == f"{known} created\n"
    assert kubectl("apply", "-f", "-", stdin=gate(name, height=4)).stdout == f"{known} unchanged\n"
    assert kubectl("apply", "-f", "-", stdin=gate(name, motto="be good")).stdout == f"{known} configured\n"
    spec = api.get(f"{GATE_PATH}/{name}")["spec"]
    assert spec == {"side": "north", "height": 3, "motto": "be good"}


def test_apply_validates(kubectl: Kubectl, name: str) -> None:
    refused = kubectl("apply", "-f", "-", stdin=gate(name, colour="red"), code=1)
    assert 'unknown field "spec.colour"' in refused.stderr
    invalid = kubectl("apply", "-f", "-", stdin=gate(name, height=10), code=1)
    assert f'The Gate "{name}" is invalid: spec.height: Invalid value: 10' in invalid.stderr


def test_apply_on_the_server_side(kubectl: Kubectl, api: Api, name: str) -> None:
    apply = ("apply", "--server-side", "-f", "-")
    assert kubectl(*apply, stdin=gate(name, height=4)).stdout.endswith(" serverside-applied\n")
    other = ("--field-manager", "other")
    assert '"kubectl": .spec.height' in kubectl(*apply, *other, stdin=gate(name, height=5), code=1).stderr
    kubectl(*apply, *other, "--force-conflicts", stdin=gate(name, height=5))
    assert api.get(f"{GATE_PATH}/{name}")["spec"]["height"] == 5


def test_apply_moves_to_the_server_side(kubectl: Kubectl, api: Api, name: str) -> None:
    kubectl("apply", "-f", "-", stdin=gate(name, height=4))
    kubectl("apply", "--server-side", "-f", "-", stdin=gate(name, height=5))
    assert api.get(f"{GATE_PATH}/{name}")["spec"]["height"] == 5


def test_apply_of_a_builtin_kind(kubectl: Kubectl, api: Api, namespace: str) -> None:
    apply = ("apply", "-n", namespace, "-f", "-")
    kubectl(*apply, stdin=config_map("a", x="1", y="2"))
    kubectl(*apply, stdin=config_map("a", x="3"))
    assert api.get(f"/api/v1/namespaces/{namespace}/configmaps/a")["data"] == {"x": "3"}


def test_label_annotate_and_patch(kubectl: Kubectl, api: Api, name: str) -> None:
    api.post(GATE_PATH, gate(name))
    kubectl("label", "gate", name, "a=b")
    kubectl("annotate", "gate", name, "c=d")
    kubectl("patch", "gate", name, "--type=merge", "-p", '{"spec":{"height":7}}')
    kubectl("patch", "gate", name, "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Up"}}')
    item = api.get(f"{GATE_PATH}/{name}")
    assert (item["metadata"]["labels"], item["metadata"]["annotations"]) == ({"a": "b"}, {"c": "d"})
    assert (item["spec"]["height"], item["status"]) == (7, {"phase": "Up"})


def test_explain_reads_the_schema(kubectl: Kubectl) -> None:
    text = kubectl("explain", "gate.spec").stdout
    assert "side\t<string> -required-" in text
    assert "doors\t<[]Object>" in text


def test_wait_and_delete(kubectl: Kubectl, api: Api, name: str) -> None:
    api.post(GATE_PATH, gate(name))
    api.patch(f"{GATE_PATH}/{name}/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    kubectl("wait", "--for=condition=Ready", f"gate/{name}", "--timeout=10s")
    kubectl("delete", "gate", name, "--timeout=20s")
    assert "NotFound" in kubectl("get", "gate", name, code=1).stderr


def test_create_from_a_file(kubectl: Kubectl, name: str) -> None:
    kubectl("create", "-f", "-", stdin=gate(name))
    assert "AlreadyExists" in kubectl("create", "-f", "-", stdin=gate(name), code=1).stderr
