"""Panorama's wire: HTTPS with `/api/` and `/api`, GET and POST, faults on demand; and the command that serves it.

It decides nothing about answers; `handlers` does. Tests start a PanoramaServer, `python -m mocks` calls `serve`.
"""

from __future__ import annotations

import asyncio
import re
import signal
import tempfile
import threading
import traceback
from email import message_from_bytes
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self, get_args
from urllib.parse import parse_qsl, quote

import typer
from aiohttp import web

from mocks.panorama.appliance import HaState, Panorama
from mocks.panorama.handlers import Ask, answer
from mocks.panorama.replies import ApiError, Code, Reply, refusal
from mocks.panorama.tree import ConfigError
from mocks.serving import Authority, Fault, FaultKind, Faults, Handler, Server, play

MAX_BODY = 64 * 1024 * 1024
MAX_FIELDS = 100
Upload = tuple[str, bytes]
FAULTS: tuple[FaultKind, ...] = ("slow", "reset", "truncate", "status")


def make_app(panorama: Panorama, faults: Faults) -> web.Application:
    """The application of one Panorama.

    A fault's `path` is looked for in the path with all parameters, also those of a POST's body:
    `type=op`, `action=show`, `cmd=<show><devicegroups`.
    """

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        panorama.traffic.enter()
        try:
            fault = faults.of(request.method, await described(request))
            if panorama.latency:
                await asyncio.sleep(panorama.latency)
            return await (handler(request) if fault is None else play(fault, request, handler))
        finally:
            panorama.traffic.leave()

    async def api(request: web.Request) -> web.Response:
        try:
            ask = await read(request)
        except ApiError as error:
            return respond(refusal(error))
        return respond(await asyncio.to_thread(guarded, panorama, ask))

    app = web.Application(client_max_size=MAX_BODY, middlewares=[watch])
    for path in ("/api/", "/api"):
        app.router.add_route("GET", path, api)
        app.router.add_route("POST", path, api)
    return app


def guarded(panorama: Panorama, ask: Ask) -> Reply:
    """An answer in any case: a fault of the mock itself is shown and becomes an internal error."""
    try:
        return answer(panorama, ask)
    except Exception:  # noqa: BLE001 # the server outlives it
        traceback.print_exc()
        return refusal(ApiError(Code.INTERNAL, "Internal error"))


async def read(request: web.Request) -> Ask:
    try:
        body = await request.read()
        upload = None
        if request.content_type == "multipart/form-data":
            form, upload = read_multipart(request.headers["Content-Type"], body)
        else:
            form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except (ValueError, web.HTTPRequestEntityTooLarge) as error:
        raise ApiError(Code.BAD_REQUEST, "The request can't be read.") from error
    headers = {name: request.headers.get(name, "") for name in ("X-PAN-KEY", "Authorization")}
    return Ask(request.method, {**request.query, **form}, headers, upload)


def read_multipart(content_type: str, body: bytes) -> tuple[dict[str, str], Upload | None]:
    """Fields and the file of a form; the boundaries of pan-python are longer than aiohttp takes, and not quoted."""
    found = re.search(r'boundary="?([^";\s]+)', content_type)
    head = f'Content-Type: multipart/form-data; boundary="{found[1] if found else ""}"\r\n\r\n'
    fields, upload = {}, None
    for part in message_from_bytes(head.encode() + body).walk():
        data = part.get_payload(decode=True)
        name, filename = part.get_param("name", "", "content-disposition"), part.get_filename()
        if isinstance(data, bytes) and filename:
            upload = (filename, data)
        elif isinstance(data, bytes):
            fields[str(name)] = data.decode("utf-8", "replace")
    return fields, upload


async def described(request: web.Request) -> str:
    """The path and the parameters, without those that are secret."""
    try:
        params = (await read(request)).params
    except ApiError:
        return request.path
    shown = [f"{name}={value}" for name, value in params.items() if name not in {"key", "password"}]
    return f"{request.path}?{'&'.join(shown)}"


def respond(reply: Reply) -> web.Response:
    return web.Response(
        body=reply.body, status=reply.status, reason=reply.reason, content_type="application/xml", charset="UTF-8"
    )


