"""Revision upon revision, with pods that come and go: the kernel holds what a load from nothing holds after each."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enforcer.kernel.reconcile import AppliedAction
from tests.enforcer import nftprogram
from tests.enforcer.sametable import meaning
from tests.enforcer.test_verdicts import inventories, policies
from tests.enforcer.world import NOW

pytestmark = pytest.mark.kernel

LONG = settings.default.max_examples > 100
STEPS = 200 if LONG else 6
FEW = settings(
    deadline=None,
    max_examples=20 if LONG else 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def edited(draw, policy, pool):
    """Some of its rules gone, moved, or others put among them; the defaults stay behind all."""
    rules = list(policy.entries[:-2])
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(rules)))
        match draw(st.integers(0, 2)):
            case 0:
                del rules[at : at + 1]
            case 1:
                rules.insert(at, draw(st.sampled_from(pool)))
            case _:
                rules.insert(at, rules.pop()) if rules else None
    return replace(policy, entries=(*rules, *policy.entries[-2:]))


@FEW
@given(st.data())
def test_each_revision_ends_where_a_load_from_nothing_ends(world, data):
    wanted = data.draw(policies())
    pool = [entry for _ in range(3) for entry in data.draw(policies()).entries[:-2]] or [wanted.entries[-1]]
    steps = []
    for _ in range(STEPS):
        wanted = data.draw(edited(wanted, pool))
        steps.append((wanted, data.draw(inventories(world))))
    followed = []
    with world.reconciler() as reconciler:
        for number, (wanted, inventory) in enumerate(steps):
            applied = reconciler.apply(wanted, inventory, NOW, revision=number)
            assert applied.problems == ()
            assert reconciler.apply(wanted, inventory, NOW, revision=number).action is AppliedAction.NONE
            followed.append((nftprogram.listing(), meaning(applied.ruleset)))
    before = None
    for (wanted, inventory), (listed, meant) in zip(steps, followed, strict=True):
        with world.reconciler() as reconciler:
            applied = reconciler.apply(wanted, inventory, NOW)
            assert applied.problems == ()
            if wanted != before:  # under one policy the zones of pods that are gone keep their pairs
                assert (meaning(applied.ruleset), nftprogram.listing()) == (meant, listed)
        before = wanted
