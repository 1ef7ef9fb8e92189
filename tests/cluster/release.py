"""The chart as a release on the test cluster, by either Helm; and a former version of it to upgrade from.

The former version is this tree's under another number, with a definition that lacks a field and a setting that is
another. `ZONEBRIDGE_FORMER=REF` takes the version of a commit instead: its chart, and an image made from its packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.chart.helm import CHART
from tests.cluster import image
from tests.cluster.installation import BRIDGE, DEVICE_GROUP, ENFORCER, NAMESPACE, ROOT, Installation

FORMER_VERSION = "0.0.9"
FORMER_IMAGE = f"docker.io/library/zonebridge:{FORMER_VERSION}"
LATER_FIELD = "enforcedZones"  # of NodeState's status
DEFINITION = "files/crd/zonebridge.io_nodestates.yaml"


@dataclass(frozen=True, slots=True)
class Release:
    """Helm on the administrator's machine, which knows nothing of the repository but the chart."""

    program: Path
    installation: Installation

    def helm(self, *words: str) -> str:
        """What it prints. Raises ClusterError."""
        control, home = self.installation.cluster.control, self.installation.folder / self.program.name
        environment = [f"HELM_{name}_HOME={home}" for name in ("CACHE", "CONFIG", "DATA")]
        command = [str(self.program), f"--kubeconfig={control.kubeconfig}", "-n", NAMESPACE]
        return control.require(["/usr/bin/env", *environment, *command, *words])

    def prepare_namespace(self) -> None:
        """As docs/install.md says."""
        kubectl = self.installation.cluster.kubectl
        kubectl("create", "namespace", NAMESPACE)
        kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        self.installation.apply_secrets(NAMESPACE)

    def change(self, verb: str, chart: Path, mode: str, *settings: str) -> None:
        """`install` or `upgrade`, with these values besides the site's own."""
        self.installation.enforcer = ENFORCER | {"mode": mode}
        sets = [part for each in (f"enforcer.settings.mode={mode}", *settings) for part in ("--set", each)]
        self.helm(verb, "zonebridge", str(chart), "-f", self._values(), *sets)

    def wait(self) -> None:
        """Until everything that was asked for last is at work on every node."""
        self.installation.wait_rolled_out()
        self.installation.wait_in_sync()

    def _values(self) -> str:
        path = self.installation.folder / "values.yaml"
        panorama = {key: value for key, value in BRIDGE["panorama"].items() if key not in {"hosts", "apiKeyFile"}}
        nodes = {key: value for key, value in ENFORCER.items() if key not in {"cluster", "tier", "mode"}}
        chosen = {
            "cluster": {"name": "example", "deviceGroup": DEVICE_GROUP},
            "panorama": {"hosts": BRIDGE["panorama"]["hosts"]},
            "bridge": {"settings": {"panorama": panorama, "zones": BRIDGE["zones"]}},
            "enforcer": {"settings": nodes},
        }
        path.write_text(yaml.safe_dump(chosen))
        return str(path)


def former(installation: Installation) -> Path:
    """The former version's chart; its image is on every node."""
    folder = installation.cluster.folder / "former"
    chart = folder / "chart"
    if folder.exists():
        return chart
    folder.mkdir()
    if ref := os.environ.get("ZONEBRIDGE_FORMER"):
        source = folder / "source"
        source.mkdir()
        packed = subprocess.run(["git", "archive", ref], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x"], cwd=source, input=packed, check=True)
        shutil.copytree(source / "config" / "chart", chart)
        (folder / "image").mkdir()
        archive = image.product(FORMER_IMAGE, folder / "image", source)
        for node in installation.cluster.nodes.values():
            node.import_images([archive])
    else:
        shutil.copytree(CHART, chart)
        _without_the_later_field(chart / DEFINITION)
        for node in installation.cluster.nodes.values():
            node.tag_image(installation.image, FORMER_IMAGE)
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    about |= {"version": FORMER_VERSION, "appVersion": FORMER_VERSION}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
    return chart


def _without_the_later_field(path: Path) -> None:
    definition = yaml.safe_load(path.read_text())
    for version in definition["spec"]["versions"]:
        del version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"][LATER_FIELD]
    path.write_text(yaml.safe_dump(definition))
