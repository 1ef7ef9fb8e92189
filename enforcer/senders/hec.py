"""Splunk's HTTP Event Collector: gzipped batches on one kept connection; waits for the indexers where asked to.

With acknowledgement several batches are under way before the first is asked for, so that its wait is shared.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from enforcer.destinations import HecSettings, chosen
from enforcer.senders import tls
from enforcer.siem import hec
from enforcer.siem.formats import FORMATS, fitting
from enforcer.siem.outcome import Delivered, Hold, Outcome, Refused, Retry

Json = Mapping[str, Any]
_ACK_INTERVAL = 0.25
_TROUBLE = (OSError, ValueError, httpx.HTTPError, tls.CertificateFilesError)


def token_reader(settings: HecSettings, environment: Mapping[str, str]) -> Callable[[], str]:
    """Read anew each time: a rotated token file needs no restart. Raises OSError, ValueError."""

    def read() -> str:
        if settings.token_file is not None:
            token = settings.token_file.read_text("utf-8").strip()
        else:
            token = environment.get(settings.token_env or "", "").strip()
        if not token.isascii() or not token.isprintable() or not token:
            raise ValueError("the token is empty or no token")
        return token

    return read


class HecSender:
    """`token` is asked before each request."""

    def __init__(self, settings: HecSettings, token: Callable[[], str]) -> None:
        self._settings = settings
        self._token = token
        self._format = FORMATS[settings.format]
        self._channel = str(uuid.uuid4())
        self._base = settings.url.rstrip("/").removesuffix(hec.EVENT_PATH)
        self._https = tls.Https(settings.ca_file, settings.cert_file, settings.key_file, settings.timeout_seconds)

    async def send(self, records: Sequence[Json]) -> tuple[int, Outcome]:
        events, unfit = await asyncio.to_thread(fitting, records, self._event)
        if not events:
            return 1, unfit
        if not self._settings.acknowledge:
            count = hec.within(events, self._settings.batch_bytes)
            outcome, _ = await self._post(events[:count])
            return count, outcome
        return await self._send_several(events)

    def _event(self, record: Json) -> bytes:
        settings, form = self._settings, self._format
        envelope = hec.Envelope(
            settings.source,
            chosen(settings.index, record),
            chosen(settings.sourcetype, record) or form.sourcetype(record),
        )
        return hec.render(record, form.render(record), envelope)

    async def _send_several(self, events: Sequence[bytes]) -> tuple[int, Outcome]:
        """Post batch after batch, then wait for all; what counts is what was acknowledged from the start on."""
        under_way: list[tuple[int, int | None]] = []
        failed: tuple[int, Outcome] | None = None
        at, slow_down = 0, False
        while at < len(events) and len(under_way) < self._settings.in_flight:
            count = hec.within(events[at:], self._settings.batch_bytes)
            outcome, wanted = await self._post(events[at : at + count])
            if not isinstance(outcome, Delivered):
                failed = (at + count, _moved(outcome, at))
                break
            at += count
            slow_down |= outcome.slow_down
            under_way.append((at, wanted))
        confirmed, trouble = await self._confirmed(under_way)
        if failed is not None and confirmed == at and (not at or isinstance(failed[1], Refused)):
            return failed
        if confirmed:
            return confirmed, Delivered(slow_down=slow_down)
        return at, trouble

    async def _post(self, events: Sequence[bytes]) -> tuple[Outcome, int | None]:
        """What became of a batch, and the id to ask for later where it has one."""
        try:
            headers = hec.headers(self._token(), self._channel)
            client = await self._https.client()
            content = await asyncio.to_thread(hec.body, events)
            response = await client.post(self._base + hec.EVENT_PATH, content=content, headers=headers)
        except _TROUBLE as error:
            return self._trouble(error), None
        after = response.headers.get("Retry-After")
        outcome = hec.interpret(response.status_code, response.content, after, len(events))
        return outcome, hec.ack_id(response.content)

    async def _confirmed(self, under_way: Sequence[tuple[int, int | None]]) -> tuple[int, Outcome]:
        """How many events from the start on are acknowledged within the time, and why not the next one."""
        waiting = {wanted for _, wanted in under_way if wanted is not None}
        trouble: Outcome = Retry("the indexers did not acknowledge in time")
        deadline = asyncio.get_running_loop().time() + self._settings.timeout_seconds
        while waiting:
            try:
                waiting -= await self._acknowledged(waiting)
            except _TROUBLE as error:
                trouble = self._trouble(error)
                break
            if waiting:
                if asyncio.get_running_loop().time() >= deadline:
                    break
                await asyncio.sleep(_ACK_INTERVAL)
        first_open = next((at for at, (_, wanted) in enumerate(under_way) if wanted in waiting), len(under_way))
        return (under_way[first_open - 1][0] if first_open else 0), trouble

    async def _acknowledged(self, waiting: set[int]) -> set[int]:
        """An id that was told to be indexed is told so only once."""
        headers = hec.headers(self._token(), self._channel)
        del headers["Content-Encoding"]
        client = await self._https.client()
        response = await client.post(self._base + hec.ACK_PATH, json={"acks": sorted(waiting)}, headers=headers)
        return hec.acknowledged(response.content, waiting)

    def _trouble(self, error: Exception) -> Outcome:
        if isinstance(error, httpx.HTTPError | tls.CertificateFilesError):
            return tls.unreachable(self._base, error)
        return Hold(f"the token can't be read: {error}")

    async def close(self) -> None:
        await self._https.close()


def _moved(outcome: Outcome, by: int) -> Outcome:
    return replace(outcome, index=outcome.index + by) if isinstance(outcome, Refused) else outcome
