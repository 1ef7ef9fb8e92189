"""Metrics: each has a name by Prometheus' rules, a value out of the status, and a row in the documentation."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from enforcer.status import metrics
from enforcer.status.histogram import Durations
from enforcer.status.metrics import FIGURES, Type
from tests.enforcer.test_cli import STATUS

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(zonebridge_enforcer_\w+)` \| (\w+) \| ((?:`\w+`,? )*)\| (.*) \|$", re.MULTILINE)
UNITS = ("_seconds", "_bytes")


def families(status=STATUS):
    text = metrics.rendered(lambda: status).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(name, **labels):
    found = families()[f"zonebridge_enforcer_{name}"]
    return next(sample.value for sample in found.samples if sample.labels == labels)


def test_every_figure_is_exported_with_its_type_and_text():
    exported = families()
    assert exported.keys() == {metrics.PREFIX + figure.name for figure in FIGURES}
    for figure in FIGURES:
        family = exported[metrics.PREFIX + figure.name]
        assert (family.type, family.documentation) == (figure.type.value, figure.text)
        assert family.samples, figure.name


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_names_follow_the_conventions(figure):
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", figure.name)
    assert not figure.name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert figure.text.endswith(".")
    if figure.type is Type.HISTOGRAM:
        assert figure.name.endswith(UNITS)


def test_the_documentation_has_each_and_no_other():
    found = ROW.findall(DOCS.read_text(encoding="utf-8"))
    rows = {name: (kind, re.findall(r"\w+", labels), text) for name, kind, labels, text in found}
    assert rows == {
        figure.exported: (figure.type.value, list(metrics._several(figure.labels)), figure.text) for figure in FIGURES
    }


def test_what_the_documentation_recommends_to_watch_is_exported():
    named = set(re.findall(r"zonebridge_enforcer_\w+", DOCS.read_text(encoding="utf-8")))
    exported = {sample.name for family in families().values() for sample in family.samples}
    assert named <= exported | {figure.exported for figure in FIGURES}


def test_values_are_those_of_the_status():
    assert value("tier_revision") == 7
    assert value("queue_length", queue="outbox") == 3
    assert value("queue_capacity", queue="outbox") == 50_000
    assert value("destination_oldest_seconds", destination="siem") == 61.5
    assert value("applied_timestamp_seconds") == 1_795_260_148
    assert value("destination_aside_bytes", destination="siem") == 300
    assert value("destination_held", destination="siem") == 1
    assert value("destination_sent", destination="siem", means="accepted") == 1
    assert value("watch_silence_seconds", kind="pods") == 2.5
    assert value("pod_events", result="written") == 4


def test_a_destination_that_never_had_success_has_no_time_of_it():
    never = STATUS | {"destinations": [STATUS["destinations"][0] | {"lastSuccess": None}]}
    assert not families(never)["zonebridge_enforcer_destination_last_success_timestamp_seconds"].samples


def test_durations_are_a_histogram():
    durations = Durations((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 3.0):
        durations.add(seconds)
    told = durations.json()
    assert told["buckets"] == {"0.1": 2, "1.0": 3, "+Inf": 4}
    assert (told["last"], told["longest"], told["sum"]) == (3.0, 3.0, 3.65)
    exported = families(STATUS | {"pass_seconds": told})["zonebridge_enforcer_pass_seconds"]
    samples = {(sample.name, sample.labels.get("le", "")): sample.value for sample in exported.samples}
    assert samples["zonebridge_enforcer_pass_seconds_count", ""] == 4
    assert samples["zonebridge_enforcer_pass_seconds_bucket", "1.0"] == 3
