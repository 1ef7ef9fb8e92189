"""The API over HTTP: routes, tokens, content types, watch streams. The rules are `verbs`'.

It counts what was asked, for tests. `server` builds it and plays faults around it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from aiohttp import web

from mocks.kubernetes.calls import Call, parse_path
from mocks.kubernetes.catalog import Catalog
from mocks.kubernetes.documents import document
from mocks.kubernetes.status import (
    ApiError,
    Json,
    bad_request,
    expired,
    method_not_allowed,
    no_such_path,
    unauthorized,
    unsupported_media,
)
from mocks.kubernetes.store import CompactedError, Store
from mocks.kubernetes.tables import Form
from mocks.kubernetes.verbs import Answer, Verbs
from mocks.kubernetes.watching import Watching

BODY_LIMIT = 3 * 1024 * 1024
_OPEN_PATHS = {"/version", "/healthz", "/readyz", "/livez"}
_PRETIMEOUT = 2.0
_NO_PAGE = "404 page not found"
_BINARY = {"application/vnd.kubernetes.protobuf", "application/cbor", "application/apply-patch+cbor"}
_READABLE = ("application/json", "application/yaml")
_WRITABLE = {*_READABLE, "application/octet-stream"}
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that came in, for tests. `verb` is the API's own: list, watch, patch and so on."""

    verb: str
    path: str
    query: dict[str, str]
    content_type: str = ""


@dataclass(slots=True)
class Stream:
    """One open watch. `cut` ends it: cleanly, or as a connection that breaks in the middle of an event."""

    wake: asyncio.Event
    loop: asyncio.AbstractEventLoop
    over: bool = False
    broken: bool = False

    def stir(self) -> None:
        self.loop.call_soon_threadsafe(self.wake.set)

    def cut(self, *, broken: bool) -> None:
        self.over, self.broken = True, broken
        self.stir()


@dataclass(slots=True)
class Habits:
    """What tests may tune. `gone_as_status`: a too old watch is refused by HTTP 410, not by an ERROR event."""

    token: str = ""
    bookmark_seconds: float = 60.0
    gone_as_status: bool = False


