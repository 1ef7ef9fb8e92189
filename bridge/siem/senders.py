"""The bridge's one door to the SIEM: a record to a collector over HTTPS, or to a syslog receiver over TLS or TCP.

A sender says what became of one record; it never waits to try again: that is the shipper's.
"""

from __future__ import annotations

import asyncio
import fcntl
import ssl
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import httpx

from bridge.errors import SecretError
from bridge.siem import hec, syslog
from bridge.siem.outcome import Delivered, Later, Outcome
from zones.runtime.sockets import keep_alive, watched

Json = dict[str, Any]
_FLUSH_SECONDS = 0.01
_LONGEST_ANSWER = 64 * 1024


class Sender(Protocol):
    """One destination's transport."""

    async def send(self, record: Json) -> Outcome: ...

    async def probe(self) -> str:
        """Why nothing could be sent now, or nothing: the way there, certificates and token, without a record."""

    async def close(self) -> None: ...


class HecSender:
    """`token` is read anew each time: a rotated file needs no restart."""

    def __init__(
        self, url: str, token: Callable[[], str], envelope: hec.Envelope, *, tls: ssl.SSLContext, timeout: float
    ) -> None:
        self._url = url.rstrip("/").removesuffix(hec.EVENT_PATH) + hec.EVENT_PATH
        self._token = token
        self._envelope = envelope
        self._timeout = timeout
        self._client = httpx.AsyncClient(verify=tls, timeout=timeout, follow_redirects=False)

    async def send(self, record: Json) -> Outcome:
        answered = await self._ask(hec.event(record, self._envelope))
        if isinstance(answered, str):
            return Later(answered)
        outcome = hec.interpret(*answered)
        return outcome if isinstance(outcome, Delivered) else replace(outcome, why=f"{self._url}: {outcome.why}")

    async def probe(self) -> str:
        answered = await self._ask(b"")
        return answered if isinstance(answered, str) else hec.refusal(*answered[:2])

    async def _ask(self, content: bytes) -> tuple[int, bytes, str | None] | str:
        """The collector's answer, or why there is none."""
        try:
            token = self._checked_token()
            async with asyncio.timeout(self._timeout):
                return await self._post(token, content)
        except TimeoutError:
            return f"{self._url} gave no whole answer within {self._timeout:g} s"
        except httpx.HTTPError as error:
            return f"{self._url} can't be reached: {_words(error)}"
        except (OSError, ValueError, SecretError) as error:
            return f"the token can't be read: {_words(error)}"

    async def _post(self, token: str, content: bytes) -> tuple[int, bytes, str | None]:
        """The status, as much of the answer as any collector's has, never unpacked, and when to come again."""
        headers = {
            "Authorization": f"Splunk {token}",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        }
        seen = {"trace": watched}
        async with self._client.stream(
            "POST", self._url, content=content, headers=headers, extensions=seen
        ) as response:
            held = bytearray()
            async for chunk in response.aiter_raw():
                held += chunk
                if len(held) > _LONGEST_ANSWER:
                    break
            return response.status_code, bytes(held[:_LONGEST_ANSWER]), response.headers.get("Retry-After")

    def _checked_token(self) -> str:
        """A header that can't be sent would be quoted in an error."""
        token = self._token()
        if not (token.isascii() and token.isprintable()):
            raise ValueError("it holds more than printable ASCII")
        return token

    async def close(self) -> None:
        await self._client.aclose()


@dataclass(frozen=True, slots=True)
class SyslogSender:
    """A connection for each record: alerts are rare.

    Syslog has no reply. Over TCP we close our side, and a receiver that then closes its own in good order has read all
    of it. Over TLS, or where the receiver keeps its side open, the record counts when the peer's kernel has all of it
    and the connection has outlived it for a while: one who dies over what it hasn't read resets it.
    """

    address: tuple[str, int]
    facility: int
    timeout: float
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    outlived: float = 2.0
    framing: syslog.Framing = syslog.Framing.OCTET_COUNTED

    async def send(self, record: Json) -> Outcome:
        trouble = await self._try(syslog.frame(record, self.facility, self.framing))
        return Later(trouble) if trouble else Delivered()

    async def probe(self) -> str:
        """One that refuses our certificate says so only after the handshake, so the connection is kept for a while."""
        return await self._try(b"")

    async def _try(self, data: bytes) -> str:
        try:
            async with asyncio.timeout(self.timeout):
                await self._deliver(data)
        except (OSError, TimeoutError, EOFError) as error:
            return f"{self.address[0]}:{self.address[1]} can't be reached: {_words(error)}"
        return ""

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _deliver(self, data: bytes) -> None:
        host, port = self.address
        name = (self.server_name or host) if self.tls else None
        reader, writer = await asyncio.open_connection(host, port, ssl=self.tls, server_hostname=name)
        keep_alive(writer.get_extra_info("socket"))
        try:
            writer.write(data)
            await writer.drain()
            while _unacknowledged(writer):  # noqa: ASYNC110 - the kernel sends no event
                await asyncio.sleep(_FLUSH_SECONDS)
            await self._outlive(reader, writer)
        finally:
            writer.close()
            await _closed(writer)

    async def _outlive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Raises OSError where the connection is reset, and EOFError where the receiver closes what we still use."""
        half_closed = writer.can_write_eof()
        if half_closed:
            writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.outlived):
                while await reader.read(_LONGEST_ANSWER):
                    pass
                if not half_closed:
                    raise EOFError("the receiver closed the connection")


async def _closed(writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(1):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()


def _unacknowledged(writer: asyncio.StreamWriter) -> int:
    """The octets that are not with the peer yet."""
    sock = writer.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        raise EOFError("the connection is closed")
    left: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
    return left + writer.transport.get_write_buffer_size()


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
