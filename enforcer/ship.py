"""The one door to the SIEM: HEC over HTTPS, syslog over TLS or TCP, a file or standard output.

A sender takes a batch and says what became of it; it never reads the spool and never waits to try again:
that is `enforcer.delivery`.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import ssl
import struct
import sys
import termios
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import httpx

from enforcer.settings import DestinationSettings, FileSettings, HecSettings, SyslogSettings, host_and_port
from enforcer.siem import hec, jsonlines, syslog
from enforcer.siem.outcome import Delivered, Hold, Outcome, Retry

Json = Mapping[str, Any]
_ACK_INTERVAL, _FLUSH_INTERVAL = 0.5, 0.005
_ESTABLISHED, _SETTLE_SECONDS = 1, 0.05


class Sender(Protocol):
    """One destination's transport. `fit` says how many records of a batch one sending takes."""

    async def send(self, records: Sequence[Json]) -> tuple[int, Outcome]:
        """Send the first records of a batch: how many were tried, and what became of them."""

    async def close(self) -> None: ...


def sender(settings: DestinationSettings, environment: Mapping[str, str]) -> Sender:
    match settings:
        case HecSettings():
            return HecSender(settings, token_reader(settings, environment))
        case SyslogSettings():
            return SyslogSender(settings)
        case FileSettings():
            return FileSender(settings.path)


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
    """Batches as gzipped requests on one kept connection; waits for the indexers where asked to."""

    def __init__(self, settings: HecSettings, token: Callable[[], str]) -> None:
        self._settings = settings
        self._token = token
        self._envelope = hec.Envelope(settings.source, settings.index, settings.sourcetype)
        self._channel = str(uuid.uuid4())
        self._base = settings.url.rstrip("/").removesuffix(hec.EVENT_PATH)
        self._client = httpx.AsyncClient(
            verify=_context(settings.ca_file), timeout=settings.timeout_seconds, follow_redirects=False
        )

    async def send(self, records: Sequence[Json]) -> tuple[int, Outcome]:
        events = [hec.render(record, self._envelope) for record in records]
        count = hec.within(events, self._settings.batch_bytes)
        return count, await self._guarded(lambda: self._post(events[:count]))

    async def _guarded(self, attempt: Callable[[], Awaitable[Outcome]]) -> Outcome:
        try:
            return await attempt()
        except (OSError, ValueError) as error:
            return Hold(f"the token can't be read: {error}")
        except httpx.HTTPError as error:
            return _unreachable(self._base, error)

    async def _post(self, events: Sequence[bytes]) -> Outcome:
        headers = hec.headers(self._token(), self._channel)
        response = await self._client.post(self._base + hec.EVENT_PATH, content=hec.body(events), headers=headers)
        outcome = hec.interpret(
            response.status_code, response.content, response.headers.get("Retry-After"), len(events)
        )
        wanted = hec.ack_id(response.content)
        if self._settings.acknowledge and isinstance(outcome, Delivered) and wanted is not None:
            return outcome if await self._indexed(wanted) else Retry("the indexers did not acknowledge in time")
        return outcome

    async def _indexed(self, wanted: int) -> bool:
        deadline = asyncio.get_running_loop().time() + self._settings.timeout_seconds
        headers = hec.headers(self._token(), self._channel)
        del headers["Content-Encoding"]
        while asyncio.get_running_loop().time() < deadline:
            response = await self._client.post(self._base + hec.ACK_PATH, json={"acks": [wanted]}, headers=headers)
            if hec.acknowledged(response.content, wanted):
                return True
            await asyncio.sleep(_ACK_INTERVAL)
        return False

    async def close(self) -> None:
        await self._client.aclose()


class SyslogSender:
    """Octet-counted frames on one kept connection.

    Syslog has no reply, so a batch counts as delivered when the receiver's kernel has acknowledged its last octet and
    the connection stands a moment longer: a receiver that dies over a batch resets it.
    """

    def __init__(self, settings: SyslogSettings) -> None:
        self._settings = settings
        self._form = syslog.Form(settings.facility, settings.structured_data)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, records: Sequence[Json]) -> tuple[int, Outcome]:
        data = b"".join(syslog.frame(record, self._form) for record in records)
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                await self._write(data)
        except (OSError, TimeoutError, EOFError) as error:
            await self.close()
            return len(records), _unreachable(self._settings.address, error)
        return len(records), Delivered()

    async def _write(self, data: bytes) -> None:
        reader, writer = await self._connected()
        writer.write(data)
        await writer.drain()
        while writer.transport.get_write_buffer_size() or _unacknowledged(writer):  # noqa: ASYNC110 - the kernel sends no event
            await asyncio.sleep(_FLUSH_INTERVAL)
        await asyncio.sleep(_SETTLE_SECONDS)
        if _unacknowledged(writer) or reader.at_eof() or writer.is_closing():
            raise EOFError("the receiver closed the connection")

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and self._streams[0].at_eof():
            await self.close()
        if self._streams is None:
            host, port = host_and_port(self._settings.address)
            context = _context(self._settings.ca_file) if self._settings.tls else None
            name = (self._settings.server_name or host) if self._settings.tls else None
            self._streams = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
        return self._streams

    async def close(self) -> None:
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            try:
                async with asyncio.timeout(1):
                    await writer.wait_closed()
            except (OSError, TimeoutError):
                writer.transport.abort()


class FileSender:
    """JSON lines appended to a file that is opened anew for each batch, so that it may be rotated; `-` is stdout."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def send(self, records: Sequence[Json]) -> tuple[int, Outcome]:
        data = b"".join(jsonlines.line(record) for record in records)
        try:
            await asyncio.to_thread(self._append, data)
        except OSError as error:
            return len(records), Retry(f"{self._path} can't be written: {error.strerror}")
        return len(records), Delivered()

    def _append(self, data: bytes) -> None:
        if self._path == "-":
            _write_whole(sys.stdout.buffer, data)
            return
        with Path(self._path).open("ab") as file:
            _write_whole(file, data)

    async def close(self) -> None: ...


def _write_whole(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()


def _context(ca_file: Path | None) -> ssl.SSLContext:
    """Certificates are always verified: against the system's authorities, or against this file's alone."""
    return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))


def _unacknowledged(writer: asyncio.StreamWriter) -> int:
    """The octets that the receiver's kernel has not acknowledged yet. A connection that is reset has forgotten them."""
    sock = writer.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        raise EOFError("the connection is closed")
    found: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
    if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED:
        raise EOFError("the receiver closed the connection")
    return found


def _unreachable(where: str, error: BaseException) -> Outcome:
    """A certificate that doesn't hold won't get better by itself; the rest may."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return Hold(f"{where} has a certificate that can't be verified: {text}; give its authority as caFile")
    return Retry(f"{where} can't be reached: {text}")
