"""What Elasticsearch and Kibana import for `format: ecs`: an index template, dashboards and detection rules.

Rules and panels are below; `make generate` writes `config/elastic` from them. One object a line, always in one order.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.version import ROOT

FOLDER = ROOT / "config" / "elastic"
INDEX = "logs-zonebridge*"
DATA_VIEW = "zonebridge-data-view"
FLOW, ALERT = 'event.dataset: "zonebridge.flow"', 'event.dataset: "zonebridge.alert"'
DENIED = f'{FLOW} and event.action: ("deny" or "reset" or "would-deny" or "would-reset")'
RAISED = f'{ALERT} and zonebridge.state: "raised"'
_SEVERITY = {21: "low", 47: "medium", 73: "high", 99: "critical"}
# Kibana 8.9's shapes: what is newer than that converts them when they are imported.
_CORE = "8.8.0"
_SHAPES = {"index-pattern": "8.0.0", "visualization": "8.5.0", "dashboard": "8.9.0"}
_WIDTH, _HEIGHT, _ACROSS = 24, 14, 2


@dataclass(frozen=True, slots=True)
class Rule:
    """A detection rule in KQL; `more` is its type's own."""

    name: str
    description: str
    query: str
    risk: int
    kind: str = "query"
    more: dict[str, Any] = field(default_factory=dict)
    threat: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """`buckets`: the fields that are counted by, the first outermost; @timestamp is the time axis."""

    title: str
    kind: str
    query: str
    buckets: tuple[str, ...] = ()
    metric: tuple[str, str] = ("count", "")


DISCOVERY = {
    "framework": "MITRE ATT&CK",
    "tactic": {"id": "TA0007", "name": "Discovery", "reference": "https://attack.mitre.org/tactics/TA0007/"},
    "technique": [
        {
            "id": "T1046",
            "name": "Network Service Discovery",
            "reference": "https://attack.mitre.org/techniques/T1046/",
            "subtechnique": [],
        }
    ],
}


def _codes(*kinds: str) -> str:
    return "event.code: (" + " or ".join(f'"{kind}"' for kind in kinds) + ")"


def _threshold(counted: str, value: int) -> dict[str, Any]:
    fields = ["orchestrator.cluster.name", "source.ip"]
    return {"threshold": {"field": fields, "value": 1, "cardinality": [{"field": counted, "value": value}]}}


RULES = (
    Rule("somebody tampered with what is enforced",
         "The tier, the kernel's rules or the history were changed by somebody other than the bridge.",
         f"{RAISED} and {_codes('tier-tampered', 'tier-damaged', 'kernel-tampered', 'history-tampered')}", 99),
    Rule("connection with an address of an external list",
         "A rule that denies to or from an external dynamic list denied it.",
         f"{RAISED} and {_codes('blocklist-hit')}", 73),
    Rule("one source was denied at many ports", "At least 50 ports within the rule's time.",
         DENIED, 73, "threshold", _threshold("destination.port", 50), (DISCOVERY,)),
    Rule("one source was denied to many destinations", "At least 50 addresses within the rule's time.",
         DENIED, 73, "threshold", _threshold("destination.ip", 50), (DISCOVERY,)),
    Rule("denied between zones that had no denials before", "No denial between the two zones in seven days.",
         DENIED, 47, "new_terms",
         {"new_terms_fields": ["observer.ingress.zone", "observer.egress.zone"], "history_window_start": "now-7d"}),
    Rule("a node or cluster may not enforce what is committed",
         "The tier is refused or stale, or nodes don't report it.",
         f"{RAISED} and {_codes('sync-stale', 'node-out-of-sync', 'tier-refused', 'revision-refused', 'node-overruled', 'manager-refused', 'cluster-unreachable')}", 73),
    Rule("a pod claims what isn't its own", "A zone that its namespace isn't entitled to, or an address that isn't its.",
         f"{RAISED} and {_codes('zone-claimed', 'address-disputed', 'address-misplaced', 'network-disputed')}", 73),
    Rule("a pod is in quarantine", "Somebody, or a tag of Panorama, cut it off.",
         f"{RAISED} and {_codes('quarantined', 'quarantine-held')}", 47),
    Rule("records were lost", "Records never arrived, and nobody can search for them.",
         f"{ALERT} and {_codes('log-loss')}", 47),
)  # fmt: skip

