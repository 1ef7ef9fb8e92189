"""How receivers' certificates are verified, and what a connection's failure means. Used by the transports."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from zones.runtime.sockets import watched
from zones.siem.outcome import Hold, Retry


def context(ca_file: Path | None, cert_file: Path | None = None, key_file: Path | None = None) -> ssl.SSLContext:
    """Always verified: against the system's authorities, or against this file's alone. Raises OSError."""
    authorities = None if ca_file is None else str(ca_file)
    tls_context = ssl.create_default_context(cafile=authorities)
    if cert_file is not None:
        tls_context.load_cert_chain(cert_file, key_file)
    return tls_context


# No receiver's answer is longer; what a hostile or broken one sends beyond that is never taken in, nor unpacked.
_LONGEST_ANSWER = 256 * 1024
# What a receiver's TLS says of a certificate of ours that it doesn't take.
_OUR_CERTIFICATE = (
    "CERTIFICATE_REQUIRED",
    "UNKNOWN_CA",
    "BAD_CERTIFICATE",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED",
)


class CertificateFilesError(Exception):
    """A certificate's file is gone or has become unusable since the start."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a receiver said, as far as we listened. Header names are in lower case."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Https:
    """An HTTPS client with kept connections; made anew when a certificate's file has changed: those are rotated.

    `timeout` is for a whole request: one who answers an octet at a time has no more time than others.
    """

    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    timeout: float
    _made: tuple[object, httpx.AsyncClient] | None = field(default=None, init=False)

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """Raises CertificateFilesError, httpx.HTTPError."""
        client = await self._client()
        try:
            async with asyncio.timeout(self.timeout), _Connections() as connections:
                return await _asked(client, url, content, headers, connections)
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"no whole answer within {self.timeout:g} s") from error

    async def _client(self) -> httpx.AsyncClient:
        """Raises CertificateFilesError."""
        try:
            files = await asyncio.to_thread(self._files)
            if self._made is None or self._made[0] != files:
                verify = await asyncio.to_thread(context, self.ca_file, self.cert_file, self.key_file)
                cookies = None if self._made is None else self._made[1].cookies  # by which a balancer knows us
                await self.close()
                client = httpx.AsyncClient(verify=verify, timeout=self.timeout, follow_redirects=False, cookies=cookies)
                self._made = files, client
        except OSError as error:
            raise CertificateFilesError(f"a certificate can't be read: {error}") from error
        return self._made[1]

    def _files(self) -> list[tuple[int, int, int]]:
        files = [path.stat() for path in (self.ca_file, self.cert_file, self.key_file) if path is not None]
        return [(file.st_ino, file.st_mtime_ns, file.st_size) for file in files]

    async def close(self) -> None:
        if self._made is not None:
            _, client = self._made
            self._made = None
            await client.aclose()


class _Connections:
    """Closes what a request opened that doesn't come to its end: the pool forgets who is cut off as TLS begins."""

    def __init__(self) -> None:
        self._opened: list[Any] = []

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        await watched(event, info)
        if event == "connection.connect_tcp.complete":
            self._opened.append(info["return_value"])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._opened if kind is not None else ():
            await stream.aclose()


async def _asked(
    client: httpx.AsyncClient, url: str, content: bytes, headers: Mapping[str, str], connections: _Connections
) -> HttpAnswer:
    plain, seen = {"Accept-Encoding": "identity", **headers}, {"trace": connections.trace}
    async with client.stream("POST", url, content=content, headers=plain, extensions=seen) as response:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > _LONGEST_ANSWER:
                break
        return HttpAnswer(response.status_code, bytes(body[:_LONGEST_ANSWER]), dict(response.headers))


def unreachable(where: str, error: BaseException) -> Hold | Retry:
    """A certificate that doesn't hold won't get better by itself; the rest may."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, CertificateFilesError):
        return Hold(text)
    if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return Hold(f"{where} has a certificate that can't be verified: {text}; give its authority as caFile")
    if any(word in text.upper().replace(" ", "_") for word in _OUR_CERTIFICATE):
        return Hold(f"{where} wants another certificate of ours: {text}; give it as certFile and keyFile")
    return Retry(f"{where} can't be reached: {text}", slow=isinstance(error, httpx.TimeoutException | TimeoutError))
