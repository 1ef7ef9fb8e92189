"""The status as Prometheus metrics, made at each scrape. It holds no numbers of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from enforcer.records import Json

_PREFIX = "zonebridge_enforcer"
_DESTINATION_COUNTERS = ("sent", "refused", "lost")


class StatusCollector(Collector):
    def __init__(self, status: Callable[[], Json]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        yield from _gauges(status)
        yield _by_label("zone_pods", "Running pods of the cluster in each zone", "zone", status["zones"])
        yield _counters("records", "Packets read and records made, by kind", status["records"])
        yield _counters("lost_records", "Records that will never arrive, by where they were lost", status["lost"])
        yield from _destinations(status["destinations"])


def rendered(status: Callable[[], Json]) -> bytes:
    registry = CollectorRegistry()
    registry.register(StatusCollector(status))
    return generate_latest(registry)


def _gauges(status: Json) -> Iterator[Metric]:
    yield GaugeMetricFamily(f"{_PREFIX}_tier_revision", "The revision in force", value=status["revision"] or 0)
    for name, text in (
        ("pods", "Running pods known"),
        ("nodes", "Nodes known"),
        ("problems", "Problems that hold now"),
        ("spool_bytes", "Size of the spool on disk"),
    ):
        value = len(status["problems"]) if name == "problems" else status.get(name, 0)
        yield GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=value)
    yield _by_label("tier_standing", "1 for the standing the tier has", "standing", {status["standing"]: 1})


def _by_label(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counters(name: str, text: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=["kind"])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _destinations(destinations: list[Json]) -> Iterator[Metric]:
    for counter in _DESTINATION_COUNTERS:
        text = f"Records {counter} for each destination"
        family = CounterMetricFamily(f"{_PREFIX}_destination_{counter}", text, labels=["destination"])
        for each in destinations:
            family.add_metric([each["name"]], each[counter])
        yield family
    backlog = {each["name"]: each["backlog"] for each in destinations}
    yield _by_label("destination_backlog", "Records in the spool not yet acknowledged", "destination", backlog)
    held = {each["name"]: int(each["held"]) for each in destinations}
    yield _by_label("destination_held", "1 while only an administrator can help", "destination", held)
