"""The wheel as a user gets it: our three packages and nothing else, and two commands that work."""

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.registry


def run(*command, **environment):
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ | environment
    ).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    run("git", "clone", "-q", ROOT, copy)
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, copy)
    return next(folder.glob("*.whl"))


@pytest.mark.timeout(300)
def test_the_wheel_holds_our_packages_only(wheel):
    top = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"bridge", "enforcer", "zones"}


@pytest.mark.timeout(300)
def test_every_package_is_in_the_wheel(wheel):
    packed = {str(Path(name).parent) for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    tracked = run("git", "ls-files", "bridge/*.py", "enforcer/*.py", "zones/*.py").split()
    assert packed == {str(Path(name).parent) for name in tracked}


def test_every_folder_is_a_package():
    """setuptools takes folders of data for packages, too, and will leave out what it isn't told of."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    tracked = run("git", "ls-files", "bridge", "enforcer", "zones").split()
    assert sorted(listed) == sorted({".".join(Path(name).parent.parts) for name in tracked})


@pytest.mark.timeout(300)
@pytest.mark.parametrize("folder", ["bridge/pages/templates", "bridge/reports/controls"])
def test_what_pages_and_reports_are_made_from_is_in_the_wheel(wheel, folder):
    tracked = run("git", "ls-files", folder).split()
    assert tracked
    assert set(tracked) <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", ["zonebridge", "zone-enforcer"])
def test_its_commands_work_in_a_fresh_environment(wheel, tmp_path, command):
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(tmp_path / "venv/bin/pip", "install", "-q", "--no-deps", wheel)
    dependencies = sysconfig.get_paths()["purelib"]
    shown = run(tmp_path / "venv/bin" / command, "--help", PYTHONPATH=dependencies, PYTHONSAFEPATH="1")
    assert command in shown
