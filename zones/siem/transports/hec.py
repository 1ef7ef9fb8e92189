"""Splunk's HTTP Event Collector: gzipped batches on one kept connection.

It never waits for the indexers: with acknowledgement a batch is only accepted; `enforcer.shipping.delivery` asks for
it later.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import httpx
import structlog

from zones.siem.destinations import HecSettings, chosen
from zones.siem.formats.registry import FORMATS, FormatName, fitting
from zones.siem.outcome import Accepted, Arrival, Delivered, Gone, Hold, Outcome, Refused, Retry
from zones.siem.protocols import hec
from zones.siem.transports import tls
from zones.siem.transports.acks import Acks

Json = Mapping[str, Any]
_log = structlog.get_logger()
_SPREAD = "requests reach more than one indexer: the balancer before them should be sticky, by cookie or connection"
_TROUBLE = (OSError, ValueError, httpx.HTTPError, tls.CertificateFilesError)


def token_reader(settings: HecSettings, environment: Mapping[str, str]) -> Callable[[], str]:
    """Read anew each time: a rotated token file needs no restart. Raises OSError, ValueError."""

    def read() -> str:
        if settings.token_file is not None:
            token = settings.token_file.read_text("utf-8").strip()
        else:
            token = environment.get(settings.token_env or "", "").strip()
        if not token:
            raise ValueError("it is empty")
        return token

    return read


class HecSender:
    """`token` is asked before each request."""

    def __init__(self, settings: HecSettings, token: Callable[[], str]) -> None:
        self._settings = settings
        self._token = token
        self._format = FORMATS[settings.format]
        self._wrapper = hec.Wrapper(self._envelope({"kind": "flow"})) if settings.format is FormatName.JSON else None
        self._acks = Acks()
        self._base = settings.url.rstrip("/").removesuffix(hec.EVENT_PATH)
        self._https = tls.Https(settings.ca_file, settings.cert_file, settings.key_file, settings.timeout_seconds)
        self.in_flight, self.patience = settings.in_flight, settings.timeout_seconds

    @property
    def arrival(self) -> Arrival:
        return Arrival.INDEXED if self._settings.acknowledge else Arrival.ACCEPTED

    async def send(self, payloads: Sequence[bytes]) -> tuple[int, Outcome]:
        count, body, unfit = await asyncio.to_thread(self._request, payloads)
        return (count, await self._post(body, count)) if count else (1, unfit)

    def _request(self, payloads: Sequence[bytes]) -> tuple[int, bytes, Refused]:
        """A request's body and how many records it has; why it has none."""
        events, unfit = fitting(payloads, self._event, hec.Room(self._settings.batch_bytes))
        return len(events), hec.body(events), unfit

    def _event(self, payload: bytes) -> bytes:
        wrapped = None if self._wrapper is None else self._wrapper.wrapped(payload)
        if wrapped is not None:
            return wrapped
        record = json.loads(payload)
        return hec.render(record, self._format.render(record), self._envelope(record))

    def _envelope(self, record: Json) -> hec.Envelope:
        settings = self._settings
        sourcetype = chosen(settings.sourcetype, record) or self._format.sourcetype(record)
        return hec.Envelope(settings.source, chosen(settings.index, record), sourcetype)

    async def _post(self, body: bytes, count: int) -> Outcome:
        try:
            headers = hec.headers(self._checked_token(), self._acks.next_channel())
            answer = await self._https.post(self._base + hec.EVENT_PATH, body, headers)
        except _TROUBLE as error:
            return self._trouble(error)
        outcome = hec.interpret(answer.status, answer.content, answer.headers.get("retry-after"), count)
        ack_id = hec.ack_id(answer.content) if self._settings.acknowledge else None
        if ack_id is None or not isinstance(outcome, Delivered):
            return outcome
        receipt = self._acks.took(ack_id, time.monotonic())
        if receipt is not None:
            return Accepted(receipt, slow_down=outcome.slow_down)
        if self._acks.spread:
            _log.warning("each batch has a channel of its own from now on", url=self._base, reason=_SPREAD)
        return Gone(_SPREAD)

    async def confirmed(self, receipts: Collection[int]) -> tuple[set[int], Outcome | None]:
        """What the indexers have. They tell it of each receipt only once."""
        arrived: set[int] = set()
        for channel, numbers in self._acks.to_ask(receipts):
            try:
                headers = hec.headers(self._checked_token(), channel)
                del headers["Content-Encoding"]
                content = json.dumps({"acks": sorted(numbers)}).encode()
                answer = await self._https.post(self._base + hec.ACK_PATH, content, headers)
            except _TROUBLE as error:
                return arrived, self._trouble(error)
            arrived |= {numbers[ack_id] for ack_id in hec.acknowledged(answer.content, numbers)}
        return arrived, None

    async def probe(self) -> str:
        try:
            headers = hec.headers(self._checked_token(), self._acks.next_channel())
            answer = await self._https.post(self._base + hec.EVENT_PATH, hec.body(()), headers)
        except _TROUBLE as error:
            return self._trouble(error).why
        return hec.refusal(answer.status, answer.content)

    def _checked_token(self) -> str:
        """A header that can't be sent would be quoted in an error. Raises OSError, ValueError."""
        token = self._token()
        if not (token.isascii() and token.isprintable()):
            raise ValueError("it holds more than printable ASCII")
        return token

    def _trouble(self, error: Exception) -> Hold | Retry:
        if isinstance(error, httpx.HTTPError | tls.CertificateFilesError):
            return tls.unreachable(self._base, error)
        return Hold(f"the token can't be read: {error}")

    async def close(self) -> None:
        await self._https.close()
