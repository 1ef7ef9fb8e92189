"""Grafana dashboards in config/chart/files/dashboards, from the panels below: a title, an expression, a unit."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

from tools.values import CHART

FOLDER = CHART / "files" / "dashboards"
WIDTH, HEIGHT, ACROSS = 8, 7, 3


@dataclass(frozen=True, slots=True)
class Panel:
    """`expressions`: each with the legend of its lines."""

    title: str
    expressions: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"


def one(title: str, expression: str, legend: str, unit: str = "short") -> Panel:
    return Panel(title, ((expression, legend),), unit)


CLUSTER = '{cluster=~"$cluster"}'
NODE = '{instance=~"$instance"}'
BRIDGE = (
    Panel("Revision", ((f"max by (cluster) (zonebridge_tier_revision{CLUSTER})", "{{cluster}}"),), kind="stat"),
    Panel("Nodes in sync", ((f"max by (cluster) (zonebridge_nodes_in_sync{CLUSTER})", "in sync, {{cluster}}"),
                            (f"max by (cluster) (zonebridge_nodes{CLUSTER})", "of, {{cluster}}")), kind="stat"),
    Panel("Last good pass", ((f"time() - max by (cluster) (zonebridge_last_success_timestamp_seconds{CLUSTER})", "{{cluster}}"),), "s", "stat"),
    one("Passes by result", f"sum by (cluster, result) (rate(zonebridge_sync_passes_total{CLUSTER}[5m]))", "{{result}}, {{cluster}}", "ops"),
    one("How long a pass takes, 99th percentile", f"histogram_quantile(0.99, sum by (cluster, le) (rate(zonebridge_sync_seconds_bucket{CLUSTER}[10m])))", "{{cluster}}", "s"),
    one("Who leads", f"zonebridge_leading{CLUSTER}", "{{pod}}, {{cluster}}"),
    one("Nodes out of sync", f"max by (cluster) (zonebridge_nodes_out_of_sync{CLUSTER})", "{{cluster}}"),
    one("Panorama's rules by status", f"max by (cluster, status) (zonebridge_rules{CLUSTER})", "{{status}}, {{cluster}}"),
    one("Changes by others", f"sum by (cluster, kind) (increase(zonebridge_drift_total{CLUSTER}[10m]))", "{{kind}}, {{cluster}}"),
    one("Pods told of", f"max by (cluster) (zonebridge_pods{CLUSTER})", "{{cluster}}"),
    one("Writes of PodSlices and Zones", f"sum by (cluster) (rate(zonebridge_population_writes_total{CLUSTER}[5m]))", "{{cluster}}", "wps"),
    one("Oldest alert that waits", "max by (destination) (zonebridge_siem_oldest_seconds)", "{{destination}}", "s"),
)  # fmt: skip
NODES = (
    one("Revision in force", f"zonebridge_enforcer_tier_revision{NODE}", "{{instance}}"),
    one("Standing of the tier", f"zonebridge_enforcer_tier_standing{NODE} > 0", "{{standing}}, {{instance}}"),
    one("Problems", f"zonebridge_enforcer_problems{NODE}", "{{instance}}"),
    one("Pods by zone", f"max by (zone) (zonebridge_enforcer_zone_pods{NODE})", "{{zone}}"),
    one("From a change to the kernel, 99th percentile", f"histogram_quantile(0.99, sum by (instance, le) (rate(zonebridge_enforcer_change_seconds_bucket{NODE}[10m])))", "{{instance}}", "s"),
    one("A look at the kernel, 99th percentile", f"histogram_quantile(0.99, sum by (instance, le) (rate(zonebridge_enforcer_pass_seconds_bucket{NODE}[10m])))", "{{instance}}", "s"),
    one("Silence of the API server", f"max by (instance, kind) (zonebridge_enforcer_watch_silence_seconds{NODE})", "{{kind}}, {{instance}}", "s"),
    one("Conditions told as alerts", f"zonebridge_enforcer_conditions{NODE}", "{{instance}}"),
    one("Events on pods", f"sum by (result) (rate(zonebridge_enforcer_pod_events_total{NODE}[5m]))", "{{result}}", "ops"),
)  # fmt: skip
RECORDS = (
    one("Records by kind", f"sum by (kind) (rate(zonebridge_enforcer_records_total{NODE}[5m]))", "{{kind}}", "ops"),
    one("Sent", f"sum by (destination) (rate(zonebridge_enforcer_destination_sent_total{NODE}[5m]))", "{{destination}}", "ops"),
    one("Lost, by where", f"sum by (instance, where) (increase(zonebridge_enforcer_lost_records_total{NODE}[15m]))", "{{where}}, {{instance}}"),
    one("Backlog", f"sum by (destination) (zonebridge_enforcer_destination_backlog{NODE})", "{{destination}}"),
    one("Oldest record that waits", f"max by (instance, destination) (zonebridge_enforcer_destination_oldest_seconds{NODE})", "{{destination}}, {{instance}}", "s"),
    one("Refused and retried", f"sum by (destination) (rate(zonebridge_enforcer_destination_refused_total{NODE}[5m]) + rate(zonebridge_enforcer_destination_retries_total{NODE}[5m]))", "{{destination}}", "ops"),
    one("Spool", f"zonebridge_enforcer_spool_bytes{NODE} / zonebridge_enforcer_spool_capacity_bytes{NODE}", "{{instance}}", "percentunit"),
    one("Queues", f"max by (queue) (zonebridge_enforcer_queue_length{NODE} / (zonebridge_enforcer_queue_capacity{NODE} > 0))", "{{queue}}", "percentunit"),
    one("The kernel's log", f"zonebridge_enforcer_log_waiting_bytes{NODE} / zonebridge_enforcer_log_buffer_bytes{NODE}", "{{instance}}", "percentunit"),
)  # fmt: skip
DASHBOARDS = {
    "zonebridge": ("zonebridge: sync", "cluster", "zonebridge_tier_revision", BRIDGE),
    "zone-enforcer": ("zonebridge: nodes", "instance", "zonebridge_enforcer_tier_revision", NODES),
    "zone-enforcer-records": ("zonebridge: records", "instance", "zonebridge_enforcer_tier_revision", RECORDS),
}


def dashboard(uid: str) -> dict[str, Any]:
    title, variable, metric, panels = DASHBOARDS[uid]
    return {
        "uid": uid,
        "title": title,
        "tags": ["zonebridge"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_source(), _variable(variable, metric)]},
        "panels": [_panel(at, panel) for at, panel in enumerate(panels)],
    }


def _source() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variable(name: str, metric: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "$datasource"},
        "query": f"label_values({metric}, {name})",
        "includeAll": True,
        "multi": True,
        "refresh": 2,
    }


def _panel(at: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": at + 1,
        "title": panel.title,
        "type": panel.kind,
        "datasource": {"type": "prometheus", "uid": "$datasource"},
        "gridPos": {"x": at % ACROSS * WIDTH, "y": at // ACROSS * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "expr": expression, "legendFormat": legend}
            for number, (expression, legend) in enumerate(panel.expressions)
        ],
    }


def text(uid: str) -> str:
    return json.dumps(dashboard(uid), indent=2) + "\n"


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for uid in DASHBOARDS:
        (FOLDER / f"{uid}.json").write_text(text(uid))
    return 0


if __name__ == "__main__":
    sys.exit(main())
