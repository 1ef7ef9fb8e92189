"""The SIEM as one: a collector, syslog over TCP, syslog over TLS. It decides nothing about what arrives.

Tests and the command start it.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from mocks.siem.certificates import create_authority
from mocks.siem.collector import Settings
from mocks.siem.hec import HecServer
from mocks.siem.syslog import SyslogServer
from mocks.siem.tokens import Token


class Siem:
    """Three receivers under one authority: `hec`, `syslog`, `syslog_tls`; also a context manager."""

    def __init__(
        self,
        *tokens: Token | str,
        address: str = "127.0.0.1",
        hec_port: int = 0,
        syslog_port: int = 0,
        syslog_tls_port: int = 0,
        hec_tls: bool = True,
        tls_dir: Path | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        self.authority = create_authority(self, tls_dir)
        self.hec = HecServer(*tokens, address=address, port=hec_port, tls=hec_tls, authority=self.authority, **settings)
        out, keep = settings.get("out"), settings.get("keep")
        self.syslog = SyslogServer(address=address, port=syslog_port, authority=self.authority, out=out, keep=keep)
        self.syslog_tls = SyslogServer(
            address=address,
            port=syslog_tls_port,
            tls=True,
            client_certificate="optional",
            authority=self.authority,
            out=out,
            keep=keep,
        )

    @property
    def ca_file(self) -> Path:
        return self.authority.ca_file

    def start(self) -> Self:
        """All three, or none."""
        with ExitStack() as stack:
            for server in (self.hec, self.syslog, self.syslog_tls):
                stack.callback(server.stop)
                server.start()
            stack.pop_all()
        return self

    def stop(self) -> None:
        for server in (self.hec, self.syslog, self.syslog_tls):
            server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
