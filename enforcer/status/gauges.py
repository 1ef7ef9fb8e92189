"""Every queue, loss and delay of the agent as part of its status. It only reads; `enforcer.service` asks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Protocol

from enforcer.cluster.event_writer import EventWriter
from enforcer.cluster.pod_events import MOST_SERIES
from enforcer.detection.watch import DetectionWatch
from enforcer.enforcement import Enforcement
from enforcer.flows.connections import Connections
from enforcer.flows.log_queue import LogQueue
from enforcer.netlink.socket_queue import waiting_bytes
from enforcer.reports.reporter import Reporter
from enforcer.shipping.outbox import Outbox
from zones.siem.records import Json


class LogSource(Protocol):
    """What `enforcer.netlink.sockets` offers."""

    @property
    def buffer_bytes(self) -> int: ...

    def fileno(self) -> int: ...


def of_delays(enforcement: Enforcement, heard: Mapping[str, float], now: float) -> Json:
    """`heard`: when each kind of objects was last told of, by the same clock as `now`."""
    return {
        "silence": {kind: round(max(0.0, now - at), 1) for kind, at in sorted(heard.items())},
        "pass_seconds": enforcement.pass_seconds.json(),
        "change_seconds": enforcement.change_seconds.json(),
    }


async def ages(outbox: Outbox, now: datetime) -> dict[str, float]:
    """Of the oldest record that each destination has not got, in seconds."""
    oldest_of = {name: await outbox.oldest(name) for name in outbox.destinations}
    return {name: 0.0 if oldest is None else _age(oldest, now) for name, oldest in oldest_of.items()}


def _age(record: bytes, now: datetime) -> float:
    return round(max(0.0, (now - datetime.fromisoformat(json.loads(record)["time"])).total_seconds()), 1)


def of_log(source: LogSource | None) -> Json:
    """The socket of the kernel's log: bytes that wait in it, and its room."""
    if source is None:
        return {"log": {"waiting": 0, "buffer": 0}}
    return {"log": {"waiting": waiting_bytes(source.fileno()), "buffer": source.buffer_bytes}}


def of_queues(
    intake: LogQueue | None,
    reporter: Reporter,
    connections: Connections | None,
    outbox: Outbox,
    writer: EventWriter | None,
) -> Json:
    return {"queues": dict(_queues(intake, reporter, connections, outbox, writer))}


def _queues(
    intake: LogQueue | None,
    reporter: Reporter,
    connections: Connections | None,
    outbox: Outbox,
    writer: EventWriter | None,
) -> Iterator[tuple[str, Json]]:
    if intake is not None:
        yield "log", _queue(len(intake), intake.capacity)
    yield "flows", _queue(len(reporter.flows), reporter.flows.capacity)
    yield "alerts", _queue(len(reporter.alerts), reporter.alerts.capacity)
    if connections is not None:
        yield "connections", _queue(len(connections), connections.capacity)
    yield "outbox", _queue(outbox.waiting, outbox.capacity)
    if writer is not None:
        yield "pod events", _queue(writer.events.waiting, MOST_SERIES)


def _queue(length: int, capacity: int) -> Json:
    return {"length": length, "capacity": capacity}


def of_alerts(reporter: Reporter) -> Json:
    return {"alerts": {"conditions": reporter.alerts.holding, "suppressed": reporter.alerts.suppressed}}


def of_pod_events(writer: EventWriter | None) -> Json:
    if writer is None:
        return {"pod_events": {}}
    counts = {"written": writer.written, "failed": writer.failed, "suppressed": writer.events.suppressed}
    return {"pod_events": counts}


def of_detection(watch: DetectionWatch | None) -> Json:
    """Hits, what was expected and so is none, and what was forgotten; nothing where nothing is looked for."""
    if watch is None:
        return {}
    detection = watch.detection
    return {
        "detection": {
            "hits": dict(detection.hits),
            "suppressed": dict(detection.suppressed),
            "evicted": detection.evicted,
            "indicators": len(detection.indicators),
            "unusable": watch.unusable,
            "watchedSeconds": round(detection.now),
        }
    }
