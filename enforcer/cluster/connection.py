"""The connection to the API server: made of files that are rotated, so made anew where they no longer hold.

Requests share one client. One of them may give it up; it is closed when the last one has ended: closed any earlier, it
would leave a watch waiting for what never comes. `enforcer.cluster.watch` is the only caller.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import aiohttp

from enforcer.cluster.kube_client import client, config
from enforcer.errors import ClusterError, InputError
from zones.canonical import Json
from zones.runtime.sockets import Sockets

_UNAUTHORIZED = 401
_NO_ANSWER = (aiohttp.ClientError, TimeoutError, OSError, config.ConfigException)


@dataclass(frozen=True, slots=True)
class Request:
    """`seconds`: how long the whole answer may take; `silence`: how long nothing may come of it."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json | None = None
    content_type: str = "application/json"
    accept: str = "application/json"
    seconds: float = 60.0
    silence: float | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class _Client:
    """One set of credentials and authorities, and who uses it."""

    api: client.ApiClient
    users: int = 0
    retired: bool = False
    sockets: Sockets = field(default_factory=Sockets)

    def __post_init__(self) -> None:
        rest = self.api.rest_client
        rest.pool_manager = self.sockets.session(rest.maxsize, rest.ssl_context)

    async def close_unused(self) -> None:
        if self.retired and not self.users:
            await self.api.close()
            await self.sockets.end()


class Connection:
    """By a kubeconfig file, or by the pod's own service account."""

    def __init__(self, kubeconfig: Path | None) -> None:
        self._kubeconfig = kubeconfig
        self._client: _Client | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """Look whether it can be had at all. Raises InputError."""
        async with self._opening:
            if self._client is None:
                self._client = _Client(await self._loaded())

    async def _loaded(self) -> client.ApiClient:
        configuration = client.Configuration()
        try:
            if self._kubeconfig is None:
                config.load_incluster_config(client_configuration=configuration)
            else:
                await config.load_kube_config(str(self._kubeconfig), client_configuration=configuration)
            return client.ApiClient(configuration)
        except (config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
            where = "the service account" if self._kubeconfig is None else f"kubeconfig {self._kubeconfig}"
            raise InputError(f"{where} can't be used to reach Kubernetes: {error}") from error

    @asynccontextmanager
    async def answer(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """The beginning of an answer, whatever its status. Raises ClusterError."""
        try:
            await self.open()
        except InputError as error:  # files that are just being written
            raise ClusterError(str(error)) from error
        used = self._client
        if used is None:
            raise ClusterError(f"{request}: the connection was closed")
        used.users += 1
        try:
            response = await self._sent(used, request)
            if response.status == _UNAUTHORIZED:
                await self._retire(used)
            yield response
        finally:
            used.users -= 1
            await used.close_unused()

    async def _sent(self, used: _Client, request: Request) -> aiohttp.ClientResponse:
        headers = {"Accept": request.accept, "Content-Type": request.content_type}
        timeout = aiohttp.ClientTimeout(total=request.seconds, sock_connect=10, sock_read=request.silence)
        try:
            _, url, headers, sent, _ = await used.api.param_serialize(
                request.method, request.path, header_params=headers, body=request.body, auth_settings=["BearerToken"]
            )
            url += "?" + urlencode(request.query) if request.query else ""
            answer = await used.api.rest_client.request(
                request.method, url, headers=headers, body=sent, _request_timeout=timeout
            )
        except _NO_ANSWER as error:
            if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):  # authorities and certificates are rotated
                await self._retire(used)
            raise ClusterError(f"{request}: no answer: {error or type(error).__name__}") from error
        response: aiohttp.ClientResponse = answer.response
        return response

    async def _retire(self, used: _Client) -> None:
        """The next request reads the files again; what is under way still comes to its end."""
        if self._client is used:
            self._client = None
        used.retired = True

    async def close(self) -> None:
        current, self._client = self._client, None
        if current is not None:
            await current.api.close()
            await current.sockets.end()
