"""What a node does that has no policy: docs/enforcer.md says it case by case, and so does the kernel."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from enforcer.kernel.reconcile import AppliedAction
from enforcer.kernel.stance import Choice, Stance, TierAnswer, choose
from enforcer.rules.options import Failure, Mode
from mocks.lab import Outcome
from tests.enforcer import nftprogram
from tests.enforcer.test_enforcement import BOTH_WAYS, outcomes, policy
from tests.enforcer.world import NOW, OPTIONS, WholeFeeds

PAGE = Path(__file__).parents[3] / "docs" / "enforcer.md"
SETTINGS = {
    "enforce, closed": (Mode.ENFORCE, Failure.CLOSED),
    "enforce, open": (Mode.ENFORCE, Failure.OPEN),
    "observe": (Mode.OBSERVE, Failure.CLOSED),
    "observe, open": (Mode.OBSERVE, Failure.OPEN),
}
OBSERVING = replace(OPTIONS, mode=Mode.OBSERVE)
DROPS = {Stance.ENFORCED, Stance.CLOSED, Stance.LOST}
CHOICES = {"stays": Choice.LEAVE, "closes": Choice.CLOSE, "opens": Choice.OPEN}


def page():
    """The cells of the page's table, by settings, what stands, whether the node had a tier, and answer."""
    lines = PAGE.read_text().partition("<!-- stances -->\n")[2].splitlines()
    _, *answers = (each.strip() for each in lines[0].strip("|").split("|")[1:])
    for line in lines[2 : next(at for at, each in enumerate(lines) if not each.startswith("|"))]:
        settings, standing, *cells = (each.strip().strip("`") for each in line.strip("|").split("|"))
        for answer, cell in zip(answers, cells, strict=True):
            yield settings, standing, answer.strip("`"), cell


def rows():
    """`nothing, had a tier` is one row, `nothing` is both."""
    for settings, standing, answer, cell in page():
        name, _, had = standing.partition(", ")
        for each in [True, False] if not had else [had == "had a tier"]:
            for one in answer.split(", "):
                yield settings, Stance(name), each, TierAnswer(one), CHOICES[cell]


def test_the_page_says_what_is_chosen_in_every_case():
    told = {(settings, stance, had, answer): choice for settings, stance, had, answer, choice in rows()}
    for name, stance, had, answer in product(SETTINGS, Stance, [True, False], TierAnswer):
        settings = "observe" if name.startswith("observe") else name
        chosen = choose(*SETTINGS[name], answer, stance, had_tier=had or stance in {Stance.ENFORCED, Stance.LOST})
        assert told[settings, stance, had, answer] is chosen, (name, stance, had, answer)


@pytest.fixture
def inventory(world):
    zones = {"p0": "web", "p1": "web", "p2": "data", "q0": "web", "q1": "data"}
    return world.inventory(*(world.pod(name, zone) for name, zone in zones.items()))


class Before:
    """How a former agent leaves a node in each stance, without anything saved."""

    def __init__(self, world, inventory):
        self.world, self.inventory = world, inventory

    def leave(self, stance):
        options = OPTIONS if stance is not Stance.OBSERVED else OBSERVING
        with self.world.inside():
            agent = WholeFeeds("n1", options)
            agent.flush()
            if stance in {Stance.ENFORCED, Stance.OBSERVED, Stance.LOST}:
                agent.apply(policy(*BOTH_WAYS), self.inventory, NOW, revision=3)
            if stance is Stance.CLOSED:
                agent.apply(None, self.inventory, NOW, answer=TierAnswer.SILENT)
            agent.stop()
            if stance is Stance.LOST:
                agent = WholeFeeds("n1", OPTIONS)
                assert agent.apply(None, self.inventory, NOW, answer=TierAnswer.NO_TIER).stance is Stance.LOST
                agent.stop()


