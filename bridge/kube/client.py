"""One request to one API server, and its failures as our errors. It knows no kind and retries nothing.

`bridge.tier.cluster` and `bridge.kube.watch` are its only callers: what is asked for is decided there.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import aiohttp
import structlog
import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from bridge.errors import ClusterConflictError, ClusterError, ClusterRefusedError, ClusterUnreachableError
from bridge.kube.api import JSON, LONGEST, METADATA, GoneError, Json, TooLongError, status_message
from zones.runtime.sockets import Sockets

APPLY = "application/apply-patch+yaml"
_EXCERPT = 300
WATCH_SECONDS = (240, 480)
_GRACE = 30
_LONGEST_WISH = 60.0
_SLOW_SECONDS = 5.0
_log = structlog.get_logger()
# Bookmarks come every minute, but none of kinds of which nothing has changed since the API server began: after so much
# silence the connection may be dead, whatever it looks like.
SILENCE_SECONDS = 90
# The API server asks for patience (429) or can't serve now; a proxy before it may time out (408).
_LATER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT})
# A server-side apply of a field that the definition doesn't have is answered with 500, although it never gets better.
_UNDECLARED = "field not declared in schema"


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """Where a cluster is and as whom: a kubeconfig with its context, or None for the pod's own service account."""

    name: str
    kubeconfig: Path | None = None
    context: str | None = None
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class _Request:
    """`seconds`: how long the whole answer may take; `silence`: how long nothing may come of it."""

    method: str
    path: str
    query: Mapping[str, object]
    seconds: float
    body: Json | None = None
    content_type: str = JSON
    accept: str = JSON
    silence: float | None = None


@dataclass(slots=True)
class _SharedClient:
    """A client that requests share. One of them may give it up; it is closed when the last one has ended.

    Closed any earlier, it would leave a watch waiting for what never comes.
    """

    client: ApiClient
    users: int = 0
    retired: bool = False
    sockets: Sockets = field(default_factory=Sockets)

    def __post_init__(self) -> None:
        rest = self.client.rest_client
        rest.pool_manager = self.sockets.session(rest.maxsize, rest.ssl_context)

    async def leave(self) -> None:
        self.users -= 1
        await self.close_unused()

    async def close_unused(self) -> None:
        if self.retired and not self.users:
            await self.client.close()
            await self.sockets.end()


class ApiServer:
    """Requests to one cluster. The connection is made at the first one, and anew after credentials were refused."""

    def __init__(self, access: ClusterAccess) -> None:
        self._access = access
        self._connection: _SharedClient | None = None
        self._opening = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._access.name

    async def get(
        self, path: str, what: str, query: Mapping[str, str] | None = None, most: int = LONGEST
    ) -> Json | None:
        """The object or list; None where there is none. Raises TooLongError where it has more octets than `most`."""
        return await self.call("GET", path, f"reading {what}", query=query, most=most)

    async def version(self, path: str, what: str, query: Mapping[str, str] | None = None) -> str:
        """The version that a list would have now. Raises ClusterError, also where the kind isn't there."""
        query = {**(query or {}), "limit": "1"}
        answer = await self.call("GET", path, f"reading {what}", query=query, accept=METADATA)
        if answer is None:
            raise ClusterRefusedError(f"reading {what} in cluster '{self.name}': the kind is not known")
        return str((answer.get("metadata") or {}).get("resourceVersion", ""))

    async def call(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        most: int = LONGEST,
    ) -> Json | None:
        """The answer; None for 404. Raises ClusterError."""
        doing = f"{doing} in cluster '{self.name}'"
        request = _Request(method, path, query or {}, self._access.timeout, body, content_type, accept)
        async with self._answer(request, doing) as response:
            text = await _read(response, doing, most)
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        if response.status >= HTTPStatus.BAD_REQUEST:
            if response.status == HTTPStatus.UNAUTHORIZED:
                await self.close()  # a rotated token or certificate is read again
            raise _blame(doing, response.status, response.headers, text)
        return _object(doing, text)

    async def watch(
        self, path: str, what: str, version: str, query: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Json]:
        """The events since that version, bookmarks too, until the server ends the watch or says nothing for long.

        Raises ClusterError; GoneError where the version is too old and a list is needed.
        """
        doing = f"watching {what} in cluster '{self.name}'"
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 - spreads the renewals
        asked = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": version, "timeoutSeconds": seconds}
        silence = min(SILENCE_SECONDS, seconds + _GRACE)
        request = _Request("GET", path, {**(query or {}), **asked}, seconds + _GRACE, silence=silence)
        async with self._answer(request, doing) as response:
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise _blame(doing, response.status, response.headers, await _read(response, doing, LONGEST))
            try:
                async for line in _lines(response.content, doing):
                    yield _event(doing, line)
            except TimeoutError:
                return  # nothing may have happened, or the connection is dead
            finally:
                _drop(response)

    async def close(self) -> None:
        """The next request connects anew; what is under way still comes to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.retired = True
            await connection.close_unused()

    @asynccontextmanager
    async def _answer(self, request: _Request, doing: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """The beginning of an answer, whatever its status. Raises ClusterUnreachableError where it breaks off."""
        connection = await self._connected()
        tell = partial(_log.warning, "no answer yet", doing=doing, seconds=_SLOW_SECONDS)
        slow = asyncio.get_running_loop().call_later(_SLOW_SECONDS, tell)
        try:
            response = await _sent(connection.client, request)
            slow.cancel()
            yield response
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError) as error:
            if self._connection is connection:
                await self.close()
            problem = str(error) or type(error).__name__
            raise ClusterUnreachableError(f"{doing}: no answer: {problem}; it is tried again") from error
        finally:
            slow.cancel()
            await connection.leave()

    async def _connected(self) -> _SharedClient:
        async with self._opening:
            if self._connection is None:
                self._connection = _SharedClient(await self._open())
            self._connection.users += 1
            return self._connection

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


async def _sent(client: ApiClient, request: _Request) -> aiohttp.ClientResponse:
    method, url, headers, _, form = await client.param_serialize(
        request.method,
        quote(request.path),
        query_params=list(request.query.items()),
        header_params={"Accept": request.accept, "Content-Type": request.content_type},
        auth_settings=["BearerToken"],
    )
    # The body is JSON already: the client would go through every value of it first.
    timeout = aiohttp.ClientTimeout(total=request.seconds, sock_read=request.silence)
    answer = await client.call_api(method, url, headers, request.body, form, _request_timeout=timeout)
    response: aiohttp.ClientResponse = answer.response
    return response


def _drop(response: aiohttp.ClientResponse) -> None:
    """End a watch at once: a polite end of TLS would outlive the event loop at the end of the program."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()
    response.close()


