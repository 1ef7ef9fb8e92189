"""A syslog receiver over TCP or TLS: asyncio in a thread of its own. It judges by rfc5424.py and framing.py alone.

Tests and `python -m mocks siem` start it. It may be stopped and started again: what came and the port stay.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from mocks.serving import Authority, Faults
from mocks.siem.certificates import ClientCertificate, create_authority, server_context
from mocks.siem.framing import Framer, Framing, FramingError
from mocks.siem.journal import Journal
from mocks.siem.rfc5424 import Message, SyslogError, parse
from mocks.siem.tlsstream import TlsStream

CHUNK = 65536
GRACE = 10.0


@dataclass(frozen=True, slots=True)
class Rejected:
    """Octets that were no message, or a connection that failed: why, and the octets."""

    why: str
    raw: bytes
    peer: str

    def line(self) -> dict[str, Any]:
        return {"via": "syslog", "error": self.why, "raw": self.raw.decode("latin-1"), "peer": self.peer}


@dataclass(slots=True)
class Connection:
    """One sender's connection so far. `proper_close` is False where TLS ended without close_notify."""

    peer: str
    framing: Framing = "auto"
    tls: str = ""
    client: str = ""
    messages: int = 0
    octets: int = 0
    open: bool = True
    proper_close: bool = True


class SyslogServer:
    """Serves between `start` and `stop`; also a context manager.

    Faults are taken by `connection` when one opens and by `message` after each message is kept: `slow` stops reading
    for a while, every other kind drops the connection.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        address: str = "127.0.0.1",
        tls: bool = False,
        client_certificate: ClientCertificate = "none",
        framing: Framing = "auto",
        longest: int = 65536,
        tls_dir: Path | None = None,
        authority: Authority | None = None,
        out: TextIO | None = None,
        keep: int | None = None,
    ) -> None:
        self.port = port
        self.address = address
        self.tls = tls
        self.client_certificate: ClientCertificate = client_certificate
        self.framing: Framing = framing
        self.longest = longest
        self.faults = Faults()
        self.connections: list[Connection] = []
        self.journal: Journal[Message] = Journal(out, keep)
        self.rejects: Journal[Rejected] = Journal(out, keep)
        self.authority = authority or create_authority(self, tls_dir)
        self._listener: Listener | None = None

    @property
    def url(self) -> str:
        return f"{'tls' if self.tls else 'tcp'}://{self.address}:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self.authority.ca_file

    @property
    def messages(self) -> list[Message]:
        return self.journal.entries()

    @property
    def errors(self) -> list[Rejected]:
        return self.rejects.entries()

    def wait_for(self, predicate: Callable[[Sequence[Message]], bool], timeout: float = 10.0) -> list[Message]:
        """The messages, once the predicate holds for them; raises TimeoutError with the errors so far."""
        try:
            return self.journal.wait_for(predicate, timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; errors: {self.errors[-3:]}") from error

    def wait_for_errors(self, predicate: Callable[[Sequence[Rejected]], bool], timeout: float = 10.0) -> list[Rejected]:
        return self.rejects.wait_for(predicate, timeout)

    def start(self) -> Self:
        names = dict.fromkeys(["localhost", "127.0.0.1", "::1", self.address])
        context = server_context(self.authority, self.client_certificate, *names) if self.tls else None
        self._listener = Listener(self, context)
        self.port = self._listener.port
        self._listener.start()
        return self

    def stop(self) -> None:
        """Drop every connection and refuse new ones; `start` takes the same port again."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Listener:
    """One start of a SyslogServer: its thread, its loop, its open connections."""

    def __init__(self, server: SyslogServer, context: ssl.SSLContext | None) -> None:
        self._server = server
        self._context = context
        family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
        self._socket = socket.create_server((server.address, server.port), family=family, backlog=128)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mock-syslog", daemon=True)
        self._sessions: dict[asyncio.Task[None], socket.socket] = {}

    def start(self) -> None:
        self._thread.start()
        self._loop.call_soon_threadsafe(self._loop.add_reader, self._socket, self._accept)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(GRACE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GRACE)
        self._loop.close()

    async def _close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()
        sessions = dict(self._sessions)
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)
        await asyncio.sleep(0)
        # a session that was cancelled before it began has closed nothing
        for sock in sessions.values():
            sock.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        sock.setblocking(False)
        session = self._loop.create_task(self._serve(sock))
        self._sessions[session] = sock
        session.add_done_callback(self._sessions.pop)

    async def _serve(self, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            await Session(self._server, reader, writer, self._context).run()
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        writer.close()


class DroppedError(Exception):
    """A fault says that this connection ends here."""


class Session:
    """One connection: octets to frames to messages."""

    def __init__(
        self,
        server: SyslogServer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext | None,
    ) -> None:
        peer = writer.get_extra_info("peername")
        self._server = server
        self._reader = reader
        self._writer = writer
        self._tls = TlsStream(context) if context else None
        self._framer = Framer(server.framing, server.longest)
        self._connection = Connection(f"{peer[0]}:{peer[1]}")
        server.connections.append(self._connection)

    async def run(self) -> None:
        try:
            await self._fault("connection")
            while not self._said_goodbye and (octets := await self._reader.read(CHUNK)):
                await self._receive(self._decrypted(octets))
            self._framer.finish()
        except FramingError as error:
            self._reject(str(error), error.rest)
        except ssl.SSLError as error:
            self._reject(f"TLS: {error.reason or error}", b"")
            self._flush()
        except (DroppedError, ConnectionError):
            self._writer.transport.abort()
        finally:
            self._connection.open = False
            if self._tls is not None:
                self._connection.proper_close = self._said_goodbye

    @property
    def _said_goodbye(self) -> bool:
        return self._tls is not None and self._tls.closed_properly

    def _decrypted(self, octets: bytes) -> bytes:
        if self._tls is None:
            return octets
        plain = self._tls.feed(octets)
        self._flush()
        self._connection.tls = self._tls.version
        self._connection.client = self._tls.client_name
        return plain

    def _flush(self) -> None:
        if self._tls is not None:
            self._writer.write(self._tls.outgoing())

    async def _receive(self, octets: bytes) -> None:
        self._connection.octets += len(octets)
        for frame in self._framer.feed(octets):
            self._connection.framing = self._framer.framing
            self._keep(frame)
            await self._fault("message")

    def _keep(self, frame: bytes) -> None:
        try:
            message = parse(frame, self._connection.peer)
        except SyslogError as error:
            self._reject(str(error), frame)
        else:
            self._connection.messages += 1
            self._server.journal.append([message])

    def _reject(self, why: str, raw: bytes) -> None:
        self._server.rejects.append([Rejected(why, raw, self._connection.peer)])

    async def _fault(self, moment: str) -> None:
        fault = self._server.faults.take(moment)
        if fault is None:
            return
        if fault.kind != "slow":
            raise DroppedError
        await asyncio.sleep(fault.seconds)
