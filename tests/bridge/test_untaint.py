"""The startup taint goes once this node's enforcer holds the tier, and not for what an earlier node of its name said."""

import asyncio

import pytest

from bridge.nodes.startup_taint import TAINT, Untaint, is_ready
from bridge.population.picture import FollowedKind, Population
from zones.kube.errors import ClusterUnreachableError
from zones.kube.watch import Changed, Listed
from zones.zone import Zoning

REGISTERED = "2027-01-15T08:00:00Z"
OTHER = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


def node(*taints, name="n1"):
    metadata = {"name": name, "uid": "u", "creationTimestamp": REGISTERED, "resourceVersion": "7"}
    return {"metadata": metadata, "spec": {"taints": list(taints)}}


MINE = {"key": TAINT, "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("status", "has_tier", "ready"),
    [
        ({}, True, False),
        ({"reportedAt": "2027-01-15T07:59:59Z", "revision": 4}, True, False),
        ({"reportedAt": "2027-01-15T08:00:05.123Z", "revision": 4}, True, True),
        ({"reportedAt": "2027-01-15T08:00:05Z", "revision": 0}, True, False),
        ({"reportedAt": "2027-01-15T08:00:05Z", "revision": 0}, False, True),
    ],
)
def test_when_an_enforcer_is_ready(status, has_tier, ready):
    assert is_ready(node(MINE), status, has_tier=has_tier) is ready


class Cluster:
    """With one node, and what was left of its taints."""

    def __init__(self, *taints, status=None, away=False):
        self.taints, self.status, self.away, self.written = taints, status or {}, away, []

    async def node(self, name):
        return node(*self.taints, name=name)

    async def node_state(self, _):
        return {"status": self.status}

    async def tier(self, _):
        if self.away:
            raise ClusterUnreachableError("no answer")
        return {}

    async def leave_taints(self, name, version, taints):
        self.written.append((name, version, taints))


def looked(cluster, *tainted):
    asyncio.run(Untaint(cluster, "panorama", lambda: tainted).look())
    return cluster.written


READY = {"reportedAt": "2027-01-15T08:00:05Z", "revision": 4}


def test_other_taints_stay():
    assert looked(Cluster(OTHER, MINE, status=READY), "n1") == [("n1", "7", [OTHER])]


def test_nothing_is_written_before_time_or_twice_or_to_a_cluster_that_is_away():
    assert looked(Cluster(MINE), "n1") == []
    assert looked(Cluster(OTHER, status=READY), "n1") == []
    assert looked(Cluster(MINE, status=READY), *()) == []
    assert looked(Cluster(MINE, status=READY, away=True), "n1") == []


def test_the_population_knows_which_nodes_have_it():
    population = Population(Zoning())
    population.fold(FollowedKind.NODES, Listed((node(MINE), node(OTHER, name="n2"))))
    assert population.tainted == {"n1"}
    population.fold(FollowedKind.NODES, Changed(node(OTHER)))
    assert population.tainted == set()
    population.fold(FollowedKind.NODES, Changed(node(MINE)))
    population.fold(FollowedKind.NODES, Changed(node(MINE), gone=True))
    assert population.tainted == set()