ZONES = ("observer.ingress.zone", "observer.egress.zone")
DASHBOARDS = {
    "denials": ("zonebridge: denials and zones", (
        Panel("Denied over time", "histogram", DENIED, ("@timestamp", "rule.name")),
        Panel("Denied, by rule", "table", DENIED, ("orchestrator.cluster.name", "rule.name")),
        Panel("Who was denied to what", "table", DENIED, ("zonebridge.source.namespace", "zonebridge.source.workload", "observer.egress.zone", "destination.ip", "destination.port")),
        Panel("External lists", "table", f"{DENIED} and zonebridge.blocklists.destinations: *", ("zonebridge.blocklists.destinations", "source.ip", "destination.ip")),
        Panel("Allowed, from zone to zone", "table", f'{FLOW} and event.outcome: "success"', ZONES),
        Panel("Denied, from zone to zone", "table", DENIED, ZONES),
        Panel("Bytes from zone to zone", "table", FLOW, ZONES, ("sum", "network.bytes")),
        Panel("To and from outside", "table", f'{FLOW} and network.direction: ("inbound" or "outbound")', ("network.direction", "source.ip", "destination.ip", "event.action")),
    )),
    "alerts": ("zonebridge: alerts and health", (
        Panel("Alerts over time", "histogram", RAISED, ("@timestamp", "log.level")),
        Panel("By kind", "table", RAISED, ("orchestrator.cluster.name", "event.code", "log.level")),
        Panel("What was raised, about what", "table", f"{RAISED} and zonebridge.subject: *", ("observer.hostname", "event.code", "zonebridge.subject")),
        Panel("Changes, and who made them", "table", f'{RAISED} and event.category: "configuration"', ("event.code", "user.name", "observer.hostname")),
        Panel("Revisions in force", "table", 'event.dataset: "zonebridge.checkpoint"', ("orchestrator.cluster.name", "zonebridge.tier"), ("max", "zonebridge.revision")),
        Panel("Lost records", "table", f"{ALERT} and {_codes('log-loss')}", ("observer.hostname", "zonebridge.subject"), ("sum", "zonebridge.count")),
        Panel("Records by node", "histogram", f"({FLOW}) or ({ALERT})", ("@timestamp", "observer.hostname")),
    )),
}  # fmt: skip


