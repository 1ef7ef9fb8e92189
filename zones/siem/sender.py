"""The one door to the SIEM: settings of a destination in, a sender out, from the transport in `zones.siem.transports`.

A sender takes a batch and says what became of it; it never reads the spool and never waits to try again:
that is `enforcer.shipping.delivery`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

from zones.siem.destinations import (
    CloudWatchSettings,
    DestinationSettings,
    FileSettings,
    HecSettings,
    SyslogSettings,
)
from zones.siem.outcome import Arrival, Outcome
from zones.siem.transports.cloudwatch import CloudWatchSender
from zones.siem.transports.file import FileSender
from zones.siem.transports.hec import HecSender, token_reader
from zones.siem.transports.syslog import SyslogSender

_RECORDS, _OCTETS = 1000, 1 << 20


class Sender(Protocol):
    """One destination's transport. `arrival`: what it means that a record was sent."""

    @property
    def arrival(self) -> Arrival: ...

    async def send(self, payloads: Sequence[bytes]) -> tuple[int, Outcome]:
        """Send the first records of a batch, given as their JSON: how many were tried, and what became of them."""

    async def probe(self) -> str:
        """Why nothing could be sent now, or nothing: the way there, certificates and keys, without a record."""

    async def close(self) -> None: ...


@runtime_checkable
class Confirming(Sender, Protocol):
    """One that says `Accepted`. `in_flight` batches may wait for their confirmation, each no longer than `patience`."""

    in_flight: int
    patience: float

    async def confirmed(self, receipts: Collection[int]) -> tuple[set[int], Outcome | None]:
        """Those of the receipts that the receiver confirms now, each only once; and why it can't be asked."""


def appetite(settings: DestinationSettings) -> tuple[int, int]:
    """How many records and octets to offer at once.

    Syslog is told that a batch has arrived only after a moment, so its batches are large.
    """
    several = 4 if isinstance(settings, SyslogSettings) else 1
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
