"""Serves /quarantines: a SOAR asks for one, or lets out whom it has asked for. With a token, a certificate, or both.

What it asks for is what `zonebridge quarantine` can: the same budget, exemptions and admission hold.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from aiohttp import web

from bridge.errors import SecretError
from bridge.listeners.authorization import knows_as_bearer
from bridge.listeners.connections import listening_on
from bridge.quarantine.requests import QuarantineRequest, SoarQuarantines, parse_request
from zones.kube.errors import ClusterError, ClusterRefusedError
from zones.runtime.errors import InputError
from zones.runtime.rate_budget import RateBudget

MAX_BODY = 16 * 1024
_log = structlog.get_logger()
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class QuarantineDoor:
    """Where to listen and who may call. `token` is read anew for each call; None: the certificate alone counts.

    `clients`: the names of certificates that may call, empty for all that `tls` lets in. `per_minute`: calls let in.
    """

    address: tuple[str, int]
    token: Callable[[], str] | None
    tls: ssl.SSLContext | None = None
    clients: frozenset[str] = frozenset()
    per_minute: int = 30


@dataclass(slots=True)
class _Answers:
    """What is answered. `clusters`: by name."""

    door: QuarantineDoor
    clusters: Mapping[str, SoarQuarantines]
    clock: Callable[[], float]
    budget: RateBudget = field(init=False)

    def __post_init__(self) -> None:
        self.budget = RateBudget(self.door.per_minute / 60, float(self.door.per_minute))

    async def add(self, request: web.Request, caller: str) -> web.Response:
        asked = parse_request(await request.read())
        cluster = self._of(asked.cluster)
        quarantine, is_new = await cluster.add(asked, caller)
        _log.info("quarantine asked for", new=is_new, **_about(request, caller, asked), quarantine=quarantine.name)
        return web.json_response(cluster.json(quarantine), status=201 if is_new else 200)

    async def release(self, request: web.Request, caller: str) -> web.Response:
        name = request.match_info["name"]
        await self._of(request.query.get("cluster")).release(name)
        _log.info("released", quarantine=name, caller=caller, peer=request.remote)
        return web.json_response({"name": name, "state": "released"})

    def _of(self, name: str | None) -> SoarQuarantines:
        if name is None and len(self.clusters) == 1:
            return next(iter(self.clusters.values()))
        if name is None or name not in self.clusters:
            raise InputError(f"cluster: name one of {', '.join(sorted(self.clusters))}")
        return self.clusters[name]

    def guarded(self, work: Callable[[web.Request, str], Awaitable[web.Response]]) -> _Handler:
        """Only for who may call, not too often; what can't be done is told as JSON."""

        async def handle(request: web.Request) -> web.Response:
            try:
                caller = _caller(self.door, request)
            except SecretError as error:
                _log.error("quarantines can't be asked for", error=str(error))
                return _problem(503, "the token can't be read")
            if caller is None:
                _log.warning("quarantine refused", peer=request.remote, error="wrong or missing token or certificate")
                return _problem(401, "the token or the certificate is wrong or missing")
            if not self.budget.take(self.clock()):
                _log.warning("quarantine refused", peer=request.remote, caller=caller, error="too many calls")
                return _problem(429, f"more than {self.door.per_minute} calls a minute", {"Retry-After": "60"})
            try:
                return await work(request, caller)
            except (InputError, ClusterRefusedError) as error:
                _log.warning("quarantine refused", peer=request.remote, caller=caller, error=str(error))
                return _problem(422, str(error))
            except ClusterError as error:
                _log.warning("quarantine not possible", peer=request.remote, caller=caller, error=str(error))
                return _problem(503, str(error), {"Retry-After": "5"})

        return handle


@asynccontextmanager
async def quarantine_requests(
    door: QuarantineDoor, clusters: Mapping[str, SoarQuarantines], clock: Callable[[], float]
) -> AsyncIterator[int]:
    """Serve until left; yields the port. `clock`: seconds of one that nobody sets."""
    answers = _Answers(door, clusters, clock)
    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes(
        [
            web.post("/quarantines", answers.guarded(answers.add)),
            web.delete("/quarantines/{name}", answers.guarded(answers.release)),
        ]
    )
    async with listening_on(app, door.address, door.tls) as port:
        yield port


def _caller(door: QuarantineDoor, request: web.Request) -> str | None:
    """The name in the certificate, or `soar` for who knows the token; None for nobody who may call."""
    if door.token is not None and not knows_as_bearer(request.headers.get("Authorization", ""), door.token()):
        return None
    transport = request.transport
    certificate = None if transport is None else transport.get_extra_info("peercert")
    names = _names(certificate or {})
    if door.clients:
        return next((name for name in names if name in door.clients), None)
    return next(iter(names), "soar")


def _names(certificate: Mapping[str, object]) -> list[str]:
    """The DNS names of a certificate that TLS has verified, and its common name."""
    alternative, subject = certificate.get("subjectAltName", ()), certificate.get("subject", ())
    names = [value for kind, value in alternative if kind == "DNS"] if isinstance(alternative, tuple) else []
    parts = [pair for part in subject for pair in part] if isinstance(subject, tuple) else []
    return [*names, *(value for kind, value in parts if kind == "commonName")]


def _about(request: web.Request, caller: str, asked: QuarantineRequest) -> dict[str, object]:
    """Of the bridge's own log: who asked for what, from where."""
    content = asked.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"reason"})
    return {"peer": request.remote, "caller": caller, "asked": content}


def _problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    text = json.dumps({"error": message}, ensure_ascii=False)
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)
