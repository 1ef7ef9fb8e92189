"""One request to one API server, and its failures as our errors. It knows no kind and retries nothing.

`bridge.cluster` is its only caller: what is asked for is decided there.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from bridge.errors import ClusterConflictError, ClusterError, ClusterRefusedError, ClusterUnreachableError

Json = dict[str, Any]
JSON = "application/json"
APPLY = "application/apply-patch+yaml"
_EXCERPT = 300
# The API server asks for patience (429) or can't serve now; a proxy before it may time out (408).
_LATER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT})
# A server-side apply of a field that the definition doesn't have is answered with 500, although it never gets better.
_UNDECLARED = "field not declared in schema"


@dataclass(frozen=True, slots=True)
class Access:
    """Where a cluster is and as whom: a kubeconfig with its context, or None for the pod's own service account."""

    name: str
    kubeconfig: Path | None = None
    context: str | None = None
    timeout: float = 30.0


class GoneError(ClusterError):
    """410: the list's continuation has expired; it must begin again."""


class ApiServer:
    """Requests to one cluster. The connection is made at the first one, and anew after credentials were refused."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._client: ApiClient | None = None

    @property
    def name(self) -> str:
        return self._access.name

    async def get(self, path: str, what: str, query: Mapping[str, str] | None = None) -> Json | None:
        """The object or list; None where there is none."""
        return await self.call("GET", path, f"reading {what}", query=query)

    async def call(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
    ) -> Json | None:
        """The answer; None for 404. Raises ClusterError."""
        doing = f"{doing} in cluster '{self.name}'"
        try:
            status, headers, text = await self._exchange(method, path, body, query or {}, content_type)
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError) as error:
            await self.close()
            problem = str(error) or type(error).__name__
            raise ClusterUnreachableError(f"{doing}: no answer: {problem}; it is tried again") from error
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status >= HTTPStatus.BAD_REQUEST:
            if status == HTTPStatus.UNAUTHORIZED:
                await self.close()  # a rotated token or certificate is read again
            raise _blame(doing, status, headers, text)
        return _object(doing, text)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _exchange(
        self, method: str, path: str, body: Json | None, query: Mapping[str, str], content_type: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        if self._client is None:
            self._client = await self._open()
        request = await self._client.param_serialize(
            method,
            quote(path),
            query_params=list(query.items()),
            header_params={"Accept": JSON, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = await self._client.call_api(
            *request, _request_timeout=aiohttp.ClientTimeout(total=self._access.timeout)
        )
        return response.status, response.headers, await response.read()

    async def _open(self) -> ApiClient:
        configuration = Configuration()
        where = self._access.kubeconfig
        try:
            if where is None:
                load_incluster_config(client_configuration=configuration)
            else:
                await load_kube_config(
                    str(where), self._access.context, client_configuration=configuration, persist_config=False
                )
        except (ConfigException, yaml.YAMLError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            problem = " ".join(str(error).split())
            raise ClusterRefusedError(
                f"connecting to cluster '{self.name}': {problem}; check {where or 'the service account of the pod'}"
            ) from error
        return ApiClient(configuration)


def _object(doing: str, text: bytes) -> Json:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ClusterUnreachableError(
            f"{doing}: the answer is no JSON: {text[:_EXCERPT]!r}; it is tried again"
        ) from error
    if not isinstance(value, dict):
        raise ClusterUnreachableError(f"{doing}: the answer is no object; it is tried again")
    return value


def _blame(doing: str, status: int, headers: Mapping[str, str], text: bytes) -> ClusterError:
    said = f"{doing}: {status}: {_message(text)}"
    if status == HTTPStatus.CONFLICT:
        return ClusterConflictError(f"{said}; it is read again")
    if status == HTTPStatus.GONE:
        return GoneError(f"{said}; it is listed again")
    if status in _LATER or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and _UNDECLARED not in said):
        return ClusterUnreachableError(f"{said}; it is tried again", _seconds(headers.get("Retry-After")))
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return ClusterRefusedError(f"{said}; grant the bridge the rights of config/deploy, or renew its credentials")
    return ClusterRefusedError(f"{said}; install the custom resource definitions of this version")


def _message(text: bytes) -> str:
    """A Status object's own message, or the start of whatever came."""
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text.decode(errors="replace")
    return " ".join(str(message).split())[:_EXCERPT]


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdigit() else None
