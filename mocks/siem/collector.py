"""A Splunk HTTP Event Collector without its wire: a request in, a reply out, events kept in order.

It never sends; hec.py serves it. Everything may be changed while it runs.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, TextIO, TypedDict

from mocks.siem.acks import Acks
from mocks.siem.bodies import gunzip, read_ack_query
from mocks.siem.codes import ACK_DISABLED, HEALTHY, INVALID_FORMAT, NO_DATA, SUCCESS, Refusal, status_of
from mocks.siem.envelope import Batch, Context, Event, nothing, read_batch
from mocks.siem.journal import Journal
from mocks.siem.rawlines import read_lines
from mocks.siem.replies import HTTP_OK, Call, Reply, Request, called, decorated, page, reply_with
from mocks.siem.script import Kind, Script, Step
from mocks.siem.tokens import Token, authorise, channel_of

COLLECTOR = "/services/collector"
EVENT_PATHS = frozenset({COLLECTOR, f"{COLLECTOR}/event", f"{COLLECTOR}/event/1.0"})
RAW_PATHS = frozenset({f"{COLLECTOR}/raw", f"{COLLECTOR}/raw/1.0"})
ACK_PATH = f"{COLLECTOR}/ack"
HEALTH_PATHS = frozenset({f"{COLLECTOR}/health", f"{COLLECTOR}/health/1.0"})
NOT_FOUND = {"text": "The requested URL was not found on this server.", "code": 404}

Oversize = Literal["413", "400"]


class Settings(TypedDict, total=False):
    """The keywords of Collector, for what passes them on."""

    ack_delay: float
    max_content_length: int
    oversize: Oversize
    raw_needs_channel: bool
    out: TextIO | None
    keep: int | None
    clock: Callable[[], float]


class Collector:
    """Tokens, a size cap, acknowledgement, and the events so far.

    `refuses` says which events are to be answered with code 6, as what no index takes.
    `oversize` says how a body above `max_content_length` (measured after gunzip) is refused: like Enterprise (413) or
    like Cloud (400, code 6).
    """

    def __init__(
        self,
        *tokens: Token | str,
        ack_delay: float = 0.0,
        max_content_length: int = 1_000_000,
        oversize: Oversize = "413",
        raw_needs_channel: bool = False,
        host: str = "127.0.0.1:8088",
        out: TextIO | None = None,
        keep: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.tokens: dict[str, Token] = {}
        for token in tokens:
            self.add(token)
        self.acks = Acks(ack_delay)
        self.max_content_length = max_content_length
        self.oversize: Oversize = oversize
        self.raw_needs_channel = raw_needs_channel
        self.host = host
        self.journal: Journal[Event] = Journal(out, keep)
        self.calls: list[Call] = []
        self.codes: Counter[int | None] = Counter()
        self.requests = 0
        self.wire_bytes = 0
        self.lost_to_unknown_keys: list[str] = []
        self.refuses: Callable[[Any], bool] = nothing
        self.script = Script()
        self._keep = keep
        self._clock = clock
        self._lock = threading.Lock()

    @property
    def events(self) -> list[Event]:
        return self.journal.entries()

    def wait_for(self, predicate: Callable[[Sequence[Event]], bool], timeout: float = 10.0) -> list[Event]:
        """The events, once the predicate holds for them; raises TimeoutError."""
        return self.journal.wait_for(predicate, timeout)

    def add(self, token: Token | str) -> Token:
        token = Token(token) if isinstance(token, str) else token
        self.tokens[token.value] = token
        return token

    def disable(self, value: str) -> None:
        self.tokens[value].enabled = False

    def enable(self, value: str) -> None:
        self.tokens[value].enabled = True

    def remove(self, value: str) -> None:
        del self.tokens[value]

    def answer(
        self,
        code: int,
        *,
        times: int = 1,
        retry_after: int | None = None,
        committed: bool = False,
        kind: Kind = "send",
    ) -> None:
        """Answer the next requests with this code; they are indexed only if `committed`, or if it is a success."""
        self.script.add(Step(kind, times, code, retry_after, committed))

    def reset_after_commit(self, times: int = 1) -> None:
        """Index, then drop the connection without an answer: an honest sender must send again."""
        self.script.add(Step(times=times, reset=True))

    def stall_after_commit(self, seconds: float, times: int = 1) -> None:
        """Index, then keep the sender waiting for the answer."""
        self.script.add(Step(times=times, seconds=seconds))

    def lose(self, times: int = 1) -> None:
        """Answer success (and an ackId that never comes true), and index nothing."""
        self.script.add(Step(times=times, lose=True))

    def handle(self, request: Request) -> Reply:
        """Answers one request; one at a time, whichever thread asks."""
        with self._lock:
            self.requests += 1
            self.wire_bytes += len(request.body)
            try:
                reply = self._route(request)
            except Refusal as refusal:
                reply = reply_with(refusal.code)
            self._note(request, reply)
            return reply

    def _note(self, request: Request, reply: Reply) -> None:
        self.codes[reply.code] += 1
        self.calls.append(called(request, reply))
        if self._keep is not None:
            del self.calls[: -self._keep]

    def _route(self, request: Request) -> Reply:
        wanted = method_of(request.path)
        if wanted is None:
            return Reply(404, NOT_FOUND)
        if request.method != wanted:
            return Reply(405, NOT_FOUND)
        kind = kind_of(request.path)
        step = self.script.take(kind)
        if step is not None and step.code is not None and status_of(step.code) != HTTP_OK and not step.committed:
            return decorated(reply_with(step.code), step)
        if kind == "health":
            return decorated(reply_with(HEALTHY), step)
        reply = self._poll_acks(request) if kind == "ack" else self._collect(request, lose=bool(step and step.lose))
        return decorated(reply, step)

    def _collect(self, request: Request, *, lose: bool) -> Reply:
        token = authorise(request.headers, request.query, self.tokens)
        raw = request.path in RAW_PATHS
        required = token.use_ack or (raw and self.raw_needs_channel)
        channel = channel_of(request.headers, request.query, required=required)
        body = self._unpack(request)
        if isinstance(body, Reply):
            return body
        if not body:
            raise Refusal(NO_DATA)
        context = Context(token, self.host, self._clock(), channel, self.refuses)
        batch = read_lines(body, request.query, context) if raw else read_batch(body, context)
        return self._commit(batch, context, lose=lose)

    def _commit(self, batch: Batch, context: Context, *, lose: bool) -> Reply:
        if batch.unknown_key:
            self.lost_to_unknown_keys.append(batch.unknown_key)
        if not lose:
            self.journal.append(batch.events)
        indexed = 0 if lose else len(batch.events)
        if batch.refusal is not None:
            return reply_with(batch.refusal.code, event_number=batch.refusal.event_number, events=indexed)
        ack_id = None
        if context.token.use_ack:
            ack_id = self.acks.issue((context.token.value, context.channel), self._clock(), lost=lose)
        return reply_with(SUCCESS, ack_id=ack_id, events=indexed)

    def _unpack(self, request: Request) -> bytes | Reply:
        encoding = request.headers.get("Content-Encoding", "identity").lower()
        if encoding not in {"gzip", "identity", ""}:
            return Reply(415, page(415, "Unsupported Media Type"))
        body = gunzip(request.body, self.max_content_length) if encoding == "gzip" else request.body
        if len(body) > self.max_content_length:
            if self.oversize == "400":
                return reply_with(INVALID_FORMAT, event_number=0)
            return Reply(413, page(413, f"Content is too large (maximum is {self.max_content_length})"))
        return body

    def _poll_acks(self, request: Request) -> Reply:
        token = authorise(request.headers, request.query, self.tokens)
        if not token.use_ack:
            raise Refusal(ACK_DISABLED)
        channel = channel_of(request.headers, request.query, required=True)
        body = self._unpack(request)
        if isinstance(body, Reply):
            return body
        numbers = read_ack_query(body)
        return Reply(200, {"acks": self.acks.answer((token.value, channel), numbers, self._clock())})


def method_of(path: str) -> str | None:
    """The one method that a path takes; None for a path that isn't there."""
    if path in HEALTH_PATHS:
        return "GET"
    return "POST" if path == ACK_PATH or path in EVENT_PATHS | RAW_PATHS else None


def kind_of(path: str) -> Kind:
    if path in HEALTH_PATHS:
        return "health"
    return "ack" if path == ACK_PATH else "send"
