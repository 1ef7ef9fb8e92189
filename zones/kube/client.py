"""Requests to one API server, and their failures as our errors. It knows no kind and retries nothing."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import aiohttp
import structlog
import yaml

from zones.canonical import Json
from zones.kube.api import JSON, LONGEST, METADATA, Api, Reply, of_cluster, status_message
from zones.kube.errors import (
    AnswerTooLongError,
    ClusterConflictError,
    ClusterError,
    ClusterRefusedError,
    ClusterUnreachableError,
    CredentialsError,
    ExpiredError,
)
from zones.kube.kubernetes_aio import client as kubernetes_client
from zones.kube.kubernetes_aio import config as kubernetes_config
from zones.runtime.sockets import Sockets

_EXCERPT = 300
WATCH_SECONDS = (240, 480)
_GRACE = 30
_CONNECT_SECONDS = 10
_UNREADABLE = (
    kubernetes_config.ConfigException,
    yaml.YAMLError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)
_LONGEST_WISH = 60.0
SLOW_SECONDS = 5.0
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
    """Where a cluster is and as whom: a kubeconfig with its context, or None for the pod's own service account.

    `name`: what messages call it; empty where there is only one. `timeout`: the seconds for an answer.
    """

    name: str = ""
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

    client: kubernetes_client.ApiClient
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


class Sign(Enum):
    """What a watch tells beside events. SILENT: nothing came for so long that it is left; nothing need be wrong."""

    ANSWERED = 1
    SILENT = 2


class ApiServer(Api):
    """Requests to one cluster. The connection is made at the first one, and anew after credentials were refused."""

    def __init__(self, access: ClusterAccess) -> None:
        self._access = access
        self._connection: _SharedClient | None = None
        self._opening = asyncio.Lock()
        self._waiting: dict[object, tuple[float, str]] = {}

    @property
    def name(self) -> str:
        return self._access.name

    @property
    def unanswered(self) -> tuple[str, ...]:
        """What waits for an answer for longer than an answer takes."""
        now = time.monotonic()
        return tuple(sorted({doing for began, doing in self._waiting.values() if now - began > SLOW_SECONDS}))

    async def open(self) -> None:
        """Look whether the credentials can be read. Raises CredentialsError."""
        async with self._opening:
            if self._connection is None:
                self._connection = _SharedClient(await self._open())

    async def version(self, path: str, what: str, query: Mapping[str, str] | None = None) -> str:
        """The version that a list would have now. Raises ClusterError, also where the kind isn't there."""
        query = {**(query or {}), "limit": "1"}
        answer = await self.call("GET", path, f"reading {what}", query=query, accept=METADATA)
        if answer is None:
            raise ClusterRefusedError(f"reading {what}{of_cluster(self.name)}: the kind is not known")
        return str((answer.get("metadata") or {}).get("resourceVersion", ""))

    async def ask(
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
    ) -> Reply:
        """The answer, and what is known of it. Raises ClusterError."""
        doing = f"{doing}{of_cluster(self.name)}"
        request = _Request(method, path, query or {}, self._access.timeout, body, content_type, accept)
        with self._awaited(doing):
            async with self._answer(request, doing) as response:
                text = await _read(response, doing, most)
        if response.status == HTTPStatus.NOT_FOUND:
            return Reply(None, len(text), _date(response))
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise _blame(doing, response.status, response.headers, text)
        return Reply(_object(doing, text), len(text), _date(response))

    async def watch(
        self, path: str, what: str, version: str, query: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Json | Sign]:
        """That it is answered; then the events since that version, bookmarks too, until the server ends the watch.

        Left where nothing comes for long: the connection may be dead, or nothing has happened. Raises ClusterError;
        ExpiredError where the version is too old and a list is needed.
        """
        doing = f"watching {what}{of_cluster(self.name)}"
        seconds = random.randint(*WATCH_SECONDS)  # noqa: S311 - spreads the renewals
        asked = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": version, "timeoutSeconds": seconds}
        silence = min(SILENCE_SECONDS, seconds + _GRACE)
        request = _Request("GET", path, {**(query or {}), **asked}, seconds + _GRACE, silence=silence)
        with self._awaited(doing) as answered:
            async with self._answer(request, doing) as response:
                answered()
                if response.status >= HTTPStatus.BAD_REQUEST:
                    raise _blame(doing, response.status, response.headers, await _read(response, doing, LONGEST))
                try:
                    yield Sign.ANSWERED
                    async for line in _lines(response.content, doing):
                        yield _event(doing, line)
                except TimeoutError:
                    yield Sign.SILENT
                finally:
                    _drop(response)

    async def close(self) -> None:
        """The next request connects anew; what is under way still comes to its end."""
        if self._connection is not None:
            await self._retire(self._connection)

    async def _retire(self, connection: _SharedClient) -> None:
        if self._connection is connection:
            self._connection = None
        connection.retired = True
        await connection.close_unused()

    @contextmanager
    def _awaited(self, doing: str) -> Iterator[Callable[[], object]]:
        """What waits for an answer is known to do so, until this ends or what is yielded is called."""
        key = object()
        self._waiting[key] = time.monotonic(), doing
        try:
            yield lambda: self._waiting.pop(key, None)
        finally:
            self._waiting.pop(key, None)

    @asynccontextmanager
    async def _answer(self, request: _Request, doing: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """The beginning of an answer, whatever its status. Raises ClusterUnreachableError where it breaks off."""
        connection = await self._connected()
        tell = partial(_log.warning, "no answer yet", doing=doing, seconds=SLOW_SECONDS)
        slow = asyncio.get_running_loop().call_later(SLOW_SECONDS, tell)
        try:
            response = await _sent(connection.client, request)
            slow.cancel()
            if response.status == HTTPStatus.UNAUTHORIZED:
                await self._retire(connection)  # a rotated token or certificate is read again
            yield response
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError) as error:
            await self._retire(connection)  # authorities are rotated, and API servers move
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

    async def _open(self) -> kubernetes_client.ApiClient:
        configuration = kubernetes_client.Configuration()
        where = self._access.kubeconfig
        try:
            if where is None:
                kubernetes_config.load_incluster_config(client_configuration=configuration)
            else:
                await kubernetes_config.load_kube_config(
                    str(where), self._access.context, client_configuration=configuration, persist_config=False
                )
        except _UNREADABLE as error:
            problem = " ".join(str(error).split())
            cluster = f"cluster '{self.name}'" if self.name else "Kubernetes"
            account = "the service account of the pod" if where is None else f"the kubeconfig {where}"
            raise CredentialsError(f"connecting to {cluster}: {problem}; check {account}") from error
        return kubernetes_client.ApiClient(configuration)


