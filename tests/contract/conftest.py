"""The two API servers of the contract, behind one fixture: the mock, and a real kube-apiserver where one can run."""

from __future__ import annotations

import itertools
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from mocks.kubernetes import KubernetesServer
from tests.apiserver.programs import Binaries
from tests.contract.api import Api
from tests.contract.definitions import GATES, GROUP, KEYS
from tests.realkube import RealKube

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_numbers = itertools.count(1)


@contextmanager
def _connected(name: str, server: Any, token: str) -> Iterator[Api]:
    context = ssl.create_default_context(cafile=str(server.ca_file))
    headers = {"Authorization": f"Bearer {token}", "User-Agent": "contract/1.0"}
    with httpx.Client(base_url=server.url, verify=context, headers=headers, trust_env=False, timeout=60) as http:
        api = Api(name, server.url, server.kubeconfig, http)
        for definition in (GATES, KEYS):
            api.post(CRDS, definition, 201)
        api.until_served(f"/apis/{GROUP}/v1/gates", f"/apis/{GROUP}/v1/keys")
        yield api


@pytest.fixture(scope="session")
def mock_api() -> Iterator[Api]:
    with KubernetesServer() as server, _connected("mock", server, server.token) as api:
        yield api


@pytest.fixture(scope="session")
def real_api(programs: Binaries) -> Iterator[Api]:
    """A server of its own: the contract creates kinds, and other tests' admission policies would judge its pods."""
    with RealKube(programs) as server, _connected("real", server, server.admin_token) as api:
        yield api


@pytest.fixture(scope="session", params=["mock", pytest.param("real", marks=pytest.mark.apiserver)])
def api(request: pytest.FixtureRequest) -> Api:
    served: Api = request.getfixturevalue(f"{request.param}_api")
    return served


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"t{next(_numbers)}-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def namespace(api: Api, name: str) -> str:
    """A namespace of the test's own; it stays, since a bare API server empties none."""
    api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, 201)
    # pods need it, and no controller makes it here
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    api.post(f"/api/v1/namespaces/{name}/serviceaccounts", account, 201)
    return name


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory for kubectl's caches."""
    return tmp_path
