"""Helm's commands on config/chart, with the values that every installation must give."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import yaml

from tests.apiserver.installed import BRIDGE_NAMESPACE, CONFIG

CHART = CONFIG / "chart"
REQUIRED = ("cluster.name=example", "cluster.deviceGroup=example", "panorama.hosts={panorama.example.com}")


class HelmError(Exception):
    """What Helm printed on standard error."""


class Helm:
    """One Helm with a home of its own."""

    def __init__(self, path: Path, home: Path) -> None:
        self._path = path
        self._environment = os.environ | {
            "HELM_CACHE_HOME": str(home),
            "HELM_CONFIG_HOME": str(home),
            "HELM_DATA_HOME": str(home),
        }

    def __call__(self, *arguments: str) -> str:
        ended = subprocess.run(
            [str(self._path), *arguments], env=self._environment, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise HelmError(ended.stderr)
        return ended.stdout

    def template(self, *values: str, required: bool = True, version: str = "1.36.0") -> list[dict]:
        """The objects, hooks too, as Helm renders them."""
        shown = self(
            "template",
            "zonebridge",
            str(CHART),
            "-n",
            BRIDGE_NAMESPACE,
            "--kube-version",
            version,
            *settings(*(REQUIRED if required else ()), *values),
        )
        return [each for each in yaml.safe_load_all(shown) if each]


def settings(*values: str) -> list[str]:
    return [part for value in values for part in ("--set", value)]


def named(objects: list[dict], kind: str, name: str) -> dict:
    (found,) = (each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name)
    return found