@pytest.mark.kernel
@pytest.mark.parametrize("stance", Stance)
@pytest.mark.parametrize("name", ["enforce, closed", "enforce, open", "observe"])
def test_an_agent_finds_what_a_former_one_left(world, inventory, name, stance):
    """p0 is in web and p1 too; outside to p2 is denied by the tier and by every lockdown."""
    (mode, failure), before = SETTINGS[name], Before(world, inventory)
    for answer in TierAnswer:
        before.leave(stance)
        with world.reconciler(replace(OPTIONS, mode=mode), failure=failure) as agent:
            found = agent.restore(inventory)
            chosen = choose(
                mode, failure, TierAnswer.WAITING, stance, had_tier=stance in {Stance.ENFORCED, Stance.LOST}
            )
            assert (found.action is AppliedAction.REMOVED) == (chosen is Choice.OPEN and stance is not Stance.NOTHING)
            stands = Stance.NOTHING if chosen is Choice.OPEN else stance
            assert (found.stance, found.problems) == (stands, ())
            had = stance in {Stance.ENFORCED, Stance.LOST}
            applied = agent.apply(None, inventory, NOW, answer=answer)
            chosen = choose(mode, failure, answer, stands, had_tier=had)
            closed = Stance.LOST if had else Stance.CLOSED
            expected = {Choice.LEAVE: stands, Choice.OPEN: Stance.NOTHING, Choice.CLOSE: closed}[chosen]
            assert (applied.stance, applied.problems) == (expected, ()), (answer, chosen)
            assert agent.enforces() is (expected is not Stance.NOTHING)
            assert outcomes(world, ("outside", "p2", 80), timeout=0.3) == [
                Outcome.TIMEOUT if expected in DROPS else Outcome.ALLOWED
            ], (answer, chosen)
            assert agent.apply(policy(*BOTH_WAYS), inventory, NOW, revision=4).problems == ()
            assert agent.apply(None, inventory, NOW).action is AppliedAction.NONE


@pytest.mark.kernel
@pytest.mark.parametrize(("mode", "failure"), [(Mode.ENFORCE, Failure.OPEN), (Mode.OBSERVE, Failure.CLOSED)])
def test_a_closed_node_opens_before_anybody_is_asked(world, inventory, mode, failure):
    Before(world, inventory).leave(Stance.CLOSED)
    assert outcomes(world, ("p0", "p1", 80)) == [Outcome.TIMEOUT]
    with world.reconciler(replace(OPTIONS, mode=mode), failure=failure) as agent:
        assert agent.restore().action is AppliedAction.REMOVED
        assert outcomes(world, ("p0", "p1", 80), ("outside", "p2", 80)) == [Outcome.ALLOWED] * 2
        with world.inside():
            assert "zonebridge" not in nftprogram.nft("list", "tables")


@pytest.mark.kernel
def test_pods_that_come_to_a_closed_node_are_reached_by_it_after_a_restart_of_the_agent(world, inventory):
    """F3: what an agent left closed is kept up to date by the next one."""
    Before(world, inventory).leave(Stance.CLOSED)
    more = inventory.with_pod(world.pod("p3", "web"))
    with world.reconciler() as agent:
        agent.restore()
        agent.apply(None, more, NOW, answer=TierAnswer.SILENT)
        ways = ("n1", "p3", 80), ("n1", "p4", 80), ("p0", "p3", 80), ("p3", "n1", 80)
        assert outcomes(world, *ways) == [*[Outcome.ALLOWED] * 2, *[Outcome.TIMEOUT] * 2]


@pytest.mark.kernel
def test_a_lockdown_that_somebody_deletes_comes_back(world, inventory):
    Before(world, inventory).leave(Stance.LOST)
    with world.reconciler() as agent:
        agent.restore()
        agent.apply(None, inventory, NOW)
        world.n1.nft("delete table inet zonebridge")
        applied = agent.apply(None, inventory, NOW)
        assert (applied.stance, applied.drift.what) == (Stance.LOST, ("the table was deleted",))
