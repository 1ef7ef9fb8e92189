"""The server's end of one TLS connection: cipher text in, plain text out, without a socket.

It never reads or writes the network; the syslog receiver does, and so learns exactly why a handshake failed.
"""

from __future__ import annotations

import ssl
from contextlib import suppress

CHUNK = 65536


class TlsStream:
    """`feed` what came; send what `outgoing` gives, also after an ssl.SSLError (it holds the alert)."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.ready = False
        self.closed_properly = False

    @property
    def version(self) -> str:
        return self._tls.version() or "" if self.ready else ""

    @property
    def client_name(self) -> str:
        """The common name in the client's certificate, if it sent one."""
        certificate = (self._tls.getpeercert() or {}) if self.ready else {}
        for part in certificate.get("subject", ()):
            for pair in part:
                if pair[0] == "commonName":
                    return str(pair[1])
        return ""

    def outgoing(self) -> bytes:
        return self._outgoing.read()

    def feed(self, cipher: bytes) -> bytes:
        self._incoming.write(cipher)
        if not self.ready:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                return b""
            self.ready = True
        return self._decrypt()

    def _decrypt(self) -> bytes:
        parts = []
        try:
            while part := self._tls.read(CHUNK):
                parts.append(part)
            self._say_goodbye()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._say_goodbye()
        return b"".join(parts)

    def _say_goodbye(self) -> None:
        """Answer the client's close_notify with ours."""
        self.closed_properly = True
        with suppress(ssl.SSLError):
            self._tls.unwrap()