async def _read(response: aiohttp.ClientResponse, doing: str, most: int) -> bytes:
    held = bytearray()
    try:
        async for chunk in response.content.iter_any():
            held += chunk
            if len(held) > most:
                break
    except BaseException:
        _drop(response)
        raise
    if len(held) > most:
        _drop(response)
        raise TooLongError(f"{doing}: the answer has more than {most} octets")
    return bytes(held)


async def _lines(content: aiohttp.StreamReader, doing: str) -> AsyncIterator[bytes]:
    """Lines longer than a stream's own limit, as objects may be, and no longer than any object."""
    held: list[bytes] = []
    async for chunk in content.iter_any():
        first, *rest = chunk.split(b"\n")
        held.append(first)
        if not rest and sum(map(len, held)) > LONGEST:
            raise ClusterUnreachableError(f"{doing}: an event has more than {LONGEST} octets; it is resumed")
        for each in rest:
            line = b"".join(held)
            held = [each]
            if line:
                yield line
    if any(held):
        raise ClusterUnreachableError(f"{doing}: it ended in the middle of an event: {b''.join(held)[:100]!r}")


def _event(doing: str, line: bytes) -> Json:
    """An event with a version; an error event is raised. A watch that is too old is ended with one."""
    try:
        event: Json = json.loads(line)
        if event["type"] == "ERROR":
            status = event["object"]
            code = status.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR
            raise _blame(doing, code, {}, json.dumps(status).encode())
        event["object"]["metadata"]["resourceVersion"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ClusterUnreachableError(f"{doing}: what came is no event: {line[:100]!r}; it is resumed") from error
    return event


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
    said = f"{doing}: {status}: {status_message(text)}"
    if status == HTTPStatus.CONFLICT:
        return ClusterConflictError(f"{said}; it is read again")
    if status == HTTPStatus.GONE:
        return GoneError(f"{said}; it is listed again")
    if status in _LATER or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and _UNDECLARED not in said):
        return ClusterUnreachableError(f"{said}; it is tried again", _seconds(headers.get("Retry-After")))
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return ClusterRefusedError(f"{said}; grant the bridge the rights of config/deploy, or renew its credentials")
    return ClusterRefusedError(f"{said}; install the custom resource definitions of this version")


def _seconds(text: str | None) -> float | None:
    """No longer than a minute, whatever is wished for: what is published would get too old."""
    return min(float(text), _LONGEST_WISH) if text is not None and text.isdigit() else None
