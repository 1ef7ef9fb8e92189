"""The kubectl plugin as its users get it: one file that needs Python alone, and that krew installs by its manifest."""

import ast
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile

import pytest
import yaml

from mocks.kubernetes import KubernetesServer
from tests.apiserver.programs import Unavailable
from tests.chart.programs import program
from tests.enforcer import smallcluster as world
from tools import plugin

EPOCH = 1_800_000_000
URL = "https://releases.example.com/zonebridge/v0"


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    plugin.write(folder, EPOCH, URL)
    return folder


@pytest.fixture(scope="module")
def unpacked(dist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(dist / plugin.archive_name()) as archive:
        archive.extractall(folder, filter="data")
    return folder / plugin.NAME


def test_twice_it_is_the_same_bytes(dist):
    assert plugin.archive(EPOCH) == (dist / plugin.archive_name()).read_bytes()


def test_it_holds_our_modules_and_nothing_that_was_not_asked_for(unpacked):
    names = zipfile.ZipFile(io.BytesIO(unpacked.read_bytes())).namelist()
    assert {name.partition("/")[0] for name in names} == {"bridge", "zones", "__main__.py"}
    assert not {"zones/kube/client.py", "bridge/settings/models.py", "bridge/cli.py"} & set(names)
    assert unpacked.stat().st_mode & 0o777 == 0o755


def test_a_python_that_is_too_old_says_so():
    """The first file must be readable for it: no syntax that is newer than 3.6."""
    ast.parse(plugin.MAIN, feature_version=(3, 6))
    assert "Python 3.11 or newer" in plugin.MAIN


def test_the_manifest_names_what_is_in_the_archive(dist):
    manifest = yaml.safe_load((dist / plugin.MANIFEST).read_text())
    (platform,) = manifest["spec"]["platforms"]
    content = (dist / plugin.archive_name()).read_bytes()
    assert platform["uri"] == f"{URL}/{plugin.archive_name()}"
    assert platform["sha256"] == hashlib.sha256(content).hexdigest()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert {platform["bin"], "LICENSE"} == set(archive.getnames())


@pytest.mark.apiserver
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["explain", "-n", "shop", "web-0", "10.1.0.20", "--port", "5432"], "allow  by 'allow-web'"),
        (["why", "-A"], "no pod was told of a refusal"),
        (["zones", "-A"], "ZONE"),
        (["status"], "DEVICE GROUP"),
        (["quarantine", "list"], "REQUESTED BY"),
    ],
)
def test_each_command_needs_python_and_kubectl_alone(unpacked, programs, words, told):
    """-S: without site-packages, so that an import that comes late would fail too."""
    with KubernetesServer() as server:
        for definition in (*world.definitions(), world._definition("Zone", "zones")):
            server.create(definition)
        metadata = {"name": "shop", "annotations": {"zonebridge.io/zones": "web,db"}}
        server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        tier = world.tier(7)
        for each in (
            tier.tier,
            *tier.parts,
            world.pod("web-0", "10.1.0.10", "web"),
            world.pod("db-0", "10.1.0.20", "db"),
        ):
            server.create(each)
            if "status" in each:
                server.set_status(each)
        path = f"{programs.kubectl.parent}{os.pathsep}{os.environ['PATH']}"
        environment = {"PATH": path, "KUBECONFIG": str(server.kubeconfig)}
        command = [sys.executable, "-I", "-S", str(unpacked), *words]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert told in ended.stdout, ended.stderr


@pytest.mark.apiserver
@pytest.mark.chart
def test_krew_installs_it_and_kubectl_runs_it(dist, programs, tmp_path):
    krew = program("krew", may_build=False)
    if isinstance(krew, Unavailable):
        pytest.skip(krew.reason)
    root = tmp_path / "krew"
    path = f"{root / 'bin'}{os.pathsep}{programs.kubectl.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "KREW_ROOT": str(root), "HOME": str(tmp_path), "KREW_NO_UPGRADE_CHECK": "1"}

    def run(*command):
        return subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)

    given = [f"--manifest={dist / plugin.MANIFEST}", f"--archive={dist / plugin.archive_name()}"]
    installed = run(krew, "install", *given)
    assert installed.returncode == 0, installed.stderr
    assert "Needs Python 3.11" in installed.stderr
    assert (root / "store" / "zonebridge").is_dir()
    shown = run(programs.kubectl, "zonebridge", "completion")
    assert "exec kubectl zonebridge __complete" in shown.stdout, shown.stderr
    content = (dist / plugin.archive_name()).read_bytes()
    (tmp_path / "damaged.tar.gz").write_bytes(content[:-1] + b"x")
    environment["KREW_ROOT"] = str(tmp_path / "another")
    refused = run(krew, "install", given[0], f"--archive={tmp_path / 'damaged.tar.gz'}")
    assert refused.returncode != 0, "krew looks at the checksum"
