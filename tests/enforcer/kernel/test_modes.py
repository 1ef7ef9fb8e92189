"""Step by step from observing to enforcing: by zone, by node, and back."""

from dataclasses import replace

import pytest

from enforcer.kernel.reconcile import AppliedAction
from enforcer.kernel.stance import Stance, TierAnswer
from enforcer.restart import snapshot
from enforcer.rules.options import Mode, RulesetOptions
from mocks.lab import Outcome
from tests.enforcer.test_enforcement import BOTH_WAYS, entry, logged, outcomes, policy
from tests.enforcer.world import NOW, OPTIONS, WholeFeeds
from zones.policy import Verdict

pytestmark = pytest.mark.kernel
WEB_ALONE = replace(OPTIONS, zones=frozenset({"web"}))
ALLOWED, TIMEOUT = Outcome.ALLOWED, Outcome.TIMEOUT


class Successor(WholeFeeds):
    """An agent on the node under test."""

    def __init__(self, options, **settings):
        super().__init__("n1", options, **settings)


@pytest.fixture
def inventory(world):
    zones = {"p0": "web", "p1": "web", "p2": "data", "p3": "db", "q0": "web", "q1": "data"}
    return world.inventory(*(world.pod(name, zone) for name, zone in zones.items()))


def test_a_denial_drops_where_either_ends_zone_is_enforced_and_is_told_as_such(world, inventory):
    reset = entry("reset", Verdict.RESET, "data", "db web")
    with world.reconciler(WEB_ALONE) as agent, world.log() as log:
        applied = agent.apply(policy(reset), inventory, NOW)
        assert applied.stance is Stance.ENFORCED
        tries = {("p2", "p3", 80): ALLOWED, ("p2", "p0", 80): Outcome.REFUSED, ("p3", "p2", 80): ALLOWED}
        tries |= {("p0", "p2", 80): TIMEOUT, ("outside", "p3", 80): ALLOWED, ("outside", "p0", 80): TIMEOUT}
        tries |= {("p0", "p1", 80): ALLOWED, ("q1", "p0", 80): Outcome.REFUSED, ("q1", "p3", 80): ALLOWED}
        assert outcomes(world, *tries) == list(tries.values())
        told = {}
        for each in logged(log, 12):
            terminal = applied.ruleset.terminals[each.prefix.split(":")[1]]
            told.setdefault((str(each.source), str(each.destination)), set()).add(terminal.enforced)
        ip = {name: world.machines[name].ip for name in ("p0", "p2", "p3", "outside")}
        assert told[ip["p2"], ip["p3"]] == told[ip["p3"], ip["p2"]] == told[ip["outside"], ip["p3"]] == {False}
        assert told[ip["p2"], ip["p0"]] == told[ip["p0"], ip["p2"]] == told[ip["outside"], ip["p0"]] == {True}


def test_what_no_zone_rule_can_open_is_denied_as_soon_as_a_node_enforces_anything(world, inventory):
    wrong = inventory.with_pod(world.pod("p4", "db", allowed=frozenset()))
    with world.reconciler(WEB_ALONE) as agent:
        agent.apply(policy(), wrong, NOW)
        assert outcomes(world, ("p4", "p2", 80), ("p2", "p4", 80), ("n1", "p4", 80)) == [TIMEOUT, TIMEOUT, ALLOWED]


def test_more_zones_are_more_that_is_enforced(world, inventory):
    """Of the same agent's successor, with other settings; what is allowed goes on all the time."""
    talk = world.lab.conversation(world.machines["p0"], world.machines["p1"].ip, 80, every=0.01, silence=0.3)
    try:
        for zones, expected in (({"web"}, ALLOWED), ({"web", "db"}, TIMEOUT), (None, TIMEOUT)):
            options = replace(OPTIONS, zones=None if zones is None else frozenset(zones))
            with world.inside():
                agent = Successor(options)
                agent.apply(policy(), inventory, NOW)
                agent.stop()
            assert outcomes(world, ("p2", "p3", 80)) == [expected]
        assert talk.alive
    finally:
        talk.close()
        with world.inside():
            last = Successor(OPTIONS)
            last.flush()
            last.stop()


def test_a_mode_that_changes_while_the_agent_runs_is_one_swap(world, inventory):
    talk = world.lab.conversation(world.machines["p0"], world.machines["p1"].ip, 80, every=0.01, silence=0.3)
    with world.reconciler() as agent:
        for mode, stance, outcome in (
            (Mode.OBSERVE, Stance.OBSERVED, ALLOWED),
            (Mode.ENFORCE, Stance.ENFORCED, TIMEOUT),
            (Mode.OBSERVE, Stance.OBSERVED, ALLOWED),
        ):
            applied = agent.apply(policy(*BOTH_WAYS), inventory, NOW, mode=mode)
            assert (applied.stance, applied.problems, applied.drift) == (stance, (), None)
            assert applied.action in {AppliedAction.FIRST_LOAD, AppliedAction.SWAP}
            assert outcomes(world, ("p2", "p3", 80)) == [outcome]
        assert talk.alive
    talk.close()


class TestByNode:
    """Whether a node is chosen is known only once the API server has told its labels."""

    def test_it_begins_as_it_was(self, world, inventory, tmp_path):
        for mode, stance in ((Mode.ENFORCE, Stance.ENFORCED), (Mode.OBSERVE, Stance.OBSERVED)):
            with world.inside():
                before = Successor(OPTIONS, state_dir=tmp_path, by_node=True)
                before.apply(policy(*BOTH_WAYS), inventory, NOW, revision=3, mode=mode)
                before.settle()
                before.stop()
            for lost in (False, True):
                if lost:
                    world.n1.nft("delete table inet zonebridge")
                with world.inside():
                    agent = Successor(OPTIONS, state_dir=tmp_path, by_node=True)
                    found = agent.restore()
                    agent.stop()
                assert (found.stance, found.revision, found.problems) == (stance, 3, ())
        with world.reconciler(state_dir=tmp_path):
            pass

    def test_one_that_was_never_chosen_is_not_closed(self, world, inventory, tmp_path):
        with world.reconciler(state_dir=tmp_path, by_node=True) as agent:
            assert agent.restore().stance is Stance.NOTHING
            assert agent.apply(None, inventory, NOW, answer=TierAnswer.SILENT).stance is Stance.NOTHING
            agent.apply(policy(*BOTH_WAYS), inventory, NOW, mode=Mode.ENFORCE)
            assert outcomes(world, ("p2", "p3", 80)) == [TIMEOUT]


def test_zones_are_saved_with_the_rules(world, inventory, tmp_path):
    with world.reconciler(WEB_ALONE, state_dir=tmp_path) as agent:
        agent.apply(policy(), inventory, NOW, revision=1)
        agent.settle()
        assert snapshot.read(tmp_path).options == WEB_ALONE


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, RulesetOptions()),
        ({"enforcement": None}, RulesetOptions()),
        ({"enforcement": {"zones": ["web"]}}, RulesetOptions(zones=frozenset({"web"}))),
        ({"enforcement": {"zones": "web"}}, None),
        ({"enforcement": {"nodeSelector": {"pool": "canary"}}}, None),
        ({"enforcement": []}, RulesetOptions()),
        ({"enforcement": ["web"]}, None),
    ],
)
def test_settings_that_nobody_has_validated_yet(given, expected):
    assert RulesetOptions.plainly(given) == expected
