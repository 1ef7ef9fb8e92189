"""The version is the wheel's, in pyproject.toml; from there it is written wherever else it stands."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Each file, and what stands before the version there.
PLACES = {
    "config/chart/Chart.yaml": (r"^version: ", r"^appVersion: ", r"image: zonebridge:"),
    "config/deploy/kustomization.yaml": (r"newTag: ",),
    "config/splunk/zonebridge/default/app.conf": (r"^version = ",),
    "docs/install.md": (r"security/zonebridge:",),
}
VERSION = r"\d+\.\d+\.\d+(?:[-.+][0-9A-Za-z.]+)?"


def version() -> str:
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def written(path: str) -> str:
    """The file's text with the version in all its places."""
    text = (ROOT / path).read_text()
    for before in PLACES[path]:
        text, count = re.subn(f"({before})({VERSION})", rf"\g<1>{version()}", text, flags=re.MULTILINE)
        if not count:
            raise ValueError(f"{path}: there is no version after '{before}'")
    return text


def main() -> int:
    for path in PLACES:
        (ROOT / path).write_text(written(path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
