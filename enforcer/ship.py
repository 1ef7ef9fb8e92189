"""The one door to the SIEM: a destination's settings in, its sender out; `enforcer.senders` has one for each transport.

A sender takes a batch and says what became of it; it never reads the spool and never waits to try again:
that is `enforcer.delivery`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from enforcer.destinations import CloudWatchSettings, DestinationSettings, FileSettings, HecSettings, SyslogSettings
from enforcer.senders.cloudwatch import CloudWatchSender
from enforcer.senders.file import FileSender
from enforcer.senders.hec import HecSender, token_reader
from enforcer.senders.syslog import SyslogSender
from enforcer.siem.outcome import Outcome

Json = Mapping[str, Any]
_RECORDS, _OCTETS = 1000, 1 << 20


class Sender(Protocol):
    """One destination's transport."""

    async def send(self, records: Sequence[Json]) -> tuple[int, Outcome]:
        """Send the first records of a batch: how many were tried, and what became of them."""

    async def close(self) -> None: ...


def appetite(settings: DestinationSettings) -> tuple[int, int]:
    """How many records and octets to offer at once: enough for all batches that may be under way together.

    Syslog is told that a batch has arrived only after a moment, so its batches are large.
    """
    several = 1
    if isinstance(settings, HecSettings) and settings.acknowledge:
        several = settings.in_flight
    elif isinstance(settings, SyslogSettings):
        several = 4
    return _RECORDS * several, _OCTETS * several


def sender(settings: DestinationSettings, environment: Mapping[str, str]) -> Sender:
    match settings:
        case HecSettings():
            return HecSender(settings, token_reader(settings, environment))
        case SyslogSettings():
            return SyslogSender(settings)
        case FileSettings():
            return FileSender(settings)
        case CloudWatchSettings():
            return CloudWatchSender(settings, environment)
