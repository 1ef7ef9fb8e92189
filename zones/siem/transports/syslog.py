"""Syslog over TLS or TCP: frames on one kept connection.

Syslog has no reply, so a batch counts when the receiver's kernel has acknowledged its last octet and the connection has
outlived it for a while: a receiver that dies over what it hasn't read resets it, and all of that while is sent again.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
import ssl
import struct
import termios
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import count
from sys import byteorder

from zones.runtime.sockets import keep_alive
from zones.runtime.types import host_and_port
from zones.siem.destinations import SyslogSettings
from zones.siem.formats.registry import fitting, formats_of
from zones.siem.outcome import Accepted, Arrival, Delivered, Gone, Outcome, Retry
from zones.siem.protocols import syslog
from zones.siem.transports import tls

_FLUSH_INTERVAL = 0.005
_LONGEST_ANSWER = 64 * 1024
_ESTABLISHED, _IN_FLIGHT = 1, 64
_TCP_INFO, _WINDOW = (
    232,
    228,
)  # how much Linux 5.4 tells of a connection; where the receiver's window is in it


class SyslogSender:
    """Connects when there is something to send, and again when the connection is gone.

    `_sent`: when each batch was acknowledged by the other kernel; `_gone`: why those before will never count.
    """

    arrival = Arrival.RECEIVED
    in_flight = _IN_FLIGHT
    outlived: float = 2.0

    def __init__(self, settings: SyslogSettings, program: str = syslog.PROGRAM) -> None:
        self._settings = settings
        self._format = formats_of(program)[settings.format]
        self._form = syslog.Form(
            settings.facility,
            settings.structured_data,
            program=None if self._format.bare else program,
            framing=settings.framing,
            severities=dict(syslog.SEVERITIES) | dict(settings.severities.items()),
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._receipts = count()
        self._sent: dict[int, float] = {}
        self._gone = ""

    @property
    def patience(self) -> float:
        return self._settings.timeout_seconds + self.outlived

    async def send(self, payloads: Sequence[bytes]) -> tuple[int, Outcome]:
        frames, unfit = await asyncio.to_thread(fitting, payloads, self._frame)
        if not frames:
            return 1, unfit
        await self._look()
        if self._gone:
            why, self._gone = self._gone, ""
            return len(frames), Gone(why)
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                await self._write(b"".join(frames))
        except (OSError, TimeoutError, EOFError) as error:
            waiting = 0 if self._streams is None else _unread(self._streams[1])
            await self._lose(error)
            if waiting:
                why = f"{self._settings.address} doesn't read: its kernel takes nothing more, {waiting} octets wait"
                return len(frames), Retry(why, slow=True)
            return len(frames), tls.unreachable(self._settings.address, error)
        receipt = next(self._receipts)
        self._sent[receipt] = time.monotonic()
        return len(frames), Accepted(receipt)

    async def confirmed(self, receipts: Collection[int]) -> tuple[set[int], Outcome | None]:
        """What the connection has outlived for long enough."""
        await self._look()
        if self._gone:
            why, self._gone = self._gone, ""
            return set(), Gone(why)
        before = time.monotonic() - self.outlived
        self._sent = {receipt: at for receipt, at in self._sent.items() if receipt in receipts}
        ripe = {receipt for receipt in receipts if self._sent.get(receipt, before) < before}
        for receipt in ripe:
            del self._sent[receipt]
        return ripe, None

    async def probe(self) -> str:
        """One that refuses our certificate says so only after the handshake, so the connection is kept for a while."""
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                reader, _ = await self._connected()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.outlived):
                    if not await reader.read(1):
                        raise EOFError("the receiver closed the connection")  # noqa: TRY301 - told as the others are
        except (OSError, TimeoutError, EOFError) as error:
            return tls.unreachable(self._settings.address, error).why
        finally:
            await self.close()
        return ""

    async def _look(self) -> None:
        """Whether the connection still stands."""
        if self._streams is None:
            return
        reader, writer = self._streams
        try:
            _unacknowledged(writer)
            if reader.at_eof() or writer.is_closing():
                raise reader.exception() or EOFError("the receiver closed the connection")
        except (OSError, EOFError) as error:
            await self._lose(error)

    async def _lose(self, error: BaseException) -> None:
        """With the connection goes what it has not outlived."""
        if self._sent:
            self._gone = f"{self._settings.address}: {' '.join(str(error).split()) or type(error).__name__}"
            self._sent.clear()
        await self.close()

    def _frame(self, payload: bytes) -> bytes:
        return syslog.frame(json.loads(payload), self._form, self._format.text)

    async def _write(self, data: bytes) -> None:
        _, writer = await self._connected()
        writer.write(data)
        await writer.drain()
        while writer.transport.get_write_buffer_size() or _unacknowledged(writer):  # noqa: ASYNC110 - the kernel sends no event
            await asyncio.sleep(_FLUSH_INTERVAL)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            host, port = host_and_port(self._settings.address)
            name = (self._settings.server_name or host) if self._settings.tls else None
            self._streams = await asyncio.open_connection(host, port, ssl=self._context(), server_hostname=name)
            keep_alive(self._streams[1].get_extra_info("socket"))
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


class ClosingSyslogSender(SyslogSender):
    """A connection for each batch, for those who seldom have anything to send.

    Over TCP we close our side, and a receiver that then closes its own in good order has read all of it. Over TLS, or
    where the receiver keeps its side open, the batch counts when the connection has outlived it for a while.
    """

    async def send(self, payloads: Sequence[bytes]) -> tuple[int, Outcome]:
        frames, unfit = await asyncio.to_thread(fitting, payloads, self._frame)
        if not frames:
            return 1, unfit
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                await self._write(b"".join(frames))
                await self._outlive()
        except (OSError, TimeoutError, EOFError) as error:
            return len(frames), tls.unreachable(self._settings.address, error)
        finally:
            await self.close()
        return len(frames), Delivered()

    async def _outlive(self) -> None:
        """Raises OSError where the connection is reset, and EOFError where the receiver closes what we still use."""
        reader, writer = await self._connected()
        half_closed = writer.can_write_eof()
        if half_closed:
            writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.outlived):
                while await reader.read(_LONGEST_ANSWER):
                    pass
                if not half_closed:
                    raise EOFError("the receiver closed the connection")


def _unread(writer: asyncio.StreamWriter) -> int:
    """The octets that wait because the receiver's window is shut: its program doesn't read. Else 0."""
    try:
        waiting = _unacknowledged(writer)
        info = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO)
    except (OSError, EOFError):
        return 0
    shut = len(info) == _TCP_INFO and not int.from_bytes(info[_WINDOW:], byteorder)
    return waiting if shut else 0


def _unacknowledged(writer: asyncio.StreamWriter) -> int:
    """The octets that the receiver's kernel has not acknowledged yet. A connection that is reset has forgotten them."""
    sock = writer.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        raise EOFError("the connection is closed")
    unsent: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
    if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED:
        raise EOFError("the receiver closed the connection")
    return unsent
