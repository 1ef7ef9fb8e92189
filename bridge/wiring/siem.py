"""From settings to the SIEM's sink; None where the bridge's alerts go to no SIEM.

Only `bridge.cli` calls it; nothing here connects yet.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

from bridge.errors import SettingsError
from bridge.settings.credentials import read_secret
from bridge.settings.models import HecDestination, SiemSettings, SyslogDestination, host_and_port
from bridge.siem import Records, Shipper, SiemSink
from bridge.siem.hec import Envelope
from bridge.siem.senders import HecSender, Sender, SyslogSender
from bridge.siem.shipper import DeliveryResult
from bridge.siem.syslog import Framing


def siem_sink(
    given: SiemSettings, count: Callable[[str, DeliveryResult], None], link: str | None = None
) -> SiemSink | None:
    """`link`: where the site shows a revision. Raises SettingsError on an authority that can't be used."""
    if not given.destinations:
        return None
    shippers = [
        Shipper(destination.name, sender(destination, f"siem.destinations[{at}]"), count, capacity=given.queue)
        for at, destination in enumerate(given.destinations)
    ]
    return SiemSink(shippers, Records(socket.gethostname(), time.time_ns() // 1000, link or ""))


def sender(given: HecDestination | SyslogDestination, where: str) -> Sender:
    """Raises SettingsError on an authority or a certificate that can't be used."""
    timeout = given.timeout.total_seconds()
    if isinstance(given, HecDestination):
        token = given.token_file
        envelope = Envelope(given.source, given.sourcetype, given.index)
        return HecSender(given.url, lambda: read_secret(token), envelope, tls=_tls(given, where), timeout=timeout)
    return SyslogSender(
        host_and_port(given.address),
        given.facility,
        timeout,
        _tls(given, where) if given.tls else None,
        given.server_name,
        framing=Framing(given.framing),
    )


def _tls(given: HecDestination | SyslogDestination, where: str) -> ssl.SSLContext:
    """Certificates are always verified: against the system's authorities, or against this file's alone."""
    try:
        context = ssl.create_default_context(cafile=None if given.ca_file is None else str(given.ca_file))
        if given.cert_file is not None:
            context.load_cert_chain(given.cert_file, given.key_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(where, (f"caFile, certFile or keyFile can't be used: {error}",)) from error
    return context
