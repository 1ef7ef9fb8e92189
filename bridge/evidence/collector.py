"""Takes what nodes saw over HTTPS, as a Splunk HTTP Event Collector does; confirms what is in the database, no more.

It takes records of our clusters' nodes and of two kinds; everything else is refused, with its place in the request.
What waits for the database is bounded: beyond that nodes are asked to come again.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog
from aiohttp import web

from bridge.errors import SecretError
from bridge.evidence.database import EvidenceError
from bridge.evidence.store import NodeRecord, Store
from bridge.listeners.connections import listening_on
from zones.seen import COUNTING, SEEN, SeenRecordError, counting_of, is_text, seen_of

MAX_BODY, MAX_RECORDS, MAX_WAITING = 4 * 2**20, 10_000, 100_000
READ_SECONDS = 30.0
_AT_ONCE = 20_000
_MOST_NAME, _MOST_SEQUENCE = 253, 2**62
_DECODER = json.JSONDecoder()
_SUCCESS, _NO_TOKEN, _INVALID_TOKEN, _NO_DATA, _INVALID, _INTERNAL, _BUSY, _HEALTHY = 0, 2, 4, 5, 6, 8, 9, 17
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CollectorAddress:
    """Where to listen and what a node must know. `token` is read anew for each request, as files are rotated."""

    address: tuple[str, int]
    token: Callable[[], str]
    clusters: Collection[str]
    tls: ssl.SSLContext | None = None


class _UnfitError(Exception):
    """An event that is not ours, by its number in the request."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


@dataclass(slots=True)
class _Batch:
    records: dict[str, list[NodeRecord]]
    done: asyncio.Future[EvidenceError | None]

    @property
    def size(self) -> int:
        return sum(map(len, self.records.values()))


@dataclass(slots=True)
class Collector:
    """`taken` and `refused` count records since the start."""

    store: Store
    clusters: Collection[str]
    token: Callable[[], str]
    taken: int = 0
    repeated: int = 0
    refused: int = 0
    _waiting: list[_Batch] = field(default_factory=list)
    _ending: bool = False
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(self) -> None:
        """Put what waits into the database, as much as there is at once. Until `end`."""
        while not self._ending:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await self._write_some(self._some())

    def end(self) -> None:
        """What is being written is written."""
        self._ending = True
        self._arrived.set()

    def _some(self) -> list[_Batch]:
        some: list[_Batch] = []
        while self._waiting and (not some or sum(batch.size for batch in some) < _AT_ONCE):
            some.append(self._waiting.pop(0))
        return some

    async def _write_some(self, batches: list[_Batch]) -> None:
        together: dict[str, list[NodeRecord]] = defaultdict(list)
        for batch in batches:
            for cluster, records in batch.records.items():
                together[cluster] += records
        failed: EvidenceError | None = None
        try:
            for cluster, records in together.items():
                taken = await asyncio.to_thread(self.store.take, cluster, records, datetime.now(UTC))
                self.taken += taken.rows
                self.repeated += taken.repeated
        except EvidenceError as error:
            failed = error
        except Exception as error:  # noqa: BLE001 - whoever waits must be told
            if len(batches) > 1:  # one node's must keep nobody else's out; what is kept by now is known as repeated
                for batch in batches:
                    await self._write_some([batch])
                return
            _log.exception("what nodes saw is not kept")
            failed = EvidenceError(f"unexpected {type(error).__name__}")
        for batch in batches:
            if not batch.done.done():
                batch.done.set_result(failed)

    async def answer(self, request: web.Request) -> web.Response:
        """One request, from its token to its confirmation."""
        refusal = self._unknown(request)
        if refusal is not None:
            return refusal
        if sum(batch.size for batch in self._waiting) >= MAX_WAITING:
            return _reply(503, _BUSY, "Server is busy")
        try:
            async with asyncio.timeout(READ_SECONDS):
                body = await request.read()
            records = await asyncio.to_thread(records_of, body, self.clusters)
        except TimeoutError:
            return _reply(408, _BUSY, "the request took too long")
        except _UnfitError as error:
            self.refused += 1
            _log.warning("record of what was seen refused", peer=request.remote, error=str(error))
            return _reply(400, _INVALID, f"Invalid data format: {error}", number=error.number)
        if not records:
            return _reply(400, _NO_DATA, "No data")
        return await self._kept(records)

    async def _kept(self, records: dict[str, list[NodeRecord]]) -> web.Response:
        batch = _Batch(records, asyncio.get_running_loop().create_future())
        self._waiting.append(batch)
        self._arrived.set()
        failed = await batch.done
        if failed is not None:
            _log.error("what nodes saw is not kept", error=str(failed))
            return _reply(503, _INTERNAL, "Internal server error")
        return _reply(200, _SUCCESS, "Success")

    def _unknown(self, request: web.Request) -> web.Response | None:
        kind, _, credential = request.headers.get("Authorization", "").partition(" ")
        if kind != "Splunk" or not credential:
            return _reply(401, _NO_TOKEN, "Token is required")
        try:
            token = self.token()
        except SecretError as error:
            _log.error("what nodes saw can't be taken", error=str(error))
            return _reply(503, _BUSY, "Server is busy")
        if not token or not hmac.compare_digest(credential.encode(errors="surrogateescape"), token.encode()):
            _log.warning("what was seen refused: the token is wrong", peer=request.remote)
            return _reply(403, _INVALID_TOKEN, "Invalid token")
        return None


