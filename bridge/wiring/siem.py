"""From settings to the SIEM's sink; None where the bridge's alerts go to no SIEM. Nothing here connects yet."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from bridge.errors import SecretError
from bridge.settings.credentials import read_token
from bridge.settings.models import HecDestination, SiemSettings, SyslogDestination
from bridge.siem import PROGRAM, RecordStamp, Shipper, SiemSink
from bridge.siem.shipper import DeliveryResult
from zones.runtime.errors import SettingsError
from zones.siem.destinations import HecSettings, SyslogSettings
from zones.siem.sender import Sender
from zones.siem.transports import tls
from zones.siem.transports.hec import HecSender
from zones.siem.transports.syslog import ClosingSyslogSender

_SOURCETYPE = "zonebridge:alert"


def siem_sink(
    siem: SiemSettings, count: Callable[[str, DeliveryResult], None], link: str | None = None
) -> SiemSink | None:
    """`link`: where the site shows a revision. Raises SettingsError on an authority that can't be used."""
    if not siem.destinations:
        return None
    shippers = [
        Shipper(
            destination.name,
            sender(destination, f"siem.destinations[{at}]"),
            count,
            receiver=destination.url if isinstance(destination, HecDestination) else destination.address,
            capacity=siem.queue,
        )
        for at, destination in enumerate(siem.destinations)
    ]
    return SiemSink(shippers, RecordStamp(socket.gethostname(), time.time_ns() // 1000, link or ""))


def sender(destination: HecDestination | SyslogDestination, where: str) -> Sender:
    """Raises SettingsError on an authority or a certificate that can't be used."""
    try:
        tls.context(destination.ca_file, destination.cert_file, destination.key_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(where, (f"caFile, certFile or keyFile can't be used: {error}",)) from error
    written = destination.model_dump() | {"timeout_seconds": destination.timeout.total_seconds()}
    del written["timeout"]
    if isinstance(destination, HecDestination):
        written["index"] = _with_checkpoints(destination.index)
        written["sourcetype"] = _with_checkpoints({"alert": _SOURCETYPE} | destination.sourcetype)
        reader = token_reader(destination.token_file, destination.token_env)
        return HecSender(HecSettings.model_validate(written), reader)
    if not destination.tls:
        written |= dict.fromkeys(("ca_file", "cert_file", "key_file"))
    return ClosingSyslogSender(SyslogSettings.model_validate(written), PROGRAM)


def _with_checkpoints(words: dict[str, str]) -> dict[str, str]:
    """They go where alerts go, unless they have a word of their own."""
    return {"checkpoint": words["alert"]} | words if "alert" in words else words


def token_reader(file: Path | None, variable: str | None = None) -> Callable[[], str]:
    """Read anew each time: a rotated file needs no restart. Raises ValueError."""

    def read() -> str:
        try:
            return read_token(file, variable)
        except SecretError as error:
            raise ValueError(str(error)) from error

    return read
