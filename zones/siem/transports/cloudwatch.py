"""Amazon CloudWatch Logs: signed PutLogEvents on one kept connection; makes a stream that is missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import httpx

from zones.siem.destinations import CloudWatchSettings
from zones.siem.formats.registry import FORMATS, fitting
from zones.siem.outcome import Arrival, Hold, Outcome, Retry
from zones.siem.protocols import cloudwatch, sigv4
from zones.siem.transports import tls
from zones.siem.transports.awskeys import KeyRing, KeysUnreachableError
from zones.siem.values import millis


class CloudWatchSender:
    """One stream. What is too old or too new for the group is told apart from what was taken."""

    arrival = Arrival.ACCEPTED

    def __init__(self, settings: CloudWatchSettings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._format = FORMATS[settings.format]
        self._url = (settings.url or f"https://logs.{settings.region}.amazonaws.com").rstrip("/") + "/"
        self._host = httpx.URL(self._url).netloc.decode()
        self._https = tls.Https(settings.ca_file, settings.cert_file, settings.key_file, settings.timeout_seconds)
        self._keys = KeyRing(environment, settings.region)

    async def send(self, payloads: Sequence[bytes]) -> tuple[int, Outcome]:
        lines, unfit = await asyncio.to_thread(fitting, payloads, self._line)
        if not lines:
            return 1, unfit
        events = [cloudwatch.LogEvent(at, *line) for at, line in enumerate(lines)]
        count = cloudwatch.within(events)
        stream = self._settings.stream or str(json.loads(payloads[0])["node"])
        try:
            return count, await self._put(stream, cloudwatch.in_order(events[:count]))
        except (httpx.HTTPError, tls.CertificateFilesError) as error:
            return count, tls.unreachable(self._url, error)
        except KeysUnreachableError as error:
            return count, Retry(f"no AWS keys: {error}")
        except (OSError, ValueError) as error:
            return count, Hold(f"no AWS keys: {error}")

    async def probe(self) -> str:
        try:
            stream = self._settings.stream or "zonebridge-check"
            answer = await self._post("PutLogEvents", cloudwatch.put_events(self._settings.group, stream, ()))
        except (httpx.HTTPError, tls.CertificateFilesError) as error:
            return tls.unreachable(self._url, error).why
        except (OSError, ValueError, KeysUnreachableError) as error:
            return f"no AWS keys: {error}"
        return cloudwatch.refusal(answer.status, answer.content)

    def _line(self, payload: bytes) -> tuple[int, str]:
        record = json.loads(payload)
        return millis(record) or 0, self._format.text(record)

    async def _put(self, stream: str, events: Sequence[cloudwatch.LogEvent]) -> Outcome:
        group = self._settings.group
        body = cloudwatch.put_events(group, stream, events)
        response = await self._post("PutLogEvents", body)
        if cloudwatch.missing_stream(response.status, response.content):
            answer = await self._post("CreateLogStream", cloudwatch.create_stream(group, stream))
            refused = cloudwatch.stream_refused(answer.status, answer.content)
            if refused is not None:
                return refused
            response = await self._post("PutLogEvents", body)
        if response.status in {400, 401, 403}:
            self._keys.forget()
        return cloudwatch.interpret(response.status, response.content, events)

    async def _post(self, operation: str, body: bytes) -> tls.HttpAnswer:
        keys = await self._keys.keys()
        scope = sigv4.SigningScope(self._settings.region, cloudwatch.SERVICE)
        headers = sigv4.signed(keys, scope, datetime.now(UTC), self._host, "/", cloudwatch.headers(operation), body)
        return await self._https.post(self._url, body, headers)

    async def close(self) -> None:
        await self._https.close()
