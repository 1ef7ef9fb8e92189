"""A bridge that dies at any API call of a publish: the next one completes it, and whoever reads sees whole revisions."""

import asyncio
from contextlib import contextmanager

import pytest

from bridge.history.ledger import RevisionLedger
from bridge.history.revision import part_names, policy_of, recorded_of
from bridge.history.verification import breaks
from bridge.tier.cluster import TierApi
from bridge.tier.plan import Part
from mocks.kubernetes import KubernetesServer
from tests.bridge.processes import install
from tests.bridge.running import CRDS, Judge, access, hang_up, made
from tests.bridge.world import FakeManager, Killed, many
from zones.compile import compile_policy
from zones.kube.client import ApiServer
from zones.tiers import native
from zones.zone import Zoning

TIER = "killed"


@contextmanager
def mocked():
    with KubernetesServer() as server:
        server.install([CRDS])
        yield server.kubeconfig


@pytest.fixture(params=["mock", pytest.param("real", marks=pytest.mark.apiserver)])
def kubeconfig(request):
    if request.param == "mock":
        with mocked() as path:
            yield path
    else:
        kube = request.getfixturevalue("kube")
        install(kube)
        yield kube.kubeconfig


class Dying:
    """Counts the API calls of a bridge, and ends it before or after one of them."""

    def __init__(self, work, at=None, *, after=False):
        self.calls = []
        api = work.sync._cluster._api
        ask = api.ask

        async def counted(method, path, *args, **more):
            number = len(self.calls)
            self.calls.append(f"{method} {path}")
            if number == at and not after:
                raise Killed
            answer = await ask(method, path, *args, **more)
            if number == at:
                raise Killed
            return answer

        api.ask = counted


def run(kubeconfig, manager, at=None, *, after=False, passes=1):
    """A new process with so many passes: the API calls it made, and the tier and its parts as it left them."""

    async def process():
        work = made(kubeconfig, manager, TIER, watched=False, timeout=30.0)
        dying = Dying(work, at, after=after)
        try:
            for _ in range(passes):
                await work.sync.once()
            calls = tuple(dying.calls)
            return calls, await work.sync._cluster.tier(TIER), await work.sync._cluster.parts(TIER)
        except Killed:
            return tuple(dying.calls), None, {}
        finally:
            await work.close()
            await hang_up()

    return asyncio.run(process())


class Commits:
    """One configuration after the other; the policies that were ever meant."""

    def __init__(self):
        self.manager = FakeManager()
        self.meant = []
        self.next()

    def next(self):
        self.manager.commit(*many(90, start=10 * len(self.meant)))
        self.meant.append(compile_policy(self.manager.current, Zoning()).policy)


def test_killed_at_every_call_the_next_run_completes_and_no_reader_sees_a_mixture(kubeconfig, until):
    commits = Commits()
    run(kubeconfig, commits.manager, passes=2)
    with Judge(kubeconfig, TIER, commits.meant) as judge:
        for _ in range(2):  # so that parts of the one before are left to be retired
            commits.next()
            calls, _, _ = run(kubeconfig, commits.manager)
        kinds = {call.split("/")[0].strip() + " " + call.split("/")[4] for call in calls}
        assert {"POST policychunks", "POST revisions", "PATCH tiers", "GET policychunks", "PATCH policychunks"} <= kinds
        for after in (False, True):
            for at in range(len(calls)):
                commits.next()
                run(kubeconfig, commits.manager, at, after=after)
                _, tier, parts = run(kubeconfig, commits.manager)
                assert native.parse(tier, parts) == commits.meant[-1], f"killed {after=} call {at}"
        until(lambda: judge.policy == commits.meant[-1], seconds=60)
        assert judge.faults == []
        assert len(judge.applied) > len(calls)
    _, tier, parts = run(kubeconfig, commits.manager, passes=2)
    assert sorted(parts) == sorted(tier["spec"]["policyChunks"])
    revisions, kept = history(kubeconfig)
    assert breaks(revisions, kept, tier) == ()
    specs = {raw["spec"]["revision"]: raw["spec"] for raw in revisions}
    ledger = RevisionLedger.of(map(recorded_of, revisions))
    in_force = [policy_of(specs[each.revision], kept) for each in ledger.in_force(tier)]
    assert in_force[::-1] == commits.meant, "each revision that was in force, once, in order"


def history(kubeconfig):
    """Every record, and the parts of all by name."""

    async def read():
        cluster = TierApi(ApiServer(access(kubeconfig, 30.0)))
        try:
            revisions = await cluster.revisions(TIER)
            names = set().union(*(part_names(raw["spec"]) for raw in revisions))
            found = {name: await cluster.part(Part(native.POLICY_CHUNK, name)) for name in names}
            return revisions, {name: part for name, part in found.items() if part is not None}
        finally:
            await cluster.close()
            await hang_up()

    return asyncio.run(read())