@dataclass(slots=True)
class Handlers:
    """Everything between a request and the verbs."""

    store: Store
    catalog: Catalog
    verbs: Verbs
    habits: Habits
    seen: list[Seen] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        try:
            self._authenticate(request)
            return await self._route(request)
        except ApiError as error:
            if error.message == _NO_PAGE:
                return web.Response(status=404, text=f"{_NO_PAGE}\n")
            return web.json_response(error.body(), status=error.code, headers=error.headers)

    def _authenticate(self, request: web.Request) -> None:
        sent = request.headers.get("Authorization", "")
        if self.habits.token and request.path not in _OPEN_PATHS and not _is_bearer(sent, self.habits.token):
            raise unauthorized()

    async def _route(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        fixed = document(self.catalog, path, request.host, request.headers.get("Accept", ""))
        if fixed is not None:
            self._note("get", request)
            body = (fixed.text or json.dumps(fixed.body)).encode()
            return web.Response(body=body, headers={"Content-Type": fixed.content_type})
        parts = path.split("/")
        if parts[1:2] == ["api"] or (parts[1:2] == ["apis"] and len(parts) > 4):  # noqa: PLR2004 - /apis/g/v/plural
            return await self._resource(request, path)
        raise no_such_path()

    async def _resource(self, request: web.Request, path: str) -> web.StreamResponse:
        call = parse_path(self.catalog, path, dict(request.query), request.headers.get("User-Agent", ""))
        form = Form.of(request.headers.get("Accept", ""), request.query.get("includeObject", ""))
        if request.method == "GET" and call.watching:
            self._note("watch", request)
            return await self._watch(request, call, form)
        self._note(_verb(request.method, call), request)
        answer = await self._answer(request, call)
        headers = [("Warning", f"299 - {json.dumps(text)}") for text in answer.warnings]
        body = json.dumps(form.shape(call.resource, answer.body)).encode()
        response = web.Response(body=body, status=answer.code, content_type="application/json")
        for name, value in headers:
            response.headers.add(name, value)
        return response

    async def _answer(self, request: web.Request, call: Call) -> Answer:
        body = await _body(request)
        content_type = request.content_type
        if content_type in _BINARY or (request.method in {"POST", "PUT"} and content_type not in _WRITABLE):
            raise unsupported_media(_READABLE)
        match request.method:
            case "GET":
                return self.verbs.get(call) if call.name else self.verbs.list(call)
            case "POST":
                return self.verbs.create(call, _object(body))
            case "PUT" if call.name:
                return self.verbs.update(call, _object(body))
            case "PATCH" if call.name:
                return self.verbs.patch(replace(call, patching=True), content_type, body)
            case "DELETE":
                options = _object(body) if body.strip() else {}
                return self.verbs.delete(call, options) if call.name else self.verbs.delete_collection(call, options)
        if request.method in {"PUT", "PATCH"} and call.resource.custom:
            raise bad_request("name must be provided")
        raise method_not_allowed()

    def _note(self, verb: str, request: web.Request) -> None:
        self.seen.append(Seen(verb, request.path, dict(request.query), request.content_type))

    async def _watch(self, request: web.Request, call: Call, form: Form) -> web.StreamResponse:
        watching = Watching(self.store, call)
        if self.habits.gone_as_status:
            self._refuse_old(watching)
        stream = Stream(asyncio.Event(), asyncio.get_running_loop())
        self.streams.append(stream)
        self.store.listen(stream.stir)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            await _Sender(self, response, watching, stream, form).run()
        except ConnectionResetError:
            stream.over = True
        finally:
            self.store.unlisten(stream.stir)
            self.streams.remove(stream)
        if stream.broken and request.transport is not None:
            request.transport.abort()
        return response

    def _refuse_old(self, watching: Watching) -> None:
        floor = self.store.floor(watching.call.resource.bucket)
        if 0 < watching.seen < floor:
            raise expired(f"too old resource version: {watching.seen} ({floor})")


@dataclass(slots=True)
class _Sender:
    """Writes one watch's events until it is over."""

    handlers: Handlers
    response: web.StreamResponse
    watching: Watching
    stream: Stream
    form: Form

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        call = self.watching.call
        timeout = call.number("timeoutSeconds")
        end = loop.time() + (timeout or 3600)
        marks = _bookmark_times(loop.time(), end, self.handlers.habits.bookmark_seconds, timeout=bool(timeout))
        wants_marks = call.query.get("allowWatchBookmarks", "").lower() in {"1", "true"}
        await self._send(self.watching.start())
        while not self.stream.over and loop.time() < end:
            self.stream.wake.clear()
            try:
                await self._send(self.watching.changes())
            except CompactedError as error:
                await self._send([{"type": "ERROR", "object": expired(str(error)).body()}])
                return
            if marks and loop.time() >= marks[0]:
                marks.pop(0)
                if wants_marks and self.watching.moved:
                    await self._send([self.watching.bookmark()])
            await _pause(self.stream.wake, min([end, *marks[:1]]) - loop.time())
        if self.stream.broken:
            await self.response.write(b'{"type":"MODIFIED","object":{"kind":"')

    async def _send(self, events: list[Json]) -> None:
        if not events:
            return
        lines = [json.dumps(self._formed(event)) + "\n" for event in events]
        await self.response.write("".join(lines).encode())

    def _formed(self, event: Json) -> Json:
        if event["type"] == "ERROR":
            return event
        return event | {"object": self.form.shape(self.watching.call.resource, event["object"])}


def _bookmark_times(start: float, end: float, every: float, *, timeout: bool) -> list[float]:
    """When bookmarks are due: regularly, and shortly before an announced end."""
    count = int((end - start) / every)
    times = [start + every * number for number in range(1, min(count, 10_000) + 1)]
    return sorted([*times, end - _PRETIMEOUT]) if timeout else times


async def _pause(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(seconds, 0.0)):
            await wake.wait()
    except TimeoutError:
        return


def _verb(method: str, call: Call) -> str:
    if method == "GET":
        return "get" if call.name else "list"
    if method == "DELETE" and not call.name:
        return "deletecollection"
    return _VERBS.get(method, method.lower())


async def _body(request: web.Request) -> bytes:
    body = await request.read()
    if len(body) > BODY_LIMIT:
        raise ApiError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {BODY_LIMIT}")
    return body


def _object(body: bytes) -> Json:
    try:
        read: Any = json.loads(body) if body.lstrip()[:1] == b"{" else yaml.safe_load(body.decode())
    except (ValueError, yaml.YAMLError) as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    if not isinstance(read, dict):
        raise bad_request("the body of the request is no object")
    return read


def _is_bearer(sent: str, token: str) -> bool:
    """However the scheme is written: the client of pods writes it small."""
    scheme, _, value = sent.partition(" ")
    return scheme.lower() == "bearer" and value == token
