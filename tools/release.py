"""dist/: wheel, chart, kubectl plugin, Splunk app, bill of materials, checksums. One commit: the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools import plugin, splunk
from tools.values import CHART
from tools.version import ROOT, version

LOCK = ROOT / "config" / "image" / "requirements.lock"
PIN = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^ ;\\]+)(?P<rest>(?:.*\\\n)*.*)", re.MULTILINE
)
IGNORED = (".helmignore",)


def release(target: Path, epoch: int, url: str) -> None:
    """Everything that is published, made anew. `epoch`: the time that all of it bears.

    `url`: the folder that it will be found in.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    _wheel(target, epoch)
    (target / f"zonebridge-{version()}.tgz").write_bytes(chart(epoch))
    plugin.write(target, epoch, url)
    (target / splunk.package_name()).write_bytes(splunk.package(epoch))
    (target / f"zonebridge-{version()}.cdx.json").write_text(json.dumps(bill(), indent=2) + "\n")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(target.iterdir())]
    (target / "SHA256SUMS").write_text("".join(sums))


def _wheel(target: Path, epoch: int) -> None:
    """From a copy, so that no earlier build's leftovers get into it."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--disable-pip-version-check",
        "--no-deps",
        "-w",
        str(target),
        ".",
    ]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch)}, check=True)
    shutil.rmtree(ROOT / "build", ignore_errors=True)


def chart(epoch: int) -> bytes:
    """As `helm package` packs it, but with one time and one order."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, name in sorted(
            _files(CHART, "zonebridge"), key=lambda each: (each[1] != "zonebridge/Chart.yaml", each[1])
        ):
            content = path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), epoch, 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=epoch)


def _files(folder: Path, name: str) -> Iterator[tuple[Path, str]]:
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files(path, f"{name}/{path.name}")
        elif path.name not in IGNORED:
            yield path, f"{name}/{path.name}"


def bill() -> dict[str, Any]:
    """What the image holds beside its base, as CycloneDX 1.6."""
    ours = f"pkg:pypi/zonebridge@{version()}"
    components = [_component(found) for found in PIN.finditer(LOCK.read_text())]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": ours,
                "name": "zonebridge",
                "version": version(),
                "purl": ours,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": ours, "dependsOn": [each["bom-ref"] for each in components]}],
    }


def _component(found: re.Match[str]) -> dict[str, Any]:
    name = re.sub(r"[-_.]+", "-", found["name"]).lower()
    reference = f"pkg:pypi/{name}@{found['version']}"
    return {"type": "library", "bom-ref": reference, "name": name, "version": found["version"], "purl": reference}


def _epoch() -> int:
    """The commit's time, unless the environment says another."""
    command = ["git", "log", "-1", "--format=%ct"]
    committed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return int(os.environ.get("SOURCE_DATE_EPOCH") or committed)


def main() -> int:
    target = ROOT / "dist"
    if sys.argv[1:] == ["splunk"]:
        target.mkdir(exist_ok=True)
        (target / splunk.package_name()).write_bytes(splunk.package(_epoch()))
        return 0
    url = os.environ.get("RELEASE_URL") or f"https://releases.example.com/zonebridge/v{version()}"
    release(target, _epoch(), url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
