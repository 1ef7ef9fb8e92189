"""The status as Prometheus metrics, made at each scrape: a table of what is told. It holds no numbers of its own.

`docs/metrics.md` has the same table for people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from zones.siem.records import Json

PREFIX = "zonebridge_enforcer_"


class Type(StrEnum):
    """Prometheus's own words."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric: what it is called and means, and where it stands in the status. None: there is none now.

    With `labels`, `read` gives a value for each of their values: a text for one, a tuple for several.
    """

    name: str
    type: Type
    text: str
    read: Callable[[Json], Any]
    labels: str | tuple[str, ...] = ()

    @property
    def exported(self) -> str:
        return f"{PREFIX}{self.name}{'_total' if self.type is Type.COUNTER else ''}"

    def family(self, status: Json) -> Metric:
        value = self.read(status)
        if self.type is Type.HISTOGRAM:
            return _histogram(PREFIX + self.name, self.text, value)
        kind = CounterMetricFamily if self.type is Type.COUNTER else GaugeMetricFamily
        family = kind(PREFIX + self.name, self.text, labels=_several(self.labels))
        values: Mapping[str | tuple[str, ...], float | None] = value if self.labels else {(): value}
        for key, number in values.items():
            if number is not None:
                family.add_metric(_several(key), number)
        return family


def _several(words: str | tuple[str, ...]) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else words


def _of(key: str) -> Callable[[Json], Any]:
    return lambda status: status[key]


def _part(key: str, part: str) -> Callable[[Json], Any]:
    return lambda status: status[key][part]


def _queue(part: str) -> Callable[[Json], Any]:
    return lambda status: {name: queue[part] for name, queue in status["queues"].items()}


def _destination(part: str) -> Callable[[Json], Any]:
    return lambda status: {destination["name"]: destination[part] for destination in status["destinations"]}


FIGURES = (
    MetricRow("tier_revision", Type.GAUGE, "The revision in force; 0 is none.", lambda status: status["revision"] or 0),
    MetricRow(
        "tier_standing",
        Type.GAUGE,
        "1 for the standing of the tier: none, current, waiting, refused, tampered.",
        lambda status: {status["standing"]: 1},
        "standing",
    ),
    MetricRow(
        "in_force",
        Type.GAUGE,
        "1 for what is in the kernel: nothing, enforced, observed, closed, lost (docs/enforcer.md).",
        lambda status: {status["inForce"]: 1} if status["inForce"] else {},
        "state",
    ),
    MetricRow(
        "applied_timestamp_seconds",
        Type.GAUGE,
        "When the revision in force was loaded into the kernel.",
        lambda status: None if status["appliedAt"] is None else datetime.fromisoformat(status["appliedAt"]).timestamp(),
    ),
    MetricRow("problems", Type.GAUGE, "Problems that hold now.", lambda status: len(status["problems"])),
    MetricRow(
        "conditions", Type.GAUGE, "Conditions that hold now and were told as alerts.", _part("alerts", "conditions")
    ),
    MetricRow("pods", Type.GAUGE, "Running pods known in the cluster.", _of("pods")),
    MetricRow("nodes", Type.GAUGE, "Nodes known.", _of("nodes")),
    MetricRow("zone_pods", Type.GAUGE, "Running pods of the cluster in each zone.", _of("zones"), "zone"),
    MetricRow(
        "bridge_ports",
        Type.GAUGE,
        "Ports of bridges: `known`, held to the addresses of their pod; `unknown`, whose pod is not known.",
        lambda status: {
            "known": status["bridgePorts"]["known"],
            "unknown": len(status["bridgePorts"]["unknown"]),
        },
        "state",
    ),
    MetricRow("passes", Type.COUNTER, "Looks at whether the kernel is as it should be.", _of("passes")),
    MetricRow("pass_seconds", Type.HISTOGRAM, "How long the kernel's part of a look took.", _of("pass_seconds")),
    MetricRow(
        "change_seconds",
        Type.HISTOGRAM,
        "From the first of some changes that the API server told to their being in the kernel.",
        _of("change_seconds"),
    ),
    MetricRow(
        "watch_silence_seconds",
        Type.GAUGE,
        "How long the API server has told nothing of a kind of objects, not even that nothing changed.",
        _of("silence"),
        "kind",
    ),
    MetricRow("records", Type.COUNTER, "Packets read, and records made of them, by kind.", _of("records"), "kind"),
    MetricRow("lost_records", Type.COUNTER, "What will never arrive, by where it was lost.", _of("lost"), "where"),
    MetricRow("queue_length", Type.GAUGE, "What waits in each queue.", _queue("length"), "queue"),
    MetricRow("queue_capacity", Type.GAUGE, "What each queue has room for.", _queue("capacity"), "queue"),
    MetricRow(
        "log_waiting_bytes",
        Type.GAUGE,
        "What waits in the socket of the kernel's log, in the kernel's memory.",
        _part("log", "waiting"),
    ),
    MetricRow(
        "log_buffer_bytes", Type.GAUGE, "The room of that socket; beyond it the kernel drops.", _part("log", "buffer")
    ),
    MetricRow(
        "alerts_suppressed",
        Type.COUNTER,
        "Denied packets that were counted in an alert for many, as there are too many kinds.",
        _part("alerts", "suppressed"),
    ),
    MetricRow("spool_bytes", Type.GAUGE, "Size of the spool.", _of("spool_bytes")),
    MetricRow("spool_capacity_bytes", Type.GAUGE, "Beyond this size records are dropped.", _of("spool_capacity")),
    MetricRow(
        "destination_sent",
        Type.COUNTER,
        "Records that arrived. `means`: written to a file, received by a kernel, accepted by a collector, or indexed.",
        lambda status: {
            (destination["name"], destination["sentMeans"]): destination["sent"]
            for destination in status["destinations"]
        },
        ("destination", "means"),
    ),
    MetricRow(
        "destination_refused",
        Type.COUNTER,
        "Records that the receiver refused, set aside in a file.",
        _destination("refused"),
        "destination",
    ),
    MetricRow("destination_lost", Type.COUNTER, "Records dropped from the spool.", _destination("lost"), "destination"),
    MetricRow(
        "destination_retries",
        Type.COUNTER,
        "Times that sending failed and was tried again.",
        _destination("retries"),
        "destination",
    ),
    MetricRow(
        "destination_backlog",
        Type.GAUGE,
        "Records in the spool that have not arrived yet.",
        _destination("backlog"),
        "destination",
    ),
    MetricRow(
        "destination_oldest_seconds",
        Type.GAUGE,
        "Age of the oldest record that has not arrived yet; 0 where all have.",
        _destination("oldest"),
        "destination",
    ),
    MetricRow(
        "destination_last_success_timestamp_seconds",
        Type.GAUGE,
        "When records arrived last.",
        _destination("lastSuccess"),
        "destination",
    ),
    MetricRow(
        "destination_held",
        Type.GAUGE,
        "1 while only an administrator can help: token, index, certificate.",
        _destination("held"),
        "destination",
    ),
    MetricRow(
        "destination_aside_bytes",
        Type.GAUGE,
        "Size of the file with the records that the receiver refused; it is begun anew when it is full.",
        _destination("aside"),
        "destination",
    ),
    MetricRow(
        "pod_events",
        Type.COUNTER,
        "Kubernetes Events on pods: written, failed (tried again), suppressed (no room).",
        _of("pod_events"),
        "result",
    ),
)


class StatusCollector(Collector):
    def __init__(self, status: Callable[[], Json]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        return (figure.family(status) for figure in FIGURES)


def rendered(status: Callable[[], Json]) -> bytes:
    registry = CollectorRegistry()
    registry.register(StatusCollector(status))
    return generate_latest(registry)


def _histogram(name: str, text: str, histogram: Json) -> Metric:
    family = HistogramMetricFamily(name, text)
    family.add_metric([], list(histogram["buckets"].items()), histogram["sum"])
    return family
