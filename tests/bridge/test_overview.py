"""What `status` says of each cluster: the first thing that is wrong; one that can't be asked hides no other."""

import asyncio
from datetime import UTC, datetime

import pytest
import yaml

from bridge.commands.overview import overview
from bridge.commands.tier_facts import COLUMNS, NOTHING_YET, row
from bridge.nodes.enforcement import Fault, Late
from bridge.settings.models import ClusterSettings
from bridge.tier.outcome import PassOutcome, Result, conditions
from bridge.tier.status import StatusInput, status_json
from mocks.kubernetes import KubernetesServer
from tests.enforcer import smallcluster as world

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def server():
    with KubernetesServer() as running:
        for definition in world.definitions():
            running.create(definition)
        yield running


def told(*kubeconfigs):
    clusters = [
        ClusterSettings(name=f"c{at}", device_group="dg", kubeconfig=path) for at, path in enumerate(kubeconfigs)
    ]
    return asyncio.run(overview(clusters))


def publish(server, **outcome):
    tier = world.tier(7).tier
    found = PassOutcome(Result.UNCHANGED, 7, {}, {"total": 2, "inSync": 1}, **outcome)
    sight = StatusInput(7, "d", "1", None, 2, [], NOW, conditions(found))
    server.create(tier)
    server.set_status(tier | {"status": status_json(sight, "panorama", {}, NOW)})


def test_all_is_well(server):
    publish(server)
    (found,) = told(server.kubeconfig)
    assert (found["revision"], found["ready"], found["problem"]) == (7, True, "")
    assert len(row(found)) == len(COLUMNS)


def test_nodes_out_of_sync_are_a_problem_that_is_named(server):
    publish(server, late=(Late("n2", Fault.SILENT, 6),))
    (found,) = told(server.kubeconfig)
    assert found["problem"] == "revision 7 is not in force everywhere: n2 has not reported for 15 min"


def test_a_cluster_that_cannot_be_asked_says_why_and_hides_no_other(server, tmp_path):
    publish(server)
    with KubernetesServer(tmp_path) as gone:
        elsewhere = gone.kubeconfig
    away, well = told(elsewhere, server.kubeconfig)
    assert "c0" in away["problem"]
    assert well["problem"] == ""


def test_before_anything_is_published(server):
    (found,) = told(server.kubeconfig)
    assert (found["revision"], found["problem"]) == (None, NOTHING_YET)


@pytest.fixture
def settings(tmp_path):
    with KubernetesServer() as server:
        world.fill(server)
        world.publish(server, world.tier(3, 5432))
        (tmp_path / "password").write_text("a password of a test")
        clusters = [{"name": "prod", "deviceGroup": "dg", "kubeconfig": str(server.kubeconfig)}]
        panorama = {"hosts": ["192.0.2.1"], "username": "reader", "passwordFile": str(tmp_path / "password")}
        path = tmp_path / "settings.yaml"
        path.write_text(yaml.safe_dump({"clusters": clusters, "panorama": panorama}))
        yield path


def test_the_command_writes_one_page_and_ends_as_for_a_terminal(run, settings):
    code, page, err = run("status", "-c", settings, "-o", "html")
    assert (code, err) == (1, ""), "its Tier has no status yet"
    assert page.startswith("<!doctype html>")
    assert "default-src &#39;none&#39;; style-src &#39;sha256-" in page
    assert "1 of 1 clusters are not ready" in page
    assert page.rstrip().endswith("</html>")
