"""Who leads: the Lease, by each bridge's own clock."""

import asyncio
import copy
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.settings.models import LeaseSettings
from bridge.tier.lease import Leadership, LeadershipLostError, LeaseTerms, claim
from zones.kube.errors import ClusterConflictError, ClusterUnreachableError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class FakeLease:
    """One Lease, as the API server keeps it."""

    def __init__(self):
        self.held = None
        self.version = 0
        self.away = False

    async def lease(self, namespace, name):
        if self.away:
            raise ClusterUnreachableError("reading Lease: no answer")
        return copy.deepcopy(self.held)

    async def write_lease(self, lease):
        given = lease["metadata"].get("resourceVersion")
        if given != (self.held or {"metadata": {}})["metadata"].get("resourceVersion"):
            raise ClusterConflictError("writing Lease: 409")
        self.version += 1
        self.held = copy.deepcopy(lease)
        self.held["metadata"]["resourceVersion"] = str(self.version)
        return self.held

    @property
    def holder(self):
        return self.held["spec"]["holderIdentity"]


class Watch:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def bridge(lease, watch, name):
    return Leadership(lease, LeaseTerms("ns", "zonebridge-panorama", name, duration=15, renew=4), clock=watch)


def step(*bridges):
    async def steps():
        for each in bridges:
            await each.step()

    asyncio.run(steps())


@pytest.fixture
def lease():
    return FakeLease()


@pytest.fixture
def watch():
    return Watch()


def test_the_first_one_leads_and_the_second_waits(lease, watch):
    a, b = bridge(lease, watch, "a"), bridge(lease, watch, "b")
    step(a, b)
    assert (a.leading, b.leading, lease.holder) == (True, False, "a")


def test_a_leader_that_gives_signs_stays(lease, watch):
    a, b = bridge(lease, watch, "a"), bridge(lease, watch, "b")
    for _ in range(20):
        step(a, b)
        watch.now += 4
    assert (a.leading, b.leading) == (True, False)
    assert lease.held["spec"]["leaseTransitions"] == 0


def test_a_silent_leader_is_followed_after_the_lease_not_before(lease, watch):
    a, b = bridge(lease, watch, "a"), bridge(lease, watch, "b")
    step(a, b)
    watch.now += 14.9
    step(b)
    assert not b.leading
    watch.now += 0.2
    step(b)
    assert b.leading
    assert (lease.holder, lease.held["spec"]["leaseTransitions"]) == ("b", 1)


def test_a_leader_without_the_api_server_stops_before_another_can_start(lease, watch):
    a = bridge(lease, watch, "a")
    step(a)
    lease.away = True
    for seconds, leading in ((4, True), (5, True), (1, False)):
        watch.now += seconds
        step(a)
        assert a.leading is leading


def test_a_lead_that_nobody_else_had_meanwhile_is_the_same_term(lease, watch):
    a, b = bridge(lease, watch, "a"), bridge(lease, watch, "b")
    step(a)
    term = a.term
    lease.away = True
    watch.now += 14.5
    step(a)
    assert not a.leading
    lease.away = False
    step(a)
    assert (a.leading, a.term) == (True, term)
    asyncio.run(a.release())
    step(b)
    asyncio.run(b.release())
    step(a)
    assert a.leading
    assert a.term != term


def test_a_holder_that_asks_for_endless_patience_is_not_waited_for(lease, watch):
    lease.held = {"metadata": {}, "spec": {"holderIdentity": "x", "leaseDurationSeconds": 10**6}}
    a = bridge(lease, watch, "a")
    step(a)
    watch.now += 59
    step(a)
    assert not a.leading
    watch.now += 2
    step(a)
    assert a.leading


def test_a_bug_ends_no_task(lease, watch):
    a = bridge(lease, watch, "a")
    calls = []

    async def broken(namespace, name):
        calls.append(name)
        raise ZeroDivisionError

    async def run():
        lease.lease = broken
        a._terms = LeaseTerms("ns", "n", "a", duration=0.2, renew=0.01)
        keeping = asyncio.create_task(a.keep())
        async with asyncio.timeout(20):
            while len(calls) < 3:  # noqa: ASYNC110 - a count of somebody else
                await asyncio.sleep(0.01)
        assert not keeping.done()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(run())


def test_a_lease_taken_by_another_is_noticed(lease, watch):
    a = bridge(lease, watch, "a")
    step(a)
    lease.held["spec"] |= {"holderIdentity": "b"}
    step(a)
    assert not a.leading


