"""A bridge at work while its API server fails in every way: nothing is lost, nobody asks without end, all ends well."""

import threading
import time
from contextlib import contextmanager

import pytest

from mocks.kubernetes import KubernetesServer
from mocks.serving import Fault
from tests.bridge.processes import ROOT, client_of, eventually, install, parts_of, tier_of
from tests.bridge.running import CRDS, Bridge, Judge
from tests.bridge.world import FakeManager, many
from tests.realkube import RealKube
from zones.compile import compile_policy
from zones.tiers import native
from zones.zone import Zoning

TIER = "faults"
MERGE = {"Content-Type": "application/merge-patch+json"}
PARTS = (native.PLURALS[native.POLICY_CHUNK], native.PLURALS[native.ADDRESS_SET])


@pytest.fixture
def own(programs):
    """A server that a test may restart and pause."""
    with RealKube(programs) as kube:
        install(kube)
        yield kube


@pytest.fixture
def mock():
    with KubernetesServer() as server:
        server.install([CRDS])
        yield server
        server.faults.queue.clear()


@pytest.fixture
def client(mock):
    """The mock's administrator. What it asks meets no fault."""
    with client_of(mock) as made:
        yield made


class Commits:
    """An administrator who commits again and again until told to stop; every policy that was ever meant."""

    def __init__(self):
        self.manager = FakeManager()
        self.meant = []
        self.next()

    def next(self):
        self.manager.commit(*many(90, start=len(self.meant) % 20), zones=("web", f"zone-{len(self.meant)}"))
        self.meant.append(compile_policy(self.manager.current, Zoning()).policy)

    @contextmanager
    def going_on(self, every=0.3):
        stop = threading.Event()

        def work():
            while not stop.wait(every):
                self.next()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def whole(client, policy):
    """Whether the live tier is that policy, and nothing is left over from others."""
    tier, parts = tier_of(client, TIER), parts_of(client, TIER)
    try:
        return native.parse(tier, parts) == policy and sorted(parts) == sorted(tier["spec"]["policyChunks"])
    except (native.TierError, TypeError):
        return False


def lists(bridge):
    """How often the bridge has listed parts, by watch or by itself."""
    return sum(path.rsplit("/")[-1] in PARTS for path in bridge.listed)


@pytest.mark.apiserver
@pytest.mark.timeout(400)
def test_a_restarted_api_server_and_an_etcd_that_hangs_lose_nothing_under_load(own):
    commits = Commits()
    with (
        own.client() as client,
        Bridge(own.kubeconfig, commits.manager, TIER, timeout=3.0, interval_lease=(4.0, 1.0)) as bridge,
        Judge(own.kubeconfig, TIER, commits.meant) as judge,
    ):
        eventually(lambda: whole(client, commits.meant[-1]))
        with commits.going_on():
            own.stop_apiserver(0.5)
            own.start_apiserver()
            before = len(judge.applied)
            eventually(lambda: len(judge.applied) > before + 1)
            own.pause_etcd()
            eventually(lambda: not bridge.work.leadership.leading)
            own.resume_etcd()
            eventually(lambda: bridge.work.leadership.leading)
        eventually(lambda: whole(client, commits.meant[-1]))
        eventually(lambda: judge.policy == commits.meant[-1])
        assert judge.faults == []
        assert bridge.told("TierTampered") == []
        assert lists(bridge) <= 6 * len(PARTS), bridge.listed
        delete_one(client)
        eventually(lambda: whole(client, commits.meant[-1]))
        eventually(lambda: len(bridge.told("TierTampered")) == 1)


def published(server, **how):
    """A bridge on the mock, and a way to see whether its tier is whole."""
    commits = Commits()
    return commits, Bridge(server.kubeconfig, commits.manager, TIER, **how)


@pytest.mark.parametrize("broken", [False, True], ids=["closed", "broken"])
def test_a_watch_that_ends_is_resumed_and_lists_nothing(mock, client, broken):
    commits, bridge = published(mock)
    with bridge:
        eventually(lambda: whole(client, commits.meant[-1]))
        eventually(lambda: mock.watches >= 4)
        before = lists(bridge)
        mock.close_watches(broken=broken)
        eventually(lambda: mock.watches >= 4)
        delete_one(client)
        eventually(lambda: whole(client, commits.meant[-1]))
        assert lists(bridge) == before, bridge.listed
        assert len(bridge.told("TierTampered")) == 1


def test_a_watch_that_is_too_old_lists_once_and_sees_what_it_missed(mock, client):
    commits, bridge = published(mock, interval=600.0)
    with bridge:
        eventually(lambda: whole(client, commits.meant[-1]))
        eventually(lambda: mock.watches >= 4)
        before = lists(bridge)
        mock.faults.add(Fault("slow", "watch=1", times=8, seconds=0.5))
        mock.close_watches()
        delete_one(client)
        mock.compact()
        eventually(lambda: whole(client, commits.meant[-1]))
        assert before < lists(bridge) <= before + 2 * len(PARTS)


def test_an_overloaded_server_is_asked_again_only_when_it_said(mock, client):
    commits, bridge = published(mock, watched=False)
    busy = Fault("status", "policychunks?", 1, status=429, body='{"message": "busy"}', headers={"Retry-After": "2"})
    mock.faults.add(busy)
    with bridge:
        eventually(lambda: not mock.faults.queue)
        refused = time.monotonic()
        eventually(lambda: whole(client, commits.meant[-1]))
        assert time.monotonic() - refused > 1.5


def test_another_writer_of_the_tier_is_a_conflict_and_then_put_back(mock, client):
    commits, bridge = published(mock)
    with bridge:
        eventually(lambda: whole(client, commits.meant[-1]))
        with commits.going_on(every=0.05):
            for _ in range(3):
                spoil(client)
                time.sleep(0.1)
        eventually(lambda: whole(client, commits.meant[-1]))
        assert bridge.told("TierTampered")


def delete_one(client):
    client.delete(f"{ROOT}/policychunks/{next(iter(parts_of(client, TIER)))}").raise_for_status()


def spoil(client):
    spec = {"revision": tier_of(client, TIER)["spec"]["revision"] + 3, "policyChunks": []}
    client.patch(f"{ROOT}/tiers/{TIER}", json={"spec": spec}, headers=MERGE)