async def _sent(client: kubernetes_client.ApiClient, request: _Request) -> aiohttp.ClientResponse:
    method, url, headers, _, form = await client.param_serialize(
        request.method,
        quote(request.path),
        query_params=list(request.query.items()),
        header_params={"Accept": request.accept, "Content-Type": request.content_type},
        auth_settings=["BearerToken"],
    )
    # The body is JSON already: the client would go through every value of it first.
    timeout = aiohttp.ClientTimeout(total=request.seconds, sock_connect=_CONNECT_SECONDS, sock_read=request.silence)
    answer = await client.call_api(method, url, headers, request.body, form, _request_timeout=timeout)
    response: aiohttp.ClientResponse = answer.response
    return response


def _drop(response: aiohttp.ClientResponse) -> None:
    """End a watch at once: a polite end of TLS would outlive the event loop at the end of the program."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()
    response.close()


async def _read(response: aiohttp.ClientResponse, doing: str, most: int) -> bytes:
    content = bytearray()
    try:
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > most:
                break
    except BaseException:
        _drop(response)
        raise
    if len(content) > most:
        _drop(response)
        raise AnswerTooLongError(f"{doing}: the answer has more than {most} octets")
    return bytes(content)


async def _lines(content: aiohttp.StreamReader, doing: str) -> AsyncIterator[bytes]:
    """Lines longer than a stream's own limit, as objects may be, and no longer than any object."""
    pieces: list[bytes] = []
    async for chunk in content.iter_any():
        first, *rest = chunk.split(b"\n")
        pieces.append(first)
        if not rest and sum(map(len, pieces)) > LONGEST:
            raise ClusterUnreachableError(f"{doing}: an event has more than {LONGEST} octets; it is resumed")
        for piece in rest:
            line = b"".join(pieces)
            pieces = [piece]
            if line:
                yield line
    if any(pieces):
        raise ClusterUnreachableError(f"{doing}: it ended in the middle of an event: {b''.join(pieces)[:100]!r}")


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
    message = status_message(text)
    said = f"{doing}: HTTP {status}" + (f": {message}" if message else "")
    if status == HTTPStatus.CONFLICT:
        return ClusterConflictError(f"{said}; it is read again")
    if status == HTTPStatus.GONE:
        return ExpiredError(f"{said}; it is listed again")
    if status in _LATER or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and _UNDECLARED not in said):
        return ClusterUnreachableError(f"{said}; it is tried again", _seconds(headers.get("Retry-After")))
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return ClusterRefusedError(f"{said}; grant it the rights of config/deploy, or renew its credentials")
    return ClusterRefusedError(f"{said}; install the custom resource definitions of this version")


def _message(text: bytes) -> str:
    """A Status object's own message, or the start of whatever came."""
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text.decode(errors="replace")
    return " ".join(str(message).split())[:_EXCERPT]


def _seconds(text: str | None) -> float | None:
    """No longer than a minute, whatever is wished for: what is published would get too old."""
    return min(float(text), _LONGEST_WISH) if text is not None and text.isdigit() else None


def _date(response: aiohttp.ClientResponse) -> float | None:
    try:
        return parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
    except ValueError:
        return None
