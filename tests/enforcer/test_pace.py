"""How often the kernel is written: a few changes at once, many only so often."""

import pytest

from enforcer.enforcement import Pace, Pauses


def passes(pauses, *, until, cost=0.001, start=1000.0):
    """When passes begin, if there is always a reason for one."""
    now, begun = start, []
    while now < start + until:
        begun.append(now - start)
        now += cost
        now += pauses.after(now)
    return begun


def test_some_changes_follow_each_other_without_a_pause():
    begun = passes(Pauses(Pace(least=0.02, at_once=10)), until=0.2)
    assert begun[9] == pytest.approx(0.009)
    assert begun[13] - begun[12] == pytest.approx(0.02)


def test_in_the_long_run_a_pass_comes_every_so_often():
    assert len(passes(Pauses(Pace(least=0.02, at_once=10)), until=10.0)) == pytest.approx(510, abs=5)


def test_who_was_quiet_may_be_quick_again():
    pauses = Pauses(Pace(least=0.02, at_once=10))
    passes(pauses, until=1.0)
    assert pauses.after(1001.0) > 0
    assert pauses.after(1002.0) == 0


def test_without_a_least_pause_there_is_none():
    assert len(passes(Pauses(Pace(least=0.0)), until=0.1)) == pytest.approx(100, abs=2)
