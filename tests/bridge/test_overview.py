"""What `status` says of each cluster: the first thing that is wrong; one that can't be asked hides no other."""

import asyncio
from datetime import UTC, datetime

import pytest

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
