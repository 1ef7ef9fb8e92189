"""The administrator's look at the API, many times a second: over one connection, where kubectl is a process each time.

What he changes, and what users are told to type, goes through kubectl.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import httpx

from mocks.lab import Netns
from tests.cluster.addresses import API_SERVER
from tests.cluster.authority import Certificate

Object = dict[str, Any]
# Where each kind is that tests look at, by the plural that kubectl takes too.
GROUPS = {
    "crd": ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    **{name: ("apis/apps/v1", name) for name in ("daemonsets", "deployments", "statefulsets")},
    **{name: ("api/v1", name) for name in ("events", "namespaces", "nodes", "pods", "services")},
    **{f"{name}.zonebridge.io": ("apis/zonebridge.io/v1alpha1", name) for name in ("nodestates", "tiers")},
}


class Api:
    """Reads until it is closed. For one thread at a time."""

    def __init__(self, netns: Netns, ca_file: Path, certificate: Certificate) -> None:
        context = ssl.create_default_context(cafile=str(ca_file))
        context.load_cert_chain(certificate.file, certificate.key)
        self._netns = netns
        self._client = httpx.Client(base_url=API_SERVER, verify=context, timeout=30, trust_env=False)

    def is_ready(self) -> bool:
        try:
            return self._get("/readyz").is_success
        except httpx.TransportError:
            return False

    def objects(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        """All of a kind, in one namespace or in all; none where the kind isn't known."""
        answer = self._get(_path(kind, namespace), {"labelSelector": selector} if selector else {})
        return list(_json(answer).get("items", ()))

    def object(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """One object; empty where there is none, or no such kind."""
        return _json(self._get(f"{_path(kind, namespace)}/{name}"))

    def close(self) -> None:
        self._client.close()

    def _get(self, path: str, parameters: dict[str, str] | None = None) -> httpx.Response:
        with self._netns.inside():  # a connection that is made stays there
            return self._client.get(path, params=parameters)


def _path(kind: str, namespace: str | None) -> str:
    group, plural = GROUPS[kind]
    return f"/{group}/namespaces/{namespace}/{plural}" if namespace else f"/{group}/{plural}"


def _json(answer: httpx.Response) -> Object:
    if answer.status_code == httpx.codes.NOT_FOUND:
        return {}
    answer.raise_for_status()
    content: Object = answer.json()
    return content
