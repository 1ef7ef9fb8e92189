"""docs/install.md and docs/enforce.md, followed on a real API server: their commands, in their order, as they stand there."""

import os
import shlex
import subprocess
import textwrap
from itertools import takewhile

import pytest
import yaml

from tests.apiserver.installed import CONFIG, ENFORCER_NAMESPACE, FLAGS
from tests.chart.conftest import built
from tests.realkube import RealKube

pytestmark = [pytest.mark.chart, pytest.mark.apiserver, pytest.mark.timeout(300)]
ROOT = CONFIG.parent
FILES = ("key.txt", "panorama-ca.pem", "hec-token.txt", "siem-ca.pem")
# What needs pods that run, and there is no kubelet here: the test on the real cluster has these.
NEEDS_PODS = ("exec ", "rollout status", "zonebridge check", "zone-enforcer flush")


def blocks(page, language):
    """The text of each fenced block of a language."""
    lines = iter((ROOT / "docs" / page).read_text().splitlines())
    for line in lines:
        if line.strip().startswith("```"):
            inside = takewhile(lambda each: each.strip() != "```", lines)
            block = textwrap.dedent("\n".join(inside))
            if line.strip() == f"```{language}":
                yield block


def commands(page):
    for block in blocks(page, ""):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.partition("  #")[0].strip()
            if command.startswith(("helm ", "kubectl ")) and not any(each in command for each in NEEDS_PODS):
                yield command


class Reader:
    """Somebody who types what the page says, in the folder of the tree."""

    def __init__(self, kube, programs, folder):
        self.kube = kube
        (folder / "bin").mkdir()
        (folder / "bin" / "helm").symlink_to(built("helm3"))
        (folder / "bin" / "kubectl").symlink_to(programs.kubectl)
        (folder / "config").symlink_to(CONFIG)
        for name in FILES:
            (folder / name).write_text("content")
        self._folder = folder
        self._environment = os.environ | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "KUBECONFIG": str(kube.kubeconfig),
            "HOME": str(folder),
            "KUBERC": "off",
        }

    def write(self, name, text):
        (self._folder / name).write_text(text)

    def type(self, command):
        ended = subprocess.run(
            shlex.split(command), cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, f"{command}\n{ended.stderr}"
        return ended.stdout


@pytest.fixture
def reader(programs, tmp_path):
    with RealKube(programs, FLAGS) as kube:
        yield Reader(kube, programs, tmp_path)


def mode(reader):
    told = reader.kube.kubectl("get", "configmap", "zone-enforcer-settings", "-n", ENFORCER_NAMESPACE, "-o", "yaml")
    return yaml.safe_load(yaml.safe_load(told)["data"]["enforcer.yaml"])["mode"]


def test_installing_with_helm_and_going_on_to_enforce(reader):
    (values,) = (each for each in blocks("install.md", "yaml") if "deviceGroup" in each)
    reader.write("values.yaml", values)
    for command in commands("install.md"):
        if " -k " not in command and "config/crd" not in command:
            reader.type(command)
    assert mode(reader) == "observe"
    secrets = reader.kube.kubectl(
        "get", "secrets", "-A", "--no-headers", "-o", "custom-columns=N:.metadata.name"
    ).split()
    assert {"zonebridge-panorama", "zone-enforcer-siem"} <= set(secrets)

    forth, *back = [each for each in commands("enforce.md") if each.startswith("helm upgrade")]
    reader.type(forth)
    assert mode(reader) == "enforce"
    for command in back:
        reader.type(command)
    assert mode(reader) == "observe"
    (by_environment,) = (each for each in commands("enforce.md") if "set env" in each)
    reader.type(by_environment)
    told = reader.kube.kubectl("get", "ds", "zone-enforcer", "-n", ENFORCER_NAMESPACE, "-o", "yaml")
    variables = yaml.safe_load(told)["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "ZONEBRIDGE_MODE", "value": "observe"} in variables


def test_installing_with_kubectl_alone(reader):
    first = [
        each for each in commands("install.md") if "secret generic zonebridge-panorama" in each or " namespace " in each
    ]
    apply = [each for each in commands("install.md") if " -k " in each or "config/crd" in each]
    assert len(apply) == 2
    for command in (*first, *apply, *apply):
        reader.type(command)
    deployed = reader.kube.kubectl("get", "deployments,daemonsets", "-A", "-o", "name").split()
    assert deployed == ["deployment.apps/zonebridge", "daemonset.apps/zone-enforcer"]
