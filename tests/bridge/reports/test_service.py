"""The whole service, from Panorama and a cluster into the database, and what `report` then says of it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from bridge.evidence import keeping
from bridge.evidence.database import Database
from bridge.evidence.store import micros
from bridge.intervals.fold import IntervalKind
from bridge.intervals.store import IntervalStore
from bridge.metrics import Metrics
from bridge.reports.model import moment_text
from bridge.service import one_at_a_time, run_until
from bridge.settings.file import Purpose, load
from bridge.wiring.clusters import works
from bridge.wiring.evidence import evidence_kept
from mocks.kubernetes import KubernetesServer
from mocks.panorama import Panorama, PanoramaServer
from tests.bridge.reports.test_commands import wait_for
from tests.bridge.test_cluster import CRDS
from tests.bridge.test_service import reached
from tests.panorama_xml import config_text, members, rule, rulebase

WHY = "<description>Orders come in, see CHG-812</description>" + members("tag", "ticket:CHG-812")
CONFIG = config_text(groups={"k8s": rulebase("pre", rule("orders", from_="web", to="cde", extra=WHY))})


@pytest.fixture
def cluster():
    with KubernetesServer() as server:
        server.install(sorted(CRDS.glob("*.yaml")))
        for name in ("shop", "zonebridge-system"):
            metadata = {"name": name, "annotations": {"zonebridge.io/zones": "web, cde"}}
            server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        server.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
        yield server


def run_pod(cluster, name, ip, zone):
    metadata = {"name": name, "namespace": "shop", "labels": {"zonebridge.io/zone": zone}}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    cluster.create(made | {"spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}})
    cluster.set_status(made | {"status": {"phase": "Running", "podIPs": [{"ip": ip}]}})
    return made


@pytest.fixture
def panorama():
    config = Panorama(CONFIG, users={"reader": "secret"}, read_only=("reader",), commit_seconds=0)
    with PanoramaServer(config) as server:
        yield server


@pytest.fixture
def settings(tmp_path, panorama, cluster):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    path = tmp_path / "zonebridge.yaml"
    door = {"username": "reader", "passwordFile": str(secret), "caFile": str(panorama.ca_file), "pollInterval": "200ms"}
    path.write_text(
        yaml.safe_dump(
            {
                "panorama": {"hosts": [f"127.0.0.1:{panorama.port}"]} | door,
                "clusters": [{"name": "prod", "deviceGroup": "k8s", "kubeconfig": str(cluster.kubeconfig)}],
                "evidence": {"url": f"sqlite:///{tmp_path / 'evidence.db'}"},
                "metrics": {"address": None},
                "siem": {"kubernetesEvents": False},
                "lease": {"duration": "5s", "renew": "1s"},
            }
        )
    )
    return path


def test_what_the_service_saw_is_what_the_report_says(settings, cluster, run, tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "_LOOK_SECONDS", 0.05)
    loaded = load(settings, {}, Purpose.SERVICE)
    database = Database(loaded.evidence.url)
    store = IntervalStore(database)
    run_pod(cluster, "pay", "10.0.0.1", "cde")
    gone = run_pod(cluster, "cart", "10.0.0.2", "web")

    def held(kind):
        found = store.between("prod", 0, micros(datetime.now(UTC) + timedelta(days=1)), [kind])
        return {(each.subject if kind is not IntervalKind.POD else "pod", each.end is None) for each in found}

    async def service():
        stop, metrics = asyncio.Event(), Metrics()
        async with one_at_a_time() as run_blocking:
            made = tuple(works(loaded, run_blocking, None))
            async with evidence_kept(loaded, made):
                task = asyncio.create_task(run_until(stop, made, 0.2, metrics))
                try:
                    await reached(lambda: database_has(IntervalKind.TIER, ("panorama", True)), 60)
                    await reached(lambda: database_has(IntervalKind.WORKLOAD, ("shop/cart", True)), 60)
                    cluster.delete(gone)
                    await reached(lambda: database_has(IntervalKind.WORKLOAD, ("shop/cart", False)), 60)
                finally:
                    stop.set()
                    await task

    def database_has(kind, wanted):
        try:
            return wanted in held(kind)
        except keeping.EvidenceError:  # its schema isn't there yet
            return False

    asyncio.run(service())
    last = store.looks("prod", 0, micros(datetime.now(UTC)))[-1][1]
    database.close()
    begin, end = (moment_text(last - back) for back in (60_000_000, -1_000_000))  # whole seconds: the next one
    # The bridge has looked for a moment of that minute alone: what is known is said, and that more isn't.
    path = tmp_path / "report.json"
    words = ("report", "-c", str(settings), "--from", begin, "--to", end, "-o", "json", "--write", str(path))
    code, _, err = wait_for(run, *words)
    assert (code, err) == (1, "")
    report = json.loads(path.read_text())
    rows = {key: section["rows"] for key, section in report["sections"].items()}
    assert report["doubts"][0] == "Nobody looked for some of the time; nothing is said of it"
    assert {(row["workload"], row["zone"]) for row in rows["inventory"]} == {("shop/pay", "cde"), ("shop/cart", "web")}
    orders = next(row for row in rows["rules"] if row["rule"] == "orders")
    assert (orders["justification"], orders["tickets"]) == ("Orders come in, see CHG-812", "ticket:CHG-812")
    assert [(row["node"], row["mode"], row["why"]) for row in rows["enforcement"]] == [("n1", "none", "never reported")]
    assert [row["revision"] for row in rows["revisions"]] == ["1"]
    assert len(rows["settings"]) == 1