def template() -> dict[str, Any]:
    """The index template of the data streams: names are keywords, and labels stay whole."""
    address, text = {"type": "ip"}, {"type": "match_only_text"}
    ends: dict[str, Any] = {
        "properties": {"ip": address, "address": {"type": "keyword"}, "nat": {"properties": {"ip": address}}}
    }
    labelled = {"properties": {"labels": {"type": "flattened"}}}
    return {
        "index_patterns": [f"{INDEX}-*"],
        "priority": 250,
        "data_stream": {},
        "template": {
            "mappings": {
                "date_detection": False,
                "dynamic_templates": [
                    {"names": {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": 2048}}}
                ],
                "properties": {
                    "@timestamp": {"type": "date"},
                    "message": text,
                    "event": {
                        "properties": {
                            "start": {"type": "date"},
                            "end": {"type": "date"},
                            "sequence": {"type": "long"},
                            "duration": {"type": "long"},
                        }
                    },
                    "source": ends,
                    "destination": ends,
                    "client": {"properties": {"ip": address}},
                    "related": {"properties": {"ip": address}},
                    "zonebridge": {
                        "properties": {"source": labelled, "destination": labelled, "about": {"type": "flattened"}}
                    },
                },
            }
        },
    }


def rules() -> list[dict[str, Any]]:
    """Disabled: whoever wants one enables it."""
    return [
        {
            "rule_id": f"zonebridge-{number}",
            "name": f"zonebridge: {rule.name}",
            "description": rule.description,
            "type": rule.kind,
            "language": "kuery",
            "query": rule.query,
            "index": [f"{INDEX}-*"],
            "risk_score": rule.risk,
            "severity": _SEVERITY[rule.risk],
            "enabled": False,
            "interval": "5m",
            # A record may come later than it was made; one that comes twice has one event.id.
            "from": "now-15m",
            "max_signals": 100,
            "tags": ["zonebridge"],
            "threat": list(rule.threat),
            "version": 1,
            **rule.more,
        }
        for number, rule in enumerate(RULES, 1)
    ]


def objects() -> list[dict[str, Any]]:
    """Kibana's saved objects: the data view, each panel, each dashboard with its panels in a grid."""
    pattern = {"title": f"{INDEX}-*", "name": "zonebridge", "timeFieldName": "@timestamp"}
    made = [_saved("index-pattern", DATA_VIEW, pattern, [])]
    for name, (title, panels) in DASHBOARDS.items():
        ids = [f"zonebridge-{name}-{number}" for number in range(1, len(panels) + 1)]
        made += [_visualization(id_, panel) for id_, panel in zip(ids, panels, strict=True)]
        made.append(_dashboard(f"zonebridge-{name}", title, ids))
    return made


def _saved(kind: str, id_: str, attributes: dict[str, Any], references: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "id": id_,
        "type": kind,
        "attributes": attributes,
        "references": references,
        "managed": False,
        "coreMigrationVersion": _CORE,
        "typeMigrationVersion": _SHAPES[kind],
    }


def _visualization(id_: str, panel: Panel) -> dict[str, Any]:
    function, counted = panel.metric
    metric = {"id": "1", "enabled": True, "type": function, "schema": "metric"}
    aggregations = [metric | {"params": {"field": counted} if counted else {}}]
    aggregations += [_bucket(number, name, panel.kind) for number, name in enumerate(panel.buckets, 2)]
    state = {"title": panel.title, "type": panel.kind, "params": _PARAMETERS[panel.kind], "aggs": aggregations}
    source = {
        "query": {"query": panel.query, "language": "kuery"},
        "filter": [],
        "indexRefName": "kibanaSavedObjectMeta.searchSourceJSON.index",
    }
    attributes = {
        "title": f"zonebridge: {panel.title}",
        "description": "",
        "visState": json.dumps(state),
        "uiStateJSON": "{}",
        "version": 1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
    }
    reference = {"name": source["indexRefName"], "type": "index-pattern", "id": DATA_VIEW}
    return _saved("visualization", id_, attributes, [reference])


def _bucket(number: int, name: str, kind: str) -> dict[str, Any]:
    if name == "@timestamp":
        params: dict[str, Any] = {"field": name, "interval": "auto", "min_doc_count": 1, "extended_bounds": {}}
        return {"id": str(number), "enabled": True, "type": "date_histogram", "schema": "segment", "params": params}
    params = {"field": name, "orderBy": "1", "order": "desc", "size": 20, "otherBucket": False}
    schema = "bucket" if kind == "table" else "group"
    if not name.endswith((".ip", ".port")):
        # What has no value is a row as well: an address outside has no namespace. Only words can stand for nothing.
        params |= {"missingBucket": True, "missingBucketLabel": "-"}
    return {"id": str(number), "enabled": True, "type": "terms", "schema": schema, "params": params}


def _dashboard(id_: str, title: str, ids: Sequence[str]) -> dict[str, Any]:
    panels = [
        {
            "version": "8.9.0",
            "type": "visualization",
            "panelIndex": str(at),
            "gridData": {
                "x": at % _ACROSS * _WIDTH,
                "y": at // _ACROSS * _HEIGHT,
                "w": _WIDTH,
                "h": _HEIGHT,
                "i": str(at),
            },
            "embeddableConfig": {"enhancements": {}},
            "panelRefName": f"panel_{at}",
        }
        for at in range(len(ids))
    ]
    attributes = {
        "title": title,
        "description": "",
        "panelsJSON": json.dumps(panels),
        "optionsJSON": json.dumps({"useMargins": True, "hidePanelTitles": False}),
        "timeRestore": False,
        "version": 1,
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": json.dumps({"query": {"query": "", "language": "kuery"}, "filter": []})
        },
    }
    references = [{"name": f"{at}:panel_{at}", "type": "visualization", "id": each} for at, each in enumerate(ids)]
    return _saved("dashboard", id_, attributes, references)


_AXIS = {"position": "left", "scale": {"type": "linear", "mode": "normal"}, "show": True, "style": {}}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "table": {
        "perPage": 10,
        "showPartialRows": False,
        "showMetricsAtAllLevels": False,
        "showTotal": False,
        "showToolbar": True,
        "totalFunc": "sum",
        "percentageCol": "",
    },
    "histogram": {
        "type": "histogram",
        "grid": {"categoryLines": False},
        "categoryAxes": [
            {
                "id": "CategoryAxis-1",
                "type": "category",
                "position": "bottom",
                "show": True,
                "style": {},
                "scale": {"type": "linear"},
                "labels": {"show": True, "filter": True, "truncate": 100},
                "title": {},
            }
        ],
        "valueAxes": [
            _AXIS
            | {
                "id": "ValueAxis-1",
                "name": "LeftAxis-1",
                "type": "value",
                "labels": {"show": True, "rotate": 0, "filter": False, "truncate": 100},
                "title": {"text": "Records"},
            }
        ],
        "seriesParams": [
            {
                "show": True,
                "type": "histogram",
                "mode": "stacked",
                "data": {"label": "Records", "id": "1"},
                "valueAxis": "ValueAxis-1",
                "drawLinesBetweenPoints": True,
                "showCircles": True,
            }
        ],
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "right",
        "times": [],
        "addTimeMarker": False,
        "labels": {"show": False},
        "thresholdLine": {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
    },
}


def files() -> dict[str, str]:
    """By name in `config/elastic`."""
    return {
        "index-template.json": json.dumps(template(), indent=2) + "\n",
        "dashboards.ndjson": "".join(json.dumps(each) + "\n" for each in objects()),
        "detection-rules.ndjson": "".join(json.dumps(each) + "\n" for each in rules()),
    }


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
