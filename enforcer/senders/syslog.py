"""Syslog over TLS or TCP: octet-counted frames on one kept connection.

Syslog has no reply, so a batch counts as delivered when the receiver's kernel has acknowledged its last octet and the
connection stands a moment longer: a receiver that dies over a batch resets it.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import Mapping, Sequence
from typing import Any

from enforcer.destinations import SyslogSettings
from enforcer.section import host_and_port
from enforcer.senders import tls
from enforcer.siem import syslog
from enforcer.siem.formats import FORMATS, fitting
from enforcer.siem.outcome import Delivered, Outcome

Json = Mapping[str, Any]
_FLUSH_INTERVAL = 0.005
_ESTABLISHED, _SETTLE_SECONDS = 1, 0.05


class SyslogSender:
    """Connects when there is something to send, and again when the connection is gone."""

    def __init__(self, settings: SyslogSettings) -> None:
        self._settings = settings
        self._format = FORMATS[settings.format]
        self._form = syslog.Form(
            settings.facility,
            settings.structured_data,
            program=None if self._format.bare else syslog.PROGRAM,
            severities=dict(syslog.SEVERITIES) | dict(settings.severities.items()),
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, records: Sequence[Json]) -> tuple[int, Outcome]:
        frames, unfit = await asyncio.to_thread(fitting, records, self._frame)
        if not frames:
            return 1, unfit
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                await self._write(b"".join(frames))
        except (OSError, TimeoutError, EOFError) as error:
            await self.close()
            return len(frames), tls.unreachable(self._settings.address, error)
        return len(frames), Delivered()

    def _frame(self, record: Json) -> bytes:
        return syslog.frame(record, self._form, self._format.text)

    async def _write(self, data: bytes) -> None:
        reader, writer = await self._connected()
        writer.write(data)
        await writer.drain()
        while writer.transport.get_write_buffer_size() or _unacknowledged(writer):  # noqa: ASYNC110 - the kernel sends no event
            await asyncio.sleep(_FLUSH_INTERVAL)
        await asyncio.sleep(_SETTLE_SECONDS)
        if _unacknowledged(writer) or reader.at_eof() or writer.is_closing():
            raise reader.exception() or EOFError("the receiver closed the connection")

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and self._streams[0].at_eof():
            await self.close()
        if self._streams is None:
            host, port = host_and_port(self._settings.address)
            name = (self._settings.server_name or host) if self._settings.tls else None
            self._streams = await asyncio.open_connection(host, port, ssl=self._context(), server_hostname=name)
        return self._streams

    def _context(self) -> ssl.SSLContext | None:
        settings = self._settings
        return tls.context(settings.ca_file, settings.cert_file, settings.key_file) if settings.tls else None

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


def _unacknowledged(writer: asyncio.StreamWriter) -> int:
    """The octets that the receiver's kernel has not acknowledged yet. A connection that is reset has forgotten them."""
    sock = writer.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        raise EOFError("the connection is closed")
    found: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
    if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED:
        raise EOFError("the receiver closed the connection")
    return found
