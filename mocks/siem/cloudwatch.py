"""Amazon CloudWatch Logs in small: PutLogEvents and CreateLogStream with their limits, and the signature checked.

It knows no SDK: what a request must look like is written here from the service's documentation.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from mocks.serving import Authority, Faults, Handler, Server, play
from mocks.siem.certificates import create_authority
from mocks.siem.journal import Journal

TARGET = "Logs_20140328."
MAX_BYTES, MAX_EVENTS, MAX_SPAN, OVERHEAD = 1_048_576, 10_000, 24 * 3600 * 1000, 26
OLDEST, NEWEST = 14 * 24 * 3600 * 1000, 2 * 3600 * 1000
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/logs/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event as it was stored."""

    group: str
    stream: str
    timestamp: int
    message: str

    def line(self) -> dict[str, Any]:
        return {"group": self.group, "stream": self.stream, "timestamp": self.timestamp, "message": self.message}


class ServiceError(Exception):
    """A refusal, as the service words it."""

    def __init__(self, kind: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.kind, self.status = kind, status


class CloudWatch:
    """The service between `start` and `stop`; also a context manager. `keys` maps access keys to secrets.

    `groups` has the groups that are there, each with its streams. `refuse` queues errors of the service's own. Faults
    are taken by the operation's name: `PutLogEvents`.
    """

    def __init__(
        self,
        keys: Mapping[str, str],
        *groups: str,
        region: str = "eu-central-1",
        session: str | None = None,
        tls_dir: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.keys = dict(keys)
        self.session = session
        self.groups: dict[str, set[str]] = {group: set() for group in groups}
        self.region = region
        self.authority: Authority = create_authority(self, tls_dir)
        self.journal: Journal[LogEvent] = Journal()
        self.faults = Faults()
        self.problems: list[ServiceError] = []
        self.batches: list[int] = []
        self._clock = clock
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.port}" if self._server else ""

    @property
    def ca_file(self) -> Path:
        return self.authority.ca_file

    @property
    def events(self) -> list[LogEvent]:
        return self.journal.entries()

    def refuse(self, kind: str, message: str = "", *, status: int = 400, times: int = 1) -> None:
        self.problems += [ServiceError(kind, message, status)] * times

    def start(self) -> Self:
        app = web.Application(middlewares=[self._faults], client_max_size=16 * MAX_BYTES)
        app.router.add_post("/", self._answer)
        self._server = Server(app, tls=self.authority.server_context("localhost", "127.0.0.1"))
        self._server.start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @web.middleware
    async def _faults(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = self.faults.of(request.method, _operation(request))
        return await (handler(request) if fault is None else play(fault, request, handler))

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            self._authorise(request, body)
            if self.problems:
                raise self.problems.pop(0)
            told = self._act(_operation(request), json.loads(body))
        except ServiceError as problem:
            told = {"__type": f"com.amazonaws.logs#{problem.kind}", "message": str(problem)}
            return _reply(told, problem.status)
        return _reply(told, 200)

    def _authorise(self, request: web.Request, body: bytes) -> None:
        found = AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
        if found is None:
            raise ServiceError("MissingAuthenticationTokenException", "Missing Authentication Token")
        access, day, region, names, signature = found.groups()
        if access not in self.keys or request.headers.get("X-Amz-Security-Token") != self.session:
            raise ServiceError("UnrecognizedClientException", "The security token included in the request is invalid.")
        if region != self.region or not {"host", "x-amz-date"} <= set(names.split(";")):
            raise ServiceError("InvalidSignatureException", "Credential should be scoped to a valid region.")
        if signature != expected(request.headers, body, names.split(";"), (day, region, self.keys[access])):
            raise ServiceError("InvalidSignatureException", "The request signature we calculated does not match.")

    def _act(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        streams = self.groups.get(asked.get("logGroupName", ""))
        if streams is None:
            raise ServiceError("ResourceNotFoundException", "The specified log group does not exist.")
        if operation == "CreateLogStream":
            if asked["logStreamName"] in streams:
                raise ServiceError("ResourceAlreadyExistsException", "The specified log stream already exists")
            streams.add(asked["logStreamName"])
            return {}
        if operation != "PutLogEvents":
            raise ServiceError("UnknownOperationException", operation)
        if asked.get("logStreamName") not in streams:
            raise ServiceError("ResourceNotFoundException", "The specified log stream does not exist.")
        return self._put(asked["logGroupName"], asked["logStreamName"], asked["logEvents"])

    def _put(self, group: str, stream: str, events: list[dict[str, Any]]) -> dict[str, Any]:
        check(events)
        now = self._clock() * 1000
        times = [event["timestamp"] for event in events]
        old = sum(at < now - OLDEST for at in times)
        new = sum(at > now + NEWEST for at in times)
        kept = events[old : len(events) - new]
        self.batches.append(len(events))
        self.journal.append([LogEvent(group, stream, event["timestamp"], event["message"]) for event in kept])
        told: dict[str, Any] = {"nextSequenceToken": str(len(self.batches))}
        if old or new:
            told["rejectedLogEventsInfo"] = ({"tooOldLogEventEndIndex": old} if old else {}) | (
                {"tooNewLogEventStartIndex": len(events) - new} if new else {}
            )
        return told


def check(events: list[dict[str, Any]]) -> None:
    """The limits of one request; raises ServiceError."""
    times = [event["timestamp"] for event in events]
    faults = {
        "at least one": not events,
        f"at most {MAX_EVENTS}": len(events) > MAX_EVENTS,
        "chronological order": times != sorted(times),
        "24 hours": bool(times) and max(times) - min(times) > MAX_SPAN,
        "Upload too large": sum(len(event["message"].encode()) + OVERHEAD for event in events) > MAX_BYTES,
        "an empty message": any(not event["message"] for event in events),
        "extra keys": any(set(event) != {"timestamp", "message"} for event in events),
    }
    for what, wrong in faults.items():
        if wrong:
            raise ServiceError("InvalidParameterException", f"Log events: {what}")


def expected(headers: Mapping[str, str], body: bytes, names: list[str], scope: tuple[str, str, str]) -> str:
    """The signature that a request should have. `scope`: the day, the region and the secret."""
    day, region, secret = scope
    canonical = ["POST", "/", ""]
    canonical += [f"{name}:{headers.get(name, '').strip()}" for name in names]
    canonical += ["", ";".join(names), hashlib.sha256(body).hexdigest()]
    hashed = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{headers['X-Amz-Date']}\n{day}/{region}/logs/aws4_request\n{hashed}"
    key = b"AWS4" + secret.encode()
    for part in (day, region, "logs", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _operation(request: web.Request) -> str:
    return request.headers.get("X-Amz-Target", "").removeprefix(TARGET)


def _reply(told: dict[str, Any], status: int) -> web.Response:
    return web.Response(status=status, body=json.dumps(told).encode(), content_type="application/x-amz-json-1.1")
