"""The bridge's figures for Prometheus, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bridge.errors import ManagerError
from bridge.population import PopulationFigures
from bridge.registration import RegistrationFigures as Registered
from bridge.tier.outcome import PassOutcome
from zones.problems import RuleStatus

_PASS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """One instance per process, or per test."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._passes = Counter(
            "zonebridge_sync_passes",
            "Passes by result: published, unchanged, refused, unreachable or failed.",
            ["cluster", "result"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "zonebridge_sync_seconds",
            "How long a pass took.",
            ["cluster"],
            buckets=_PASS_SECONDS,
            registry=self._registry,
        )
        self._revision = self._gauge("zonebridge_tier_revision", "The tier's revision in the cluster.")
        self._success = self._gauge(
            "zonebridge_last_success_timestamp_seconds", "When a pass last found the tier to be what Panorama says."
        )
        self._stale = self._gauge("zonebridge_sync_stale", "1 while Panorama hasn't answered for staleAfter.")
        self._answers = self._gauge("zonebridge_manager_answers", "1 while Panorama answered the last pass.")
        self._leading = self._gauge("zonebridge_leading", "1 while this bridge is the one that writes.")
        self._nodes = self._gauge("zonebridge_nodes", "Nodes that report on this tier.")
        self._in_sync = self._gauge("zonebridge_nodes_in_sync", "Nodes that enforce the tier's revision.")
        self._late = self._gauge(
            "zonebridge_nodes_out_of_sync", "Nodes that are behind for minutes, silent, or without an enforcer."
        )
        self._pods = self._gauge("zonebridge_pods", "Pods with addresses that the leader tells the enforcers of.")
        self._slices = self._gauge(
            "zonebridge_podslices", "PodSlices that tell of them, written by nodes or the bridge."
        )
        self._overruled = self._gauge(
            "zonebridge_nodes_overruled",
            "Nodes whose own PodSlices are not what their pods are; the bridge speaks for them.",
        )
        self._writes = Counter(
            "zonebridge_population_writes", "PodSlices and Zones written.", ["cluster"], registry=self._registry
        )
        self._registered = self._gauge("zonebridge_registration_pods", "Pods that are registered in Panorama.")
        self._registration = self._gauge("zonebridge_registration_good", "1 while all is registered as it should be.")
        self._drift = Counter(
            "zonebridge_drift",
            "Objects of the tier that others changed, deleted or added.",
            ["cluster", "kind"],
            registry=self._registry,
        )
        self._fought = self._gauge("zonebridge_drift_fought", "Objects that others change faster than is put back.")
        self._alerts = Counter(
            "zonebridge_siem_alerts",
            "Alerts for the SIEM: sent (accepted by a collector or received by a syslog receiver), refused or dropped.",
            ["destination", "fate"],
            registry=self._registry,
        )
        self._rules = Gauge(
            "zonebridge_rules", "Panorama rules by status.", ["cluster", "status"], registry=self._registry
        )
        self._posture = Gauge(
            "zonebridge_posture_checks",
            "Checks of the posture by result.",
            ["cluster", "result"],
            registry=self._registry,
        )
        self._of_leader = (
            self._revision,
            self._stale,
            self._answers,
            self._nodes,
            self._in_sync,
            self._late,
            self._pods,
            self._slices,
            self._registered,
            self._registration,
            self._fought,
            self._rules,
            self._posture,
        )
        self._waiting = Gauge(
            "zonebridge_siem_waiting", "Alerts that wait for a destination.", ["destination"], registry=self._registry
        )
        self._oldest = Gauge(
            "zonebridge_siem_oldest_seconds",
            "Age of the oldest alert that waits for a destination; 0 where none does.",
            ["destination"],
            registry=self._registry,
        )

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(name, documentation, ["cluster"], registry=self._registry)

    def passed(self, cluster: str, outcome: PassOutcome, seconds: float, now: float) -> None:
        """A pass came to its end."""
        self._passes.labels(cluster, outcome.result.value).inc()
        self._seconds.labels(cluster).observe(seconds)
        self._stale.labels(cluster).set(outcome.stale)
        self._answers.labels(cluster).set(not isinstance(outcome.problem, ManagerError))
        self._nodes.labels(cluster).set(outcome.nodes["total"])
        self._in_sync.labels(cluster).set(outcome.nodes["inSync"])
        self._late.labels(cluster).set(len(outcome.late))
        for status in RuleStatus:
            self._rules.labels(cluster, status.value).set(outcome.rules.get(status.name.lower(), 0))
        self.repaired(cluster, outcome)
        if outcome.problem is None:
            self._success.labels(cluster).set(now)

    def repaired(self, cluster: str, outcome: PassOutcome) -> None:
        """Others had changed the tier, and it was put back, or is held back."""
        for kind, count in outcome.drifts.items():
            self._drift.labels(cluster, kind).inc(count)
        self._fought.labels(cluster).set(outcome.fought)
        self._revision.labels(cluster).set(outcome.revision)

    def failed(self, cluster: str, seconds: float) -> None:
        """A pass was broken off by the cluster, or by ourselves."""
        self._passes.labels(cluster, "failed").inc()
        self._seconds.labels(cluster).observe(seconds)

    def populated(self, cluster: str, figures: PopulationFigures) -> None:
        """PodSlices or Zones were written."""
        self._pods.labels(cluster).set(figures.pods)
        self._slices.labels(cluster).set(figures.slices)
        self._overruled.labels(cluster).set(figures.overruled)
        self._writes.labels(cluster).inc(figures.writes)

    def registered(self, cluster: str, figures: Registered) -> None:
        """The registration was compared."""
        self._registered.labels(cluster).set(figures.pods)
        self._registration.labels(cluster).set(figures.good)

    def posture(self, cluster: str, counts: Mapping[str, int]) -> None:
        """The posture was judged."""
        for result, count in counts.items():
            self._posture.labels(cluster, result).set(count)

    def shipped(self, destination: str, fate: str) -> None:
        """What became of an alert for the SIEM."""
        self._alerts.labels(destination, fate).inc()

    def queue(self, destination: str, length: Callable[[], float], oldest: Callable[[], float]) -> None:
        """Both are asked at each scrape."""
        self._waiting.labels(destination).set_function(length)
        self._oldest.labels(destination).set_function(oldest)

    def leads(self, cluster: str, *, leading: bool) -> None:
        """Who doesn't lead knows nothing of how the tier is: what it knew once is told no more."""
        self._leading.labels(cluster).set(leading)
        if not leading:
            for gauge in self._of_leader:
                gauge.remove_by_labels({"cluster": cluster})

    def text(self) -> bytes:
        return generate_latest(self._registry)
