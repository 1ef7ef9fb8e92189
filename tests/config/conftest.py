"""The definitions and rights of config/, in a real API server."""

from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "config"
ESTABLISHED = ["wait", "--for=condition=Established", "--timeout=30s", "crd"]
NAMES = [f"{plural}.zonebridge.io" for plural in ("tiers", "policychunks", "addresssets", "nodestates")]


@pytest.fixture(scope="session")
def installed(kube):
    """The real API server with the definitions and everything of config/deploy."""
    kube.kubectl("apply", "-f", str(CONFIG / "crd"))
    kube.kubectl(*ESTABLISHED, *NAMES)
    kube.kubectl("apply", "-k", str(CONFIG / "deploy"))
    return kube
