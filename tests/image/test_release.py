"""What is published: one version everywhere, the same bytes each time, and an image's folder that works and is small."""

import json
import os
import re
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
import yaml

from tools import release, version

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "config" / "image"
# With the base's 57 MB an image stays below 150.
MOST_BYTES = 92_000_000


def pins(path):
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", version.PLACES)
def test_the_version_is_everywhere_the_wheels(path):
    assert (ROOT / path).read_text() == version.written(path), "run make generate"


def test_images_hold_what_tests_ran_with():
    image, development = pins(IMAGE / "requirements.lock"), pins(ROOT / "requirements.lock")
    assert image
    assert {name: development.get(name) for name in image} == image
    assert not {"pytest", "mypy", "ruff"} & image.keys()


def test_the_containerfile_copies_what_is_there():
    text = (IMAGE / "Containerfile").read_text()
    sources = [each for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for each in line.split()]
    assert sources
    assert all(each == "dist/*.whl" or (ROOT / each).is_file() for each in sources)
    assert re.search(r"^USER 65532", text, re.MULTILINE)


def test_the_chart_is_packed_the_same_each_time_and_by_content():
    packed = release.chart(1_700_000_000)
    assert packed == release.chart(1_700_000_000)
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        names = archive.getnames()
        assert all(each.isreg() and each.mtime == 1_700_000_000 for each in archive)
        chart = yaml.safe_load(archive.extractfile("zonebridge/Chart.yaml"))
    assert names[0] == "zonebridge/Chart.yaml"
    assert "zonebridge/files/crd/zonebridge.io_tiers.yaml" in names
    assert chart["version"] == chart["appVersion"] == version.version()


@pytest.mark.chart
def test_helm_takes_the_package(tmp_path):
    from tests.chart.conftest import built  # noqa: PLC0415 - skips without Helm

    (tmp_path / "chart.tgz").write_bytes(release.chart(0))
    command = [built("helm3"), "show", "chart", tmp_path / "chart.tgz"]
    shown = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"HOME": str(tmp_path)}
    )
    assert yaml.safe_load(shown.stdout)["name"] == "zonebridge"


def test_the_bill_of_materials_names_each_pin():
    bill = release.bill()
    assert {each["name"]: each["version"] for each in bill["components"]} == pins(IMAGE / "requirements.lock")
    assert json.dumps(bill) == json.dumps(release.bill())
    assert all(each["purl"].startswith("pkg:pypi/") for each in bill["components"])


@pytest.mark.registry
@pytest.mark.timeout(600)
def test_a_release_is_the_same_twice_and_its_image_works(tmp_path):
    for name in ("one", "two"):
        release.release(tmp_path / name, 1_700_000_000, "https://releases.example.com/")
    assert (tmp_path / "one" / "SHA256SUMS").read_text() == (tmp_path / "two" / "SHA256SUMS").read_text()
    (wheel,) = (tmp_path / "one").glob("*.whl")
    assert f"-{version.version()}-" in wheel.name
    folder = tmp_path / "image"
    subprocess.run([sys.executable, IMAGE / "install.py", folder, wheel], check=True)
    size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    assert size < MOST_BYTES, f"{size / 1e6:.0f} MB"
    for command in ("zonebridge", "zone-enforcer"):
        environment = {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/"}
        started = [sys.executable, "-S", folder / "bin" / command, "--help"]
        shown = subprocess.run(started, env=environment, capture_output=True, text=True, check=True)
        assert command in shown.stdout
    clients = "import zones.kube.client, enforcer.cluster.watch, kubernetes; print(kubernetes.__file__)"
    shown = subprocess.run(
        [sys.executable, "-S", "-c", clients], env=environment, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip().endswith("kubernetes/__init__.pyc")
