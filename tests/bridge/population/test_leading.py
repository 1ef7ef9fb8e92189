"""Who publishes: the leader alone, again after trouble, and no cluster's trouble is another's."""

import asyncio

import structlog

from bridge.metrics import Metrics
from bridge.population import PopulationFigures
from bridge.service import Work
from bridge.tier.lease import Leadership, LeaseTerms
from tests.bridge.test_leadership import FakeLease
from tests.bridge.test_service import nothing, run_until_reached
from tests.bridge.world import World, rule
from zones.kube.errors import ClusterRefusedError


class FakePublishing:
    """Runs until it is stopped; each of its first runs ends with its trouble."""

    def __init__(self, *troubles):
        self.troubles = list(troubles)
        self.running = self.began = 0

    async def run(self, tell):
        self.began += 1
        self.running += 1
        try:
            tell(PopulationFigures(pods=7, slices=2, writes=3))
            await asyncio.sleep(0)
            if self.troubles:
                raise self.troubles.pop(0)
            await asyncio.Event().wait()
        finally:
            self.running -= 1


def work_of(name, lease, publishing):
    world = World(rule("a"))
    leadership = Leadership(lease, LeaseTerms("ns", "zonebridge-panorama", "me", duration=0.6, renew=0.05))
    return Work(name, world.sync, leadership, world.feeds, nothing, population=publishing)


def test_each_cluster_is_published_and_begun_again_by_itself():
    refused, broken, good = FakePublishing(ClusterRefusedError("no such kind")), FakePublishing(KeyError("x")), FakePublishing()  # fmt: skip
    works = [work_of(str(n), FakeLease(), each) for n, each in enumerate((refused, broken, good))]
    metrics = Metrics()
    with structlog.testing.capture_logs() as logs:
        run_until_reached(works, lambda: refused.running and broken.running and good.running, metrics=metrics)
    assert (refused.began, broken.began, good.began) == (2, 2, 1)
    told = {entry.get("error") for entry in logs if entry["event"] == "population not published"}
    assert "no such kind" in told
    assert all(each.running == 0 for each in (refused, broken, good))
    assert b'zonebridge_pods{cluster="2"} 7.0' in metrics.text()
    assert b'zonebridge_population_writes_total{cluster="1"} 6.0' in metrics.text()


def test_only_the_leader_publishes_and_stops_when_it_is_no_more():
    lease, publishing, states = FakeLease(), FakePublishing(), []
    lease.held = {"metadata": {}, "spec": {"holderIdentity": "other", "leaseDurationSeconds": 0.2}}

    def stopped():
        if publishing.running and not states:
            states.append("led")
            lease.away = True
        if states == ["led"] and not publishing.running:
            states.append("stopped")
            lease.away = False
        return len(states) == 2 and publishing.began == 2

    with structlog.testing.capture_logs():
        run_until_reached([work_of("c1", lease, publishing)], stopped)
    assert publishing.running == 0
