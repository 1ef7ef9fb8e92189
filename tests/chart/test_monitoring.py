"""Alerts and dashboards: right by Prometheus' own tool, and every metric in them is one that we have."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from tests.apiserver.installed import CONFIG
from tests.chart.helm import CHART, named
from tools import dashboards

RULES = CHART / "files" / "rules.yaml"
DOCS = CONFIG.parent / "docs"
AT_ONCE = {"ZoneEnforcerRecordsLost"}  # what is lost is lost


def alerts():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def metrics():
    """Names of series that the docs tell of; other tests hold the docs equal to the code."""
    for name, kind in re.findall(
        r"^\| `(zonebridge_\w+)` \| (\w+) \|", (DOCS / "metrics.md").read_text(), re.MULTILINE
    ):
        yield name
        if kind == "histogram":
            yield from (f"{name}{suffix}" for suffix in ("_bucket", "_sum", "_count"))


def expressions():
    yield from (rule["expr"] for rule in alerts())
    for path in (CHART / "files" / "dashboards").iterdir():
        shown = json.loads(path.read_text())
        yield from (target["expr"] for panel in shown["panels"] for target in panel["targets"])
        yield from (each["query"] for each in shown["templating"]["list"])


def test_every_metric_exists():
    used = {name for each in expressions() for name in re.findall(r"\bzonebridge_\w+", each)}
    assert len(used) > 25
    assert used - set(metrics()) == set()


@pytest.mark.chart
def test_promtool_finds_no_fault(promtool):
    told = subprocess.run(
        [promtool, "check", "rules", "--lint=all", RULES], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_each_alert_is_seen_to_fire_and_seen_to_wait():
    """promtool, below, judges whether they do."""
    stages = yaml.safe_load((CONFIG.parent / "tests" / "chart" / "rules_test.yaml").read_text())["tests"]
    seen = [each for stage in stages for each in stage["alert_rule_test"]]
    names = {rule["alert"] for rule in alerts()}
    assert {each["alertname"] for each in seen if each.get("exp_alerts")} == names
    assert {each["alertname"] for each in seen if not each.get("exp_alerts")} >= names - AT_ONCE


@pytest.mark.chart
def test_alerts_fire_when_they_should_and_not_before(promtool, tmp_path):
    shutil.copy(RULES, tmp_path)
    shutil.copy(CONFIG.parent / "tests" / "chart" / "rules_test.yaml", tmp_path)
    told = subprocess.run(
        [promtool, "test", "rules", tmp_path / "rules_test.yaml"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.chart
def test_expressions_of_dashboards_are_prometheus_own(promtool, tmp_path):
    """As rules, since promtool reads no dashboards."""
    plain = [
        each.replace("$instance", ".*").replace("$cluster", ".*")
        for each in expressions()
        if "label_values" not in each and each != "prometheus"
    ]
    rules = [{"record": f"panel:{at}", "expr": each} for at, each in enumerate(plain)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    told = subprocess.run(
        [promtool, "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_every_alert_says_what_happened_and_has_its_page():
    """docs/troubleshooting.md has each by its name."""
    page = (DOCS / "troubleshooting.md").read_text()
    for rule in alerts():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}
        assert f"`{rule['alert']}`" in page, rule["alert"]


def test_dashboards_are_those_of_the_panels():
    assert {path.stem for path in dashboards.FOLDER.iterdir()} == set(dashboards.DASHBOARDS)
    for uid in dashboards.DASHBOARDS:
        assert (dashboards.FOLDER / f"{uid}.json").read_text() == dashboards.text(uid), "run make generate"


@pytest.mark.chart
def test_the_chart_has_them_as_they_are(helm):
    objects = helm.template("metrics.prometheusRule.enabled=true", "metrics.dashboards.enabled=true")
    assert named(objects, "PrometheusRule", "zonebridge")["spec"] == yaml.safe_load(RULES.read_text())
    for uid in dashboards.DASHBOARDS:
        shown = named(objects, "ConfigMap", f"dashboard-{uid}")
        assert shown["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(shown["data"][f"{uid}.json"]) == dashboards.dashboard(uid)


@pytest.mark.chart
def test_monitors_find_the_pods_and_the_address_that_serves(helm):
    objects = helm.template("metrics.podMonitor.enabled=true")
    for kind, name in (("Deployment", "zonebridge"), ("DaemonSet", "zone-enforcer")):
        monitor = named(objects, "PodMonitor", name)
        workload = named(objects, kind, name)
        assert monitor["metadata"]["namespace"] == workload["metadata"]["namespace"]
        wanted = monitor["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    settings = yaml.safe_load(named(objects, "ConfigMap", "zone-enforcer-settings")["data"]["enforcer.yaml"])
    assert settings["metrics"]["address"] == "0.0.0.0:9469"
    settings = yaml.safe_load(named(helm.template(), "ConfigMap", "zone-enforcer-settings")["data"]["enforcer.yaml"])
    assert settings["metrics"]["address"] == "127.0.0.1:9469"