def records_of(body: bytes, clusters: Collection[str]) -> dict[str, list[NodeRecord]]:
    """The records of a request, by cluster. Raises _UnfitError."""
    by_cluster: dict[str, list[NodeRecord]] = defaultdict(list)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _UnfitError(0, "the request is not UTF-8") from error
    at, number = _past_space(text, 0), 0
    while at < len(text):
        if number >= MAX_RECORDS:
            raise _UnfitError(number, f"more than {MAX_RECORDS} events in one request")
        try:
            event, at = _DECODER.raw_decode(text, at)
            record = event["event"]
            by_cluster[_known(record["cluster"], clusters)].append(_told(record))
        except (SeenRecordError, ValueError, KeyError, TypeError, RecursionError) as error:
            why = str(error) if isinstance(error, SeenRecordError) else "it is no event of ours"
            raise _UnfitError(number, why) from error
        at, number = _past_space(text, at), number + 1
    return dict(by_cluster)


def _known(cluster: str, clusters: Collection[str]) -> str:
    if cluster not in clusters:
        raise SeenRecordError("it is of a cluster that this bridge doesn't know")
    return cluster


def _told(record: dict[str, Any]) -> NodeRecord:
    node, sequence, kind = record["node"], record["sequence"], record["kind"]
    if not isinstance(node, str) or not 0 < len(node) <= _MOST_NAME or "\0" in node or not is_text(node):
        raise SeenRecordError("node must be a name")
    if type(sequence) is not int or not 0 <= sequence < _MOST_SEQUENCE:
        raise SeenRecordError("sequence must be an integer")
    if kind == SEEN:
        return NodeRecord(node, sequence, seen_of(record))
    if kind == COUNTING:
        return NodeRecord(node, sequence, counting_of(record))
    raise SeenRecordError("its kind is neither seen nor counting: give this destination records: seen")


def _past_space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _reply(status: int, code: int, text: str, *, number: int | None = None) -> web.Response:
    more = {} if number is None else {"invalid-event-number": number}
    return web.json_response({"text": text, "code": code, **more}, status=status)


@asynccontextmanager
async def collecting(door: CollectorAddress, store: Store) -> AsyncIterator[int]:
    """Listen and keep until left; yields the port."""
    collector = Collector(store, door.clusters, door.token)

    async def health(_: web.Request) -> web.Response:
        return _reply(200, _HEALTHY, "HEC is healthy")

    app = web.Application(client_max_size=MAX_BODY)
    for path in ("/services/collector/event", "/services/collector", "/services/collector/event/1.0"):
        app.router.add_post(path, collector.answer)
    app.router.add_get("/services/collector/health", health)
    writing = asyncio.create_task(collector.write(), name="evidence")
    try:
        async with listening_on(app, door.address, door.tls, most=8192) as port:
            yield port
    finally:
        collector.end()
        await writing
