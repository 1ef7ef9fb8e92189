"""Everything that the service runs, and what it wants of the cluster. `enforcer.wiring` makes it, or a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from enforcer.cluster.event_writer import EventWriter
from enforcer.cluster.kubelet import KubeletConfiguration
from enforcer.cluster.slice_writer import SliceWriter
from enforcer.cluster.view import Change, View, WatchedKind
from enforcer.detection.watch import DetectionWatch
from enforcer.enforcement import Enforcement
from enforcer.flows.end_reader import EndReader
from enforcer.flows.seen_reader import SeenReader
from enforcer.nflog_reader import LogReader
from enforcer.reports.reporter import Reporter
from enforcer.settings.models import EnforcerSettings
from enforcer.shipping.delivery import Delivery
from enforcer.shipping.outbox import Outbox
from zones.net import IPAddress
from zones.siem.records import Json


class ClusterConnection(Protocol):
    """What `enforcer.cluster.watch` offers. `problem`: what the API server isn't heard of, and why."""

    @property
    def problem(self) -> str: ...

    def changes(self, kind: WatchedKind, heard: Callable[[], None]) -> AsyncIterator[Change]: ...

    async def report(self, node: str, status: Json) -> None: ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class ServiceParts:
    settings: EnforcerSettings
    view: View
    enforcement: Enforcement
    cluster: ClusterConnection
    log: LogReader
    reporter: Reporter
    outbox: Outbox
    deliveries: tuple[Delivery, ...] = ()
    event_writer: EventWriter | None = None
    unseen: Callable[[Iterable[IPAddress]], list[str]] = lambda _: []
    ends: EndReader | None = None
    seen: SeenReader | None = None
    detection: DetectionWatch | None = None
    slice_writer: SliceWriter | None = None
    kubelet: KubeletConfiguration | None = None