class PanoramaServer:
    """A Panorama that serves over TLS between `start` and `stop`; also a context manager."""

    def __init__(self, panorama: Panorama, host: str = "127.0.0.1", port: int = 0, tls_dir: Path | None = None) -> None:
        self.panorama = panorama
        self.faults = Faults()
        self._own = None if tls_dir else tempfile.TemporaryDirectory(prefix="mock-panorama-")
        directory = tls_dir or Path(self._own.name if self._own else "")
        authority = Authority.create(directory)
        self.ca_file = authority.ca_file
        names = dict.fromkeys(["localhost", "127.0.0.1", "::1", *([host] if host not in {"0.0.0.0", "::"} else [])])
        self._server = Server(make_app(panorama, self.faults), host, port, authority.server_context(*names))

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def host(self) -> str:
        return self._server.host

    @property
    def port(self) -> int:
        return self._server.port

    def start(self) -> Self:
        self._server.start()
        return self

    def stop(self) -> None:
        self._server.stop()
        if self._own is not None:
            self._own.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def parse_fault(text: str) -> Fault:
    """KIND[:VALUE][*TIMES][@WHERE]: `slow:2.5`, `reset*3`, `status:429@type=op`, `truncate@action=show`."""
    head, _, where = text.partition("@")
    head, _, times = head.partition("*")
    kind, _, value = head.partition(":")
    known = next((one for one in FAULTS if one == kind), None)
    if known is None:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(FAULTS)}")
    try:
        fault = Fault(known, path=where, times=int(times or 1))
        if known == "slow":
            fault.seconds = float(value or 1)
        if known == "status":
            fault.status = int(value or 500)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r}: {error}; write KIND[:VALUE][*TIMES][@WHERE], e.g. status:429*3@type=op"
        ) from error
    return fault


def serve(  # noqa: PLR0917 # typer reads them
    config: Annotated[Path, typer.Option(help="The running configuration: an exported XML file.")],
    candidate: Annotated[Path | None, typer.Option(help="A candidate that differs from it.")] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    user: Annotated[str, typer.Option(help="The administrator.")] = "admin",
    password: Annotated[str, typer.Option(help="Its password.", envvar="MOCK_PANORAMA_PASSWORD")] = "admin",  # a mock's
    reader: Annotated[list[str] | None, typer.Option(help="USER:PASSWORD that may only read.")] = None,
    predefined: Annotated[Path | None, typer.Option(help="A file with predefined content (App-IDs).")] = None,
    tls_dir: Annotated[Path | None, typer.Option(help="Where ca.pem goes; a temporary folder otherwise.")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="KIND[:VALUE][*TIMES][@WHERE], e.g. slow:2@type=op")] = None,
    ha: Annotated[str, typer.Option(help="disabled, primary-active, secondary-passive …")] = "disabled",
    commit_seconds: Annotated[float, typer.Option(min=0, help="How long a commit runs.")] = 1.0,
    serial: Annotated[str, typer.Option(help="Its serial number.")] = "007051000012345",
    sw_version: Annotated[str, typer.Option(help="Its PAN-OS version.")] = "11.1.6",
) -> None:
    """A Panorama for clients of the XML API, until it is interrupted."""
    faults = [parse_fault(text) for text in fault or []]
    readers = dict(parse_reader(text) for text in reader or [])
    state = parse_ha(ha)
    try:
        panorama = Panorama(
            config,
            candidate,
            serial=serial,
            sw_version=sw_version,
            users={**readers, user: password},
            read_only=tuple(readers),
            predefined=predefined,
            commit_seconds=commit_seconds,
        )
        server = PanoramaServer(panorama, host, port, tls_dir).start()
    except (ConfigError, OSError) as error:
        typer.echo(f"mock panorama: {error}", err=True)
        raise typer.Exit(2) from error
    panorama.set_ha(state)
    for one in faults:
        server.faults.add(one)
    announce(server, user)
    wait()
    server.stop()


def parse_reader(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not user or not colon:
        raise typer.BadParameter("a reader is written USER:PASSWORD")
    return user, password


def parse_ha(text: str) -> HaState:
    states: tuple[HaState, ...] = get_args(HaState)
    for state in states:
        if state == text:
            return state
    raise typer.BadParameter(f"{text!r} is none of {', '.join(states)}")


def announce(server: PanoramaServer, user: str) -> None:
    """The line that scripts wait for, and how to begin."""
    print(f"panorama ready at {server.url}/api/ ca {server.ca_file} user {user}", flush=True)
    print(
        f"key: curl --cacert {server.ca_file} -d type=keygen -d user={quote(user)} -d password=... {server.url}/api/",
        flush=True,
    )


def wait() -> None:
    """Until SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
