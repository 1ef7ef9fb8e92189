"""`zonebridge usage` on an export, with a file of records and with a database."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from bridge.evidence.database import Database
from bridge.evidence.store import Store
from tests.bridge.evidence.rows import RULE, counting, flow, told
from tests.bridge.evidence.test_seen_file import line
from tests.panorama_xml import config_text, rule, rulebase
from zones.rules import Origin

NOW = datetime.now(UTC)


@pytest.fixture
def export(tmp_path):
    path = tmp_path / "running.xml"
    rules = rule(RULE.name, from_="web", to="data"), rule("idle", from_="a", to="b")
    path.write_text(config_text(groups={"k8s": rulebase("pre", *rules)}))
    return ["--panorama-config", path, "--device-group", "k8s"]


@pytest.fixture
def records(tmp_path):
    def write(since):
        path = tmp_path / "seen.jsonl"
        said = counting(NOW, since).json()
        seen = flow(3, at=NOW, rule=Origin(RULE.name, f"uuid-{RULE.name}", "pre", "k8s"))
        path.write_text(f"{line('seen', seen.json())}\n{line('counting', said)}\n")
        return path

    return write


def by_name(text):
    return {each["rule"]["name"]: each for each in json.loads(text)["rules"]}


def test_of_a_file_of_records(run, export, records):
    code, out, err = run("usage", *export, "--seen", records(NOW - timedelta(days=100)), "-o", "json")
    assert (code, err) == (0, "")
    rules = by_name(out)
    assert (rules[RULE.name]["hits"], rules["idle"]["hits"]) == (3, 0)
    code, out, _ = run("usage", *export, "--seen", records(NOW - timedelta(days=100)), "--unused", "90d")
    assert code == 0
    assert "idle" in out
    assert RULE.name not in out


def test_as_a_page(run, export, records):
    code, page, err = run("usage", *export, "--seen", records(NOW - timedelta(days=100)), "-o", "html")
    assert (code, err) == (0, "")
    assert page.startswith("<!doctype html>")
    assert re.search(r"\b1 of \d+ rules were hit<", page)
    code, page, _ = run("usage", *export, "--seen", records(NOW - timedelta(days=10)), "--unused", "90d", "-o", "html")
    assert code == 1
    assert re.search(r"\b0 of \d+ rules were not hit for 90d<", page)


def test_unused_for_longer_than_nodes_count_is_not_known(run, export, records):
    code, out, err = run("usage", *export, "--seen", records(NOW - timedelta(days=10)), "--unused", "90d", "-o", "csv")
    assert code == 1
    assert "so no rule is known to be unused for 90d" in err
    assert "idle" not in out


def test_of_the_database_that_the_settings_name(run, export, tmp_path):
    url = f"sqlite:///{tmp_path / 'evidence.db'}"
    store = Store(Database(url))
    store.open()
    mine = Origin(RULE.name, f"uuid-{RULE.name}", "pre", "k8s")
    store.take("prod", [told(1, flow(5, at=NOW, rule=mine)), told(2, counting(NOW, NOW - timedelta(days=9)))], NOW)
    store.close()
    settings = tmp_path / "zonebridge.yaml"
    settings.write_text(f"clusters: [{{name: prod, deviceGroup: k8s, inCluster: true}}]\nevidence: {{url: '{url}'}}\n")
    code, out, err = run("usage", "-c", settings, *export, "-o", "json")
    assert (code, err) == (0, "")
    assert by_name(out)[RULE.name]["hits"] == 5
    assert json.loads(out)["since"].startswith((NOW - timedelta(days=9)).strftime("%Y-%m-%d"))
    code, out, _ = run("usage", "-c", settings, *export, "--since", "2d", "-o", "json")
    assert json.loads(out)["since"].startswith((NOW - timedelta(days=2)).strftime("%Y-%m-%d"))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--unused", "soon"], "--unused: 'soon' is no duration"),
        ([], "give --seen FILE, or settings"),
        (["--seen", "/nowhere"], "--seen /nowhere: can't be read"),
    ],
)
def test_bad_input_is_told(run, export, options, why):
    code, _, err = run("usage", *export, *options)
    assert code == 2
    assert why in err


def test_settings_with_a_secret_in_the_address_are_refused(run, tmp_path):
    settings = tmp_path / "zonebridge.yaml"
    settings.write_text("evidence: {url: 'postgresql://zb:hunter2@h/zb'}\n")
    code, _, err = run("usage", "-c", settings)
    assert code == 2
    assert "evidence.url: a secret must not stand in this file" in err
    assert "hunter2" not in err
