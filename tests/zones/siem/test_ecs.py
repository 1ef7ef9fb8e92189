"""Documents by the Elastic Common Schema: only its fields, of its types and allowed values; our own under `zonebridge`.

The schema's part that is used is written down here from the definitions of ECS 9.4 (Apache-2.0, Elastic).
"""

import ipaddress
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zones.siem.cases import CASES, RECORDS, flow
from zones.siem.formats import ecs
from zones.siem.formats.registry import FORMATS, FormatName
from zones.siem.values import dedotted

KEYWORD, LONG, IP, DATE, TEXT = "keyword", "long", "ip", "date", "match_only_text"
FIELDS = {
    "@timestamp": DATE,
    "message": TEXT,
    "ecs.version": KEYWORD,
    "log.level": KEYWORD,
    "event.id": KEYWORD,
    "event.sequence": LONG,
    "event.kind": KEYWORD,
    "event.category": [KEYWORD],
    "event.type": [KEYWORD],
    "event.action": KEYWORD,
    "event.outcome": KEYWORD,
    "event.code": KEYWORD,
    "event.module": KEYWORD,
    "event.dataset": KEYWORD,
    "event.reason": KEYWORD,
    "event.severity": LONG,
    "event.start": DATE,
    "event.end": DATE,
    "event.duration": LONG,
    "network.transport": KEYWORD,
    "network.iana_number": KEYWORD,
    "network.type": KEYWORD,
    "network.direction": KEYWORD,
    "network.bytes": LONG,
    "network.packets": LONG,
    "observer.name": KEYWORD,
    "observer.hostname": KEYWORD,
    "observer.vendor": KEYWORD,
    "observer.product": KEYWORD,
    "observer.version": KEYWORD,
    "observer.type": KEYWORD,
    "observer.ingress.zone": KEYWORD,
    "observer.egress.zone": KEYWORD,
    "orchestrator.type": KEYWORD,
    "orchestrator.cluster.name": KEYWORD,
    "rule.name": KEYWORD,
    "rule.uuid": KEYWORD,
    "rule.ruleset": KEYWORD,
    "rule.category": KEYWORD,
    "user.name": KEYWORD,
    "client.ip": IP,
    "client.port": LONG,
    "related.ip": [IP],
    "related.hosts": [KEYWORD],
} | {
    f"{side}.{name}": kind
    for side in ("source", "destination")
    for name, kind in {
        "ip": IP,
        "address": KEYWORD,
        "port": LONG,
        "bytes": LONG,
        "packets": LONG,
        "nat.ip": IP,
        "nat.port": LONG,
    }.items()
}
ALLOWED = {
    "event.kind": {"alert", "event"},
    "event.outcome": {"success", "failure", "unknown"},
    "network.direction": {"ingress", "egress", "inbound", "outbound", "internal", "external", "unknown"},
    "network.type": {"ipv4", "ipv6"},
}
TYPES = {
    "network": {"access", "allowed", "connection", "denied", "end", "info", "protocol", "start"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "host": {"access", "change", "end", "info", "start"},
}


def leaves(tree, path=""):
    for key, value in tree.items():
        name = f"{path}.{key}" if path else key
        if isinstance(value, dict) and not name.startswith("zonebridge"):
            yield from leaves(value, name)
        else:
            yield name, value


def is_of(kind, value):
    match kind:
        case [inner]:
            return isinstance(value, list) and all(is_of(inner, each) for each in value)
        case "long":
            return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
        case "ip":
            return bool(ipaddress.ip_address(value))
        case "date":
            return datetime.fromisoformat(value).tzinfo is not None
    return isinstance(value, str)


def faults(document):
    for path, value in leaves(document):
        if path == "zonebridge":
            continue
        if path not in FIELDS:
            yield f"{path} is no field"
        elif not is_of(FIELDS[path], value):
            yield f"{path} can't be {value!r}"
        elif path in ALLOWED and value not in ALLOWED[path]:
            yield f"{path} may not be {value!r}"
    event = document["event"]
    for kind in event["type"]:
        if not any(kind in TYPES[category] for category in event["category"]):
            yield f"event.type {kind} doesn't go with {event['category']}"


@given(RECORDS)
def test_any_record_is_a_document_of_the_schema(record):
    assert list(faults(ecs.render(record))) == []


@given(RECORDS)
def test_every_field_is_somewhere(record):
    document = dict(leaves(ecs.render(record)))
    own = document.get("zonebridge", {})
    for path, place in {
        "id": "event.id",
        "node": "observer.hostname",
        "cluster": "orchestrator.cluster.name",
        "message": "message",
        "reason": "event.reason",
        "actor": "user.name",
    }.items():
        assert document.get(place) == record.get(path)
    assert document.get("rule.name") == record.get("rule", {}).get("name")
    for side, zone in (("source", "observer.ingress.zone"), ("destination", "observer.egress.zone")):
        assert document.get(zone) == record.get(side, {}).get("zone")
        for name in ("namespace", "pod", "workload", "node"):
            assert own.get(side, {}).get(name) == record.get(side, {}).get(name)
        assert own.get(side, {}).get("labels", {}) == dedotted(record.get(side, {}).get("labels", {}))
    for name in ("tier", "revision", "logProfile", "icmpType", "direction", "subject", "state", "count", "suppressed"):
        assert own.get(name) == record.get(name)


def test_what_is_not_known_yet_is_kept():
    assert ecs.render(flow(new={"field": 1}))["zonebridge"]["new"] == {"field": 1}


@pytest.mark.parametrize(
    ("case", "category", "types", "action", "outcome"),
    [
        ("flow-denied", ["network"], ["connection", "start", "denied"], "deny", "failure"),
        ("flow-allowed-at-end", ["network"], ["connection", "end", "allowed"], "allow", "success"),
        ("flow-observed-icmp", ["network"], ["connection", "start", "allowed"], "would-deny", "success"),
        ("alert-denied-flow", ["network"], ["connection", "denied"], "deny", "failure"),
        ("alert-tier-tampered", ["configuration"], ["change"], None, None),
        ("alert-resolved", ["host"], ["info"], None, None),
    ],
)
def test_what_happened(case, category, types, action, outcome):
    event = ecs.render(CASES[case])["event"]
    assert (event["category"], event["type"]) == (category, types)
    assert (event.get("action"), event.get("outcome")) == (action, outcome)


def test_the_destination_is_what_was_dialled():
    destination = ecs.render(CASES["flow-allowed-at-end"])["destination"]
    assert (destination["ip"], destination["port"]) == ("10.96.0.20", 5433)
    assert destination["nat"] == {"ip": "10.1.0.20", "port": 5432}


LABELS = st.dictionaries(st.text("ab._/", min_size=1, max_size=8), st.text(max_size=3), max_size=6)


@given(LABELS)
def test_no_label_is_an_object_to_elasticsearch_and_none_is_lost(labels):
    told = dedotted(labels)
    assert not any("." in key for key in told)
    assert sorted(told.values()) == sorted(labels.values())
    assert {key: value for key, value in labels.items() if "." not in key}.items() <= told.items()


@pytest.mark.parametrize("name", [FormatName.ECS, FormatName.OCSF])
def test_documents_with_any_labels_fit_one_mapping(name):
    """What Elasticsearch makes of dots: a field can't be a value in one document and an object in another."""
    fields = {}
    for labels in ({"app": "web"}, {"app.kubernetes.io/name": "web"}, {"app": "a", "app.kubernetes.io/name": "b"}):
        record = CASES["flow-denied"] | {"source": CASES["flow-denied"]["source"] | {"labels": labels}}
        for path, value in everything(FORMATS[name].render(record)):
            parts = path.split(".")
            for depth in range(1, len(parts) + 1):
                kind = "object" if depth < len(parts) else type(value).__name__
                assert fields.setdefault(tuple(parts[:depth]), kind) == kind, path


def everything(value, path=""):
    """Every value with its path, our own included."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from everything(each, f"{path}.{key}" if path else key)
    else:
        yield path, value
