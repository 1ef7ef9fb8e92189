"""The definitions of config/, in a real API server."""

import pytest

from tests.apiserver.installed import CONFIG

ESTABLISHED = ["wait", "--for=condition=Established", "--timeout=30s", "crd"]
NAMES = [path.stem.removeprefix("zonebridge.io_") + ".zonebridge.io" for path in (CONFIG / "crd").glob("*.yaml")]


@pytest.fixture(scope="session")
def defined(kube):
    """The real API server with the definitions alone; `guarded` has everything of config/deploy too."""
    kube.kubectl("apply", "-f", str(CONFIG / "crd"))
    kube.kubectl(*ESTABLISHED, *NAMES)
    return kube