def test_a_lost_race_is_no_lead(lease, watch):
    a = bridge(lease, watch, "a")
    read = lease.lease

    async def read_then_somebody_writes(namespace, name):
        found = await read(namespace, name)
        await bridge(FakeLease(), watch, "x").step()
        lease.held = {"metadata": {"resourceVersion": "99"}, "spec": {"holderIdentity": "b"}}
        return found

    lease.lease = read_then_somebody_writes
    step(a)
    assert not a.leading


def test_a_released_lease_is_taken_at_once(lease, watch):
    a, b = bridge(lease, watch, "a"), bridge(lease, watch, "b")
    step(a, b)
    asyncio.run(a.release())
    step(b)
    assert (a.leading, b.leading) == (False, True)


def test_work_ends_when_the_lead_is_lost(lease, watch):
    a = bridge(lease, watch, "a")
    stopped = []

    async def for_ever():
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(True)

    async def run():
        await a.step()
        working = asyncio.create_task(a.during(for_ever()))
        await asyncio.sleep(0)
        lease.held["spec"] |= {"holderIdentity": "b"}
        await a.step()
        with pytest.raises(LeadershipLostError):
            await working

    asyncio.run(run())
    assert stopped == [True]


def test_work_done_while_leading_gives_its_result_and_its_error(lease, watch):
    a = bridge(lease, watch, "a")

    async def seven():
        return 7

    async def broken():
        raise ValueError("broken")

    async def run():
        await a.step()
        with pytest.raises(ValueError, match="broken"):
            await a.during(broken())
        return await a.during(seven())

    assert asyncio.run(run()) == 7


def test_the_lease_is_as_kubernetes_words_it():
    terms = LeaseTerms("ns", "name", "me", duration=15)
    made = claim(None, terms, None, 0.0, NOW)
    assert made["metadata"] == {"name": "name", "namespace": "ns"}
    assert made["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 0,
    }


USUAL = LeaseTerms("ns", "zonebridge-panorama", "x")


def two(lease, watch, **times):
    """As they are by default, one of which leads."""
    pair = [Leadership(lease, LeaseTerms("ns", "zonebridge-panorama", name, **times), clock=watch) for name in "ab"]
    step(*pair)
    return pair


def test_the_times_are_those_of_kubernetes_own_leaders():
    assert (USUAL.duration, USUAL.deadline, USUAL.renew) == (15.0, 10.0, 2.0)
    lease = LeaseSettings()
    assert [each.total_seconds() for each in (lease.duration, lease.deadline, lease.renew)] == [15.0, 10.0, 2.0]


@pytest.mark.parametrize("killed_after", [0.0, 0.5, 1.9])
@pytest.mark.parametrize("phase", [0.0, 0.7, 1.3])
def test_a_killed_leader_is_followed_within_the_duration_and_one_look(lease, watch, killed_after, phase):
    _, b = two(lease, watch)
    last_sign = watch.now
    watch.now += killed_after + phase
    while not b.leading:
        watch.now += USUAL.renew
        step(b)
    assert USUAL.duration <= watch.now - last_sign <= USUAL.duration + 2 * USUAL.renew + phase


def test_a_leader_that_gives_its_lease_back_is_followed_at_the_next_look(lease, watch):
    a, b = two(lease, watch)
    asyncio.run(a.release())
    watch.now += USUAL.renew
    step(b)
    assert b.leading


def test_an_api_server_that_takes_seconds_costs_nobody_the_lead(lease, watch):
    """Four for each renewal: with 8 s and a sign each 2 s the lead went to and fro."""
    a, b = two(lease, watch)
    read = lease.lease

    async def slowly(namespace, name):
        watch.now += 4.0
        return await read(namespace, name)

    lease.lease = slowly
    for _ in range(20):
        watch.now += USUAL.renew
        step(a, b)
        assert (a.leading, b.leading) == (True, False)
    assert lease.held["spec"]["leaseTransitions"] == 0


@given(
    st.lists(
        st.tuples(st.floats(0.1, 3.0), st.sampled_from(["a", "b", "both"]), st.sampled_from(["a", "b", "none"])),
        max_size=60,
    )
)
def test_never_do_two_lead_whoever_is_cut_off_and_for_how_long(moments):
    """`step` of a bridge that sleeps is what its own clock does to it: it stops leading in time by itself."""
    lease, watch = FakeLease(), Watch()
    pair = dict(zip("ab", two(lease, watch), strict=True))
    for seconds, awake, away in moments:
        watch.now += seconds
        for name, each in pair.items():
            lease.away = away == name
            if awake in {name, "both"} or each._left() <= 0:
                step(each)
        lease.away = False
        assert sum(each.leading and each._left() > 0 for each in pair.values()) <= 1
