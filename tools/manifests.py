"""config/deploy from config/chart: what `kubectl apply -k` installs is what Helm would, file by file.

The chart is the source; only kustomization.yaml and the two settings files are written by hand there.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.apiserver.programs import Unavailable
from tests.chart.programs import program

CONFIG = Path(__file__).parents[1] / "config"
CHART, DEPLOY = CONFIG / "chart", CONFIG / "deploy"
NAMES = (
    "namespace",
    "rbac-bridge",
    "rbac-enforcer",
    "rbac-readers",
    "rbac-administrators",
    "admission-tier",
    "admission-zones",
    "admission-cluster",
    "admission-installation",
    "bridge",
    "enforcer",
    "networkpolicies",
)
# kustomize makes the ConfigMaps, names the image and makes the bridge's namespace too.
VALUES = (
    "namespace.create=true",
    "crds.install=false",
    "bridge.existingConfigMap=zonebridge-settings",
    "enforcer.existingConfigMap=zone-enforcer-settings",
    "image.tag=latest",
)
OF_HELM = re.compile(
    r"^ +(helm\.sh/chart|app\.kubernetes\.io/(instance|managed-by|version)): .*\n|^# Source: .*\n", re.MULTILINE
)
DOCUMENT = re.compile(r"^kind: (?P<kind>\S+)\nmetadata:\n  name: (?P<name>\S+)", re.MULTILINE)
HEADING = "# Made from config/chart/templates by `make generate`; change it there.\n"


def render(helm: Path) -> dict[str, str]:
    """Each file's name and text."""
    command = [str(helm), "template", "zonebridge", str(CHART), "--namespace", "zonebridge-system", "--no-hooks"]
    command += ["--kube-version", "1.30.0", *(part for value in VALUES for part in ("--set", value))]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    documents = [each for each in re.split(r"^---\n", shown, flags=re.MULTILINE) if each.strip()]
    return {f"{name}.yaml": _file(name, documents) for name in NAMES}


def _file(name: str, documents: list[str]) -> str:
    """The documents of one template, in the template's order (Helm sorts them by kind)."""
    template = CHART / "templates" / f"{name}.yaml"
    mine = [each for each in documents if f"# Source: zonebridge/templates/{name}.yaml\n" in each]
    order = [each["kind"] + each["name"] for each in DOCUMENT.finditer(template.read_text())]

    def place(document: str) -> int:
        found = DOCUMENT.search(document)
        key = found["kind"] + found["name"] if found else ""
        return order.index(key) if key in order else len(order)

    return HEADING + "---\n".join(OF_HELM.sub("", each) for each in sorted(mine, key=place))


def main() -> int:
    helm = program("helm3")
    if isinstance(helm, Unavailable):
        print(f"config/deploy can't be made: {helm.reason}", file=sys.stderr)
        return 1
    for name, text in render(helm).items():
        (DEPLOY / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
